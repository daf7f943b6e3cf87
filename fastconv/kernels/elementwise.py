"""What is done to every number by itself, and sums over all pixels of each channel; in blocks that threads share."""

import numpy as np
from numba import prange

from fastconv.kernels.blocks import SUM_ROWS
from fastconv.kernels.partial_sums import add_blocks
from fastconv.machine import kernel

__all__ = ["add_positive", "keep_positive", "mask_negative", "sum_pixels"]

BLOCK = 1 << 14  # numbers of a task


@kernel()
def mask_negative(dy, y, dx):
    """dx = dy where y > 0, else 0; flat arrays."""
    for task in prange((dy.size + BLOCK - 1) // BLOCK):
        first = np.intp(task) * BLOCK
        grads, values, target = dy[first : first + BLOCK], y[first : first + BLOCK], dx[first : first + BLOCK]
        for i in range(target.size):
            target[i] = grads[i] if values[i] > 0 else 0


@kernel()
def keep_positive(x, y):
    """y = x where x > 0 or NaN, else 0; flat arrays."""
    for task in prange((x.size + BLOCK - 1) // BLOCK):
        first = np.intp(task) * BLOCK
        values, target = x[first : first + BLOCK], y[first : first + BLOCK]
        for i in range(target.size):
            target[i] = 0 if values[i] <= 0 else values[i]


@kernel()
def add_positive(a, b, y):
    """y = a + b where that is > 0 or NaN, else 0; flat arrays."""
    for task in prange((a.size + BLOCK - 1) // BLOCK):
        first = np.intp(task) * BLOCK
        left, right, target = a[first : first + BLOCK], b[first : first + BLOCK], y[first : first + BLOCK]
        for i in range(target.size):
            total = left[i] + right[i]
            target[i] = 0 if total <= 0 else total


@kernel()
def sum_rows(a, parts):
    """parts[b, c] = the sum of the rows of block b of a (rows, channels)."""
    for task in prange(len(parts)):  # a task owns one partial sum
        b = np.intp(task)
        total = parts[b]
        total[:] = 0
        for row in range(b * len(a) // len(parts), (b + 1) * len(a) // len(parts)):
            values = a[row]
            for c in range(total.size):
                total[c] += values[c]


def sum_pixels(a):
    """The sum over all but the last axis, in fixed blocks and then a tree."""
    rows = a.reshape(-1, a.shape[-1])
    parts = np.empty((max(1, len(rows) // SUM_ROWS), a.shape[-1]), a.dtype)
    sum_rows(rows, parts)
    total = np.empty(a.shape[-1], a.dtype)
    add_blocks(parts, total)
    return total
