"""How a convolution is walked tile by tile: tables of int64, made once for a shape and read by one small kernel.

A *run* is a row of results that all sum over the same taps; where a border or a stride leaves taps out, the run is another, so
no padded copy is needed.  A *panel* is a few vectors of neighbouring channels.  A *segment* says: for these runs and panels,
call the tiles, with a, b and c beginning here.  A task of the kernel is a list of segments.  Nothing chosen here changes a bit
of the result: each result is summed whole, in an order that only the shape decides.
"""

import functools
from bisect import bisect_left
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

import numpy as np

from fastconv.kernels.blocks import FEW_CHANNELS, balanced
from fastconv.kernels.tile import STEPS, Tile, most_rows, tile_address

__all__ = [
    "Schedule", "forward_parts", "forward_runs", "in_pieces", "input_grad_parts", "input_grad_runs", "tables", "weight_grad_runs",
]  # fmt: skip

TERMS = [4 + STEPS.index(name) for name in "ijk"]  # columns of `Schedule.runs`: their product are the terms of a sum


class Schedule(NamedTuple):
    """The tables that `tiled.walk` reads."""

    starts: np.ndarray  # (tasks + 1,): the first segment of each task
    segments: np.ndarray  # (segments, 7): where a, rows of b and c begin; first and end of runs; first and end of panels
    runs: np.ndarray  # (runs, 4 + steps): offsets in a, in rows of b, in c; number of rows; then the tile's steps
    panels: np.ndarray
    tiles: np.ndarray  # (kinds, rows + 1): addresses
    most: np.ndarray  # (kinds,): rows of the tallest tile
    packing: np.ndarray  # (kinds,): address of the tile that packs a panel on its way, the first of the first run; else 0
    asking: np.ndarray  # (kinds, rows + 1): addresses of the tiles that ask for what comes next
    piece: int  # rows of b that all runs go over before the next ones, which are asked for meanwhile; 0: a sum is not cut


def run(a, b, c, count, **steps):
    """One row of `Schedule.runs`; steps that are not given are 0, counts 1; a loop of a single turn is not the innermost."""
    given = {"i": 1, "j": 1, "k": 1} | steps
    if given["k"] == 1:
        for outer, inner in (("j", "k"), ("a_j", "a_k"), ("b_j", "b_k")):
            given[outer], given[inner] = given.get(inner, 0), given.get(outer, 0)
    return (a, b, c, count, *(given.get(name, 0) for name in STEPS))


