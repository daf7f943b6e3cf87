"""What an optimizer does to every number of a parameter, in one pass over memory: blocks of many arrays, shared by threads.

Denormal numbers count as zero: where a gradient stays zero, as behind a ReLU that no example passes, its velocity would be such a
number for a hundred steps.
"""

import numpy as np
from numba import carray, prange
from numba.extending import register_jitable

from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import pointer_at, row_of
from fastconv.machine import kernel

__all__ = ["BLOCK", "FEW", "adam", "on_few", "sgd", "squares"]

BLOCK = 1 << 14  # numbers of a task, by the shape alone
FEW = 1 << 15  # numbers that one thread has done before a second one has woken up


def on_few(compiled, size):
    """The kernel itself, or its serial twin for `size` numbers that are not worth a launch."""
    return compiled if size > FEW else compiled.serial


@register_jitable
def numbers(like, address, count):
    """The array of `count` numbers at an address."""
    return carray(pointer_at(like, address), count)


@kernel()
def sgd(like, blocks, lr, momentum, nesterov, decay):
    """v <- momentum v + g;  p <- p - lr v, or with nesterov p - lr (g + momentum v).  g includes decay p.

    A row of `blocks`: how many numbers, and where those of g, p and v begin.
    """
    for task in prange(len(blocks)):  # a task owns a block of p and v
        before = flush_denormals()
        count, g_at, p_at, v_at = row_of(blocks, np.intp(task), 4)
        ps, gs, vs = numbers(like, p_at, count), numbers(like, g_at, count), numbers(like, v_at, count)
        for i in range(count):
            slope = gs[i] + decay * ps[i] if decay > 0 else gs[i]  # 0 times infinity would be NaN
            speed = momentum * vs[i] + slope
            vs[i] = speed
            ps[i] -= lr * (slope + momentum * speed if nesterov else speed)
        restore_denormals(before)


@kernel()
def adam(like, blocks, beta1, beta2, lr, correction, eps, decay, keep):
    """m, v <- means of g and g^2;  p <- keep p - lr m / (correction sqrt(v) + eps).  g includes decay p.

    A row of `blocks`: how many numbers, and where those of g, p, m and v begin.
    """
    one = like.dtype.type(1)
    for task in prange(len(blocks)):  # a task owns a block of p, m and v
        before = flush_denormals()
        count, g_at, p_at, m_at, v_at = row_of(blocks, np.intp(task), 5)
        gs, ps = numbers(like, g_at, count), numbers(like, p_at, count)
        ms, vs = numbers(like, m_at, count), numbers(like, v_at, count)
        for i in range(count):
            slope = gs[i] + decay * ps[i] if decay > 0 else gs[i]
            mean = beta1 * ms[i] + (one - beta1) * slope
            square = beta2 * vs[i] + (one - beta2) * (slope * slope)
            ms[i], vs[i] = mean, square
            ps[i] = keep * ps[i] - lr * (mean / (np.sqrt(square) * correction + eps))
        restore_denormals(before)


@kernel(fastmath=("contract", "reassoc"))
def squares(like, blocks, parts):
    """parts[b] = the sum of the squares of block b; a row of `blocks`: how many numbers, and where they begin."""
    for task in prange(len(parts)):
        b, before = np.intp(task), flush_denormals()
        count, at = row_of(blocks, b, 2)
        block = numbers(like, at, count)
        total = like.dtype.type(0)
        for i in range(count):
            total += block[i] * block[i]
        parts[b] = total
        restore_denormals(before)
