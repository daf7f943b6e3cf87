"""Depthwise convolution, one filter for each channel, and its gradients: along runs of pixels, vector by vector of channels.

y[n,p,q,c] = b[c] + sum_ij x[n, p*sh - top + i*dh, q*sw - left + j*dw, c] * w[i,j,0,c]

Few multiplications meet many numbers, so that reading decides.  Where all taps of a small filter are inside the image, a few
neighbouring pixels are done together: each weight is read once for all of them, and each pixel under two of them once for both.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.kernels.activation import finish, in_registers
from fastconv.kernels.blocks import FEW_PIXELS, block_count
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.padding import as_read, fold, grad_target
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.parts import forward_parts, input_grad_parts
from fastconv.kernels.runs import RUN, SIDE_BY_SIDE, over_channels, over_taps, runs_of
from fastconv.kernels.sharing import fresh_turns, next_task
from fastconv.kernels.tile import activate, call_tile, compiled_address
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import cpu, get_threads, kernel

__all__ = ["forward", "input_grad", "weight_grad"]

MOST_TAPS = 9  # of a filter whose taps are written out one by one
MANY = 8  # pixels of a run for whose taps a tile is made
SIZES = (12, 4, 1), (8, 4, 1), (4, 2, 1), (2, 1), (1,)  # pixels that are done together


@dataclass(frozen=True)
class Together:
    """Neighbouring pixels that share what they read, for filters of kh x kw taps; pixels are `slide` taps apart."""

    itemsize: int
    kh: int
    kw: int
    slide: int
    most = 8  # pixels

    def shared(self, v, x, run, start, row, pixels, mask):
        """{column: vector of x} in one row under `pixels` neighbouring windows that begin at `start`: all rows at once would not
        fit the registers."""
        columns = sorted({n * self.slide + j for n in range(pixels) for j in range(self.kw)})
        return {j: v.load(v.at(x, start, (row, run["a_i"]), (j, run["a_j"])), mask) for j in columns}

    def tap(self, v, run, i, j):
        """Number of a tap of the filter."""
        return v.add(run["tap"], (i, run["tap_i"]), (j, run["tap_j"]))

    def registers(self, pixels):
        """What so many pixels take: their sums or gradients, the columns under them, and two for the tap."""
        return pixels + (pixels - 1) * self.slide + self.kw + 2

    def groups(self, v, run, body):
        """body(first pixel, pixels) for all pixels of a run, as many at a time as the registers take while there are."""
        fitting = (some for some in SIZES if some[0] <= self.most and self.registers(some[0]) <= cpu().registers)
        done = v.index(0)
        for many in next(fitting, SIZES[-1]):
            times, first = v.builder.udiv(v.builder.sub(run["count"], done), v.index(many)), done
            with v.loop(times) as group:
                body(v.add(first, (group, many)), many)
            done = v.add(first, (times, many))


@dataclass(frozen=True)
class Sum(Together):
    """A run of y or dx."""

    @property
    def name(self):
        return f"depthwise_{8 * self.itemsize}bit_sum_{self.kh}x{self.kw}_slide{self.slide}"

    def write(self, v, x, w, y, bias, block, activation, channels):
        run = v.integers(block, RUN)

        def together(first, pixels):
            start, place = v.add(run["a"], (first, run["a_step"])), v.add(run["c"], (first, run["c_step"]))

            def few(places):
                [(offset, mask)] = places
                sums = [v.variable(v.load(v.at(bias, offset), mask)) for _ in range(pixels)]
                for i in range(self.kh):
                    values = self.shared(v, v.at(x, offset), run, start, i, pixels, mask)
                    for j in range(self.kw):
                        weight = v.load(v.at(w, (self.tap(v, run, i, j), channels), offset), mask)
                        for n, total in enumerate(sums):
                            term = v.multiply_add(values[n * self.slide + j], weight, v.builder.load(total))
                            v.builder.store(term, total)
                activate(v, activation, sums)
                for n, total in enumerate(sums):
                    v.store(v.builder.load(total), v.at(y, place, offset, (n, run["c_step"])), mask)

            over_channels(v, channels, 1, few)

        self.groups(v, run, together)


@dataclass(frozen=True)
class AnySum:
    """A run of y or dx with any number of taps."""

    itemsize: int

    @property
    def name(self):
        return f"depthwise_{8 * self.itemsize}bit_sum"

    def write(self, v, x, w, y, bias, block, activation, channels):
        run = v.integers(block, RUN)

        with v.loop(run["count"]) as q:
            start, place = v.add(run["a"], (q, run["a_step"])), v.add(run["c"], (q, run["c_step"]))

            def few(places):
                sums = [v.variable(v.load(v.at(bias, offset), mask)) for offset, mask in places]

                def add(tap, step, _):
                    for (offset, mask), total in zip(places, sums, strict=True):
                        value, weight = v.load(v.at(x, start, offset, step), mask), v.load(v.at(w, (tap, channels), offset), mask)
                        v.builder.store(v.multiply_add(value, weight, v.builder.load(total)), total)

                over_taps(v, run, add)
                activate(v, activation, sums)
                for (offset, mask), total in zip(places, sums, strict=True):
                    v.store(v.builder.load(total), v.at(y, place, offset), mask)

            over_channels(v, channels, SIDE_BY_SIDE, few)


@dataclass(frozen=True)
class Gradient(Together):
    """What a run of dy adds to the gradient of the weights, whose taps are loaded and stored for all pixels that go together."""

    most = 12

    @property
    def name(self):
        return f"depthwise_{8 * self.itemsize}bit_gradient_{self.kh}x{self.kw}_slide{self.slide}"

    def write(self, v, x, dy, dw, _, block, __, channels):
        run = v.integers(block, RUN)

        def together(first, pixels):
            start, place = v.add(run["a"], (first, run["a_step"])), v.add(run["c"], (first, run["c_step"]))

            def few(places):
                [(offset, mask)] = places
                gradients = [v.load(v.at(dy, place, offset, (n, run["c_step"])), mask) for n in range(pixels)]
                for i in range(self.kh):
                    values = self.shared(v, v.at(x, offset), run, start, i, pixels, mask)
                    for j in range(self.kw):
                        target = v.at(dw, (self.tap(v, run, i, j), channels), offset)
                        total = v.load(target, mask)
                        for n, gradient in enumerate(gradients):
                            total = v.multiply_add(values[n * self.slide + j], gradient, total)
                        v.store(total, target, mask)

            over_channels(v, channels, 1, few)

        self.groups(v, run, together)


@dataclass(frozen=True)
class AnyGradient:
    """The same with any number of taps."""

    itemsize: int

    @property
    def name(self):
        return f"depthwise_{8 * self.itemsize}bit_gradient"

    def write(self, v, x, dy, dw, _, block, __, channels):
        run = v.integers(block, RUN)

        def one(tap, step, _):
            def few(places):
                sums = [v.variable(v.load(v.at(dw, (tap, channels), offset), mask)) for offset, mask in places]
                with v.loop(run["count"]) as q:
                    start, place = v.add(run["a"], step, (q, run["a_step"])), v.add(run["c"], (q, run["c_step"]))
                    for (offset, mask), total in zip(places, sums, strict=True):
                        value, gradient = v.load(v.at(x, start, offset), mask), v.load(v.at(dy, place, offset), mask)
                        v.builder.store(v.multiply_add(value, gradient, v.builder.load(total)), total)
                for (offset, mask), total in zip(places, sums, strict=True):
                    v.store(v.builder.load(total), v.at(dw, (tap, channels), offset), mask)

            over_channels(v, channels, SIDE_BY_SIDE, few)

        over_taps(v, run, one)


@functools.cache
def address_of(tile):
    return compiled_address(tile.name, tile.write, tile.itemsize, lanes_of(tile.itemsize))


@kernel()
def convolve_rows(x, w, bias, y, starts, runs, tiles, activation):
    """Rows of y (or of dx, from dy) as the runs say."""
    N, P, Q, C = y.shape
    source, target, size = x.reshape(-1), y.reshape(-1), x.shape[1] * x.shape[2] * C
    for task in prange(N * P):  # a task owns one row of y
        before = flush_denormals()
        n, p = divmod(np.intp(task), P)
        for r in range(starts[p], starts[p + 1]):
            call_tile(source, n * size, tiles[r], w, 0, target, n * P * Q * C, bias, 0, runs, r * len(RUN), activation, C)
        restore_denormals(before)


@kernel()
def gradient_rows(x, dy, parts, starts, runs, tiles, threads, turns):
    """parts[b] = what the rows of block b add to the gradient of the weights."""
    N, P, Q, C = dy.shape
    B, source, gradient, sums = len(parts), x.reshape(-1), dy.reshape(-1), parts.reshape(-1)
    size, weights = x.shape[1] * x.shape[2] * C, sums.size // B
    for thread in prange(threads):  # a task owns one partial sum
        before = flush_denormals()
        b = next_task(turns, 0, thread, B)
        while b < B:
            sums[b * weights : (b + 1) * weights] = 0
            for row in range(b * N * P // B, (b + 1) * N * P // B):
                n, p = divmod(row, P)
                at = n * P * Q * C
                for r in range(starts[p], starts[p + 1]):
                    call_tile(source, n * size, tiles[r], gradient, at, sums, b * weights, sums, 0, runs, r * len(RUN), 0, C)
            b = next_task(turns, 0, thread, B)
        restore_denormals(before)


def with_tiles(table, geo, itemsize, together, any_taps):
    """(starts, runs, address of the tile of each run)."""
    starts, runs = table
    tiles = []
    for run in runs.reshape(-1, len(RUN)).tolist():
        known = dict(zip(RUN, run, strict=True))
        slide, rest = divmod(known["a_step"], known["a_j"]) if known["a_j"] else (0, 0)
        taps, every = (known["i"], known["j"]), known["count"] >= MANY and geo.sh * geo.sw > 1  # what a stride leaves of a filter
        written = (taps == (geo.kh, geo.kw) or every) and 1 <= taps[0] * taps[1] <= MOST_TAPS
        tile = together(itemsize, *taps, slide) if written and not rest and 1 <= slide <= 2 else any_taps(itemsize)
        tiles.append(address_of(tile))
    return starts, runs, np.array(tiles, np.int64)


@functools.lru_cache(maxsize=1024)
def forward_table(geo, itemsize, gradient):
    """Runs of y, or of dy for the gradient of the weights, of one image."""
    rows = forward_parts(0, geo.p, geo.h, geo.kh, geo.sh, geo.dh, geo.pads[0][0])
    cols = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    runs = runs_of(rows, cols, geo.w, geo.q, geo.c, (geo.kh, geo.kw), backward=False)
    return with_tiles(runs, geo, itemsize, *((Gradient, AnyGradient) if gradient else (Sum, AnySum)))


@functools.lru_cache(maxsize=1024)
def backward_table(geo, itemsize):
    """Runs of dx of one image."""
    rows = input_grad_parts(0, geo.h, geo.p, geo.kh, geo.sh, geo.dh, geo.pads[0][0])
    cols = input_grad_parts(0, geo.w, geo.q, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    runs = runs_of(rows, cols, geo.q, geo.w, geo.c, (geo.kh, geo.kw), backward=True)
    return with_tiles(runs, geo, itemsize, Sum, AnySum)


@functools.lru_cache(maxsize=1024)
def one_image(geo):
    """The geometry of an image as it is read."""
    return replace(geo.written_out, n=1)


def forward(geo, x, w, b, activation, y):
    x, _ = as_read(x, geo)
    convolve_rows(x, w.reshape(-1), b, y, *forward_table(one_image(geo), x.itemsize, False), in_registers(activation))
    finish(y, activation)


def input_grad(geo, dy, w, dx):
    target = grad_target(dx, geo)
    convolve_rows(dy, w.reshape(-1), aligned.zeros(geo.c, dy.dtype), target, *backward_table(one_image(geo), dy.itemsize), 0)
    fold(target, geo, dx)


def weight_grad(geo, x, dy, dw):
    x, _ = as_read(x, geo)
    parts = partial_sums(block_count(geo, x.itemsize, FEW_PIXELS), dw)
    table, threads = forward_table(one_image(geo), x.itemsize, True), min(get_threads(), len(parts))
    gradient_rows(x, dy, parts, *table, threads, fresh_turns(1, threads))
    add_blocks(parts, dw)
