"""Max and average pooling over windows, and their gradients; every loop over channels becomes SIMD code.

`top` and `left` are the padding before the first row and column; padding is never read.
"""

import numpy as np
from numba import prange

from fastconv.machine import kernel

__all__ = ["average", "average_grad", "maximum", "maximum_grad"]


@kernel()
def maximum(x, kh, kw, sh, sw, top, left, y, winner):
    """y[n,p,q,c] = max_ij x[n, p*sh - top + i, q*sw - left + j, c];  winner = i*kw + j of the first maximum; NaN wins"""
    N, P, Q, C = y.shape
    _, H, W, _ = x.shape
    for task in prange(N * P):  # a task owns one row of y
        n, p = divmod(np.intp(task), P)
        h = p * sh - top
        for q in range(Q):
            v = q * sw - left
            best, where = y[n, p, q], winner[n, p, q]
            i0, j0 = max(0, -h), max(0, -v)  # the first tap that is not padding
            best[:] = x[n, h + i0, v + j0]
            where[:] = i0 * kw + j0
            for i in range(i0, min(kh, H - h)):
                for j in range(j0, min(kw, W - v)):
                    pixel, tap = x[n, h + i, v + j], where.dtype.type(i * kw + j)
                    for c in range(C):
                        wins = not pixel[c] <= best[c] and best[c] == best[c]  # a NaN beats all numbers, no later one beats it
                        best[c] = pixel[c] if wins else best[c]
                        where[c] = tap if wins else where[c]


@kernel()
def maximum_grad(dy, winner, kh, kw, sh, sw, top, left, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows that (h, w) won"""
    N, H, W, C = dx.shape
    _, P, Q, _ = dy.shape
    for task in prange(N * H):  # a task owns one row of dx, and gathers from the windows that see it
        n, h = divmod(np.intp(task), H)
        dx[n, h] = 0
        for i in range(kh - 1, -1, -1):  # so that p goes up
            p, rest = divmod(h + top - i, sh)
            if rest or p < 0 or p >= P:
                continue
            for q in range(Q):
                grads, where = dy[n, p, q], winner[n, p, q]
                for j in range(max(0, left - q * sw), min(kw, W + left - q * sw)):
                    pixel, tap = dx[n, h, q * sw - left + j], where.dtype.type(i * kw + j)
                    for c in range(C):
                        pixel[c] += grads[c] if where[c] == tap else 0


@kernel()
def average(x, kh, kw, sh, sw, top, left, row_counts, col_counts, y):
    """y[n,p,q,c] = sum_ij x[n, p*sh - top + i, q*sw - left + j, c] / (row_counts[p] * col_counts[q])"""
    N, P, Q, C = y.shape
    _, H, W, _ = x.shape
    for task in prange(N * P):  # a task owns one row of y
        n, p = divmod(np.intp(task), P)
        h = p * sh - top
        for q in range(Q):
            v = q * sw - left
            sums = y[n, p, q]
            sums[:] = 0
            for i in range(max(0, -h), min(kh, H - h)):
                for j in range(max(0, -v), min(kw, W - v)):
                    pixel = x[n, h + i, v + j]
                    for c in range(C):
                        sums[c] += pixel[c]
            count = sums.dtype.type(row_counts[p] * col_counts[q])
            for c in range(C):
                sums[c] /= count


@kernel()
def average_grad(dy, kh, kw, sh, sw, top, left, row_counts, col_counts, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] / (row_counts[p] * col_counts[q]) over the windows that see (h, w)"""
    N, H, W, C = dx.shape
    _, P, Q, _ = dy.shape
    for task in prange(N * H):  # a task owns one row of dx
        n, h = divmod(np.intp(task), H)
        dx[n, h] = 0
        for i in range(kh - 1, -1, -1):
            p, rest = divmod(h + top - i, sh)
            if rest or p < 0 or p >= P:
                continue
            for q in range(Q):
                grads, count = dy[n, p, q], dx.dtype.type(row_counts[p] * col_counts[q])
                for j in range(max(0, left - q * sw), min(kw, W + left - q * sw)):
                    pixel = dx[n, h, q * sw - left + j]
                    for c in range(C):
                        pixel[c] += grads[c] / count
