"""A convolution and the 2x2 max pooling behind it in one pass."""

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from cases import Case
from fastconv import plans
from fastconv.functional.pooled import pooled_conv2d
from fastconv.models.inference import Pool, Pooled, Weighted, pooled_steps, steps_for
from guards import Guards
from routes import FLOATS

WINOGRAD = plans.ALGORITHMS[plans.NAMES.index("winograd")]
CASES = (
    Case(h=8, w=12, c=8, o=16, padding=1),
    Case(n=1, h=14, w=18, c=5, o=33, padding=1),  # tiles of 4 and of 2 results on both sides, lanes left over
    Case(n=3, h=4, w=8, c=17, o=7, padding=(0, 1)),
    Case(n=1, h=16, w=12, c=12, o=8, k=(5, 5), padding=2),
    Case(h=12, w=16, c=8, o=24, padding="same", groups=2),
    Case(n=1, h=27, w=35, c=3, o=12, k=(11, 11), stride=4, padding=2),
    Case(n=1, h=14, w=10, c=264, o=160, padding=1),  # filters too large to be kept as they are transformed
    Case(h=10, w=14, c=4, o=6, padding=1, pad_mode="reflect"),
    Case(n=0, h=8, w=8),
)
APART = (
    Case(h=9, w=8, padding=1),
    Case(h=8, w=9, padding=1),
    Case(h=8, w=8, k=(4, 4), padding=((1, 2), (1, 2))),
    Case(h=8, w=8, padding=2, dilation=2),
)


def options(case, **more):
    names = ("stride", "padding", "dilation", "groups", "pad_mode")
    return {name: getattr(case, name) for name in names} | {"activation": None, "algorithm": "winograd"} | more


