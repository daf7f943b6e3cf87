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

__all__ = ["BLOCK", "cross_entropy", "softmax", "softmax_grad"]

BLOCK = 1 << 13  # numbers of a task
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
    values, found = x[row], y[row]
    largest = values[0]
    for k in range(1, values.size):
        largest = max(largest, values[k])
    put_powers(x, row * values.size, values.size, (end - row - 1) * values.size, largest, y)
    total = x.dtype.type(0)
    for k in range(found.size):
        total += found[k]
    return largest, total


@register_jitable
def rows_of(task, shape):
    """The first row of a task and the one behind its last."""
    rows, classes = shape
    each = max(1, BLOCK // classes)
    return task * each, min(rows, (task + 1) * each)


@register_jitable
def tasks_over(shape):
    rows, classes = shape
    each = max(1, BLOCK // classes)
    return (rows + each - 1) // each


@kernel(fastmath=SUMS)
def softmax(x, y):
    for task in prange(tasks_over(x.shape)):  # a task owns some rows of y
        first, end = rows_of(np.intp(task), x.shape)
        for row in range(first, end):
            _, total = powers(x, row, end, y)
            found = y[row]
            for k in range(found.size):
                found[k] /= total


@kernel(fastmath=SUMS)
def softmax_grad(dy, y, dx):
    """dx = y (dy - sum of dy y)"""
    for task in prange(tasks_over(y.shape)):  # a task owns some rows of dx
        first, end = rows_of(np.intp(task), y.shape)
        for row in range(first, end):
            gradients, values, found = dy[row], y[row], dx[row]
            total = y.dtype.type(0)
            for k in range(values.size):
                total += gradients[k] * values[k]
            for k in range(values.size):
                found[k] = values[k] * (gradients[k] - total)


@kernel(fastmath=SUMS)
def cross_entropy(x, labels, smoothing, losses, gradient):
    """losses[n] = -sum of t log p, gradient = (p - t) / rows;  t = (1 - smoothing) onehot(labels[n]) + smoothing / classes"""
    rows, classes = x.shape
    number = x.dtype.type
    each, of_all, of_label = number(1 / rows), number(smoothing / (classes * rows)), number((1 - smoothing) / rows)
    for task in prange(tasks_over(x.shape)):  # a task owns some rows of the gradient
        first, end = rows_of(np.intp(task), x.shape)
        for row in range(first, end):
            largest, total = powers(x, row, end, gradient)
            values, found, label = x[row], gradient[row], labels[row]
            shifted = values[label] - largest
            loss = np.log(total) - shifted
            if smoothing > 0:
                mean = number(0)
                for k in range(classes):
                    mean += values[k] - largest
                loss += number(smoothing) * (shifted - mean / number(classes))
            factor = each / total
            for k in range(classes):
                found[k] = found[k] * factor - of_all
            found[label] -= of_label
            losses[row] = loss
