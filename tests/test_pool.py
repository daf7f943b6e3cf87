"""Pooling and its gradients, and DESIGN.md's exact promises about padding, ties, NaN and the last window."""

import contextlib

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from pool_cases import POOL_CASES, PoolCase

EVERY_CASE = pytest.mark.parametrize("case", POOL_CASES, ids=str)
BOTH_DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def plane(*rows):
    return np.array(rows, np.float32)


# ---- the results


@EVERY_CASE
@BOTH_DTYPES
def test_max_pool_and_its_gradient_are_exact(case, dtype):
    """Most windows have several maxima here, and whole numbers add up without rounding."""
    x, dy = case.tied_arrays(seed=1, dtype=dtype)
    np.testing.assert_array_equal(fc.max_pool2d(x, case.size, **case.max_options), oracle_max(case, x, dtype), strict=True)
    wanted = oracle.max_pool2d_grad(dy, x, case.size, **case.max_options).astype(dtype)
    np.testing.assert_array_equal(fc.max_pool2d_grad(dy, x, case.size, **case.max_options), wanted, strict=True)


@EVERY_CASE
@BOTH_DTYPES
def test_max_pool_picks_and_its_gradient_adds(case, dtype):
    x, dy = case.arrays(seed=2, dtype=dtype)
    np.testing.assert_array_equal(fc.max_pool2d(x, case.size, **case.max_options), oracle_max(case, x, dtype), strict=True)
    dx = fc.max_pool2d_grad(dy, x, case.size, **case.max_options)
    exact, size = (oracle.max_pool2d_grad(d, x, case.size, **case.max_options) for d in (dy, abs(dy)))
    bounds.assert_within(dx, exact, size, case.terms)


def oracle_max(case, x, dtype):
    return oracle.max_pool2d(x, case.size, **case.max_options)[0].astype(dtype)


@EVERY_CASE
@BOTH_DTYPES
def test_avg_pool_agrees_with_float64(case, dtype):
    x, dy = case.arrays(seed=3, dtype=dtype)
    y = fc.avg_pool2d(x, case.size, **case.avg_options)
    exact, size = (oracle.avg_pool2d(a, case.size, **case.avg_options) for a in (x, abs(x)))
    assert y.dtype == dtype
    bounds.assert_within(y, exact, size, case.terms + 1)
    dx = fc.avg_pool2d_grad(dy, x, case.size, **case.avg_options)
    exact, size = (oracle.avg_pool2d_grad(d, x.shape, case.size, **case.avg_options) for d in (dy, abs(dy)))
    assert dx.dtype == dtype
    bounds.assert_within(dx, exact, size, case.terms + 1)


@EVERY_CASE
def test_argmax_of_the_forward_pass_gives_the_same_gradient(case):
    x, dy = case.tied_arrays(seed=4)
    y, argmax = fc.max_pool2d(x, case.size, **case.max_options, return_argmax=True)
    assert argmax.shape == y.shape and argmax.dtype.kind in "iu"
    got = fc.max_pool2d_grad(dy, x, case.size, **case.max_options, argmax=argmax)
    np.testing.assert_array_equal(got, fc.max_pool2d_grad(dy, x, case.size, **case.max_options), strict=True)


def test_argmax_is_the_number_of_the_tap():
    _, argmax = fc.max_pool2d(plane([1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 7, 7]), 2, return_argmax=True)
    np.testing.assert_array_equal(argmax, [[3, 0], [3, 2]])
    wide = np.zeros((1, 17, 17, 1), np.float32)
    wide[0, 16, 16] = 1
    assert fc.max_pool2d(wide, 17, return_argmax=True)[1].item() == 288  # more taps than a byte can count
    np.testing.assert_array_equal(fc.max_pool2d_grad(np.ones((1, 1, 1, 1)), wide, 17), wide)


