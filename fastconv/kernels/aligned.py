"""Arrays on whole cache lines: a vector that lies across two of them costs twice as much to load and to store.

NumPy aligns to 16 bytes.
"""

import numpy as np

__all__ = ["LINE", "empty", "zeros"]

LINE = 64  # bytes of a cache line, or a divisor of its size


def on_line(make, shape, dtype):
    """The array that begins at the first line of one that `make` made a little larger."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    room = make(size + LINE, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE
    return room[start : start + size].view(dtype).reshape(shape)


def empty(shape, dtype):
    return on_line(np.empty, shape, dtype)


def zeros(shape, dtype):
    return on_line(np.zeros, shape, dtype)
