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
from fastconv.machine import cpu, get_threads, kernel

__all__ = ["forward"]

ROWS, VECTORS = {16: 4, 32: 8}, 2  # of w that are in registers for all pixels, by number of registers


@emits()
def add_channels(v, x, x_at, C, w, w_at, count, sums, sums_at, O, M):
    """sums[m,o] += the sum of x[m,c] * w[c,o] over `count` neighbouring channels c."""
    rows, values, weights, totals = ROWS[cpu().registers], v.at(x, x_at), v.at(w, w_at), v.at(sums, sums_at)
    whole = v.builder.udiv(count, v.index(rows))
    with v.loop(whole) as i:
        c = v.add((i, rows))
        add_rows(v, v.at(values, c), C, v.at(weights, (c, O)), rows, totals, O, M)
    done = v.add((whole, rows))
    with v.loop(v.builder.sub(count, done)) as i:
        c = v.add(done, i)
        add_rows(v, v.at(values, c), C, v.at(weights, (c, O)), 1, totals, O, M)


def add_rows(v, x, C, start, rows, sums, O, M):
    """The instructions for a few channels.  The rows after theirs are asked for, line after line, for the second cache: where
    several rows are read side by side, not every CPU looks ahead far enough by itself."""
    strip, following = VECTORS * v.lanes, v.at(start, (rows, O))

    def add(done, s, masks):
        for line in range(rows * VECTORS):
            v.prefetch(v.at(following, (s, rows * strip), line * v.lanes), near=False)
        taps = [[v.load(v.at(start, done, (r, O), n * v.lanes), mask) for n, mask in masks] for r in range(rows)]
        with v.loop(M) as m:
            here, values = v.at(sums, done, (m, O)), v.at(x, (m, C))
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
            add_channels(values, c, C, weights, c * O, end - c, sums, k * M * O, O, M)
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
