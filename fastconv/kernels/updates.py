"""What an optimizer does to every number of a parameter, in one pass over memory: blocks of many arrays, shared by threads.

All cores have just read the weights, so that each line that is written has to be taken away from the others first.  A store waits
for that, and the stores behind it wait as well; many lines asked for ahead come together, in a sixth of the time.

Denormal numbers count as zero: where a gradient stays zero, as behind a ReLU that no example passes, its velocity would be such a
number for a hundred steps.
"""

import numpy as np
from numba import carray, prange
from numba.extending import register_jitable

from fastconv.kernels.aligned import LINE
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import emits, pointer_at, row_of
from fastconv.machine import kernel

__all__ = ["BLOCK", "FEW", "adadelta", "adam", "on_few", "sgd", "squares"]

BLOCK = 1 << 14  # numbers of a task, by the shape alone
FEW = 1 << 14  # numbers that one thread has done before a second one has begun
PART = 1 << 9  # numbers between asking for them and writing them


def on_few(compiled, size):
    """The kernel itself, or its serial twin for `size` numbers that are not worth a launch."""
    return compiled if size > FEW else compiled.serial


@register_jitable
def numbers(like, address, count):
    """The array of `count` numbers at an address."""
    return carray(pointer_at(like, address), count)


@emits()
def ask_to_write(v, like, address, count):
    """Get the cache lines of `count` numbers, which need not exist, for this core alone."""
    start, each = v.builder.inttoptr(address, like.type), LINE // v.itemsize
    with v.loop(v.builder.udiv(count, v.index(each))) as line:
        v.prefetch(v.at(start, (line, each)), write=True)


@register_jitable
def next_part(like, p_at, first, count):
    """(bytes before the part that begins with number `first` of `count`, its numbers); the part behind it is asked for."""
    here, few = first * like.itemsize, min(PART, count - first)
    if first == 0:
        ask_to_write(like, p_at, few)
    ask_to_write(like, p_at + here + PART * like.itemsize, few)
    return here, few


@register_jitable
def next_four(like, first, count, g_at, p_at, a_at, b_at):
    """That part of g, p and two means, as arrays."""
    here, few = next_part(like, p_at, first, count)
    g, p = numbers(like, g_at + here, few), numbers(like, p_at + here, few)
    return g, p, numbers(like, a_at + here, few), numbers(like, b_at + here, few)


@kernel()
def sgd(like, blocks, lr, momentum, nesterov, decay):
    """v <- momentum v + g;  p <- p - lr v, or with nesterov p - lr (g + momentum v).  g includes decay p.

    A row of `blocks`: how many numbers, and where those of g, p and v begin.
    """
    for task in prange(len(blocks)):  # a task owns a block of p and v
        before = flush_denormals()
        count, g_at, p_at, v_at = row_of(blocks, np.intp(task), 4)
        for first in range(0, count, PART):
            here, few = next_part(like, p_at, first, count)
            gs, ps = numbers(like, g_at + here, few), numbers(like, p_at + here, few)
            vs = numbers(like, v_at + here, few)
            sgd_part(gs, ps, vs, lr, momentum, nesterov, decay)
        restore_denormals(before)


@register_jitable
def sgd_part(gs, ps, vs, lr, momentum, nesterov, decay):
    for i in range(len(ps)):
        slope = gs[i] + decay * ps[i] if decay > 0 else gs[i]  # 0 times infinity would be NaN
        speed = momentum * vs[i] + slope
        vs[i] = speed
        ps[i] -= lr * (slope + momentum * speed if nesterov else speed)


@kernel()
def adam(like, blocks, beta1, beta2, lr, correction, eps, decay, keep):
    """m, v <- means of g and g^2;  p <- keep p - lr m / (correction sqrt(v) + eps).  g includes decay p.

    A row of `blocks`: how many numbers, and where those of g, p, m and v begin.
    """
    for task in prange(len(blocks)):  # a task owns a block of p, m and v
        before = flush_denormals()
        count, g_at, p_at, m_at, v_at = row_of(blocks, np.intp(task), 5)
        for first in range(0, count, PART):
            gs, ps, ms, vs = next_four(like, first, count, g_at, p_at, m_at, v_at)
            adam_part(like, gs, ps, ms, vs, beta1, beta2, lr, correction, eps, decay, keep)
        restore_denormals(before)


@register_jitable
def adam_part(like, gs, ps, ms, vs, beta1, beta2, lr, correction, eps, decay, keep):
    one = like.dtype.type(1)
    for i in range(len(ps)):
        slope = gs[i] + decay * ps[i] if decay > 0 else gs[i]
        mean = beta1 * ms[i] + (one - beta1) * slope
        square = beta2 * vs[i] + (one - beta2) * (slope * slope)
        ms[i], vs[i] = mean, square
        ps[i] = keep * ps[i] - lr * (mean / (np.sqrt(square) * correction + eps))


@kernel()
def adadelta(like, blocks, lr, rho, eps, decay):
    """s <- mean of g^2;  d = g sqrt(u + eps) / sqrt(s + eps);  u <- mean of d^2;  p <- p - lr d.  g includes decay p.

    A row of `blocks`: how many numbers, and where those of g, p, s and u begin.
    """
    for task in prange(len(blocks)):  # a task owns a block of p, s and u
        before = flush_denormals()
        count, g_at, p_at, s_at, u_at = row_of(blocks, np.intp(task), 5)
        for first in range(0, count, PART):
            gs, ps, ss, us = next_four(like, first, count, g_at, p_at, s_at, u_at)
            adadelta_part(like, gs, ps, ss, us, lr, rho, eps, decay)
        restore_denormals(before)


@register_jitable
def adadelta_part(like, gs, ps, ss, us, lr, rho, eps, decay):
    rest = like.dtype.type(1) - rho  # of rho as it is in this dtype, so that the means are means
    for i in range(len(ps)):
        slope = gs[i] + decay * ps[i] if decay > 0 else gs[i]
        square = rho * ss[i] + rest * (slope * slope)
        move = slope * (np.sqrt(us[i] + eps) / np.sqrt(square + eps))
        ss[i], us[i] = square, rho * us[i] + rest * (move * move)
        ps[i] -= lr * move


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
