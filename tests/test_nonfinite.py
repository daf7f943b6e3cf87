"""NaN and infinity stay where they belong.

Exact for all algorithms that only multiply and add; Winograd may spread them in a tile, but never loses them.
"""

import numpy as np
import pytest

import fastconv as fc
import oracle
from cases import KINDS_OF_LAYER, Case
from routes import FLOATS, growth, served

WINDOWS = (
    Case(n=1, h=5, w=6, c=2, o=3, k=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1))),
    Case(n=1, h=6, w=7, c=2, o=3, padding=1),
    Case(n=1, h=5, w=6, c=3, o=3, k=(2, 3), groups=3, padding=1),
    Case(n=1, h=7, w=8, c=2, o=3, stride=2),
)
UNREAD = (  # rows and columns at the end that no window reads
    Case(n=1, h=12, w=12, c=2, o=3, stride=2),
    Case(n=1, h=30, w=29, c=3, o=5, k=(11, 11), stride=4),
    Case(n=2, h=11, w=13, c=4, o=4, k=(4, 4), stride=(3, 2), padding=((1, 0), (0, 1))),
    Case(n=1, h=8, w=9, c=2, o=3, k=(2, 2), stride=3, padding=((0, 0), (1, 0))),
)


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", WINDOWS))
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_value_that_is_not_finite_stays_in_the_windows_that_see_it(case, algorithm, dtype, value):
    x, w, b, _ = case.arrays(seed=33, dtype=dtype)
    for at in np.ndindex(*case.x_shape):
        one = np.zeros(case.x_shape)
        one[at] = 1
        seen = oracle.conv2d(one, np.ones(case.w_shape), **case.options) > 0
        spoiled = ~np.isfinite(fc.conv2d(np.where(one, dtype(value), x), w, b, **case.options, algorithm=algorithm.name))
        assert (spoiled == seen).all() if growth(algorithm) == 1 else spoiled[seen].all()


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", UNREAD))
def test_pixels_that_no_window_reads_reach_nothing(case, algorithm, dtype):
    x, w, b, dy = case.arrays(seed=36, dtype=dtype)
    read = oracle.conv2d_input_grad(np.ones(case.y_shape), np.ones(case.w_shape), case.x_shape, **case.options) > 0
    assert not read.all()
    options = {**case.options, "algorithm": algorithm.name}
    beside = np.where(read, x, dtype(np.nan))
    np.testing.assert_array_equal(fc.conv2d(beside, w, b, **options), fc.conv2d(x, w, b, **options))
    if algorithm.weight_grad.fits(fc.plan(case.x_shape, case.w_shape, **case.options).geometry, np.dtype(dtype)) is None:
        of_all, of_read = (fc.conv2d_weight_grad(dy, image, case.w_shape, **options) for image in (x, beside))
        np.testing.assert_array_equal(of_read, of_all)


@pytest.mark.parametrize("case, algorithm, dtype", served("input_grad", WINDOWS))
def test_a_nan_in_the_gradient_stays_in_the_window_it_came_from(case, algorithm, dtype):
    _, w, _, dy = case.arrays(seed=34, dtype=dtype)
    for at in np.ndindex(*case.y_shape):
        one = np.zeros(case.y_shape)
        one[at] = 1
        seen = oracle.conv2d_input_grad(one, np.ones(case.w_shape), case.x_shape, **case.options) > 0
        dx = fc.conv2d_input_grad(np.where(one, dtype(np.nan), dy), w, case.x_shape, **case.options, algorithm=algorithm.name)
        assert (np.isnan(dx) == seen).all() if growth(algorithm, "input_grad") == 1 else np.isnan(dx[seen]).all()


@pytest.mark.parametrize("case, algorithm, dtype", served("weight_grad", WINDOWS))
def test_a_nan_in_the_gradient_stays_in_the_filter_it_came_from(case, algorithm, dtype):
    x, _, _, dy = case.arrays(seed=41, dtype=dtype)
    for o in range(case.o):
        spoiled = dy.copy()
        spoiled[0, 1, 1, o] = np.nan
        dw = fc.conv2d_weight_grad(spoiled, x, case.w_shape, **case.options, algorithm=algorithm.name)
        np.testing.assert_array_equal(np.isnan(dw).all(axis=(0, 1, 2)), np.arange(case.o) == o)
        assert np.isfinite(np.delete(dw, o, axis=3)).all()


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", KINDS_OF_LAYER, FLOATS))
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_a_nan_survives_the_fused_activation(case, algorithm, dtype, activation):
    x, w, b, _ = case.arrays(seed=35, dtype=dtype)
    x[0, 4, 2] = np.nan
    options = {**case.options, "algorithm": algorithm.name}
    plain, fused = fc.conv2d(x, w, b, **options), fc.conv2d(x, w, b, **options, activation=activation)
    np.testing.assert_array_equal(np.isnan(fused), np.isnan(plain))
    assert np.isnan(fused).any()