@pytest.mark.parametrize("argmax", [4, 255, 256, -1, 1.0], ids=str)
def test_an_argmax_that_is_no_tap_of_this_window_gives_no_gradient(argmax):
    """Such as PyTorch's, which counts pixels: refused, or dropped; never taken for another tap, never written elsewhere."""
    x, dy = np.zeros((1, 4, 4, 1), np.float32), np.ones((1, 2, 2, 1), np.float32)
    around = np.zeros((201, 4, 4, 1), np.float32)
    with contextlib.suppress(ValueError, TypeError):
        fc.max_pool2d_grad(dy, x, 2, argmax=np.full(dy.shape, argmax), out=around[100:101])
    assert not around.any()


# ---- the promises


@pytest.mark.parametrize("value", [-7.0, -np.inf], ids=str)
@pytest.mark.parametrize("case", [case for case in POOL_CASES if case.n and any(map(any, case.pad))], ids=str)
def test_padding_never_wins(case, value):
    x, dy = np.full(case.x_shape, value, np.float32), case.tied_arrays(seed=5)[1]
    assert (fc.max_pool2d(x, case.size, **case.max_options) == value).all()
    dx = fc.max_pool2d_grad(dy, x, case.size, **case.max_options)
    np.testing.assert_array_equal(dx, oracle.max_pool2d_grad(dy, x, case.size, **case.max_options))
    assert dx.sum() == dy.sum()  # no gradient was lost in the padding


@pytest.mark.parametrize("size, padding", [(2, 2), (3, 2), (1, 1), ((4, 2), (1, 2)), (2, ((0, 2), (0, 0))), (3, "full")], ids=str)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_padding_of_more_than_half_the_window_is_refused(name, size, padding):
    with pytest.raises(ValueError, match="padding"):
        getattr(fc, name)(np.zeros((1, 9, 9, 1), np.float32), size, padding=padding)


def test_nan_wins_wherever_it_is():
    case = PoolCase(n=1, h=4, w=5, c=2, size=(3, 2), stride=(1, 2), padding=(1, 1))
    x, dy = case.arrays(seed=6)
    for at in np.ndindex(*case.x_shape):
        spoiled = x.copy()
        spoiled[at] = np.nan
        got = fc.max_pool2d(spoiled, case.size, **case.max_options)
        np.testing.assert_array_equal(got, oracle_max(case, spoiled, np.float32))
        dx = fc.max_pool2d_grad(dy, spoiled, case.size, **case.max_options)
        exact, size = (oracle.max_pool2d_grad(d, spoiled, case.size, **case.max_options) for d in (dy, abs(dy)))
        bounds.assert_within(dx, exact, size, case.terms)
        mean = fc.avg_pool2d(spoiled, case.size, **case.max_options)
        np.testing.assert_array_equal(np.isnan(mean), np.isnan(oracle.avg_pool2d(spoiled, case.size, **case.max_options)))


def test_the_first_of_several_nans_gets_the_gradient():
    x = plane([1, np.nan], [np.nan, np.inf])
    np.testing.assert_array_equal(fc.max_pool2d_grad(plane([5]), x, 2), plane([0, 5], [0, 0]))


def test_a_tie_goes_to_the_first_in_reading_order():
    x = plane([0, 0, 7], [7, 0, 0], [0, 7, 0])
    np.testing.assert_array_equal(fc.max_pool2d_grad(plane([2]), x, 3), plane([0, 0, 2], [0, 0, 0], [0, 0, 0]))
    zeros = plane([-0.0, 0.0], [0.0, -0.0])
    np.testing.assert_array_equal(fc.max_pool2d_grad(plane([2]), zeros, 2), plane([2, 0], [0, 0]))


def test_overlapping_windows_add_up():
    x = plane([0, 0, 0], [0, 9, 0], [0, 0, 0])
    np.testing.assert_array_equal(
        fc.max_pool2d_grad(plane([1, 2], [4, 8]), x, 2, stride=1), plane([0, 0, 0], [0, 15, 0], [0, 0, 0])
    )


