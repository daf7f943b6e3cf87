"""Activations applied to a row of outputs before it leaves the cache."""

import math

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.codes import LEAKY_RELU, LEAKY_SLOPE, NONE, RELU, SIGMOID, TANH
from fastconv.kernels.elementwise import apply
from fastconv.machine import kernel

__all__ = ["activate", "activate_rows", "finish", "in_registers"]


@register_jitable
def activate(values, code):
    """In place; the comparisons are written so that NaN stays NaN."""
    one = values.dtype.type(1)
    if code == RELU:
        for o in range(values.size):
            values[o] = 0 if values[o] < 0 else values[o]
    elif code == LEAKY_RELU:
        for o in range(values.size):
            values[o] *= values.dtype.type(LEAKY_SLOPE) if values[o] < 0 else one
    elif code == SIGMOID:
        for o in range(values.size):
            power = math.exp(-abs(values[o]))
            values[o] = (power if values[o] < 0 else one) / (one + power)
    elif code == TANH:
        for o in range(values.size):
            values[o] = math.tanh(values[o])


def in_registers(code):
    """The activation that a tile applies before its results leave the registers; `finish` applies the others."""
    return code if code <= LEAKY_RELU else NONE


def finish(y, code):
    """Apply to y what `in_registers` leaves out."""
    if code in (SIGMOID, TANH):
        apply("sigmoid" if code == SIGMOID else "tanh", y, out=y)


@kernel()
def activate_rows(values, code):
    """`activate` on every row of `values` (rows, channels)."""
    for task in prange(len(values)):
        activate(values[np.intp(task)], code)
