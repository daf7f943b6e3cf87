"""Evaluation mode: folded, fused, in memory that is used again, and still what the layers say."""

import gc
import itertools
import tracemalloc
import weakref

import numpy as np
import pytest

import fastconv as fc
from fastconv import models
from fastconv.models.inference import Branches, Normed, Plain, Weighted, fold_bias, fold_weights, steps_for
from fastconv.models.space import Space
from test_layers import Scale
from test_zoo import error, images, varied
from together import differing
from zoo_cases import REDUCED, reduced

CONV = {"padding": 1, "bias": False}


def mixed(**options):
    """Everything that can be folded, and everything that cannot."""
    layers = [
        *(fc.Conv2D(6, 3, **CONV), fc.BatchNorm(), fc.ReLU()),
        *(fc.Conv2D(6, 3, padding=1, activation="relu"), fc.BatchNorm(), fc.Tanh()),  # ReLU first: stays apart
        *(fc.DepthwiseConv2D(3, stride=2, padding=1), fc.BatchNorm(), fc.Sigmoid()),
        fc.Residual(
            [fc.Conv2D(6, 3, **CONV), fc.BatchNorm(), fc.ReLU(), fc.Conv2D(6, 3, **CONV), fc.BatchNorm()], activation="relu"
        ),
        fc.Concat([[fc.Conv2D(2, 1), fc.ReLU()], [fc.MaxPool2D(3, stride=1, padding=1), fc.Conv2D(3, 1)], []]),
        fc.Residual([], [fc.Conv2D(11, 1), fc.BatchNorm()], activation="tanh"),
        fc.Add([fc.Dropout(0.5), fc.ZeroPad2D(0), fc.SeparableConv2D(11, 3, padding=1)]),
        *(fc.LeakyReLU(0.2), fc.AvgPool2D(2, stride=1, padding=1, count_include_pad=True), fc.Dropout(0.3), Scale(1.5)),
        *(fc.Flatten(), fc.Dense(8, bias=False), fc.BatchNorm(), fc.ReLU(), fc.Dense(4)),
    ]
    return varied(fc.Sequential(layers, **{"input_shape": (9, 8, 3), "dtype": "float64", **options}))


def layer_by_layer(net, x):
    *_, (_, y) = net.trace(x)
    return y