def test_a_last_window_may_hang_over_the_edge_but_not_start_in_the_padding():
    x = plane([1, 2, 3, 4, 5])
    kept = fc.max_pool2d(x, (1, 2), ceil_mode=True)
    np.testing.assert_array_equal(kept, plane([2, 4, 5]))
    np.testing.assert_array_equal(fc.avg_pool2d(x, (1, 2), ceil_mode=True), plane([1.5, 3.5, 5]))
    # starts -1 and 2; a third window would start at 5, in the padding
    dropped = fc.max_pool2d(x, (1, 2), stride=(1, 3), padding=(0, 1), ceil_mode=True)
    np.testing.assert_array_equal(dropped, plane([1, 4]))


def test_the_average_divides_by_the_pixels_that_are_really_there():
    x = plane([8, 8], [8, 8])
    np.testing.assert_array_equal(fc.avg_pool2d(x, 2, padding=1), plane([8, 8], [8, 8]))
    np.testing.assert_array_equal(fc.avg_pool2d(x, 2, padding=1, count_include_pad=True), plane([2, 2], [2, 2]))
    np.testing.assert_array_equal(fc.avg_pool2d(x, 3, stride=1, padding=1), plane([8, 8], [8, 8]))


@pytest.mark.parametrize("shape", [(1, 0, 4, 1), (1, 4, 0, 1)], ids=str)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_an_image_without_pixels_has_no_maximum_and_no_average(name, shape):
    """Padding alone would make room for a window here; it must not be read in place of pixels."""
    with pytest.raises(ValueError):
        getattr(fc, name)(np.zeros(shape, np.float32), 2, padding=1)


# ---- arrays


def test_rank_and_layout():
    case = PoolCase(size=(3, 2), stride=(2, 1), padding=1)
    x, dy = case.tied_arrays(seed=7)
    xs, dys = (a.transpose(0, 3, 1, 2) for a in (x, dy))
    for forward, grad, options in (
        (fc.max_pool2d, fc.max_pool2d_grad, case.max_options),
        (fc.avg_pool2d, fc.avg_pool2d_grad, case.avg_options),
    ):
        y, dx = forward(x, case.size, **options), grad(dy, x, case.size, **options)
        np.testing.assert_array_equal(forward(x[0], case.size, **options), y[0], strict=True)
        np.testing.assert_array_equal(forward(x[0, :, :, 0], case.size, **options), y[0, :, :, 0], strict=True)
        np.testing.assert_array_equal(grad(dy[0], x[0], case.size, **options), dx[0], strict=True)
        np.testing.assert_array_equal(grad(dy[0, :, :, 0], x[0, :, :, 0], case.size, **options), dx[0, :, :, 0], strict=True)
        np.testing.assert_array_equal(forward(xs, case.size, **options, layout="NCHW"), y.transpose(0, 3, 1, 2), strict=True)
        np.testing.assert_array_equal(grad(dys, xs, case.size, **options, layout="NCHW"), dx.transpose(0, 3, 1, 2), strict=True)
    argmax = fc.max_pool2d(xs, case.size, **case.max_options, layout="NCHW", return_argmax=True)[1]
    again = fc.max_pool2d_grad(dys, xs, case.size, **case.max_options, layout="NCHW", argmax=argmax)
    np.testing.assert_array_equal(again, fc.max_pool2d_grad(dy, x, case.size, **case.max_options).transpose(0, 3, 1, 2))


def test_the_average_gradient_needs_only_the_shape():
    case = PoolCase()
    x, dy = case.arrays(seed=8)
    np.testing.assert_array_equal(fc.avg_pool2d_grad(dy, x.shape, case.size), fc.avg_pool2d_grad(dy, x, case.size), strict=True)


