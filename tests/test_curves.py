"""Activation functions as compiled vector code: against extended precision, in every corner of the number line."""

from math import erfc, sqrt

import numpy as np
import pytest

import bounds
import fastconv as fc
from fastconv.functional.activations import FEW

SIZES = [3, FEW + 5]  # NumPy or one thread; all threads, and a last vector that is not whole


def normal_distribution(x):
    return np.array([erfc(-float(v) / sqrt(2)) / 2 for v in x], np.longdouble)


def logistic(x):
    return 1 / (1 + np.exp(-x))


EXACT = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * normal_distribution(x),
    "leaky_relu": lambda x: np.where(x < 0, x * 0.01, x),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": logistic,
    "swish": lambda x: x * logistic(x),
    "tanh": np.tanh,
}
SLOPES = {
    "elu": lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    "gelu": lambda x: normal_distribution(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.longdouble(np.pi)),
    "leaky_relu": lambda x: np.where(x < 0, 0.01, 1),
    "relu": lambda x: x > 0,
    "sigmoid": lambda x: logistic(x) * logistic(-x),
    "swish": lambda x: logistic(x) * (1 + x * logistic(-x)),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
}
OF_OUTPUT = ("elu", "relu", "sigmoid", "tanh")  # gradients that are given the output


def numbers(size, dtype, most=30):
    """Small, usual and large ones of both signs."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=size) * 10.0 ** rng.uniform(-6, 1.5, size)
    return np.clip(x, -most, most).astype(dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_every_digit_of_a_value(name, dtype, size):
    """A few roundings; where exp(x) makes x of them out of one, in the tails, so many."""
    x = numbers(size, dtype, most=11 if name == "gelu" else 30)  # farther out it is below 1e-27
    y, exact = getattr(fc, name)(x), EXACT[name](x.astype(np.longdouble))
    steep = 1 if name in ("relu", "leaky_relu") else 1 + x.astype(float) ** 2
    assert y.dtype == dtype
    bounds.assert_within(y, exact, abs(exact) * steep + np.finfo(dtype).tiny / np.finfo(dtype).eps, 16)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SLOPES)
def test_gradients(name, dtype, size):
    x = numbers(size, dtype)
    dy = np.random.default_rng(1).normal(size=size).astype(dtype)
    dx = getattr(fc, f"{name}_grad")(dy, getattr(fc, name)(x) if name in OF_OUTPUT else x)
    assert dx.dtype == dtype
    bounds.assert_within(dx, dy * SLOPES[name](x.astype(np.longdouble)), abs(dy) * (1 + abs(x.astype(float))), 16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_the_ends_of_the_number_line(name, dtype):
    """NaN stays NaN, no overflow on the way to a result, zeros where they belong; among many numbers as among few."""
    ends = np.array([np.nan, np.inf, 1e4, -1e4, np.finfo(dtype).max, -np.finfo(dtype).max, 0.0, -0.0], dtype)
    few = {"elu": [-1, -1], "gelu": [0, 0], "leaky_relu": [-100, None], "tanh": [-1, -1]}.get(name, [0, 0])
    for x in (ends, np.resize(ends, FEW + 3)):
        y = getattr(fc, name)(x)[: len(ends)]
        large = np.inf if name not in ("sigmoid", "tanh") else 1
        assert np.isnan(y[0]) and y[1] == large
        assert y[2] == min(large, dtype(1e4)) and y[4] == min(large, np.finfo(dtype).max)
        for got, wanted in zip((y[3], y[5]), few, strict=True):
            assert wanted is None or abs(got - wanted) <= 1e-4 * abs(wanted)
        assert (y[6:] == (0.5 if name == "sigmoid" else 0)).all()


@pytest.mark.parametrize("name", EXACT)
def test_layouts_dtypes_and_threads_change_nothing(name):
    function = getattr(fc, name)
    x = numbers(2 * FEW + 64, np.float32).reshape(2, -1)
    y = function(x)
    bounds.assert_same_bytes(function(np.asfortranarray(x)), y)
    bounds.assert_same_bytes(function(x[:, ::-1])[:, ::-1], y)
    frozen = x.copy()
    frozen.flags.writeable = False
    bounds.assert_same_bytes(function(frozen), y)
    bounds.assert_same_bytes(frozen, x)
    before = fc.get_threads()
    try:
        fc.set_threads(1)
        bounds.assert_same_bytes(function(x), y)
    finally:
        fc.set_threads(before)
    whole = np.arange(-FEW, FEW) // 1000
    assert function(whole).dtype == np.float64 and function(whole.astype(np.int8)).dtype == np.float32


@pytest.mark.parametrize("dtypes", [(np.float32, np.float64), (np.float64, np.float32)])
@pytest.mark.parametrize("name", SLOPES)
def test_gradients_of_two_dtypes(name, dtypes):
    x, dy = numbers(FEW + 1, dtypes[0]), numbers(FEW + 1, dtypes[1])[::-1]
    dx = getattr(fc, f"{name}_grad")(dy, x)
    wanted = getattr(fc, f"{name}_grad")(dy.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(dx, wanted, rtol=1e-4, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_behind_a_convolution(name):
    """A large result, which the kernel of the activation takes in place."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 64, 64, 16)).astype("f4"), rng.normal(size=(3, 3, 16, 24)).astype("f4") / 12
    y = fc.conv2d(x, w, padding=1, activation=name)
    plain = fc.conv2d(x.astype(np.float64), w.astype(np.float64), padding=1, algorithm="direct")
    np.testing.assert_allclose(y, EXACT[name](plain.astype(np.longdouble)).astype(float), atol=2e-5)
