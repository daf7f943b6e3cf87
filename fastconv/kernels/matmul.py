"""Matrix products, one for each group: A (M, G, K) times B (G, K, N) gives C (M, G, N).  Dense layers have G = 1.

Four terms are added at a time, so that a row of C is loaded and stored once for every four rows of B.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.activation import activate
from fastconv.machine import kernel

__all__ = ["product", "transposed_product"]

ROWS = 16  # rows of C in a task: a row of B fetched from memory is used this often


@register_jitable
def add_four(sums, a0, a1, a2, a3, b0, b1, b2, b3):
    """sums += a0 b0 + a1 b1 + a2 b2 + a3 b3"""
    for n in range(sums.size):
        sums[n] += a0 * b0[n] + a1 * b1[n] + a2 * b2[n] + a3 * b3[n]


@register_jitable
def add_one(sums, a, b):
    for n in range(sums.size):
        sums[n] += a * b[n]


@kernel()
def product(a, b, bias, activation, c):
    """c[m,g,n] = activation(bias[g,n] + sum_k a[m,g,k] * b[g,k,n])"""
    M, G, K = a.shape
    bands = (M + ROWS - 1) // ROWS
    for task in prange(bands * G):  # a task owns ROWS rows of one group of c
        band, g = divmod(np.intp(task), G)
        first, last = band * ROWS, min(M, (band + 1) * ROWS)
        for m in range(first, last):
            c[m, g] = bias[g]
        for k in range(0, K - 3, 4):
            b0, b1, b2, b3 = b[g, k], b[g, k + 1], b[g, k + 2], b[g, k + 3]
            for m in range(first, last):
                add_four(c[m, g], a[m, g, k], a[m, g, k + 1], a[m, g, k + 2], a[m, g, k + 3], b0, b1, b2, b3)
        for k in range(K - K % 4, K):
            for m in range(first, last):
                add_one(c[m, g], a[m, g, k], b[g, k])
        for m in range(first, last):
            activate(c[m, g], activation)


@kernel()
def transposed_product(a, b, c):
    """c[g,k,n] += sum_m a[m,g,k] * b[m,g,n]"""
    M, G, K = a.shape
    for task in prange(G * K):  # a task owns one row of c
        g, k = divmod(np.intp(task), K)
        sums = c[g, k]
        for m in range(0, M - 3, 4):
            add_four(
                sums, a[m, g, k], a[m + 1, g, k], a[m + 2, g, k], a[m + 3, g, k], b[m, g], b[m + 1, g], b[m + 2, g], b[m + 3, g]
            )
        for m in range(M - M % 4, M):
            add_one(sums, a[m, g, k], b[m, g])
