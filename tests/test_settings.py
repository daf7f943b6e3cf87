"""Settings that change once a layer has its place, layers that are replaced, layers of somebody's own that break a promise."""

import numpy as np
import pytest

import fastconv as fc
from bounds import assert_same_bytes
from fastconv.errors import DTypeError, OptionError, ShapeError

X = np.random.default_rng(50).random((4, 8, 8, 2), dtype=np.float32)


def network():
    layers = [
        fc.Conv2D(4, 3, activation="relu"),
        fc.BatchNorm(),
        fc.Dropout(0.5),
        fc.Residual([fc.Conv2D(4, 3, padding=1)]),
        fc.MaxPool2D(2),
        fc.Flatten(),
        fc.Dense(3),
    ]
    return fc.Sequential(layers, input_shape=(8, 8, 2), seed=1, classes=("a", "b", "c"))


CHANGES = {
    "activation of a chain": (lambda net: net.layers[0], "activation", "tanh"),
    "eps of a BatchNorm": (lambda net: net.layers[1], "eps", 0.5),
    "inside a block": (lambda net: net.layers[3].layers[0], "activation", "sigmoid"),
    "of a block": (lambda net: net.layers[3], "activation", "tanh"),
    "padding": (lambda net: net.layers[0], "pad_mode", "reflect"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_setting_takes_effect_in_every_kind_of_pass(change, tmp_path):
    find, name, value = change
    net = network()
    before = net.predict(X)
    setattr(find(net), name, value)
    fresh = network()
    setattr(find(fresh), name, value)
    found = net.predict(X)
    assert_same_bytes(found, fresh.predict(X))
    *_, (_, traced) = net.trace(X)
    np.testing.assert_allclose(found, traced, rtol=1e-5, atol=1e-5)
    assert name == "pad_mode" or abs(found - before).max() > 1e-3
    net.save(tmp_path / "net.safetensors")
    assert_same_bytes(fc.load(tmp_path / "net.safetensors").predict(X), found)


def test_a_setting_that_changes_between_steps_takes_effect_in_training():
    net, other = fc.models.lenet5((32, 32, 3)), fc.models.lenet5((32, 32, 3))
    x, y = np.random.default_rng(51).random((16, 32, 32, 3), dtype=np.float32), np.arange(16) % 10
    for some in (net, other):
        some.layers[0].activation = "tanh" if some is other else "relu"
    fc.Trainer(net).step(x, y)
    net.set_weights(other.get_weights())
    net.layers[0].activation = "tanh"
    assert fc.Trainer(net).step(x, y) == fc.Trainer(other).step(x, y)
    for name, value in other.get_weights().items():
        assert_same_bytes(net.get_weights()[name], value)


@pytest.mark.parametrize(
    ("find", "name", "value", "message"),
    (
        (0, "l2", -5, "l2: got -5"),
        (0, "filters", 7, "conv2d_1.filters: got 7; shapes of a layer in use stay"),
        (0, "stride", 2, "conv2d_1.stride: got 2; shapes"),
        (0, "activation", "rely", "activation: got 'rely'"),
        (2, "rate", 7, "rate: got 7"),
        (3, "body", [], "residual_1.body: cannot change in a block"),
        (6, "units", 4, "dense_1.units: got 4; shapes"),
    ),
)
def test_a_setting_that_cannot_be_is_refused_and_nothing_changes(find, name, value, message):
    net = network()
    before, layer = net.predict(X), net.layers[find]
    kept = getattr(layer, name)
    with pytest.raises(OptionError) as caught:
        setattr(layer, name, value)
    assert str(caught.value).startswith(message)
    assert getattr(layer, name) is kept
    assert_same_bytes(net.predict(X), before)


def test_layers_can_be_replaced():
    net = network()
    net.predict(X)
    net.classes = None
    net.layers = (*net.layers[:-1], fc.Dense(7))
    assert net.output_shape == (7,) and net.predict(X).shape == (4, 7)
    assert [layer.name for layer in net.layers][-1] == "dense_1"
    *_, (_, traced) = net.trace(X)
    np.testing.assert_allclose(net.predict(X), traced, rtol=1e-5, atol=1e-6)
    net.layers = net.layers[:-1]
    assert net.output_shape == (36,) and net.predict(X).shape == (4, 36)


def test_layers_that_do_not_fit_the_names_of_the_classes_are_refused():
    net = network()
    with pytest.raises(OptionError, match="classes"):
        net.layers = (*net.layers[:-1], fc.Dense(7))
    assert net.predict(X).shape == (4, 3)


class Same(fc.Layer):
    """Promises the shape of its input."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy, needs_dx=True):
        return dy


class Doubles(Same):
    def forward(self, x, training=False):
        return x.astype(np.float64)

    def backward(self, dy, needs_dx=True):
        return dy.astype(np.float64)


class Nothing(Same):
    def forward(self, x, training=False):
        pass


class Cut(Same):
    def forward(self, x, training=False):
        return x[:, 1:]


class CutBack(Same):
    def backward(self, dy, needs_dx=True):
        return dy[:, 1:]


@pytest.mark.parametrize("inside", (False, True), ids=("plain", "block"))
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    (
        (Nothing, DTypeError, "nothing_1: forward gave NoneType; needed an array of float32"),
        (Cut, ShapeError, "cut_1: forward gave shape (4, 5, 6, 4); needed (4, 6, 6, 4)"),
    ),
)
def test_a_layer_of_ones_own_that_breaks_its_promise_is_named(kind, error, message, inside):
    own = fc.Residual([kind()]) if inside else kind()
    net = fc.Sequential([fc.Conv2D(4, 3), own, fc.Flatten(), fc.Dense(3)], input_shape=(8, 8, 2))
    for call in (net.predict, lambda x: fc.Trainer(net).step(x, [0, 1, 2, 0]), lambda x: list(net.trace(x))):
        with pytest.raises(error) as caught:
            call(X)
        assert message in str(caught.value)


def test_a_layer_of_ones_own_may_compute_in_float64():
    nets = [
        fc.Sequential([fc.Conv2D(4, 3), own, fc.Flatten(), fc.Dense(3)], input_shape=(8, 8, 2)) for own in (Doubles(), Same())
    ]
    for training in (False, True):
        first, second = (net.forward(X, training) for net in nets)
        assert_same_bytes(first, second)
    assert len({fc.Trainer(net).step(X, [0, 1, 2, 0]) for net in nets}) == 1
    for name, value in nets[0].get_weights().items():
        assert_same_bytes(value, nets[1].get_weights()[name])


def test_a_gradient_of_another_shape_is_named():
    net = fc.Sequential([fc.Conv2D(4, 3), CutBack(), fc.Flatten(), fc.Dense(3)], input_shape=(8, 8, 2))
    with pytest.raises(ShapeError, match=r"cut_back_1: backward gave shape \(4, 5, 6, 4\); needed \(4, 6, 6, 4\)"):
        fc.Trainer(net).step(X, [0, 1, 2, 0])
