"""The weight gradient with a group of images as the lanes: for batches with few channels.

Both arrays are turned to [row, column, channel, image].  Each weight then has a vector of sums, one for each image of the group,
which grows over the pixels of all groups of a block; only at the end are its lanes added up.  The weights of one filter row are
neighbours, for the pixels and channels under it are.
"""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.blocks import MOST_BLOCKS, balanced, cuts
from fastconv.kernels.chain_walk import clear, run_tile
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.group_tile import TURN_STEPS, Turn, address_of
from fastconv.kernels.intrinsics import array_address, row_of
from fastconv.kernels.partial_sums import add_blocks
from fastconv.kernels.sharing import fresh_turns, next_task
from fastconv.kernels.tile import add_outer_product
from fastconv.machine import cpu, get_threads, kernel

__all__ = ["weight_grad"]

FLOAT = 4  # bytes
LEAST_PIXELS = 64  # of a band: the sums are loaded and stored for every band
BAND_BYTES = 24 << 10  # of a band of dy and the rows of x under it, where its pixels allow that
OUTER_STEPS = ("x_row", "x_pixel", "dy_row", "dy_pixel", "sums_row", "pixels")


@dataclass(frozen=True)
class Outer:
    """sums[m, n] += x[m] * dy[n], vectors all, over `count` rows of pixels: `rows` x `cols` sums stay in registers."""

    lanes: int
    rows: int
    cols: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_outer_{self.rows}x{self.cols}"

    def write(self, v, x, dy, out, _, block, count, __):
        step = v.integers(block, OUTER_STEPS)
        places = {(m, n): v.at(out, (m, step["sums_row"]), n * self.lanes) for m in range(self.rows) for n in range(self.cols)}
        sums = {at: v.variable(v.load(place)) for at, place in places.items()}
        with v.loop(count) as i, v.loop(step["pixels"]) as j:
            v.keep_rolled()
            here, there = v.at(x, (i, step["x_row"]), (j, step["x_pixel"])), v.at(dy, (i, step["dy_row"]), (j, step["dy_pixel"]))

            def value(m):
                return v.load(v.at(here, m * self.lanes))

            def gradient(n):
                return v.load(v.at(there, n * self.lanes))

            add_outer_product(v, sums, self.rows, self.cols, value, gradient)
        for at, place in places.items():
            v.store(v.builder.load(sums[at]), place)


@dataclass(frozen=True)
class Lanes:
    """out[k] = the sum of the lanes of vector k, as a tree, for whole vectors of k."""

    lanes: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_sum"

    def write(self, v, sums, _, out, __, ___, vectors, ____):
        with v.loop(vectors) as i:
            start = v.at(sums, (i, self.lanes * self.lanes))
            found = v.turned([v.load(v.at(start, k * self.lanes)) for k in range(self.lanes)])
            while len(found) > 1:
                half = len(found) // 2
                found = [v.builder.fadd(a, b) for a, b in zip(found[:half], found[half:], strict=True)]
            v.store(found[0], v.at(out, (i, self.lanes)))


class Tables(NamedTuple):
    """What the kernel reads; steps and places in floats of a workspace, where x, dy and the sums follow each other."""

    turn: int  # address of `Turn`
    fold: int  # address of `Lanes`
    into: np.ndarray  # of x and dy: (rows, floats of a row in the array, in the workspace, first place)
    passes: np.ndarray  # (address of the tile, place in x, place in dy, place in the sums)
    bands: np.ndarray  # rows of dy
    steps: np.ndarray
    x_row: int  # floats, times the stride
    dy_row: int
    sums_at: int
    sums: int  # floats
    space: int
    lanes: int