@pytest.mark.parametrize(
    "dtype, wanted", [("uint8", "float32"), ("bool", "float32"), ("float16", "float32"), ("int64", "float64")]
)
def test_dtypes(dtype, wanted):
    x = np.array([[0, 1, 1], [1, 1, 0]], dtype)
    assert fc.max_pool2d(x, (1, 2), stride=1).dtype == fc.avg_pool2d(x, 2).dtype == wanted
    np.testing.assert_array_equal(fc.avg_pool2d(x, (1, 2), stride=1), [[0.5, 1], [1, 0.5]])
    dy = np.array([[3], [1]], dtype)
    spread = np.array([[3, 3, 3], [1, 1, 1]], dtype) / np.float64(3)
    np.testing.assert_array_equal(fc.avg_pool2d_grad(dy, x, (1, 3)), spread.astype(wanted), strict=True)
    picked = np.array([[0, 3, 0], [1, 0, 0]]) if dtype != "bool" else np.array([[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(fc.max_pool2d_grad(dy, x, (1, 3)), picked.astype(wanted), strict=True)


@pytest.mark.parametrize("grad", [fc.max_pool2d_grad, fc.avg_pool2d_grad], ids=lambda grad: grad.__name__)
def test_gradients_fill_out(grad):
    case = PoolCase(size=3, stride=1, padding=1)
    x, dy = case.arrays(seed=11)
    wanted = grad(dy, x, 3, **case.max_options)
    for out in (np.full_like(x, np.nan), np.full(x.shape[::-1], np.nan, x.dtype).T):
        assert grad(dy, x, 3, **case.max_options, out=out) is out
        np.testing.assert_array_equal(out, wanted)
    out = dy.copy()  # stride 1: the gradient of the output has the size of the input, and may be overwritten
    np.testing.assert_array_equal(grad(out, x, 3, **case.max_options, out=out), wanted)
    for wrong in (np.zeros(x.shape), np.zeros(x.shape[1:], np.float32), x.tolist()):
        with pytest.raises((ValueError, TypeError)):
            grad(dy, x, 3, **case.max_options, out=wrong)


def test_inputs_of_any_arrangement_are_never_changed():
    case = PoolCase(size=3, stride=2, padding=1)
    x, dy = case.arrays(seed=9)
    spaced = np.full((4, 14, 16, 6), np.nan, np.float32)[::2, ::-2, ::2, 1::2]
    spaced[:] = x
    for a, d in ((x, dy), (np.asfortranarray(x), np.asfortranarray(dy)), (spaced, dy[::-1][::-1])):
        kept = (a.copy(), d.copy())
        a.flags.writeable = d.flags.writeable = False
        np.testing.assert_array_equal(fc.max_pool2d(a, 3, **case.max_options), fc.max_pool2d(x, 3, **case.max_options))
        np.testing.assert_array_equal(fc.avg_pool2d(a, 3, **case.max_options), fc.avg_pool2d(x, 3, **case.max_options))
        for grad in (fc.max_pool2d_grad, fc.avg_pool2d_grad):
            np.testing.assert_array_equal(grad(d, a, 3, **case.max_options), grad(dy, x, 3, **case.max_options))
        np.testing.assert_array_equal((a, d)[0], kept[0])
        np.testing.assert_array_equal((a, d)[1], kept[1])


# ---- global average


@BOTH_DTYPES
def test_global_average_and_its_gradient(dtype):
    case = PoolCase(h=7, w=5, c=65)
    x = case.arrays(seed=10, dtype=dtype)[0]
    y = fc.global_avg_pool2d(x)
    assert y.dtype == dtype
    bounds.assert_within(y, x.mean(axis=(1, 2), dtype=np.float64), abs(x).mean(axis=(1, 2), dtype=np.float64), 36)
    dx = fc.global_avg_pool2d_grad(y, x.shape)
    wanted = np.broadcast_to(np.asarray(y, np.float64)[:, None, None] / 35, x.shape)
    assert dx.dtype == dtype
    bounds.assert_within(dx, wanted, abs(wanted), 1)
