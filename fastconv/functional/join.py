"""Where branches of a network meet: sums with an activation, and feature maps side by side."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.activations import FEW, activate
from fastconv.functional.arrays import as_array, empty, filled, result_dtype
from fastconv.functional.conv import activation_code

__all__ = ["add", "concat", "split_channels"]


def add(a, b, *, activation=None, out=None):
    """activation(a + b), element by element; a and b of one shape, any rank.

    `activation` as in `conv2d`; `out` may be a or b.  Returns an array of dtype result_type(a, b, float32).
    """
    a, b = as_array(a, "a"), as_array(b, "b")
    activation_code(activation)
    if a.shape != b.shape:
        raise ShapeError(f"a has shape {a.shape}, b {b.shape}; needed the same: a shortcut of 1x1 filters changes channels")
    y = empty(a.shape, result_dtype(a, b)) if out is None else filled(out, a.shape, result_dtype(a, b))
    if activation == "relu" and is_plain(y, a, b):
        add_relu(a.reshape(-1), b.reshape(-1), y.reshape(-1))
        return y
    np.add(a, b, out=y, dtype=y.dtype)  # bytes, too: else their sum would be a byte
    if activation == "relu":
        np.maximum(y, y.dtype.type(0), out=y)
    elif activation:
        y[...] = activate(y, activation)
    return y


def is_plain(y, *sources):
    """Whether all are C-contiguous, of one native dtype, and y is one of the sources or shares no memory with it."""
    alike = all(array.flags.c_contiguous and array.dtype == y.dtype and array.dtype.isnative for array in (y, *sources))
    return alike and all(y is source or not np.may_share_memory(y, source) for source in sources)


def add_relu(a, b, y):
    """y = max(a + b, 0) of flat arrays in one pass over memory; NaN stays NaN."""
    if y.size >= FEW:
        from fastconv.kernels.elementwise import apply

        apply("add_relu", a, b, out=y)
        return
    np.add(a, b, out=y)
    np.maximum(y, y.dtype.type(0), out=y)


def concat(parts, *, out=None):
    """Arrays side by side along their last axis: the channels of the first, of the second, …"""
    parts = [as_array(part, f"parts[{i}]") for i, part in enumerate(parts)]
    if not parts or any(part.ndim == 0 or part.shape[:-1] != parts[0].shape[:-1] for part in parts):
        raise ShapeError(f"parts: got shapes {[part.shape for part in parts]}; needed the same but for the last axis")
    if out is not None:
        parts = [part.copy() if np.may_share_memory(part, out) else part for part in parts]
    return np.concatenate(parts, axis=-1, out=out)


def split_channels(y, counts):
    """Views of y with `counts` channels each, one after the other along the last axis: the gradient of `concat`."""
    if sum(counts) != y.shape[-1]:
        raise ShapeError(f"counts: got {tuple(counts)}, {sum(counts)} together; needed the {y.shape[-1]} channels of y {y.shape}")
    return np.split(y, np.cumsum(counts)[:-1], axis=-1)
