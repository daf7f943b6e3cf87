"""Convolution as a matrix product: every window becomes a row of a matrix ("image to columns"), the filters are the other matrix.

The windows overlap, so the matrix is KH KW times larger than the image; it is built and used in blocks of output rows that stay
under `blocks.WINDOW_BYTES`.  The gradients are the two other products of the same matrices  [Chellapilla, Puri, Simard 2006].
"""

import numpy as np
from numba import prange

from fastconv.kernels.blocks import window_rows
from fastconv.kernels.matmul import product, transposed_product
from fastconv.kernels.padding import fold, pad, padded_like
from fastconv.machine import kernel

__all__ = ["forward", "input_grad", "weight_grad"]


@kernel()
def unfold(x, first, sh, sw, dh, dw, P, Q, windows):
    """windows[r*Q + q, g, i, j, c] = x[n, p*sh + i*dh, q*sw + j*dw, g*C + c]  for the output rows  first + r = n*P + p"""
    M, G, KH, KW, C = windows.shape
    for task in prange(M):  # a task owns one window
        row, q = divmod(np.intp(task), Q)
        n, p = divmod(first + row, P)
        for g in range(G):
            for i in range(KH):
                for j in range(KW):
                    target = windows[row * Q + q, g, i, j]
                    source = x[n, p * sh + i * dh, q * sw + j * dw, g * C : (g + 1) * C]
                    for c in range(C):
                        target[c] = source[c]


@kernel()
def add_windows(windows, first, rows, sh, sw, dh, dw, P, Q, dx):
    """dx[n, p*sh + i*dh, q*sw + j*dw, g*C + c] += windows[r*Q + q, g, i, j, c]: back to the image, overlaps add up"""
    _, G, KH, KW, C = windows.shape
    N, H, _, _ = dx.shape
    for task in prange(N * H):  # a task owns one row of dx
        n, h = divmod(np.intp(task), H)
        for i in range(KH):
            p, rest = divmod(h - i * dh, sh)
            row = n * P + p - first
            if rest or p < 0 or p >= P or row < 0 or row >= rows:
                continue
            for q in range(Q):
                for j in range(KW):
                    for g in range(G):
                        target = dx[n, h, q * sw + j * dw, g * C : (g + 1) * C]
                        source = windows[row * Q + q, g, i, j]
                        for c in range(C):
                            target[c] += source[c]


def steps(geo):
    return geo.sh, geo.sw, geo.dh, geo.dw, geo.p, geo.q


def blocks(geo, dtype):
    """(first output row, number of rows, array for their windows), one block after the other in the same memory."""
    count, total = window_rows(geo, dtype.itemsize), geo.n * geo.p
    workspace = np.empty((count * geo.q, geo.groups, geo.kh, geo.kw, geo.c // geo.groups), dtype)
    for first in range(0, total, count):
        rows = min(count, total - first)
        yield first, rows, workspace[: rows * geo.q]


def as_rows(y, geo):
    """(N, P, Q, O) as (N P, Q, groups, O / groups)."""
    return y.reshape(geo.n * geo.p, geo.q, geo.groups, geo.o // geo.groups)


def by_group(geo, w):
    """Weights as the right-hand matrices (G, K, O / G), K = KH KW C / G."""
    return np.ascontiguousarray(w.reshape(geo.terms, geo.groups, -1).transpose(1, 0, 2))


def by_group_transposed(geo, w):
    """Weights as (G, O / G, K)."""
    return np.ascontiguousarray(w.reshape(geo.terms, geo.groups, -1).transpose(1, 2, 0))


def forward(geo, x, w, b, activation, y):
    padded, bias, y_rows = pad(x, geo), b.reshape(geo.groups, -1), as_rows(y, geo)
    for first, rows, windows in blocks(geo, y.dtype):
        unfold(padded, first, *steps(geo), windows)
        sums = y_rows[first : first + rows].reshape(rows * geo.q, geo.groups, -1)
        product(windows.reshape(len(windows), geo.groups, -1), w, bias, activation, sums)


def input_grad(geo, dy, wt, dx):
    target, dy_rows = padded_like(dx, geo), as_rows(dy, geo)
    target[...] = 0
    no_bias = np.zeros((geo.groups, geo.terms), dx.dtype)
    for first, rows, windows in blocks(geo, dy.dtype):
        grads = dy_rows[first : first + rows].reshape(rows * geo.q, geo.groups, -1)
        product(grads, wt, no_bias, 0, windows.reshape(len(windows), geo.groups, -1))
        add_windows(windows, first, rows, *steps(geo), target)
    fold(target, geo, dx)


def weight_grad(geo, x, dy, dw):
    padded, dy_rows = pad(x, geo), as_rows(dy, geo)
    total = np.zeros((geo.groups, geo.terms, geo.o // geo.groups), dw.dtype)
    for first, rows, windows in blocks(geo, dy.dtype):
        unfold(padded, first, *steps(geo), windows)
        grads = dy_rows[first : first + rows].reshape(rows * geo.q, geo.groups, -1)
        transposed_product(windows.reshape(len(windows), geo.groups, -1), grads, total)
    dw[...] = total.transpose(1, 0, 2).reshape(dw.shape)
