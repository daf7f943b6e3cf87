"""Evaluation: ranks against sorting, counts against loops; ensembles; ties, NaN and wrong shapes."""

import json

import numpy as np
import pytest

import fastconv as fc
from fastconv.errors import DataError, OptionError, ShapeError
from fastconv.training.metrics import confusion_matrix, ranks, top_k_accuracy


def examples(n=200, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, classes)).round(1), rng.integers(0, classes, n)  # rounding makes ties


def test_ranks_are_places_in_the_sorted_row():
    scores, labels = examples()
    order = np.argsort(-scores, axis=1, kind="stable")
    assert ranks(scores, labels).tolist() == [row.tolist().index(label) for row, label in zip(order, labels, strict=True)]


@pytest.mark.parametrize("k", [1, 3, 5, 7, 9])
def test_top_k_counts_the_classes_that_come_first(k):
    scores, labels = examples()
    right = [label in sorted(range(7), key=lambda c: -row[c])[:k] for row, label in zip(scores, labels, strict=True)]
    assert top_k_accuracy(scores, labels, k) == np.mean(right)


def test_top_k_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(3).normal(size=(50, 12)).astype(np.float32)
    labels = np.arange(50) % 12
    found = torch.from_numpy(scores).topk(5).indices.numpy()
    assert top_k_accuracy(scores, labels, 5) == (found == labels[:, None]).any(1).mean()


def test_constant_answers_are_not_taken_for_good_ones():
    assert top_k_accuracy(np.zeros((10, 10)), np.arange(10), 5) == 0.5
    assert top_k_accuracy(np.full((3, 4), np.nan), [0, 1, 2], 4) == 0


def test_the_confusion_matrix_counts_pairs():
    scores, labels = examples()
    counts = confusion_matrix(scores, np.eye(7)[labels])  # one-hot rows
    for i in range(7):
        for j in range(7):
            assert counts[i, j] == sum(label == i and row.argmax() == j for row, label in zip(scores, labels, strict=True))


def test_wrong_scores_and_labels_are_refused():
    for scores, labels, error, message in [
        (np.zeros(3), [0, 1, 2], ShapeError, r"scores: got shape \(3,\)"),
        (np.zeros((2, 3)), [0, 3], DataError, "got class 3"),
        (np.zeros((2, 3)), [0], ShapeError, "y: got shape"),
        (np.zeros((0, 3)), np.zeros(0, int), ShapeError, "no examples"),
    ]:
        with pytest.raises(error, match=message):
            top_k_accuracy(scores, labels, 1)
    with pytest.raises(OptionError, match="k: got 0"):
        top_k_accuracy(np.zeros((2, 3)), [0, 1], 0)


class Known:
    """Stands for a trained network: its answers are its inputs."""

    input_shape = (3,)

    def predict(self, x, batch_size=256):
        return np.asarray(x, float)


ANSWERS = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]
LABELS = [0, 1, 1, 0, 1]


def test_classes_are_told_apart():
    found = fc.evaluate(Known(), ANSWERS, LABELS, classes=["cat", "dog", "emu"])
    assert found.accuracy == 0.6 and found.top_k(2) == 0.8
    assert found.confusion.tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]
    cat, dog, emu = found.rows()
    assert cat == {
        "class": "cat", "images": 2, "right": 1, "accuracy": 0.5, "precision": 0.5, "taken_for": "emu", "times": 1
    }  # fmt: skip
    assert (dog["accuracy"], dog["precision"], dog["taken_for"]) == (2 / 3, 1.0, "cat")
    assert (emu["images"], emu["accuracy"], emu["precision"], emu["taken_for"]) == (0, None, 0.0, None)
    assert found.mixed_up() == [("cat", "emu", 1), ("dog", "cat", 1)]
    assert found.mistakes().tolist() == [3, 2] and found.mistakes(1).tolist() == [3]
    text = str(found)
    assert "cat (1)" in text and "66.67%" in text and "60.00%" in text
    assert json.loads(found.table().json())["rows"][0]["right"] == 1


