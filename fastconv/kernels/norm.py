"""Batch normalisation: statistics of the channels and their gradients, each in one pass over memory; arrays (rows, channels).

A ReLU behind it costs no pass of its own: `rectified` results are 0 where they would be negative, and have no gradient there.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.blocks import SUM_ROWS
from fastconv.kernels.partial_sums import add_blocks
from fastconv.machine import kernel

__all__ = ["gradient", "gradient_sums", "normalised", "sums_about"]

BAND = 64  # rows of a task where nothing is summed


@kernel()
def add_about(x, mean, parts):
    """parts[b] = the sums of x - mean and of its square over the rows of block b."""
    for task in prange(len(parts)):  # a task owns the sums of a block
        b = np.intp(task)
        first, second = parts[b, 0], parts[b, 1]
        first[:], second[:] = 0, 0
        for row in range(b * len(x) // len(parts), (b + 1) * len(x) // len(parts)):
            values = x[row]
            for c in range(mean.size):
                z = values[c] - mean[c]
                first[c] += z
                second[c] += z * z


@register_jitable
def before_relu(dy, x, about, factor, offset, room):
    """`room` <- dy where y = (x - about) factor + offset is above 0, else 0.  A loop of its own: LLVM vectorises those that have
    few arrays."""
    for c in range(room.size):
        room[c] = dy[c] if (x[c] - about[c]) * factor[c] + offset[c] > 0 else np.float32(0)
    return room


@kernel()
def add_gradients(x, dy, mean, about, factor, offset, rectified, parts):
    """parts[b] = the sums of dy and of dy (x - mean) over the rows of block b; y was (x - about) factor + offset."""
    for task in prange(len(parts)):  # a task owns the sums of a block
        b = np.intp(task)
        first, second = parts[b, 0], parts[b, 1]
        first[:], second[:] = 0, 0
        room = np.empty_like(mean)
        for row in range(b * len(x) // len(parts), (b + 1) * len(x) // len(parts)):
            values, grads = x[row], dy[row]
            if rectified:
                grads = before_relu(grads, values, about, factor, offset, room)
            for c in range(mean.size):
                first[c] += grads[c]
                second[c] += grads[c] * (values[c] - mean[c])


@kernel()
def normalise(x, mean, factor, offset, rectified, y):
    """y = (x - mean) factor + offset"""
    for task in prange((len(x) + BAND - 1) // BAND):  # a task owns BAND rows of y
        first = np.intp(task) * BAND
        for row in range(first, min(len(x), first + BAND)):
            values, target = x[row], y[row]
            for c in range(mean.size):
                value = (values[c] - mean[c]) * factor[c] + offset[c]
                target[c] = np.float32(0) if rectified and value <= 0 else value


@kernel()
def combine(dy, x, mean, about, factor, shift, rectified, of_dy, of_x, offset, dx):
    """dx = dy of_dy + (x - mean) of_x + offset; y was (x - about) factor + shift."""
    for task in prange((len(x) + BAND - 1) // BAND):  # a task owns BAND rows of dx
        first, room = np.intp(task) * BAND, np.empty_like(mean)
        for row in range(first, min(len(x), first + BAND)):
            values, grads, target = x[row], dy[row], dx[row]
            if rectified:
                grads = before_relu(grads, values, about, factor, shift, room)
            for c in range(mean.size):
                target[c] = grads[c] * of_dy[c] + (values[c] - mean[c]) * of_x[c] + offset[c]


def totals(add, x, *others):
    """The two sums of each channel, in fixed blocks and then a tree; x and the others as `add` takes them."""
    parts = aligned.empty((max(1, len(x) // SUM_ROWS), 2, x.shape[1]), x.dtype)
    add(x, *others, parts)
    found = np.empty(parts.shape[1:], x.dtype)
    add_blocks(parts, found)
    return found


def sums_about(x, mean):
    """(sum of x - mean, sum of its square) for each channel."""
    return totals(add_about, x, mean)


def gradient_sums(dy, x, mean, line):
    """(sum of dy, sum of dy (x - mean)) for each channel; `line` = (about, factor, offset, rectified) of the forward pass."""
    return totals(add_gradients, x, dy, mean, *line)


def normalised(x, about, factor, offset, rectified):
    y = aligned.empty(x.shape, x.dtype)
    normalise(x, about, factor, offset, rectified, y)
    return y


def gradient(dy, x, mean, line, of_dy, of_x, offset):
    dx = aligned.empty(x.shape, x.dtype)
    combine(dy, x, mean, *line, of_dy, of_x, offset, dx)
    return dx