def test_evaluation_gives_what_the_layers_give_one_by_one():
    net = mixed()
    for n in (1, 3, 0, 4):
        x = images(net, n)
        np.testing.assert_allclose(net.forward(x), layer_by_layer(net, x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", REDUCED)
def test_every_network_of_the_zoo_evaluates_to_rounding(name):
    net = varied(reduced(name))
    x = images(net, 2)
    assert error(net.forward(x), layer_by_layer(net, x)) < 2e-5


def test_what_becomes_of_each_layer():
    kinds = [type(step) for step in steps_for(mixed().layers)]
    branches, rest = [Branches] * 4, [Plain, models.inference.AveragePool, Plain, Plain, Weighted, Weighted]
    assert kinds == [Weighted, Weighted, Normed, Weighted, *branches, *rest]
    assert [op.kind for op in models.lower(mixed(), 2)][:4] == ["conv2d", "conv2d", "batch_norm", "depthwise_conv2d"]
    first, second, norm, third, *_ = models.lower(mixed(), 2)
    assert [op.activation for op in (first, second, norm, third)] == ["relu", "relu", "tanh", "sigmoid"]
    assert first.slots == ("conv2d_1.w", *(f"batch_norm_1.{name}" for name in ("scale", "shift", "mean", "var")))
    assert second.slots == ("conv2d_2.w", "conv2d_2.b")


def test_a_class_of_ones_own_is_never_folded():
    class MyNorm(fc.BatchNorm):
        def forward(self, x, training=False):
            return 0 * super().forward(x, training) + 7

    class MyConv(fc.Conv2D):
        def forward(self, x, training=False):
            return 0 * super().forward(x, training) - 7

    net = fc.Sequential([fc.Conv2D(3, 1), MyNorm(), MyConv(2, 1), fc.BatchNorm()], input_shape=(4, 4, 3), dtype="float64")
    np.testing.assert_allclose(net.forward(images(net, 2)), np.full((2, 4, 4, 2), -7 / np.sqrt(1 + 1e-5)), rtol=1e-12)


def test_folded_weights_are_those_of_both_layers():
    conv, norm = fc.Conv2D(4, 3), fc.BatchNorm(eps=0.1)
    net = varied(fc.Sequential([conv, norm], input_shape=(5, 5, 2), dtype="float64"))
    x, w, b = images(net, 2), fold_weights(conv.arrays, norm), fold_bias(conv.arrays, norm)
    np.testing.assert_allclose(fc.conv2d(x, w, b), norm(conv(x)), rtol=1e-12, atol=1e-14)


def test_folded_weights_are_kept_packed_alone_and_go_with_the_network():
    net = varied(fc.Sequential([fc.Conv2D(64, 1, bias=False), fc.BatchNorm()], input_shape=(9, 9, 80), seed=1))
    net.forward(images(net, 1))
    (step,) = net._steps_for(1, False)
    weights, _ = step.folded()
    (form,) = weights.forms.values()
    assert weights._own is None
    assert not np.may_share_memory(weights.w, form)
    gone = weakref.ref(step)
    gc.disable()
    try:
        del step, net
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("batch", [2, 32])
def test_folded_weights_follow_every_change(batch):
    """Also in a chain of small layers, which a batch of 32 goes through."""
    layers = [
        fc.Conv2D(4, 3),
        fc.BatchNorm(),
        fc.ReLU(),
        fc.MaxPool2D(2),
        fc.Residual(fc.Conv2D(4, 1)),
        fc.Flatten(),
        fc.Dense(3),
    ]
    net = varied(fc.Sequential(layers, input_shape=(6, 6, 2)))
    x = images(net, batch)
    trainer = fc.Trainer(net, fc.optim.SGD(0.1))
    outputs = []
    for change in (
        lambda: None,
        lambda: net.layers[0].set_params(w=np.ones((3, 3, 2, 4))),
        lambda: net.layers[1].set_params(mean=np.full(4, 0.7)),
        lambda: net.layers[4].body[0].set_params(b=np.full(4, 2.0)),
        lambda: net.forward(3 * x, training=True),  # moves the running statistics
        lambda: trainer.step(x, np.arange(batch) % 3),
    ):
        change()
        outputs.append(net.forward(x))
        np.testing.assert_allclose(outputs[-1], layer_by_layer(net, x), rtol=1e-4, atol=1e-4)
    assert all((one != two).any() for one, two in itertools.pairwise(outputs))


def test_batch_norm_goes_into_a_chain():
    layers = [fc.Conv2D(4, 3), fc.BatchNorm(), fc.ReLU(), fc.MaxPool2D(2), fc.Flatten(), fc.Dense(3), fc.BatchNorm()]
    net = varied(fc.Sequential(layers, input_shape=(6, 6, 2)))
    from fastconv.models.passes import ChainedLayers, steps_of

    assert [type(step) for step in steps_of(net, 64, training=False)] == [ChainedLayers]
    x = images(net, 64)
    np.testing.assert_allclose(net.forward(x), layer_by_layer(net, x), rtol=1e-4, atol=1e-5)


# ---- memory


def test_the_result_and_the_input_are_the_callers_own():
    net = fc.Sequential([fc.Conv2D(3, 3, padding=1), fc.Residual([], fc.Conv2D(3, 1))], input_shape=(6, 6, 3), dtype="float64")
    x, other = images(net, 2), images(net, 2, seed=9)
    before, first = x.copy(), net.forward(x)
    kept = first.copy()
    net.forward(other)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, before)
    same = fc.Sequential([fc.Dropout(0.5)], input_shape=(4,))
    x = np.ones((2, 4), np.float32)
    assert not np.may_share_memory(same.forward(x), x)


def test_a_second_pass_allocates_nothing_but_its_result():
    """With filters of 1×1, which need no workspace."""
    body = [fc.Conv2D(16, 1, bias=False), fc.BatchNorm(), fc.ReLU(), fc.Conv2D(16, 1)]
    stack = fc.Concat([[fc.Conv2D(8, 1), fc.ReLU()], fc.Conv2D(8, 1), fc.AvgPool2D(3, stride=1, padding=1)])
    layers = [
        fc.Conv2D(16, 1, activation="relu"),
        fc.Residual(body, activation="relu"),
        stack,
        fc.MaxPool2D(2),
        fc.GlobalAvgPool2D(),
    ]
    net = fc.Sequential([*layers, fc.Dense(10)], input_shape=(64, 64, 3))
    x = images(net, 4)
    for _ in range(2):
        net.forward(x)
    tracemalloc.start()
    net.forward(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 64 * 64 * 16 * 4 / 10  # a tenth of a feature map


def test_memory_of_a_pass_is_that_of_few_feature_maps():
    net = reduced("vgg16", input_shape=(64, 64, 3))
    net.forward(images(net, 2))
    *_, space = net._spaces[0]
    sizes = [2 * row.activation_bytes for row in net.rows()[1:]]
    assert space.bytes <= 2 * max(sizes) + max(sizes) // 2
    assert not space.lent


def test_a_pass_that_fails_leaves_a_network_that_works():
    class Refuses(Scale):
        def forward(self, x, training=False):
            if x.max() > 100:
                raise ValueError("too large")
            return x

    net = fc.Sequential([fc.Conv2D(3, 1), Refuses(), fc.Conv2D(3, 1)], input_shape=(4, 4, 3))
    x = images(net, 2)
    expected = net.forward(x)
    with pytest.raises(ValueError, match="too large"):
        net.forward(x * 1e6)
    assert net.forward(x).tobytes() == expected.tobytes()


def test_a_layer_that_sometimes_hands_on_its_input_is_safe():
    class Sometimes(Scale):
        def forward(self, x, training=False):
            return x if x[0, 0, 0, 0] > 0 else x + 0

    class Either(fc.Add):
        def join(self, outputs, x, training):
            return outputs[0] if x[0, 0, 0, 0] > 0 else outputs[1] + 0

    convs = [fc.Conv2D(3, 1, initializer="ones", bias=False) for _ in range(6)]
    layers = [convs[0], Sometimes(), *convs[1:3], Either(convs[3:5]), convs[5]]
    net = fc.Sequential(layers, input_shape=(4, 4, 3))
    for sign in (-1, 1, -1, 1, 1):
        x = sign * abs(images(net, 2))
        np.testing.assert_allclose(net.forward(x), layer_by_layer(net, x), rtol=1e-5)


def test_threads_never_share_memory():
    net = varied(reduced("googlenet", input_shape=(48, 48, 3)))
    batches = [images(net, n, seed) for seed, n in enumerate((1, 2, 2, 3))]
    expected = [net.forward(x).tobytes() for x in batches]
    assert not differing(net.forward, batches, expected, repeats=8)


def test_predict_takes_fewer_at_a_time_where_maps_are_large(monkeypatch):
    net = fc.Sequential([fc.Conv2D(8, 1), fc.GlobalAvgPool2D()], input_shape=(16, 16, 3), dtype="float64")
    seen, forward = [], net.forward
    monkeypatch.setattr(net, "forward", lambda x: seen.append(len(x)) or forward(x))
    monkeypatch.setattr(models.sequential, "MOST_MAPS", 5 * 3 * 8 * 16 * 16 * 8)
    x = images(net, 12)
    np.testing.assert_allclose(net.predict(x), forward(x), rtol=1e-12)
    assert seen == [5, 5, 2]
    monkeypatch.setattr(models.sequential, "MOST_MAPS", 1)
    net.predict(x[:2])
    assert seen[3:] == [1, 1]


def test_a_space_lends_each_piece_of_memory_once_and_then_the_same_again():
    space, dtype = Space(), np.dtype(np.float32)
    one = space.take((3, 5), dtype)
    two = space.take((4, 4), dtype)
    assert not np.may_share_memory(one, two)
    assert one.ctypes.data % 64 == two.ctypes.data % 64 == 0
    view = one.reshape(15)[2:]
    space.give(one, view)
    assert not space.free
    space.give(view)
    three = space.take((2, 2), dtype)
    assert np.may_share_memory(three, one)
    space.give(np.ones(3))
    assert not space.free
    held = space.bytes
    space.finish()
    for array in (one, two, three):
        assert space.take(array.shape, dtype) is array
    assert space.bytes == held
    assert all(map(space.owns, (one, two, three, view)))
    assert not space.owns(np.ones(3))
