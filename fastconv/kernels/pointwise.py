"""A 1x1 convolution of few pixels, such as a dense layer for few examples: each weight is read once, as they lie.

y[m,o] = b[o] + sum_c x[m,c] * w[c,o]

There are hardly more multiplications than weights, so that reading decides: all cores read, each a block of input channels, a
few rows of w side by side.  The blocks follow from the shape alone, and their sums are added up as a tree.
"""

from numba import prange

from fastconv.kernels.activation import activate_rows
from fastconv.kernels.blocks import channel_blocks
from fastconv.kernels.codes import NONE
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import emits
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.sharing import fresh_turns, next_task
from fastconv.machine import get_threads, kernel

__all__ = ["forward"]

ROWS, VECTORS = 4, 2  # of w that are in registers for all pixels


@emits("rows")
def add_rows(v, x, x_at, C, w, w_at, rows, sums, sums_at, O, M):
    """sums[m,o] += the sum of x[m,c] * w[c,o] over a few neighbouring channels c.  The rows after them are asked for, line after
    line: where several rows are read side by side, the CPU does not look ahead far enough by itself."""
    strip, start = VECTORS * v.lanes, v.at(w, w_at)
    following = v.at(start, (rows, O))

    def add(done, s, masks):
        for line in range(rows * VECTORS):
            v.prefetch(v.at(following, (s, rows * strip), line * v.lanes))
        taps = [[v.load(v.at(start, done, (r, O), n * v.lanes), mask) for n, mask in masks] for r in range(rows)]
        with v.loop(M) as m:
            here, values = v.at(sums, sums_at, done, (m, O)), v.at(x, x_at, (m, C))
            totals = [v.load(v.at(here, n * v.lanes), mask) for n, mask in masks]
            for r, row in enumerate(taps):
                value = v.splat(v.builder.load(v.at(values, r)))
                totals = [v.multiply_add(value, tap, total) for tap, total in zip(row, totals, strict=True)]
            for (n, mask), total in zip(masks, totals, strict=True):
                v.store(total, v.at(here, n * v.lanes), mask)

    whole = v.builder.udiv(O, v.index(strip))
    with v.loop(whole) as s:
        add(v.add((s, strip)), s, [(n, None) for n in range(VECTORS)])
    done = v.add((whole, strip))
    with v.if_smaller(done, O):
        left = [v.within(v.builder.sub(O, v.add(done, n * v.lanes))) for n in range(VECTORS)]
        add(done, whole, [(n, v.first_lanes(lanes)) for n, lanes in enumerate(left)])


@kernel()
def sum_channels(x, w, b, parts, threads, turns):
    """parts[k,m,o] = sum of x[m,c] * w[c,o] over the channels c of block k; the first one begins with b[o]."""
    (M, C), (B, _, O) = x.shape, parts.shape
    values, weights, sums = x.reshape(-1), w.reshape(-1), parts.reshape(-1)
    for thread in prange(threads):  # a task owns the sums of a block
        before = flush_denormals()
        k = next_task(turns, 0, thread, B)
        while k < B:
            for m in range(M):
                parts[k, m] = 0
                if k == 0:
                    parts[k, m] = b
            c, end = k * C // B, (k + 1) * C // B
            while c < end:
                if c + ROWS <= end:
                    add_rows(values, c, C, weights, c * O, ROWS, sums, k * M * O, O, M)
                    c += ROWS
                else:
                    add_rows(values, c, C, weights, c * O, 1, sums, k * M * O, O, M)
                    c += 1
            k = next_task(turns, 0, thread, B)
        restore_denormals(before)


def forward(geo, x, w, b, activation, y):
    total = y.reshape(-1, geo.o)
    parts = partial_sums(channel_blocks(geo, y.itemsize), total)
    threads = min(get_threads(), len(parts))
    sum_channels(x.reshape(-1, geo.c), w.reshape(-1, geo.o), b, parts, threads, fresh_turns(1, threads))
    add_blocks(parts, total)
    if activation != NONE:
        activate_rows(total, activation)
