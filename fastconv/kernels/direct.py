"""Direct convolution: the seven loops n, p, q, o, i, j, c as they stand in the textbook, forward and both gradients.

Groups add an outer index g: filter o reads only the C = c_in / groups channels of its group.  `x` and `dx` are padded already.
The order of the loops is chosen so that the innermost one runs along contiguous memory in both operands and becomes SIMD code.
"""

import numpy as np
from numba import prange

from fastconv.kernels.activation import activate
from fastconv.kernels.blocks import block_count
from fastconv.kernels.padding import fold, pad, padded_like
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.machine import kernel

__all__ = ["conv2d", "forward", "input_grad", "weight_grad"]

SMALL = 10_000  # multiply-adds


@kernel()
def conv2d(x, w, b, sh, sw, dh, dw, groups, activation, y):
    """y[n,p,q,o] = b[o] + sum_ijc x[n, p*sh + i*dh, q*sw + j*dw, c] * w[i,j,c,o]"""
    N, P, Q, O = y.shape
    KH, KW, C, _ = w.shape
    F = O // groups  # filters of a group
    for task in prange(N * P):  # loops 1 and 2: image and output row, shared among the cores
        n, p = divmod(np.intp(task), P)
        for q in range(Q):
            out = y[n, p, q]  # owned by this task alone
            out[:] = b
            for i in range(KH):
                for j in range(KW):
                    pixel = x[n, p * sh + i * dh, q * sw + j * dw]
                    for g in range(groups):
                        sums = out[g * F : (g + 1) * F]
                        for c in range(C):
                            value, taps = pixel[g * C + c], w[i, j, c, g * F : (g + 1) * F]
                            for o in range(F):  # contiguous in y and w
                                sums[o] += value * taps[o]
            activate(out, activation)


@kernel()
def conv2d_input_grad(dy, wt, sh, sw, dh, dw, groups, dx):
    """dx[n,h,w,c] = sum_ijo dy[n,p,q,o] * wt[i,j,o,c]  over all p, q with  h = p*sh + i*dh,  w = q*sw + j*dw"""
    N, H, _, _ = dx.shape
    _, P, Q, O = dy.shape
    KH, KW, _, C = wt.shape
    F = O // groups
    for task in prange(N * H):  # a task owns one row of dx, and gathers from the output rows that read it
        n, h = divmod(np.intp(task), H)
        dx[n, h] = 0
        for i in range(KH):
            p, rest = divmod(h - i * dh, sh)
            if rest or p < 0 or p >= P:
                continue
            for q in range(Q):
                grads = dy[n, p, q]
                for j in range(KW):
                    pixel = dx[n, h, q * sw + j * dw]
                    for g in range(groups):
                        sums = pixel[g * C : (g + 1) * C]
                        for o in range(g * F, (g + 1) * F):
                            value, taps = grads[o], wt[i, j, o]
                            for c in range(C):  # contiguous in dx and wt
                                sums[c] += value * taps[c]


@kernel()
def conv2d_weight_grad(x, dy, sh, sw, dh, dw, groups, parts):
    """dw[i,j,c,o] = sum_npq x[n, p*sh + i*dh, q*sw + j*dw, c] * dy[n,p,q,o],  the rows (n,p) cut into the blocks of `parts`"""
    N, P, Q, O = dy.shape
    B, KH, KW, C, _ = parts.shape
    F = O // groups
    for task in prange(B * KH * KW):  # a task owns one tap of one block
        block, tap = divmod(np.intp(task), KH * KW)
        i, j = divmod(tap, KW)
        total = parts[block, i, j]
        total[:] = 0
        for row in range(block * N * P // B, (block + 1) * N * P // B):
            n, p = divmod(row, P)
            for q in range(Q):
                pixel, grads = x[n, p * sh + i * dh, q * sw + j * dw], dy[n, p, q]
                for g in range(groups):
                    share = grads[g * F : (g + 1) * F]
                    for c in range(C):
                        value, sums = pixel[g * C + c], total[c, g * F : (g + 1) * F]
                        for o in range(F):  # contiguous in dw and dy
                            sums[o] += value * share[o]


def steps(geo):
    return geo.sh, geo.sw, geo.dh, geo.dw, geo.groups


def launch(kernel, geo):
    """The kernel, on one thread where there is little to do."""
    return kernel if geo.macs > SMALL else kernel.alone


def forward(geo, x, w, b, activation, y):
    launch(conv2d, geo)(pad(x, geo), w, b, *steps(geo), activation, y)


def swap_channels(geo, w):
    """Weights for the input gradient: (KH, KW, O, C / groups)."""
    return np.ascontiguousarray(w.transpose(0, 1, 3, 2))


def input_grad(geo, dy, wt, dx):
    target = padded_like(dx, geo)
    launch(conv2d_input_grad, geo)(dy, wt, *steps(geo), target)
    fold(target, geo, dx)


def weight_grad(geo, x, dy, dw):
    parts = partial_sums(block_count(geo, dw.itemsize), dw)
    launch(conv2d_weight_grad, geo)(pad(x, geo), dy, *steps(geo), parts)
    add_blocks(parts, dw)
