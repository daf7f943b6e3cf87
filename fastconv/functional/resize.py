"""Images made larger: zeros around them, and pixels repeated."""

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, empty, result_dtype
from fastconv.geometry import pair, resolve_padding

__all__ = ["upsample2d", "upsample2d_grad", "zero_pad2d", "zero_pad2d_grad"]


def sides(padding, channels):
    """((top, bottom), (left, right), (first, last channels)) of zeros."""
    if isinstance(padding, str):
        raise OptionError(f"padding: got {padding!r}, which follows from a filter; needed numbers of pixels, such as 1 or (1, 2)")
    return *resolve_padding(padding, (1, 1), (1, 1)), pair(channels, "channels", least=0)


def check_rank(x, name):
    if x.ndim != 4:
        raise ShapeError(f"{name}: got {x.ndim} axes, shape {x.shape}; needed (N, H, W, C)")
    return x


def zero_pad2d(x, padding=1, *, channels=0):
    """x (N, H, W, C) with zeros around: `padding` pixels, (vertical, horizontal) or ((top, bottom), (left, right)).

    `channels`: as many channels of zeros in front of the others and behind them, or (in front, behind).
    """
    x = check_rank(as_array(x, "x"), "x")
    around = sides(padding, channels)
    y = empty((len(x), *(n + sum(pad) for n, pad in zip(x.shape[1:], around, strict=True))), result_dtype(x))
    y[...] = 0
    y[middle(y.shape, around)] = x
    return y


def zero_pad2d_grad(dy, padding=1, *, channels=0):
    """Gradient of `zero_pad2d`: dy without its edges, a view."""
    dy, around = check_rank(as_array(dy, "dy"), "dy"), sides(padding, channels)
    if any(n < sum(pad) for n, pad in zip(dy.shape[1:], around, strict=True)):
        raise ShapeError(f"dy: got shape {dy.shape}; needed at least the padding, {around} of height, width and channels")
    return dy[middle(dy.shape, around)]


def middle(shape, around):
    """Index of what is not padding."""
    return (slice(None), *(slice(pad[0], n - pad[1]) for n, pad in zip(shape[1:], around, strict=True)))


def upsample2d(x, size=2):
    """x (N, H, W, C) with every pixel repeated size = int or (vertical, horizontal) times: (N, H·size, W·size, C)."""
    x = check_rank(as_array(x, "x"), "x")
    (n, h, w, c), (sh, sw) = x.shape, pair(size, "size")
    y = empty((n, h, sh, w, sw, c), result_dtype(x))
    y[...] = x[:, :, None, :, None]
    return y.reshape(n, h * sh, w * sw, c)


def upsample2d_grad(dy, size=2):
    """Gradient of `upsample2d`: the sum over all copies of a pixel."""
    dy = check_rank(as_array(dy, "dy"), "dy")
    (n, h, w, c), (sh, sw) = dy.shape, pair(size, "size")
    if h % sh or w % sw:
        raise ShapeError(f"dy: got {h}x{w} pixels; needed a multiple of {sh}x{sw}")
    dy = np.ascontiguousarray(dy)  # in whose order it adds
    return dy.reshape(n, h // sh, sh, w // sw, sw, c).sum(axis=(2, 4), dtype=result_dtype(dy))