def largest(y):
    """The largest of each 2x2 window."""
    n, p, q, o = y.shape
    return y.reshape(n, p // 2, 2, q // 2, 2, o).max(axis=(2, 4), initial=-np.inf)


def half(case):
    n, p, q, o = case.y_shape
    return n, p // 2, q // 2, o


def pooled(case, x, w, b, **more):
    out = np.full(half(case), np.nan, x.dtype)
    assert pooled_conv2d(x, fc.PreparedWeights(w), b, out, **options(case, **more))
    return out


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_largest_results_agree_with_float64(case, dtype):
    x, w, b, _ = case.arrays(seed=3, dtype=dtype)
    y = pooled(case, x, w, b)
    exact = oracle.conv2d(x, w, b, **case.options)
    size, terms = (oracle.conv2d(*arrays, **case.options) for arrays in (map(abs, (x, w, b)), map(np.ones_like, (x, w, b))))
    size = bounds.allowed_size(case, WINOGRAD, "forward", size)
    terms = bounds.allowed_terms(case, WINOGRAD, "forward", terms)
    bounds.assert_within(y, largest(exact), largest(size * terms), 1)


@pytest.mark.parametrize("activation", (None, "relu", "leaky_relu", "sigmoid", "tanh"))
def test_bias_and_activation_come_before_the_largest(activation):
    case = CASES[1]
    x, w, b, _ = case.arrays(seed=4)
    y = fc.conv2d(x, w, b, **case.options, activation=activation, algorithm="winograd")
    np.testing.assert_allclose(pooled(case, x, w, b, activation=activation), largest(y), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_beside_the_arrays_is_touched(case, monkeypatch):
    guards = Guards()
    guards.watch(monkeypatch)
    x, w, b, _ = (guards.holding(a) for a in case.arrays(seed=5))
    out = guards.empty(half(case), x.dtype)
    assert pooled_conv2d(x, fc.PreparedWeights(w), b, out, **options(case))
    assert np.isfinite(out).all()
    guards.assert_intact()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_bytes_for_any_number_of_threads(case):
    x, w, b, _ = case.arrays(seed=6)
    found, before = [], fc.get_threads()
    try:
        for threads in {1, before}:
            fc.set_threads(threads)
            found.append(pooled(case, x, w, b))
    finally:
        fc.set_threads(before)
    bounds.assert_same_bytes(found[0], found[-1])


def test_nan_wins():
    case = CASES[0]
    x, w, b, _ = case.arrays(seed=7)
    x[0, 3, 5, 2] = np.nan
    y = largest(np.where(np.isnan(oracle.conv2d(x, w, b, **case.options)), np.inf, 0))
    assert np.isnan(pooled(case, x, w, b)[y == np.inf]).all()


@pytest.mark.parametrize("case", APART, ids=str)
def test_windows_that_tiles_do_not_hold_whole_are_left_to_the_pooling(case):
    x, w, b, _ = case.arrays(seed=8)
    out = np.full(half(case), 7, x.dtype)
    assert not pooled_conv2d(x, fc.PreparedWeights(w), b, out, **options(case))
    assert not pooled_conv2d(x, fc.PreparedWeights(w), b, out, **options(CASES[0], algorithm="tiled"))
    assert (out == 7).all()


# ---- in a network


def network(*layers, size=(12, 8)):
    return fc.Sequential(layers, input_shape=(*size, 32), seed=1)


def steps_of(net):
    return [type(step) for step in pooled_steps(steps_for(net.layers))]


def test_which_layers_go_together():
    conv = {"padding": 1, "activation": "relu"}
    assert steps_of(network(fc.Conv2D(32, 3, **conv), fc.MaxPool2D(2))) == [Pooled]
    together = [fc.Conv2D(32, 3, padding=1, bias=False), fc.BatchNorm(), fc.ReLU(), fc.MaxPool2D(2), fc.Conv2D(8, 3)]
    assert steps_of(network(*together)) == [Pooled, Weighted]
    assert steps_of(network(fc.Conv2D(32, 3, **conv), fc.MaxPool2D(3, stride=2))) == [Weighted, Pool]
    assert steps_of(network(fc.Conv2D(32, 3, **conv), fc.MaxPool2D(2, stride=1))) == [Weighted, Pool]
    assert steps_of(network(fc.Conv2D(32, 2), fc.MaxPool2D(2))) == [Weighted, Pool]  # 11 x 7 results
    assert steps_of(network(fc.Conv2D(32, 3, **conv), fc.MaxPool2D(2, padding=1))) == [Weighted, Pool]
    assert steps_of(network(fc.MaxPool2D(2), fc.MaxPool2D(2))) == [Pool, Pool]
    assert steps_of(network(fc.DepthwiseConv2D(3, padding=1), fc.MaxPool2D(2))) == [Weighted, Pool]


@pytest.mark.parametrize("size", [(28, 28), (12, 8)], ids=str)  # large enough for Winograd's algorithm, and not
def test_evaluation_is_what_the_layers_give_one_by_one(size):
    branch = [fc.Conv2D(32, 3, padding=1), fc.MaxPool2D(2), fc.Conv2D(32, 3, padding=1, activation="tanh"), fc.MaxPool2D(2)]
    net = network(
        *(fc.Conv2D(32, 3, padding=1, bias=False), fc.BatchNorm(), fc.ReLU(), fc.MaxPool2D(2)),
        fc.Concat([branch, [fc.MaxPool2D(4)]] if size == (28, 28) else [branch[2:], [fc.MaxPool2D(2)]]),
        *(fc.Conv2D(40, 3, padding=1), fc.LeakyReLU()),
        size=size,
    )
    x = np.random.default_rng(9).standard_normal((2, *net.input_shape)).astype("f4")
    for _ in range(3):  # in memory that is used again
        *_, (_, wanted) = net.trace(x)
        np.testing.assert_allclose(net.forward(x), wanted, rtol=2e-5, atol=2e-5)
        x = x[::-1].copy()


def test_a_plan_that_changes_between_two_passes():
    net = network(
        *(fc.Conv2D(32, 3, padding=1), fc.MaxPool2D(2), fc.Conv2D(32, 3, padding=1), fc.MaxPool2D(2), fc.Conv2D(8, 1)),
        size=(56, 56),
    )
    x = np.random.default_rng(10).standard_normal((2, *net.input_shape)).astype("f4")
    wanted = net.forward(x)
    conv = (x.shape, net.layers[0].arrays["w"].shape)
    assert fc.plan(*conv, padding=1).pools
    try:
        fc.set_workspace_limit(0)
        assert not fc.plan(*conv, padding=1).pools
        np.testing.assert_allclose(net.forward(x), wanted, rtol=1e-4, atol=1e-4)
    finally:
        fc.set_workspace_limit(None)
    bounds.assert_same_bytes(net.forward(x), wanted)


@pytest.mark.parametrize("dtype", ["f2", ">f4"])
def test_a_layer_of_ones_own_may_give_another_dtype(dtype):
    class Cast(fc.ReLU):
        def forward(self, x, training=False):
            return x.astype(dtype)

    net = network(Cast(), fc.Conv2D(32, 3, padding=1), fc.MaxPool2D(2), size=(28, 28))
    x = np.random.default_rng(11).standard_normal((1, *net.input_shape)).astype("f2").astype("f4")
    plain = network(fc.Conv2D(32, 3, padding=1), fc.MaxPool2D(2), size=(28, 28))
    plain.layers[0].set_params(**net.layers[1].params)
    np.testing.assert_allclose(net.forward(x), plain.forward(x), rtol=1e-5, atol=1e-5)
