"""Pooling and its gradients."""

import functools

import numpy as np

from fastconv.errors import DTypeError, OptionError, ShapeError
from fastconv.functional.arrays import (
    as_array,
    deliver,
    empty,
    frozen,
    image_shape,
    images,
    ready,
    restore,
    result,
    result_dtype,
)
from fastconv.geometry import PoolGeometry, check_flag

__all__ = ["avg_pool2d", "avg_pool2d_grad", "global_avg_pool2d", "global_avg_pool2d_grad", "max_pool2d", "max_pool2d_grad"]


@functools.lru_cache(maxsize=4096, typed=True)
def pool_geometry(x_shape, size, stride, padding, ceil_mode):
    return PoolGeometry.of(x_shape, size, stride=stride, padding=padding, ceil_mode=ceil_mode)


def geometry_of(x_shape, size, stride, padding, ceil_mode):
    return pool_geometry(x_shape, *frozen(size, stride, padding, ceil_mode))


def winner_dtype(geo):
    return np.dtype(np.uint8 if geo.kh * geo.kw <= 256 else np.int32)


def max_pool2d(x, size, *, stride=None, padding=0, ceil_mode=False, return_argmax=False, layout="NHWC", out=None):
    """Largest value of each window and channel.

    Parameters
    ----------
    x : array (N, H, W, C), one image (H, W, C), or (H, W)
    size, stride : int or (vertical, horizontal); stride None means `size`
    padding : as in `conv2d`, at most half the window; padding never wins
    ceil_mode : keep a last window that hangs over the edge, unless it starts in the padding
    return_argmax : return (y, argmax); argmax = i * KW + j is the tap that won, uint8 (int32 for windows over 256 taps)
    layout : "NHWC" or "NCHW"
    out : array for y

    Returns
    -------
    y : array (N, P, Q, C) of dtype result_type(x, float32); a NaN in the window wins, a tie goes to the first in reading order

    Raises
    ------
    ShapeError, DTypeError, OptionError

    >>> max_pool2d([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]], 2).tolist()
    [[9.0, 2.0], [6.0, 3.0]]
    """
    x = as_array(x, "x")
    rank, x = x.ndim, images(x, "x", layout)
    check_flag(return_argmax, "return_argmax")
    geo = geometry_of(x.shape, size, stride, padding, ceil_mode)
    dtype, plain = result_dtype(x), rank == 4 and layout == "NHWC"
    y, copy_to = result(out, geo.y_shape, dtype, plain, x)
    winner = winners(x, geo, y, return_argmax)
    y = deliver(y, copy_to, rank, layout)
    return (y, restore(winner, rank, layout)) if return_argmax else y


def winners(x, geo, y, wanted=True):
    """Fill y; the taps that won, or None where they are not wanted."""
    from fastconv.kernels import pool

    winner = np.empty(geo.y_shape, winner_dtype(geo)) if wanted else None
    pool.maximum(geo, ready(x, y.dtype), y, winner)
    return winner


def max_pool2d_grad(dy, x, size, *, stride=None, padding=0, ceil_mode=False, argmax=None, layout="NHWC", out=None):
    """Gradient of `max_pool2d`: each dy goes to the pixel that won its window; overlapping windows add up.

    Parameters
    ----------
    dy : array (N, P, Q, C)
    x, and the options : as they were given to `max_pool2d`; with `argmax`, the shape of x is enough
    argmax : what `max_pool2d(..., return_argmax=True)` gave; None: it is found again

    Returns
    -------
    dx : array of the shape of x

    Raises
    ------
    ShapeError, DTypeError, OptionError
    """
    from fastconv.kernels import pool

    dy = as_array(dy, "dy")
    rank, dy = dy.ndim, images(dy, "dy", layout)
    geo = geometry_of(shape_of(x, layout), size, stride, padding, ceil_mode)
    check_gradient(dy, geo)
    dtype = result_dtype(dy)
    winner = found_again(x, geo, layout) if argmax is None else checked_argmax(argmax, geo, layout)
    dx = empty(geo.x_shape, dtype)
    pool.maximum_grad(geo, ready(dy, dtype), winner, dx)
    return deliver(dx, out, rank, layout)


def found_again(x, geo, layout):
    if isinstance(x, tuple):
        raise OptionError(f"argmax: got None with the shape of x, {x}; needed argmax of the forward pass, or x itself")
    x = images(as_array(x, "x"), "x", layout)
    return winners(x, geo, empty(geo.y_shape, result_dtype(x)))


def checked_argmax(argmax, geo, layout):
    argmax = np.asarray(argmax)
    if argmax.dtype.kind not in "iu":
        raise DTypeError(f"argmax: got dtype {argmax.dtype}; needed the integers of max_pool2d(..., return_argmax=True)")
    argmax = images(argmax, "argmax", layout)
    if argmax.shape != geo.y_shape:
        raise ShapeError(f"argmax: got shape {argmax.shape}; needed that of the output, {geo.y_shape}")
    taps = geo.kh * geo.kw
    if argmax.size and not (argmax.dtype == winner_dtype(geo) or 0 <= argmax.min() <= argmax.max() < taps):
        raise ShapeError(f"argmax: got {argmax.min()} ... {argmax.max()}; needed taps 0 ... {taps - 1} of the window, i * KW + j")
    return ready(argmax, winner_dtype(geo))


