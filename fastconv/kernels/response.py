"""Local response normalisation: each number divided by a power of the squares of its neighbours, channel by channel.

d[c] = k + alpha sum of x[c']^2 over c' = c - before ... c + after;   y = x / d^beta
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.machine import kernel

__all__ = ["normalise", "normalise_grad"]

BAND = 16  # rows of a task
USUAL = 0.75  # beta, for which two square roots will do


@register_jitable
def add_windows(room, reach, total):
    """total[c] = the sum of room[c ... c + reach]"""
    total[:] = 0
    for shift in range(reach + 1):
        for c in range(total.size):
            total[c] += room[c + shift]


@register_jitable
def scales(values, before, reach, alpha, k, room, d):
    """d of a row; `room` has zeros where there are no channels."""
    for c in range(values.size):
        room[before + c] = values[c] * values[c]
    add_windows(room, reach, d)
    for c in range(d.size):
        d[c] = k + alpha * d[c]


@register_jitable
def divide(values, d, beta, target):
    """target = values / d^beta"""
    if beta == USUAL:
        for c in range(d.size):
            root = np.sqrt(d[c])
            target[c] = values[c] / (root * np.sqrt(root))
    else:
        for c in range(d.size):
            target[c] = values[c] / d[c] ** beta


@kernel()
def normalise(x, before, after, alpha, beta, k, y):
    """y (rows, channels) from x."""
    rows, channels = x.shape
    for task in prange((rows + BAND - 1) // BAND):  # a task owns BAND rows of y
        first = np.intp(task) * BAND
        room, d = np.zeros(channels + before + after, x.dtype), np.empty(channels, x.dtype)
        for row in range(first, min(rows, first + BAND)):
            scales(x[row], before, before + after, alpha, k, room, d)
            divide(x[row], d, beta, y[row])


@kernel()
def normalise_grad(dy, x, before, after, alpha, beta, k, slope, dx):
    """dx = dy / d^beta - slope x sum of dy[c'] x[c'] / d[c']^(beta + 1) over the c' whose window holds c; slope = 2 alpha beta"""
    rows, channels = x.shape
    for task in prange((rows + BAND - 1) // BAND):  # a task owns BAND rows of dx
        first = np.intp(task) * BAND
        room, others = np.zeros(channels + before + after, x.dtype), np.zeros(channels + before + after, x.dtype)
        d, total = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
        for row in range(first, min(rows, first + BAND)):
            values, target = x[row], dx[row]
            scales(values, before, before + after, alpha, k, room, d)
            divide(dy[row], d, beta, target)
            for c in range(channels):
                others[after + c] = target[c] * values[c] / d[c]
            add_windows(others, before + after, total)
            for c in range(channels):
                target[c] -= slope * values[c] * total[c]
