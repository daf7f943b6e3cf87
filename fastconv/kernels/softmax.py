"""Softmax along the rows of arrays (rows, classes), its gradient, and the loss that goes with it.

p[k] = exp(x[k] - m) / sum over j of exp(x[j] - m),   m = max x, so that nothing overflows
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.intrinsics import emits
from fastconv.kernels.runs import over_channels
from fastconv.kernels.vector_math import exp
from fastconv.machine import kernel

__all__ = ["cross_entropy", "rows_of_cross_entropy", "softmax", "softmax_grad"]

SUMS = ("contract", "reassoc")  # the sum of a row may be taken in any order, the same one for any number of threads


@emits()
def put_powers(v, x, first, count, behind, largest, y):
    """y[first + k] = exp(x[first + k] - largest); of the `behind` numbers that follow, some may be overwritten."""
    largest, whole = v.splat(largest), v.index(v.lanes - 1)
    spare = v.builder.select(v.builder.icmp_signed("<", behind, whole), v.index(0), whole)

    def one(places):
        for at, mask in places:
            place = v.add(first, at)
            v.store(exp(v, v.builder.fsub(v.load(v.at(x, place), mask), largest)), v.at(y, place), mask)

    over_channels(v, count, 1, one, spare)


@register_jitable
def powers(x, row, end, y):
    """Row of y = exp(x - m); (m, the sum of the row).  A NaN, or an infinite m, makes the sum NaN.

    The rows behind it, before `end`, are not written yet: what is too much of a vector may lie there.
    """
    classes, largest = x.shape[1], x[row, 0]
    for k in range(1, classes):
        value = x[row, k]
        largest = value if value > largest else largest
    put_powers(x, row * classes, classes, (end - row - 1) * classes, largest, y)
    total = y[row, 0]
    for k in range(1, classes):
        total += y[row, k]
    return largest, total


@kernel(fastmath=SUMS)
def softmax(x, y, blocks):
    rows, classes = x.shape
    for task in prange(blocks):  # a task owns some rows of y
        block = np.intp(task)
        end = (block + 1) * rows // blocks
        for row in range(block * rows // blocks, end):
            _, total = powers(x, row, end, y)
            for k in range(classes):
                y[row, k] /= total


@kernel(fastmath=SUMS)
def softmax_grad(dy, y, dx, blocks):
    """dx = y (dy - sum of dy y)"""
    rows, classes = y.shape
    for task in prange(blocks):  # a task owns some rows of dx
        block = np.intp(task)
        for row in range(block * rows // blocks, (block + 1) * rows // blocks):
            total = dy[row, 0] * y[row, 0]
            for k in range(1, classes):
                total += dy[row, k] * y[row, k]
            for k in range(classes):
                dx[row, k] = y[row, k] * (dy[row, k] - total)


@register_jitable
def rows_of_cross_entropy(x, labels, first, end, each, of_all, of_label, losses, gradient):
    """losses[n] = -sum of t log p, gradient = each (p - t);  t = of_all everywhere, and of_label more where the label is.

    A label that is no class makes its loss NaN.
    """
    classes = x.shape[1]
    for row in range(first, end):
        largest, total = powers(x, row, end, gradient)
        label = labels[row]
        if label < 0 or label >= classes:
            label, total = 0, x.dtype.type(np.nan)
        logarithm = np.log(total)
        loss = of_label * (logarithm - (x[row, label] - largest))
        if of_all > 0:
            for k in range(classes):
                loss += of_all * (logarithm - (x[row, k] - largest))
        losses[row] = loss
        for k in range(classes):
            gradient[row, k] = each * (gradient[row, k] / total - of_all)
        gradient[row, label] -= each * of_label


@kernel(fastmath=SUMS)
def cross_entropy(x, labels, each, of_all, of_label, losses, gradient, blocks):
    """All rows, as `rows_of_cross_entropy` tells."""
    for task in prange(blocks):  # a task owns some rows of the gradient
        block, rows = np.intp(task), len(x)
        first, end = block * rows // blocks, (block + 1) * rows // blocks
        rows_of_cross_entropy(x, labels, first, end, each, of_all, of_label, losses, gradient)