def shape_of(x, layout):
    """(N, H, W, C) of an array, or of a shape."""
    is_shape = isinstance(x, (tuple, list)) and not any(isinstance(n, (tuple, list)) for n in x)
    return image_shape(x if is_shape else np.shape(x), "x", layout)


def check_gradient(dy, geo):
    if dy.shape != geo.y_shape:
        raise ShapeError(
            f"dy: got {dy.shape}, as (N, P, Q, C); these windows make an output of {geo.y_shape}: pass a dy of that shape"
        )


@functools.lru_cache(maxsize=1024, typed=True)
def averaging(x_shape, dtype, include_pad, *window):
    """(`PoolGeometry`, by how much each window divides: (P, Q))"""
    geo = pool_geometry(x_shape, *window)
    check_flag(include_pad, "count_include_pad")
    axes = ((geo.h, geo.kh, geo.sh, geo.pads[0], geo.p), (geo.w, geo.kw, geo.sw, geo.pads[1], geo.q))
    return geo, np.outer(*(axis_counts(*axis, include_pad) for axis in axes)).astype(dtype)


@functools.lru_cache(maxsize=1024, typed=True)
def spreading(x_shape, dtype, *options):
    """(`PoolGeometry`, what each window gives of its gradient to each of its pixels: (P, Q)); the options of `averaging`."""
    geo, counts = averaging(x_shape, np.dtype(np.float64), *options)
    return geo, (1 / counts).astype(dtype)


def axis_counts(size, kernel, stride, pad, outputs, include_pad):
    first = np.arange(outputs) * stride - pad[0]
    low, high = (-pad[0], size + pad[1]) if include_pad else (0, size)
    return np.minimum(first + kernel, high) - np.maximum(first, low)


def avg_pool2d(x, size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=False, layout="NHWC", out=None):
    """Mean of each window and channel.

    Divides by the pixels that are really there; with `count_include_pad` padding counts as zeros, as PyTorch does by default.
    Parameters, result and errors as in `max_pool2d`.

    >>> avg_pool2d([[1, 3, 2, 1], [2, 9, 1, 1], [1, 4, 2, 3], [5, 6, 1, 2]], 2).tolist()
    [[3.75, 1.25], [4.0, 2.0]]
    """
    from fastconv.kernels import pool

    x = as_array(x, "x")
    rank, x = x.ndim, images(x, "x", layout)
    dtype = result_dtype(x)
    geo, counts = averaging(x.shape, dtype, *frozen(count_include_pad, size, stride, padding, ceil_mode))
    y, copy_to = result(out, geo.y_shape, dtype, rank == 4 and layout == "NHWC", x)
    pool.average(geo, ready(x, dtype), counts, y)
    return deliver(y, copy_to, rank, layout)


def avg_pool2d_grad(dy, x, size, *, stride=None, padding=0, ceil_mode=False, count_include_pad=False, layout="NHWC", out=None):
    """Gradient of `avg_pool2d`: each dy in equal shares to the pixels of its window.

    `x` may be the input or just its shape.  Returns dx of that shape.
    """
    from fastconv.kernels import pool

    dy = as_array(dy, "dy")
    rank, dy = dy.ndim, images(dy, "dy", layout)
    dtype = result_dtype(dy)
    geo, shares = spreading(shape_of(x, layout), dtype, *frozen(count_include_pad, size, stride, padding, ceil_mode))
    check_gradient(dy, geo)
    dx = empty(geo.x_shape, dtype)
    pool.average_grad(geo, ready(dy, dtype), shares, dx)
    return deliver(dx, out, rank, layout)


def global_avg_pool2d(x, *, layout="NHWC"):
    """Mean over all pixels of each channel: (N, H, W, C) -> (N, C).

    The mean of the rows' means, so that rounding errors grow with the sides of an image, not with its area.
    """
    x = images(as_array(x, "x"), "x", layout)
    rows = avg_pool2d(x, (1, x.shape[2]))
    return avg_pool2d(rows, (x.shape[1], 1))[:, 0, 0]


def global_avg_pool2d_grad(dy, x_shape, *, layout="NHWC"):
    """Gradient of `global_avg_pool2d`: dy (N, C) spread evenly over the pixels of `x_shape`."""
    dy = as_array(dy, "dy")
    n, h, w, c = image_shape(x_shape, "x_shape", layout)
    if dy.shape != (n, c):
        raise ShapeError(f"dy: got {dy.shape}; needed (N, C) = ({n}, {c})")
    dtype = result_dtype(dy)
    dx = np.broadcast_to((dy.astype(dtype) / dtype.type(h * w))[:, None, None], (n, h, w, c))
    return restore(dx.copy(), len(x_shape), layout)
