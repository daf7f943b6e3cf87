"""Batch normalisation: statistics of the channels and their gradients, each in one pass over memory; arrays (rows, channels).

A ReLU behind it costs no pass of its own: `rectified` results are 0 where they would be negative, and have no gradient there.
What a pass needs to know of each channel comes as a table of vectors, and what it adds up goes into one: whole vectors, whatever
the number of channels.
"""

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.kernels.blocks import SUM_ROWS
from fastconv.kernels.intrinsics import emits
from fastconv.kernels.partial_sums import add_blocks
from fastconv.kernels.runs import over_channels, over_results
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import kernel

__all__ = ["gradient", "gradient_sums", "normalised", "sums_about"]

BAND = 64  # rows of a task where nothing is summed
SIDE_BY_SIDE = 2  # vectors of a row
MEAN, ABOUT, FACTOR, OFFSET, OF_DY, OF_X, REST = range(7)  # rows of the tables


def over_rows(v, first, rows, channels, body):
    """body(where it lies, its first channel, mask) for all vectors of so many rows from `first` on."""
    with over_results(v, {"count": rows, "c_step": channels}, channels) as (row, spare):
        start = v.builder.mul(v.add(first, row), channels)

        def few(places):
            for c, mask in places:
                body(v.add(start, c), c, mask)

        over_channels(v, channels, SIDE_BY_SIDE, few, spare)


class Table:
    """Vectors of what is known of the channels, or of sums over rows."""

    def __init__(self, v, pointer, wide):
        self.v, self.pointer, self.wide = v, pointer, wide

    def place(self, row, c):
        return self.v.at(self.pointer, (row, self.wide), c)

    def load(self, row, c):
        return self.v.load(self.place(row, c))

    def add(self, row, c, one, other=None):
        """Add `one`, or the product of two."""
        before = self.load(row, c)
        total = self.v.builder.fadd(before, one) if other is None else self.v.multiply_add(one, other, before)
        self.v.store(total, self.place(row, c))

    def about_mean(self, x, c):
        return self.v.builder.fsub(x, self.load(MEAN, c))

    def line(self, x, c):
        """(x - about) factor + offset"""
        return self.v.multiply_add(self.v.builder.fsub(x, self.load(ABOUT, c)), self.load(FACTOR, c), self.load(OFFSET, c))

    def before_relu(self, dy, x, rectified, c):
        """dy where the line of x is above 0, or nothing is `rectified`; else 0."""
        v, zero = self.v, self.v.constant(0.0)
        above = v.builder.fcmp_ordered(">", self.line(x, c), zero)
        every = v.splat(v.builder.icmp_signed("==", rectified, v.index(0)), above.type)
        return v.builder.select(v.builder.or_(above, every), dy, zero)


@emits()
def add_about(v, x, first, rows, channels, known, wide, sums):
    """sums[0], sums[1] += x - mean and its square"""
    known, sums = Table(v, known, wide), Table(v, sums, wide)

    def body(at, c, mask):
        z = known.about_mean(v.load(v.at(x, at), mask), c)
        sums.add(0, c, z)
        sums.add(1, c, z, z)

    over_rows(v, first, rows, channels, body)


@emits()
def add_gradients(v, x, dy, first, rows, channels, known, wide, rectified, sums):
    """sums[0], sums[1] += dy and dy (x - mean)"""
    known, sums = Table(v, known, wide), Table(v, sums, wide)

    def body(at, c, mask):
        value = v.load(v.at(x, at), mask)
        grad = known.before_relu(v.load(v.at(dy, at), mask), value, rectified, c)
        sums.add(0, c, grad)
        sums.add(1, c, grad, known.about_mean(value, c))

    over_rows(v, first, rows, channels, body)


@emits()
def put_line(v, x, first, rows, channels, known, wide, rectified, y):
    """y = (x - about) factor + offset"""
    known = Table(v, known, wide)

    def body(at, c, mask):
        value = known.line(v.load(v.at(x, at), mask), c)
        negative = v.builder.fcmp_ordered("<=", value, v.constant(0.0))
        wanted = v.splat(v.builder.icmp_signed("!=", rectified, v.index(0)), negative.type)
        v.store(v.builder.select(v.builder.and_(negative, wanted), v.constant(0.0), value), v.at(y, at), mask)

    over_rows(v, first, rows, channels, body)


