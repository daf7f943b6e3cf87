"""Losses: worked values, gradients, every form of labels, and what is refused."""

import numpy as np
import pytest

import fastconv as fc
import oracle
from fastconv.training.losses import (
    LOSSES,
    binary_cross_entropy,
    find_loss,
    hinge,
    label_smoothed,
    mean_squared_error,
    softmax_cross_entropy,
)

CLASSIFIERS = (softmax_cross_entropy, hinge)


def scores(rows=7, classes=5, dtype=np.float64, scale=3.0):
    return (scale * np.random.default_rng(1).standard_normal((rows, classes))).astype(dtype)


LABELS = np.array([0, 4, 2, 2, 1, 3, 0])


def test_softmax_cross_entropy_of_equal_scores_is_log_classes():
    loss, gradient = softmax_cross_entropy(np.zeros((3, 10), np.float32), [0, 5, 9])
    assert loss == pytest.approx(np.log(10), rel=1e-6)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-7)


def test_hinge_is_the_course_example():
    """CS231n lecture 3: cat, car and frog with losses 2.9, 0 and 12.9."""
    table = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    assert [round(hinge(row[None], [label])[0], 6) for label, row in enumerate(table)] == [2.9, 0.0, 12.9]
    assert hinge(table, [0, 1, 2])[0] == pytest.approx(15.8 / 3)


def test_hinge_gradient_counts_positive_margins():
    gradient = hinge(np.array([[3.2, 5.1, -1.7]]), [0])[1]
    np.testing.assert_array_equal(gradient, [[-1, 1, 0]])


def test_binary_cross_entropy_worked_values():
    loss, gradient = binary_cross_entropy(np.array([0.0, np.log(3)]), [1, 0])
    assert loss == pytest.approx((np.log(2) + np.log(4)) / 2)
    np.testing.assert_allclose(gradient, [-0.25, 0.375])


def test_mean_squared_error_worked_values():
    loss, gradient = mean_squared_error(np.array([[1.0, 2.0], [3.0, 5.0]]), [[1, 2], [3, 1]])
    assert loss == 4.0
    np.testing.assert_array_equal(gradient, [[0, 0], [0, 2]])


@pytest.mark.parametrize(
    "loss, x, y",
    [
        (softmax_cross_entropy, scores(), LABELS),
        (hinge, scores(), LABELS),
        (binary_cross_entropy, scores()[:, :1], LABELS[:, None] > 1),
        (mean_squared_error, scores(), scores(scale=1.0)),
        (softmax_cross_entropy, scores().reshape(7, 1, 5), LABELS[:, None]),
        (label_smoothed(0.3).function, scores(), LABELS),
    ],
    ids=["softmax", "hinge", "binary", "squares", "softmax-on-a-map", "smoothed"],
)
def test_gradient_is_that_of_differences(loss, x, y):
    report = fc.gradcheck(lambda p: loss(p, y), x)
    assert report.passed, report


