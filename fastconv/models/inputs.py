"""What comes into a network: checked once, so that every layer below may rely on it."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array

__all__ = ["as_batch", "checked_batch", "hint", "needed"]


def checked_batch(x, input_shape):
    """x as an array (N, *input_shape) of real numbers; ShapeError or DTypeError says what to do about others."""
    x = as_array(x, "x")
    if x.shape[1:] != input_shape or x.ndim == 0:
        raise ShapeError(f"x: got shape {x.shape}; needed {needed(input_shape)}{hint(x.shape, input_shape)}")
    return x


def as_batch(x, input_shape, dtype):
    """The same, in the network's `dtype`."""
    x = checked_batch(x, input_shape)
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, as in any float32 computation
        return x.astype(dtype, copy=False)


def needed(input_shape):
    """(28, 28, 1) as "(N, 28, 28, 1)"."""
    return f"(N, {', '.join(map(str, input_shape))})"


def hint(shape, input_shape):
    """What the caller probably meant, in words; "" when nothing comes to mind."""
    if shape == input_shape:
        return "; for a single one pass x[None]"
    if (*shape[1:], 1) == input_shape:
        return "; for grey images without a channel axis pass x[..., None]"
    if len(input_shape) == 3 and shape[1:] == (input_shape[2], *input_shape[:2]):
        return "; x looks like (N, C, H, W): pass x.transpose(0, 2, 3, 1)"
    if len(input_shape) == 3 and len(shape) == 4 and shape[1:3] != input_shape[:2]:
        return "; resize the images, or build the network with this input_shape"
    return ""