@emits()
def put_gradient(v, x, dy, first, rows, channels, known, wide, rectified, dx):
    """dx = dy of_dy + (x - mean) of_x + rest"""
    known = Table(v, known, wide)

    def body(at, c, mask):
        value = v.load(v.at(x, at), mask)
        grad = known.before_relu(v.load(v.at(dy, at), mask), value, rectified, c)
        total = v.multiply_add(known.about_mean(value, c), known.load(OF_X, c), known.load(REST, c))
        v.store(v.multiply_add(grad, known.load(OF_DY, c), total), v.at(dx, at), mask)

    over_rows(v, first, rows, channels, body)


@kernel()
def sums_of_values(x, known, parts):
    """parts[b] = the sums over the rows of block b"""
    rows, channels = x.shape
    for task in prange(len(parts)):  # a task owns the sums of a block
        b = np.intp(task)
        sums, first = parts[b], rows * b // len(parts)
        sums[:] = 0
        add_about(x, first, rows * (b + 1) // len(parts) - first, channels, known, known.shape[1], sums)


@kernel()
def sums_of_gradients(x, dy, known, rectified, parts):
    """parts[b] = the sums over the rows of block b"""
    rows, channels = x.shape
    for task in prange(len(parts)):  # a task owns the sums of a block
        b = np.intp(task)
        sums, first = parts[b], rows * b // len(parts)
        sums[:] = 0
        add_gradients(x, dy, first, rows * (b + 1) // len(parts) - first, channels, known, known.shape[1], rectified, sums)


@kernel()
def normalise(x, known, rectified, y):
    rows, channels = x.shape
    for task in prange((rows + BAND - 1) // BAND):  # a task owns BAND rows of y
        first = np.intp(task) * BAND
        put_line(x, first, min(BAND, rows - first), channels, known, known.shape[1], rectified, y)


@kernel()
def combine(x, dy, known, rectified, dx):
    rows, channels = x.shape
    for task in prange((rows + BAND - 1) // BAND):  # a task owns BAND rows of dx
        first = np.intp(task) * BAND
        put_gradient(x, dy, first, min(BAND, rows - first), channels, known, known.shape[1], rectified, dx)


def table(*vectors):
    """Numbers of each channel as rows of whole vectors."""
    size, dtype = vectors[0].size, vectors[0].dtype
    known = aligned.zeros((len(vectors), size + -size % lanes_of(dtype.itemsize)), dtype)
    for row, vector in zip(known, vectors, strict=True):
        row[:size] = vector
    return known


def totals(add, arrays, known, *settings):
    """The two sums of each channel, in fixed blocks and then a tree."""
    rows, channels = arrays[0].shape
    parts = aligned.empty((max(1, rows // SUM_ROWS), 2, known.shape[1]), known.dtype)
    add(*arrays, known, *settings, parts)
    found = np.empty(parts.shape[1:], parts.dtype)
    add_blocks(parts, found)
    return found[:, :channels]


def sums_about(x, mean):
    """(sum of x - mean, sum of its square) for each channel."""
    return totals(sums_of_values, (x,), table(mean))


def gradient_sums(dy, x, mean, line):
    """(sum of dy, sum of dy (x - mean)) for each channel; `line` = (about, factor, offset, rectified) of the forward pass."""
    *line, rectified = line
    return totals(sums_of_gradients, (x, dy), table(mean, *line), int(rectified))


def normalised(x, about, factor, offset, rectified):
    y = aligned.empty(x.shape, x.dtype)
    normalise(x, table(about, about, factor, offset), int(rectified), y)
    return y


def gradient(dy, x, mean, line, of_dy, of_x, rest):
    """dx = dy of_dy + (x - mean) of_x + rest"""
    *line, rectified = line
    dx = aligned.empty(x.shape, x.dtype)
    combine(x, dy, table(mean, *line, of_dy, of_x, rest), int(rectified), dx)
    return dx