@pytest.mark.parametrize("smoothing", [0, 0.2])
@pytest.mark.parametrize("shape", [(64, 10), (9, 80, 100), (65, 1009)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_cross_entropy_is_that_of_its_formula(shape, smoothing, dtype):
    rng = np.random.default_rng(2)
    x, labels = (3 * rng.standard_normal(shape)).astype(dtype), rng.integers(0, shape[-1], shape[:-1])
    p, count = oracle.softmax(x), labels.size
    wanted = (1 - smoothing) * np.eye(shape[-1])[labels] + smoothing / shape[-1]
    loss, gradient = softmax_cross_entropy(x, labels, label_smoothing=smoothing)
    eps = float(np.finfo(dtype).eps)
    assert loss == pytest.approx(-(wanted * np.log(p)).sum() / count, rel=50 * eps)
    assert gradient.shape == shape and gradient.dtype == dtype
    np.testing.assert_allclose(gradient * count, p - wanted, atol=(40 + shape[-1] / 8) * eps)


@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_extreme_scores_stay_finite(scale):
    sure = np.array([[scale, 0, -scale]], np.float32)
    assert softmax_cross_entropy(sure, [0])[0] == 0
    assert softmax_cross_entropy(sure, [2])[0] == pytest.approx(2 * scale)
    assert binary_cross_entropy(sure[0], [1, 1, 0])[0] == pytest.approx(np.log(2) / 3)
    assert binary_cross_entropy(sure[0], [0, 1, 1])[0] == pytest.approx(2 * scale / 3, rel=1e-4)
    assert all(np.isfinite(LOSSES[name].function(sure, [1])[1]).all() for name in ("softmax_cross_entropy", "hinge"))


def test_nan_in_scores_reaches_the_loss():
    bad = scores()
    bad[3, 2] = np.nan
    assert np.isnan(softmax_cross_entropy(bad, LABELS)[0]) and np.isnan(hinge(bad, LABELS)[0])
    assert np.isnan(binary_cross_entropy(bad[:, 2], LABELS > 1)[0]) and np.isnan(mean_squared_error(bad, bad)[0])


@pytest.mark.parametrize("loss", CLASSIFIERS)
@pytest.mark.parametrize(
    "form",
    [
        LABELS.astype(np.uint8),
        LABELS.astype(np.float64),
        LABELS[:, None],
        LABELS.tolist(),
        np.eye(5)[LABELS],
        np.eye(5, dtype=bool)[LABELS],
    ],
    ids=["uint8", "float", "column", "list", "one-hot", "one-hot-bool"],
)
def test_every_form_of_labels_is_the_same(loss, form):
    expected, given = loss(scores(), LABELS), loss(scores(), form)
    assert given[0] == expected[0]
    assert given[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("loss", CLASSIFIERS)
@pytest.mark.parametrize(
    "labels, error, message",
    [
        ([0, 1, 5, 0, 0, 0, 0], fc.DataError, r"y\[2\]: got class 5; the network has 5 classes, 0 to 4"),
        ([0, 1, -1, 9, 0, 0, 0], fc.DataError, r"y\[2\]: got class -1"),
        ([0, 1], fc.ShapeError, r"y: got shape \(2,\); needed \(7,\) \(class numbers\) or \(7, 5\)"),
        ([0, 1, 1.5, 0, 0, 0, 0], fc.DTypeError, r"y\[2\]: got 1.5; class numbers are whole"),
        ([0, np.nan, 1, 0, 0, 0, 0], fc.DTypeError, r"y\[1\]: got nan"),
        (["cat"] * 7, fc.DTypeError, r"y: got text such as 'cat'; .*np.unique\(y, return_inverse=True\)"),
        (np.array(["cat"] * 7, object), fc.DTypeError, "y: got text such as 'cat'"),
        (None, fc.DTypeError, "y: got None; needed a target for each"),
        ([{}] * 7, fc.DTypeError, "y: got dtype object"),
        (np.eye(5)[LABELS] * 0.5, fc.DataError, r"y\[0\]: got \[0.5, 0.0, 0.0, 0.0, 0.0\]; needed a one-hot row"),
        (np.ones((7, 5)), fc.DataError, r"y\[0\]: got .* one-hot row"),
        (np.zeros((7, 3)), fc.ShapeError, r"y: got shape \(7, 3\)"),
    ],
)
def test_bad_labels_are_refused_with_the_first_index(loss, labels, error, message):
    with pytest.raises(error, match=message):
        loss(scores(), labels)


def test_one_output_is_no_classifier():
    with pytest.raises(fc.ShapeError, match="binary_cross_entropy"):
        softmax_cross_entropy(np.zeros((3, 1)), [0, 0, 0])


@pytest.mark.parametrize(
    "loss, x, y, error, message",
    [
        (binary_cross_entropy, np.zeros(3), [0, 2, 1], fc.DataError, r"y\[1\]: got 2; needed 0 or 1"),
        (binary_cross_entropy, np.zeros((3, 1)), [0, 1], fc.ShapeError, r"y: got shape \(2,\); needed \(3, 1\)"),
        (mean_squared_error, np.zeros((3, 2)), [0, 1, 2], fc.ShapeError, r"y: got shape \(3,\); needed \(3, 2\)"),
        (mean_squared_error, np.zeros((3, 2)), [[1j, 0]] * 3, fc.DTypeError, "y: got dtype complex128"),
    ],
)
def test_bad_targets_are_refused(loss, x, y, error, message):
    with pytest.raises(error, match=message):
        loss(x, y)


def test_targets_and_predictions_may_differ_by_an_axis_of_one():
    for loss in (binary_cross_entropy, mean_squared_error):
        a, b = loss(np.zeros((3, 1)), [0, 1, 1]), loss(np.zeros(3), [[0], [1], [1]])
        assert a[0] == b[0] and a[1].shape == (3, 1) and b[1].shape == (3,)


def test_an_empty_batch_has_no_loss_and_an_empty_gradient():
    assert softmax_cross_entropy(np.zeros((0, 4), np.float32), np.zeros(0, int))[0] == 0.0
    assert mean_squared_error(np.zeros((0, 4)), np.zeros((0, 4)))[1].shape == (0, 4)


def test_predictions_are_never_changed():
    x, kept = scores(), scores()
    for loss in LOSSES.values():
        loss.function(x, x > 0 if loss.output == "sigmoid" else x if loss.hits is None else LABELS)
        np.testing.assert_array_equal(x, kept)


def test_the_table_names_outputs_and_accuracies():
    assert {name: loss.output for name, loss in LOSSES.items()} == {
        "softmax_cross_entropy": "softmax",
        "binary_cross_entropy": "sigmoid",
        "hinge": "linear",
        "mean_squared_error": "linear",
    }
    assert LOSSES["hinge"].hits(np.array([[1, 3, 2], [5, 5, 0]]), np.array([1, 1])).tolist() == [True, False]
    assert LOSSES["binary_cross_entropy"].hits(np.array([-1.0, 2.0]), np.array([0, 0])).tolist() == [True, False]


def test_unknown_losses_are_refused_and_functions_taken():
    with pytest.raises(fc.OptionError, match="needed one of softmax_cross_entropy"):
        find_loss("crossentropy")
    assert find_loss(hinge) is LOSSES["hinge"]
    assert find_loss(lambda p, y: (0.0, p)).output is None


@pytest.mark.parametrize("amount", [0.0, 0.2, 1.0])
def test_smoothed_labels_are_those_of_pytorch(amount):
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(scores()).requires_grad_()
    theirs = torch.nn.functional.cross_entropy(x, torch.from_numpy(LABELS), label_smoothing=amount)
    loss, gradient = label_smoothed(amount).function(scores(), LABELS)
    assert loss == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, torch.autograd.grad(theirs, x)[0].numpy(), atol=1e-15)


def test_a_trainer_takes_smoothed_labels_and_says_so():
    x, y = np.eye(5, dtype=np.float32), np.arange(5)
    trainer = fc.Trainer(fc.Sequential([fc.Dense(5)], input_shape=(5,)), fc.optim.SGD(1.0), loss=label_smoothed(0.5))
    history = trainer.fit(x, y, epochs=300, verbose=0)
    np.testing.assert_allclose(trainer.predict(x), 0.5 * np.eye(5) + 0.1, atol=1e-3)  # what has been asked for
    assert history.settings["loss"] == "softmax_cross_entropy(label_smoothing=0.5)" and trainer.evaluate(x, y)["accuracy"] == 1


@pytest.mark.parametrize("amount", [-0.1, 1.1, "much", float("nan")])
def test_impossible_smoothing_is_refused(amount):
    with pytest.raises(fc.OptionError, match="label_smoothing: got"):
        label_smoothed(amount)


def test_losses_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    tf = torch.nn.functional
    x = torch.from_numpy(scores()).requires_grad_()
    labels = torch.from_numpy(LABELS)
    for ours, theirs in (
        (softmax_cross_entropy(scores(), LABELS), tf.cross_entropy(x, labels)),
        (binary_cross_entropy(scores(), scores() > 1), tf.binary_cross_entropy_with_logits(x, (x.detach() > 1).double())),
        (mean_squared_error(scores(), np.ones((7, 5))), tf.mse_loss(x, torch.ones(7, 5).double())),
        (hinge(scores(), LABELS), tf.multi_margin_loss(x, labels) * 5),  # PyTorch divides by the classes
    ):
        assert ours[0] == pytest.approx(theirs.item(), rel=1e-12)
        np.testing.assert_allclose(ours[1], torch.autograd.grad(theirs, x, retain_graph=True)[0].numpy(), atol=1e-14)
