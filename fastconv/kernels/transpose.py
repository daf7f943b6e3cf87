"""Turning a matrix on its side, a block of registers at a time."""

import numpy as np
from numba import prange

from fastconv.kernels.intrinsics import emits
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import kernel

__all__ = ["flip_filters", "transpose_block", "turn_block", "turn_square"]


def turn_square(v, a, a_row, c, c_row):
    """c[j, i] = a[i, j], lanes x lanes numbers."""
    vectors = [v.load(v.at(a, (i, a_row))) for i in range(v.lanes)]
    for j, vector in enumerate(v.turned(vectors)):
        v.store(vector, v.at(c, (j, c_row)))


def turn_block(v, a, a_row, rows, columns, c, c_row, width):
    """c[j, i] = a[i, j], for j < columns and i < width, at most lanes x lanes numbers; a[i] is zero from `rows` on."""
    wide, high = v.first_lanes(columns), v.first_lanes(width)
    vectors = [v.load(v.at(a, (i, a_row)), v.if_inside(wide, (i, v.index(0), rows))) for i in range(v.lanes)]
    for j, vector in enumerate(v.turned(vectors)):
        v.store(vector, v.at(c, (j, c_row)), v.if_inside(high, (j, v.index(0), columns)))


@emits()
def transpose_block(v, a, a_at, a_row, rows, columns, c, c_at, c_row, width):
    """`turn_block` from given offsets on."""
    turn_block(v, v.at(a, a_at), a_row, rows, columns, v.at(c, c_at), c_row, width)


@kernel()
def flip(w, lanes, flipped):
    """flipped[t, o, c] = w[T - 1 - t, c, o]"""
    T, C, O = w.shape
    bands = (C + lanes - 1) // lanes
    source, target = w.reshape(-1), flipped.reshape(-1)
    for task in prange(T * bands):  # a task owns `lanes` columns of one matrix of `flipped`
        t, band = divmod(np.intp(task), bands)
        c, a_base, c_base = band * lanes, (T - 1 - t) * C * O, t * C * O
        for o in range(0, O, lanes):
            transpose_block(source, a_base + c * O + o, O, C - c, O - o, target, c_base + o * C + c, C, C - c)


def flip_filters(w):
    """The filters (KH, KW, C, O) turned by 180 degrees and with their channels exchanged: (KH, KW, O, C), for input gradients."""
    kh, kw, c, o = w.shape
    flipped = np.empty((kh, kw, o, c), w.dtype)
    flip(w.reshape(kh * kw, c, o), lanes_of(w.itemsize), flipped.reshape(kh * kw, o, c))
    return flipped