def in_pieces(runs, piece):
    """Runs that go over `piece` rows of b at a time, all of them over the first rows, then all over the next.

    Their taps lie in a row of numbers each (j = b_k = 1); a run that sees no tap stays as it is.
    """
    found = []
    for a, b, c, rows, *steps in runs:
        named = dict(zip(STEPS, steps, strict=True))
        parts = [
            (a + i * named["a_i"] + k * named["a_k"], b + i * named["b_i"] + k, count) for i, k, count in in_rows(b, named, piece)
        ]
        for n, (a_at, b_at, count) in enumerate(parts):
            activation = named["activation"] if n == len(parts) - 1 else 0
            more = {"i": 1, "k": count, "accumulate": int(n > 0), "activation": activation}
            found.append((a_at, b_at, c, rows, *(named | more).values()))
        if not parts:
            found.append((a, b, c, rows, *steps))
    return sorted(found, key=lambda one: one[1] // piece)


def in_rows(b, steps, piece):
    """(i, first k, how many) of a run that begins with row b, so that none goes over the end of a piece."""
    for i in range(steps["i"]):
        k = 0
        while k < steps["k"]:
            count = min(steps["k"] - k, piece - (b + i * steps["b_i"] + k) % piece)
            yield i, k, count
            k += count


@dataclass(frozen=True)
class Part:
    """Positions first, first + every, ... of one axis of the result that all sum over the same taps.

    Tap e of the sum reads position `source + e * source_step` of a (for the first position; one position on moves it by
    `source_every`) and is tap `tap + e * tap_step` of the filter.
    """

    first: int
    count: int
    every: int
    source: int
    source_step: int
    source_every: int
    tap: int
    tap_step: int
    taps: int


def parts_of(positions, taps_of, every, source_step, source_every, tap_step):
    """Neighbouring `positions` with the same taps as Parts; taps_of(position) gives (source of first tap, first tap, taps)."""
    found, i = [], 0
    while i < len(positions):
        source, *seen = taps_of(positions[i])
        rest, differs = positions[i:], lambda position, seen=seen: [*taps_of(position)[1:]] != seen
        if seen[1]:  # taps that are left behind do not come again
            count = bisect_left(rest, True, key=differs)
        else:
            count = next((n for n, position in enumerate(rest) if differs(position)), len(rest))
        found.append(Part(positions[i], count, every, source, source_step, source_every, seen[0], tap_step, seen[1]))
        i += count
    return found


def forward_parts(first, end, size, kernel, stride, dilation, before):
    """Parts of the output positions first ... end: output q reads input q*stride - before + tap*dilation."""

    def taps_of(q):
        start = q * stride - before
        tap = min(kernel, max(0, -(start // dilation)))
        return start + tap * dilation, tap, max(0, min(kernel, -(-(size - start) // dilation)) - tap)

    return parts_of(range(first, end), taps_of, 1, dilation, stride, 1)


def input_grad_parts(first, end, outputs, kernel, stride, dilation, before):
    """Parts of the input positions first ... end, one series for each remainder by the stride: the filter is flipped, so that
    input h gets from output p = (h + before - i*dilation) / stride through tap kernel - 1 - i, with p and tap both going up."""
    tap_step = stride // gcd(stride, dilation)
    parts = []
    for series in range(first, min(first + stride, end)):

        def taps_of(h):
            meets = [i for i in range(kernel) if (h + before - i * dilation) % stride == 0]
            inside = [i for i in meets if 0 <= (h + before - i * dilation) // stride < outputs]
            return ((h + before - inside[-1] * dilation) // stride, kernel - 1 - inside[-1], len(inside)) if inside else (0, 0, 0)

        parts += parts_of(range(series, end, stride), taps_of, stride, dilation * tap_step // stride, 1, tap_step)
    return parts


def image_runs(rows, cols, a_row, a_pixel, c_row, c_pixel, kw, channels, merge, activation):
    """Runs over all pairs of a Part of rows and a Part of columns, along the longer of the two."""
    runs = []
    for r in rows:
        for s in cols:
            merged = merge and s.source_step == s.tap_step == 1  # taps of a row and their channels are neighbours in a and in b
            steps = {
                "a_i": r.source_step * a_row,
                "a_j": s.source_step * a_pixel,
                "a_k": 1,
                "b_i": r.tap_step * kw * channels,
                "b_j": s.tap_step * channels,
                "b_k": 1,
                "i": r.taps,
                "j": 1 if merged else s.taps,
                "k": s.taps * channels if merged else channels,
                "activation": activation,
            }
            a, b = r.source * a_row + s.source * a_pixel, (r.tap * kw + s.tap) * channels
            c = r.first * c_row + s.first * c_pixel
            down, along = (r.source_every * a_row, r.every * c_row), (s.source_every * a_pixel, s.every * c_pixel)
            (many, step), (few, other) = ((s.count, along), (r.count, down))
            if s.count < min(4, r.count):
                (many, step), (few, other) = (few, other), (many, step)
            runs += [run(a + f * other[0], b, c + f * other[1], many, a_m=step[0], c_m=step[1], **steps) for f in range(few)]
    return runs


def forward_runs(geo, first, end, activation):
    """Runs of the output rows first ... end of one image: rows of a are input pixels, b is w, k counts input channels."""
    rows = forward_parts(first, end, geo.h, geo.kh, geo.sh, geo.dh, geo.pads[0][0])
    cols = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    merge = geo.groups == 1 or geo.kw == 1
    channels = geo.c // geo.groups
    return image_runs(rows, cols, geo.w * geo.c, geo.c, geo.q * geo.o, geo.o, geo.kw, channels, merge, activation)


def input_grad_runs(geo, first, end):
    """Runs of the rows first ... end of one image of dx: rows of a are pixels of dy, b is w flipped, k counts filters."""
    rows = input_grad_parts(first, end, geo.p, geo.kh, geo.sh, geo.dh, geo.pads[0][0])
    cols = input_grad_parts(0, geo.w, geo.q, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    merge = geo.groups == 1 or geo.kw == 1
    return image_runs(rows, cols, geo.q * geo.o, geo.o, geo.w * geo.c, geo.c, geo.kw, geo.o // geo.groups, merge, 0)


def weight_grad_runs(geo, first, end, taps, part, accumulate):
    """Runs of dw over the output rows first ... end of one image: rows of a are input channels, b is dy, j and k its pixels.

    `taps`, `part` = (first, end) of the rows of the filter and of the input channels of a group.
    """
    (top, _), (left, _) = geo.pads
    channels, runs = geo.c // geo.groups, []
    columns = columns_together(geo)
    for i in range(*taps):
        p0, p1 = readers(i * geo.dh - top, geo.h, geo.sh, first, end)
        if columns and p1 > p0:
            down = {"j": p1 - p0, "a_j": geo.sh * geo.w * geo.c, "b_j": geo.q}
            above = (p0 * geo.sh + i * geo.dh - top) * geo.w
            for number, s in enumerate(columns):
                a, c = (above + s.source) * geo.c, (i * geo.kw + s.tap) * geo.c * geo.o
                steps = {"a_m": 1, "c_m": geo.o, "k": s.count, "a_k": geo.sw * geo.c, "b_k": 1, **down}
                more = accumulate if number == 0 else 1
                runs.append(run(a, p0 * geo.q + s.first, c, s.taps * geo.c, accumulate=more, **steps))
            continue
        for j in range(geo.kw):
            q0, q1 = readers(j * geo.dw - left, geo.w, geo.sw, 0, geo.q)
            a = ((p0 * geo.sh + i * geo.dh - top) * geo.w + q0 * geo.sw + j * geo.dw - left) * geo.c + part[0]
            c, rows = ((i * geo.kw + j) * channels + part[0]) * geo.o, part[1] - part[0]
            down = {"j": p1 - p0, "a_j": geo.sh * geo.w * geo.c, "b_j": geo.q}
            along = {"k": q1 - q0, "a_k": geo.sw * geo.c, "b_k": 1}
            steps = {"a_m": 1, "c_m": geo.o, "accumulate": accumulate, **down, **along}
            if p1 > p0 and q1 > q0:
                runs.append(run(a, p0 * geo.q + q0, c, rows, **steps))
            elif not accumulate:
                runs.append(run(0, 0, c, rows, **{**steps, "j": 0}))
    return runs


@functools.lru_cache(maxsize=64)
def columns_together(geo):
    """Where a row of taps and its channels are rows of one tile, since channels alone would be too few: the columns of dy as
    Parts, those first that see all taps; else None."""
    if geo.c >= FEW_CHANNELS or geo.groups > 1 or geo.kw == 1 or geo.dw > 1:
        return None
    parts = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, 1, geo.pads[1][0])
    parts = sorted((part for part in parts if part.taps), key=lambda part: -part.taps)
    return parts if parts and parts[0].taps == geo.kw else None


def readers(offset, size, stride, first, end):
    """The outputs p in first ... end whose tap at `offset` falls on the image: 0 <= p*stride + offset < size."""
    return max(first, -(offset // stride)), min(end, -(-(size - offset) // stride))


def tables(tasks, runs, panels, itemsize, packs=False, piece=0):
    """The `Schedule` of tasks (lists of segments), with the tiles that it needs compiled; the first tile `packs` a panel where
    its run needs all of it; with a `piece` the runs are `in_pieces` of that size."""
    runs = np.array(runs, np.int64).reshape(-1, 4 + len(STEPS))
    most = [most_rows()[vectors] for vectors, _ in panels.kinds]
    tiles, packing = np.zeros((len(panels.kinds), max(most) + 1), np.int64), np.zeros(len(panels.kinds), np.int64)
    asking = np.zeros_like(tiles)
    for kind, (vectors, masked) in enumerate(panels.kinds):
        for height in {part for count in np.unique(runs[:, 3]) for part in balanced(int(count), most[kind])}:
            tiles[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked))
            if piece:
                asking[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked, asks=True))
        if packs and runs[0, TERMS].prod() == panels.packed_rows:
            height = balanced(int(runs[0, 3]), most[kind])[0]
            packing[kind] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked, packs))
    segments = np.array([segment for task in tasks for segment in task], np.int64).reshape(-1, 7)
    starts = np.cumsum([0, *map(len, tasks)])
    return Schedule(starts, segments, runs, panels.rows, tiles, np.array(most), packing, asking, piece)
