"""Numerical gradients: right ones pass, wrong ones fail, kinks are counted instead of compared."""

import numpy as np
import pytest

import fastconv as fc


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny calls: threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    yield
    fc.set_threads(before)


IMAGES = np.random.default_rng(3).standard_normal((2, 8, 8, 2))


def layer_cases():
    image, row = (8, 8, 2), (128,)
    yield fc.Conv2D(3, 3, padding="same", stride=2), image
    yield fc.Conv2D(4, 3, groups=2, dilation=2, bias=False, pad_mode="reflect", padding=1), image
    yield fc.Conv2D(3, 3, activation="relu"), image
    yield fc.Conv2D(3, 3, activation="tanh"), image
    yield fc.MaxPool2D(3, stride=2), image
    yield fc.AvgPool2D(2), image
    yield fc.GlobalAvgPool2D(), image
    yield fc.BatchNorm(), image
    yield fc.Normalize(1.0, 3.0), image
    yield fc.Dropout(0.4), image
    yield fc.ReLU(), image
    yield fc.LeakyReLU(0.1), image
    yield fc.Softmax(), image
    yield fc.Dense(5, activation="sigmoid"), row


@pytest.mark.parametrize("layer, shape", list(layer_cases()), ids=str)
def test_every_layer_passes(layer, shape):
    report = fc.gradcheck(layer, IMAGES.reshape(2, *shape), points=25)
    assert report.passed and report.skipped < 0.2, report
    assert report.rows[0].name == "x" and len(report.rows) > len(layer.parameter_shapes(shape))


def test_a_network_passes_with_its_own_weights_and_loss():
    net = fc.Sequential(
        [fc.Conv2D(3, 3, activation="relu"), fc.MaxPool2D(2), fc.BatchNorm(), fc.Flatten(), fc.Dense(4)], input_shape=(8, 8, 2)
    )
    weights = net.get_weights()
    report = fc.gradcheck(net, IMAGES, [1, 3], points=30)
    assert report.passed, report
    assert [row.name for row in report.rows][:3] == ["x", "conv2d_1.w", "conv2d_1.b"]
    for name, value in net.get_weights().items():  # a copy was checked: the network is untouched
        assert value.tobytes() == weights[name].tobytes()


def test_a_derivative_that_is_nothing_but_rounding_passes():
    """The bias of a convolution before BatchNorm changes nothing."""
    layers = [fc.Conv2D(3, 3), fc.BatchNorm(), fc.ReLU(), fc.Flatten(), fc.Dense(4)]
    report = fc.gradcheck(fc.Sequential(layers, input_shape=(8, 8, 2)), IMAGES, [1, 3], points=20)
    assert report.passed, report
    assert abs(next(row for row in report.rows if row.name == "conv2d_1.b").analytic) < 1e-12


def test_frozen_layers_stay_frozen_and_have_no_rows():
    layers = [fc.Conv2D(3, 3, name="a"), fc.BatchNorm(name="b"), fc.ReLU(), fc.Residual([fc.Conv2D(3, 1, name="c")], name="r")]
    net = fc.Sequential([*layers, fc.GlobalAvgPool2D(), fc.Dense(4, name="d")], input_shape=(8, 8, 2))
    layers[1].trainable = layers[3].trainable = False
    report = fc.gradcheck(net, IMAGES[:1], [1], points=10)
    assert report.passed, report
    assert [row.name for row in report.rows] == ["x", "a.w", "a.b", "d.w", "d.b"]


@pytest.mark.parametrize("loss, y", [("hinge", [1, 0]), ("mean_squared_error", np.ones((2, 3)))])
def test_other_losses(loss, y):
    net = fc.Sequential([fc.Flatten(), fc.Dense(3)], input_shape=(8, 8, 2))
    assert fc.gradcheck(net, IMAGES, y, loss=loss).passed


class Wrong(fc.Layer):
    """x^2, but the gradient forgets the 2 at one place."""

    def forward(self, x, training=False):
        self.keep(x=x)
        return x * x

    def backward(self, dy, needs_dx=True):
        dx = 2 * self.kept("x") * dy
        dx[1, 2] *= 0.5
        return dx


def test_a_wrong_gradient_fails_and_is_located():
    report = fc.gradcheck(Wrong(), np.arange(1.0, 13.0).reshape(2, 6))
    assert not report.passed
    assert report.rows[0].at == (1, 2) and report.largest == pytest.approx(0.5)
    assert "FAILED" in str(report) and "1,2" in str(report) and "<table>" in report._repr_html_()


def test_kinks_are_skipped_and_counted():
    """|x| at 0 has no derivative, however small the step; near 0 the step decides."""
    x = np.array([0.0, 2e-5, 1.0, -3.0])
    report = fc.gradcheck(lambda v: (float(np.abs(v).sum()), np.sign(v)), x)
    assert report.passed and (report.rows[0].checked, report.rows[0].skipped) == (4, 2)
    assert report.skipped == 0.5 and "50.0% of the points are at kinks" in " ".join(str(report).split())


def test_equal_maxima_are_kinks():
    report = fc.gradcheck(fc.MaxPool2D(2), np.zeros((1, 4, 4, 1)))
    assert report.rows[0].skipped == 16
    assert not report.passed  # nothing could be compared


def test_a_function_is_checked_at_its_input():
    labels = [2, 0]
    report = fc.gradcheck(lambda p: fc.losses.softmax_cross_entropy(p, labels), np.array([[1.0, 2, 3], [0, 0, 1]]))
    assert report.passed and report.rows[0].checked == 6


def test_other_subjects_are_refused():
    with pytest.raises(fc.OptionError, match="needed a Sequential, a layer, or a function"):
        fc.gradcheck(3, IMAGES)


@pytest.mark.parametrize("bad", range(3))
def test_a_gradient_that_is_nan_anywhere_fails(bad):
    class Cube(fc.Layer):
        kind = "cube"

        def output_shape_for(self, input_shape):
            return tuple(input_shape)

        def forward(self, x, training=False):
            self.x = x
            return x**3

        def backward(self, dy, needs_dx=True):
            dx = 3 * self.x**2 * dy
            dx[0, bad] = np.nan
            return dx

    report = fc.gradcheck(Cube(), np.array([[1.0, -2.0, 0.5]]))
    assert not report.passed and report.largest == np.inf and "FAILED" in str(report)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(fc.ShapeError, match=r"gradient of x: got shape \(2,\); needed that of x, \(3,\)"):
        fc.gradcheck(lambda x: ((x**2).sum(), 2 * x[:2]), np.array([1.0, -2.0, 0.5]))