@functools.lru_cache(maxsize=256)
def tables(geo):
    """For a geometry of one image."""
    lanes, ((top, bottom), (left, right)) = cpu().vector_bytes // FLOAT, geo.pads
    x_row, dy_row = (left + geo.w + right) * geo.c * lanes, geo.q * geo.o * lanes
    dy_at = (top + geo.h + bottom) * x_row
    sums_at = dy_at + geo.p * dy_row
    weights = -(-geo.kh * geo.kw * geo.c * geo.o // lanes) * lanes
    outer = {
        "x_row": geo.sh * x_row, "x_pixel": geo.sw * geo.c * lanes, "dy_row": dy_row, "dy_pixel": geo.o * lanes,
        "sums_row": geo.o * lanes, "pixels": geo.q,
    }  # fmt: skip
    sides = [(geo.h, geo.w * geo.c, x_row, top * x_row + left * geo.c * lanes), (geo.p, geo.q * geo.o, dy_row, dy_at)]
    turns = [{"numbers": wide, "a_row": high * wide, "c_row": lanes, "wide": lanes} for high, wide, *_ in sides]
    steps = [outer[name] for name in OUTER_STEPS] + [turn[name] for turn in turns for name in TURN_STEPS]
    into = [(*side, len(OUTER_STEPS) + k * len(TURN_STEPS)) for k, side in enumerate(sides)]
    high = max(-(-LEAST_PIXELS // geo.q), BAND_BYTES // (FLOAT * (x_row * geo.sh + dy_row)))
    return Tables(
        address_of(Turn(lanes, inwards=True)), address_of(Lanes(lanes)), np.array(into),
        np.array(passes_of(geo, lanes, x_row, dy_at, sums_at)), np.array(balanced(geo.p, min(high, geo.p))), np.array(steps),
        geo.sh * x_row, dy_row, sums_at, weights * lanes, sums_at + weights * lanes, lanes,
    )  # fmt: skip


def passes_of(geo, lanes, x_row, dy_at, sums_at):
    """One tile after another over all filter rows, the pixels and channels under them, and the filters."""
    passes, taps, (most_rows, most_cols) = [], geo.kw * geo.c, tile_of(geo.o)
    for i in range(geo.kh):
        for m, rows in ends(balanced(taps, most_rows)):
            for n, cols in ends(balanced(geo.o, most_cols)):
                place = sums_at + ((i * taps + m) * geo.o + n) * lanes
                passes.append((address_of(Outer(lanes, rows, cols)), i * x_row + m * lanes, dy_at + n * lanes, place))
    return passes


def ends(parts):
    """[(where a part begins, its size), ...]"""
    starts = [sum(parts[:k]) for k in range(len(parts))]
    return zip(starts, parts, strict=True)


def tile_of(filters, processor=None):
    """(most rows, most columns) of a tile of sums that fills the registers, beside a row of dy and one vector of x, or two where
    multiply-adds take no operand from memory."""
    processor = processor or cpu()
    cols = balanced(filters, min(filters, 5 if processor.registers == 32 else 3))[0]
    others = 3 if processor.registers == 32 and processor.vector_bytes == 16 else 2
    return (processor.registers - others - cols) // cols, cols


@kernel()
def sum_groups(x, dy, space, groups, parts, table, turns):
    """parts[b] = dw of the groups[b] ... groups[b + 1] - 1; a row of `space` holds x, dy and the sums of one group."""
    N, slots, blocks, lanes = len(x), len(space), len(parts), table.lanes
    into, passes, steps, place, count = table.into, table.passes, table.steps, table.sums_at, table.sums
    for slot in prange(slots):  # a task owns the sums of its blocks and a row of the workspace
        before = flush_denormals()
        room, block = space[np.intp(slot)], next_task(turns, 0, slot, blocks)
        here = array_address(room)
        clear(room, 0, into[1, 3])  # the padding of x
        while block < blocks:
            clear(room, place, count)
            for g in range(groups[block], groups[block + 1]):
                images = min(lanes, N - g * lanes)
                turn_in(x, g * lanes, images, room, row_of(into, 0, 5), table.turn, steps)
                turn_in(dy, g * lanes, images, room, row_of(into, 1, 5), table.turn, steps)
                p = 0
                for high in table.bands:
                    for k in range(len(passes)):
                        tile, x_at, dy_at, at = row_of(passes, k, 4)
                        a, b = here + FLOAT * (x_at + p * table.x_row), here + FLOAT * (dy_at + p * table.dy_row)
                        run_tile(room, tile, a, b, here + FLOAT * at, here, steps, 0, high, 0)
                    p += high
            out = array_address(parts[block])
            run_tile(room, table.fold, here + FLOAT * place, here, out, here, steps, 0, count // (lanes * lanes), 0)
            block = next_task(turns, 0, slot, blocks)
        restore_denormals(before)


@register_jitable
def turn_in(images, first, count, room, side, turn, steps):
    """Images first ... first + count - 1, row by row; the lanes behind them become zeros."""
    rows, wide, step, at, block = side
    source, target = array_address(images) + FLOAT * first * images.shape[1], array_address(room) + FLOAT * at
    for h in range(rows):
        a, c = source + FLOAT * h * wide, target + FLOAT * h * step
        run_tile(room, turn, a, a, c, c, steps, block, count, 0)


def weight_grad(geo, x, dy, dw):
    table = tables(replace(geo, n=1))
    groups = -(-geo.n // table.lanes)
    shares = cuts(groups, min(groups, MOST_BLOCKS))
    space = aligned.workspace((min(get_threads(), len(shares)), table.space), np.float32)
    parts = aligned.workspace((len(shares), table.sums // table.lanes), np.float32)
    first = np.array([0] + [end for _, end in shares])
    sum_groups(x.reshape(geo.n, -1), dy.reshape(geo.n, -1), space, first, parts, table, fresh_turns(1, len(space)))
    add_blocks(parts[:, : dw.size].reshape(len(parts), *dw.shape), dw)
