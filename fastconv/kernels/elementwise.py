"""What is done to every number by itself, and sums over all pixels of each channel; in blocks that threads share."""

import functools

import numpy as np
from numba import prange

from fastconv.kernels.blocks import SUM_ROWS
from fastconv.kernels.curves import FORMULAS
from fastconv.kernels.intrinsics import emits
from fastconv.kernels.partial_sums import add_blocks
from fastconv.kernels.runs import over_channels
from fastconv.kernels.updates import FEW
from fastconv.machine import kernel

__all__ = ["apply", "sum_pixels"]

BLOCK = 1 << 14  # numbers of a task


@functools.cache
def applied(name):
    """The kernel of a formula of `curves`: y = formula(x, other, number), flat arrays."""
    formula = FORMULAS[name]

    @emits()
    def block(v, x, other, number, first, count, y):
        number = v.splat(number)

        def one(places):
            for at, mask in places:
                place = v.add(first, at)
                value = formula(v, v.load(v.at(x, place), mask), v.load(v.at(other, place), mask), number)
                v.store(value, v.at(y, place), mask)

        over_channels(v, count, 1, one)

    def walk(x, other, number, y):
        for task in prange((y.size + BLOCK - 1) // BLOCK):  # a task owns a block of y
            first = np.intp(task) * BLOCK
            block(x, other, number, first, min(BLOCK, y.size - first), y)

    walk.__name__ = name  # the cache does not look into `block`
    return kernel()(walk)


def apply(name, x, other=None, number=0.0, out=None):
    """A formula of `curves` on C-contiguous arrays of one shape and dtype; `out` may be one of them."""
    y = np.empty(x.shape, x.dtype) if out is None else out
    flat = x.reshape(-1)
    run = applied(name)
    (run if x.size > FEW else run.alone)(flat, flat if other is None else other.reshape(-1), x.dtype.type(number), y.reshape(-1))
    return y


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
    if a.shape[-1] == 0:
        return np.empty(0, a.dtype)
    rows = a.reshape(-1, a.shape[-1])
    parts = np.empty((max(1, len(rows) // SUM_ROWS), a.shape[-1]), a.dtype)
    sum_rows(rows, parts)
    total = np.empty(a.shape[-1], a.dtype)
    add_blocks(parts, total)
    return total
