"""Arrays on whole cache lines: a vector that lies across two of them costs twice as much to load and to store.

NumPy aligns to 16 bytes.
"""

import math
from ctypes import addressof, c_char

import numpy as np

__all__ = ["LINE", "empty", "zeros"]

LINE = 64  # bytes of a cache line, or a divisor of its size


def on_line(make, shape, dtype):
    """The array that begins at the first line of one that `make` made a little larger."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    room = make(size * dtype.itemsize + LINE, np.uint8)
    address = addressof(c_char.from_buffer(room))  # room.ctypes.data takes six times as long
    return np.ndarray(shape, dtype, room, -address % LINE)


def empty(shape, dtype):
    return on_line(np.empty, shape, dtype)


def zeros(shape, dtype):
    return on_line(np.zeros, shape, dtype)