def test_a_yes_or_no_network_has_two_classes():
    net = fc.Sequential([fc.Flatten(), fc.Dense(1)], input_shape=(2, 2, 1), output="sigmoid")
    x = np.random.default_rng(0).normal(size=(6, 2, 2, 1))
    found = fc.evaluate(net, x, [0, 1, 0, 1, 1, 1], classes=("no", "yes"))
    np.testing.assert_allclose(found.probabilities[:, 1:], net.predict(x))
    assert found.confusion.sum(1).tolist() == [2, 4]


def test_names_must_be_as_many_as_classes():
    with pytest.raises(OptionError, match="got 2 names; the network has 3 classes"):
        fc.evaluate(Known(), ANSWERS, LABELS, classes=["cat", "dog"])


def test_evaluation_agrees_with_the_trainer():
    net = fc.models.lenet5((28, 28, 1), padding="same", normalize=(33, 79))
    x, y = fc.data.digits()[1]
    found = fc.evaluate(net, x[:100], y[:100])
    assert found.accuracy == fc.Trainer(net).evaluate(x[:100], y[:100])["accuracy"]
    assert found.classes == tuple("0123456789")


# ---- ensembles


def nets(count=3, **options):
    return [fc.models.lenet5((28, 28, 1), padding="same", seed=seed, **options) for seed in range(count)]


def test_an_ensemble_is_the_mean_of_the_probabilities():
    x = np.random.default_rng(0).normal(size=(5, 28, 28, 1)).astype(np.float32)
    members = nets()
    found = fc.Ensemble(members).predict(x, batch_size=2)
    np.testing.assert_allclose(found, np.mean([net.predict(x, batch_size=2) for net in members], axis=0), atol=1e-7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert fc.evaluate(fc.Ensemble(members), x, [0, 1, 2, 3, 4]).labels.tolist() == [0, 1, 2, 3, 4]


def test_networks_that_do_not_belong_together_are_refused():
    with pytest.raises(OptionError, match="nets: got none"):
        fc.Ensemble([])
    with pytest.raises(ShapeError, match=r"nets\[1\]: goes from \(32, 32, 3\) to \(10,\); needed \(28, 28, 1\)"):
        fc.Ensemble([*nets(1), fc.models.lenet5()])
    raw = nets(1)[0]
    raw.output = "linear"
    with pytest.raises(OptionError, match=r"nets\[0\]: predict gives raw scores"):
        fc.Ensemble([raw])
    with pytest.raises(ShapeError, match="x: got shape"):
        fc.Ensemble(nets(1)).predict(np.zeros((1, 32, 32, 1)))


def test_names_of_a_network_are_those_of_its_evaluation():
    x, y = np.random.default_rng(0).normal(size=(20, 6)).astype("f4"), np.arange(20) % 2
    net = fc.Sequential([fc.Dense(2)], input_shape=(6,), classes=("cat", "dog"))
    assert fc.evaluate(net, x, y).classes == ("cat", "dog")
    assert fc.evaluate(net, x, y, classes=("a", "b")).classes == ("a", "b")
    net.output = "softmax"
    assert fc.evaluate(fc.Ensemble([net, net]), x, y).classes == ("cat", "dog")
    other = fc.Sequential([fc.Dense(2)], input_shape=(6,), output="softmax")
    assert fc.evaluate(fc.Ensemble([net, other]), x, y).classes == ("0", "1")


def test_one_raw_score_is_no_probability():
    net = fc.Sequential([fc.Dense(1)], input_shape=(2,))
    x, y = np.array([[1, 2], [3, 4]], np.float32), [0, 1]
    with pytest.raises(OptionError, match="its one output is a raw score; needed the probability of class 1"):
        fc.evaluate(net, x, y)
    with pytest.raises(OptionError, match="probabilities: got -1 to 3; needed 0 to 1"):
        fc.training.Evaluation.of([[-1.0], [3.0]], y)
    net.output = "sigmoid"
    assert 0 <= fc.evaluate(net, x, y).accuracy <= 1
