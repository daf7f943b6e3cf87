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
        (3, "body", [], "residual_1.body: cannot change once"),
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


@pytest.mark.parametrize("units", (3, 7))
@pytest.mark.parametrize("optimizer", (fc.optim.SGD(0.1), fc.optim.SGD(0.1, momentum=0.9), fc.optim.Adam()), ids=str)
def test_a_layer_that_comes_new_begins_with_no_state_of_the_optimizer(optimizer, units):
    net, y = network(), np.array([0, 1, 2, 0])
    net.classes = None
    trainer = fc.Trainer(net, optimizer)
    trainer.step(X, y)
    net.layers = (*net.layers[:-1], fc.Dense(units))
    before, other = net.get_weights(), network()
    other.classes, other.layers = None, (*other.layers[:-1], fc.Dense(units))
    other.set_weights(before)
    other.layers[2].draws = net.layers[2].draws
    assert trainer.step(X, y) == fc.Trainer(other, optimizer).step(X, y)
    assert_same_bytes(net.layers[-1].params["w"], other.layers[-1].params["w"])


def test_a_network_that_ends_in_softmax_since_is_refused_by_its_trainer():
    net = network()
    trainer = fc.Trainer(net)
    net.layers = (*net.layers, fc.Softmax())
    for call in (trainer.step, trainer.fit):
        with pytest.raises(OptionError, match="takes raw outputs, but the network ends in"):
            call(X, [0, 1, 2, 0])


def test_a_layer_put_in_between_draws_numbers_of_its_own():
    net = fc.Sequential([fc.Dense(8), fc.Dropout(0.5), fc.Dense(8)], input_shape=(8,))
    net.layers = (net.layers[0], fc.Dense(8), fc.Dropout(0.5), *net.layers[1:])
    first, new, drop, old_drop, last = net.layers
    x = np.ones((16, 8), np.float32)
    assert (drop.forward(x, True) != old_drop.forward(x, True)).any()
    weights = [layer.params["w"] for layer in (first, new, last)]
    assert all((a != b).any() for a, b in zip(weights, weights[1:] + weights[:1], strict=True))


def test_settings_of_another_network_leave_what_is_ready():
    net, other = network(), network()
    for some in (net, other):
        some.predict(X)
    ready = net._steps
    other.layers[0].activation = None
    net.predict(X)
    assert net._steps is ready


OTHERWISE = {
    "a setting": lambda net: setattr(net.layers[3].layers[0], "activation", "relu"),
    "what is trained": lambda net: setattr(net.layers[0], "trainable", False),
    "what is trained in a block": lambda net: setattr(net.layers[3], "trainable", False),
    "a rate": lambda net: setattr(net.layers[-1], "rates", {"w": 0.5}),
    "a layer": lambda net: setattr(net, "layers", (*net.layers[:-1], fc.Dense(3))),
}


@pytest.mark.parametrize("change", OTHERWISE.values(), ids=OTHERWISE)
def test_the_state_of_a_network_is_another_one_after_a_change_only(change):
    net, other = network(), network()

    def passes():
        net.predict(X)
        net.set_weights(net.get_weights())
        for some in (net, other):
            fc.Trainer(some).step(X, [0, 1, 2, 0])
        return net.state

    states = [net.state, passes()]  # arrays and gradients are allocated between them
    assert passes() is states[-1]
    change(net)
    states.append(net.state)
    settled = passes()  # a new layer has allocated its arrays
    assert passes() is settled
    assert len({id(state) for state in states}) == len(states)


def test_what_is_trained_may_change_between_steps():
    net, y = network(), np.array([0, 1, 2, 0])
    trainer = fc.Trainer(net, fc.optim.SGD(0.1, momentum=0.9))

    def moved():
        before = net.get_weights()
        trainer.step(X, y)
        return {name.partition(".")[0] for name, w in net.get_weights().items() if name[-1] in "wb" and (w != before[name]).any()}

    first, block, last = (net.layers[i].name for i in (0, 3, 6))
    assert moved() == {first, block, last}
    net.layers[0].trainable = False
    assert moved() == {block, last}
    net.layers[6].rates = {"w": 0, "b": 0}
    assert moved() == {block}
    net.layers[0].trainable, net.layers[6].rates = True, {}
    assert moved() == {first, block, last}


def test_a_training_pass_goes_back_though_a_setting_changed_meanwhile():
    net = fc.models.lenet5((32, 32, 3))
    x = np.random.default_rng(52).random((8, 32, 32, 3), dtype=np.float32)
    y = net.forward(x, training=True)
    net.layers[-1].l2 = 0.1
    net.predict(x[:2])
    net.backward(np.ones_like(y))
    assert all(np.isfinite(layer.grads["w"]).all() for layer in net.layers if "w" in layer.params)


def test_layers_of_layers_refuse_what_their_parts_keep():
    layer = fc.SeparableConv2D(4, 3, padding=1)
    fc.Sequential([layer, fc.Flatten(), fc.Dense(3)], input_shape=(8, 8, 2))
    for name in ("activation", "padding", "l2"):
        with pytest.raises(OptionError, match=f"separable_conv2d_1.{name}: cannot change once"):
            setattr(layer, name, "same")


def test_layers_of_ones_own_work_without_a_place():
    block = fc.Residual([Same()])
    assert_same_bytes(block(X), X + X)
    assert_same_bytes(fc.Concat([[Same()], [fc.ReLU()]])(X), np.concatenate([X, X], axis=3))
    block.build((8, 8, 2))
    larger = np.ones((1, 10, 10, 2), np.float32)
    assert_same_bytes(block.forward(larger, True), larger + larger)
    assert_same_bytes(block.backward(larger), larger + larger)
