"""Convolution as a walk of the register tile over the image, neither padded nor unfolded, forward and backward."""

import functools
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.activation import finish, in_registers
from fastconv.kernels.aligned import LINE
from fastconv.kernels.blocks import cuts
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import array_address, emits
from fastconv.kernels.packing import (
    AS_IT_IS,
    COPIED,
    COUNTERS,
    FLIPPED,
    FORWARD,
    TASKS,
    by_taps,
    pack_all,
    pack_panel,
    share_packing,
)
from fastconv.kernels.padding import as_read, fold, grad_target
from fastconv.kernels.panels import arrangement, forward_panels, input_grad_panels, walked
from fastconv.kernels.schedule import Schedule, tables
from fastconv.kernels.sharing import fresh_turns, next_task
from fastconv.kernels.tile import STEPS, call_tile, call_tile_with, most_rows
from fastconv.kernels.tile_runs import forward_runs, in_pieces, input_grad_runs
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import cpu, get_threads, kernel

__all__ = ["forward", "input_grad", "launch"]

BAND_BYTES = 130_000  # of rows of a and of the result that all panels go over in turn: what L2 holds beside the weights
TURNS = 4  # tasks of a thread, if they are large enough
PIECE = 512  # rows of a panel that are fetched ahead, of a 1x1 convolution
LEAST_WORK = 250_000  # multiply-adds of a task
FAR = 4  # results of more than this part of the last cache are asked for
FIRST_STEP = 4  # columns of `runs` before the steps
B_AT = 1  # column of `Panels.rows`
K = FIRST_STEP + STEPS.index("k")
A_M, C_M = FIRST_STEP + STEPS.index("a_m"), FIRST_STEP + STEPS.index("c_m")


@kernel()
def walk(a, w, order, groups, b, bias, c, schedule, lanes, threads, turns):
    """Call the tiles that a `Schedule` names, on flat arrays; each of the threads takes one task after another.  Weights w that
    are not AS_IT_IS are packed or COPIED into b first: by all threads into its only row, or by each into a row of its own."""
    starts = schedule.starts
    for slot in prange(threads):  # a task owns the results of its segments, a slot its row of b
        before = flush_denormals()
        thread = np.intp(slot)
        packed = b[thread % len(b)]
        if len(b) == 1:
            share_packing(w, order, groups, schedule.panels, lanes, packed, turns, thread)
        task = next_task(turns, TASKS, thread, len(starts) - 1)
        if len(b) > 1 and task < len(starts) - 1:  # a thread that comes too late packs nothing
            pack_all(w, order, groups, schedule.panels, lanes, packed)
        while task < len(starts) - 1:
            for s in range(starts[task], starts[task + 1]):
                call_tiles(a, packed, bias, c, schedule.segments[s], schedule, 0)
            task = next_task(turns, TASKS, thread, len(starts) - 1)
        restore_denormals(before)


@kernel()
def walk_panels(a, w, order, groups, bias, c, schedule, lanes, scratch, turns):
    """The same for weights (taps, C, O) that are packed where they are used: a segment takes one panel."""
    starts, segments = schedule.starts, schedule.segments
    for slot in prange(len(scratch)):  # a task owns the results of its segments, a slot its row of scratch
        before = flush_denormals()
        thread, last = np.intp(slot), -1
        room, task = scratch[thread], next_task(turns, TASKS, thread, len(starts) - 1)
        while task < len(starts) - 1:
            for s in range(starts[task], starts[task + 1]):
                done = 0
                if segments[s, 5] != last:
                    last = segments[s, 5]
                    packing = schedule.packing[schedule.panels[last, 3]]
                    if packing:
                        first_tile(packing, a, w, bias, c, segments[s], schedule, room)
                        done = 1
                    else:
                        pack_panel(w, order == FLIPPED, groups, schedule.panels[last], lanes, room)
                call_tiles(a, room, bias, c, segments[s], schedule, done)
            task = next_task(turns, TASKS, thread, len(starts) - 1)
        restore_denormals(before)


@register_jitable
def call_tiles(a, b, bias, c, segment, schedule, done):
    """The runs of a segment, each cut into tiles of nearly equal height, with one panel after another; `done` tiles of the first
    run are done already."""
    runs, tiles, most = schedule.runs, schedule.tiles, schedule.most
    a_base, b_base, c_base, r0, r1, p0, p1 = segment
    table, width = runs.reshape(-1), runs.shape[1]
    for p in range(p0, p1):
        a_at, b_at, c_at, kind, tail, b_row, columns = schedule.panels[p]
        piece, asked, lines, there = -1, 0, 0, 0
        for r in range(r0, r1):
            if schedule.piece > 0 and runs[r, 1] // schedule.piece != piece:
                piece, asked = runs[r, 1] // schedule.piece, 0
                lines, there = lines_behind(b, b_at, b_row, piece, schedule.piece)
            a_here = a_base + a_at + runs[r, 0]
            b_here = b_at + (b_base + runs[r, 1]) * b_row
            c_here = c_base + c_at + runs[r, 2]
            count, block = runs[r, 3], r * width + FIRST_STEP
            parts = (count + most[kind] - 1) // most[kind]
            for part in range(parts):
                rows = count // parts + (1 if part < count % parts else 0)
                if schedule.far:
                    ask_for_results(c, c_here, rows, runs[r, C_M], columns)
                if asked < lines:
                    tile = schedule.asking[kind, rows]
                    call_tile_with(
                        a, a_here, tile, b, b_here, c, c_here, bias, c_at, table, block, tail, b_row, there + LINE * asked
                    )
                    asked += runs[r, K]
                elif part >= done or r > r0:
                    call_tile(a, a_here, tiles[kind, rows], b, b_here, c, c_here, bias, c_at, table, block, tail, b_row)
                a_here += rows * runs[r, A_M]
                c_here += rows * runs[r, C_M]


@register_jitable
def ask_for_results(c, at, rows, step, columns):
    """Ask for the lines of a tile's results, which are on their way while it multiplies: its stores would wait for one after the
    other."""
    for row in range(rows):
        for column in range(0, columns, LINE // c.itemsize):
            ask_to_write(c, at + row * step + column)


@emits()
def ask_to_write(v, c, at):
    v.prefetch(v.at(c, at), write=True)


@register_jitable
def lines_behind(b, b_at, b_row, piece, rows):
    """(lines of the cache in a piece of a panel, address of the first line behind this piece)."""
    size = rows * b_row * b.itemsize
    return size // LINE, array_address(b) + b_at * b.itemsize + (piece + 1) * size


@register_jitable
def first_tile(packing, a, w, bias, c, segment, schedule, room):
    """The first tile of a segment of one panel, which packs the panel on its way."""
    a_base, _, c_base, r, _, p, _ = segment
    a_at, _, c_at, _, tail, _, _ = schedule.panels[p]
    run = schedule.runs[r]
    a_here, c_here, block = a_base + a_at + run[0], c_base + c_at + run[2], r * len(run) + FIRST_STEP
    table, O, packed = schedule.runs.reshape(-1), w.shape[2], array_address(room)
    call_tile_with(a, a_here, packing, w.reshape(-1), c_at, c, c_here, bias, c_at, table, block, tail, O, packed)


def piece_of(arranged, geo, runs, itemsize):
    """Rows of a panel that all pixels of one image go over before the next, which are on their way meanwhile: where the second
    cache does not hold all weights, and few pixels share the time that it takes to fetch them.  0: a sum is not cut."""
    steps = [run[FIRST_STEP:] for run in runs]
    one_column = all(step[STEPS.index("j")] == step[STEPS.index("b_k")] == 1 for step in steps)
    by_tap = any(step[STEPS.index("accumulate")] for step in steps)
    if not (arranged.by_panels and arranged.lie_so and geo.n == 1 and one_column) or (by_tap and geo.kh == 1):
        return 0  # (a piece that is no row of taps could go on with sums before they begin)
    if arranged.panels.packed_size * itemsize < cpu().l2 // 2:
        return 0
    return arranged.panels.packed_rows // geo.kh if geo.kh > 1 else PIECE


def panel_tasks(sizes, panels, threads, runs_of):
    """(tasks, runs) of a walk by panels."""
    images, rows, a_image, c_image, *_ = sizes
    runs, count = sorted(runs_of(0, rows), key=lambda run: -terms_of(run)), len(panels.rows)
    tasks = [
        [(n * a_image, 0, n * c_image, 0, len(runs), p, p + 1) for p in range(*share) for n in range(images)]
        for share in cuts(count, min(count, TURNS * threads))
    ]
    return tasks, runs


def terms_of(run):
    """Products in a sum of a row of `Schedule.runs`."""
    return math.prod(run[FIRST_STEP + STEPS.index(name)] for name in "ijk")


def band_tasks(sizes, panels, threads, runs_of):
    """(tasks, runs) of a walk over bands of rows of whole images."""
    images, rows, a_image, c_image, row_bytes, row_work, unit = sizes
    bands, units = max(1, -(-rows * row_bytes // BAND_BYTES)), -(-rows // unit)
    if threads > 1:
        bands = max(bands, -(-min(TURNS * threads, images * rows * row_work // LEAST_WORK) // images))
    runs, edges = [], [0]
    for first, end in cuts(units, min(units, bands)):
        runs += runs_of(first * unit, min(rows, end * unit))
        edges.append(len(runs))
    tasks = [
        [(n * a_image, 0, n * c_image, edges[band], edges[band + 1], 0, len(panels.rows))]
        for n in range(images)
        for band in range(len(edges) - 1)
    ]
    return tasks, runs


def band_unit(columns, panels):
    """Rows that a band is a multiple of: where a row is one pixel, bands are whole tiles."""
    return most_rows()[panels.kinds[0][0]] if columns == 1 else 1


def forward_sizes(geo, itemsize, panels):
    """Images, rows of the result, numbers in an image of a and of c; for a row of the result its bytes, with those that it
    reads of a, and its multiply-adds; rows that a band is a multiple of."""
    row_bytes, row_work = (geo.sh * geo.w * geo.c + geo.q * geo.o) * itemsize, geo.macs // (geo.n * geo.p)
    return geo.n, geo.p, geo.h * geo.w * geo.c, geo.p * geo.q * geo.o, row_bytes, row_work, band_unit(geo.q, panels)


def input_grad_sizes(geo, itemsize, panels):
    row_bytes, row_work = (geo.q * geo.o // geo.sh + geo.w * geo.c) * itemsize, geo.macs // (geo.n * geo.h)
    return geo.n, geo.h, geo.p * geo.q * geo.o, geo.h * geo.w * geo.c, row_bytes, row_work, band_unit(geo.w, panels)


class Walk(NamedTuple):
    """A walk over images, ready to be called with arrays."""

    schedule: Schedule
    order: int  # what is done to the weights first
    room: tuple  # shape of the memory for packed weights
    on_the_way: bool  # whether they are packed there panel by panel
    threads: int


@functools.lru_cache(maxsize=1024)
def walk_of(geo, itemsize, threads, backward, kept, activation):
    """The `Walk` over the results, forward or for the input gradient, with weights that are `kept` in panels or not."""
    arranged, walk_geo = arrangement(geo, itemsize, backward, kept, threads), walked(geo)
    panels, at_once = arranged.panels, arranged.on_the_way
    sizes = (input_grad_sizes if backward else forward_sizes)(walk_geo, itemsize, panels)
    (vectors, _), *_ = (input_grad_panels if backward else forward_panels)(geo, itemsize).kinds  # for any number of threads

    def runs_of(first, end):
        if backward:
            return input_grad_runs(walk_geo, first, end, vectors)
        return forward_runs(walk_geo, first, end, vectors, activation)

    cut = panel_tasks if arranged.by_panels else band_tasks
    if at_once:  # each panel lies alone
        panels = replace(panels, rows=panels.rows.copy())
        panels.rows[:, B_AT] = 0
    tasks, runs = cut(sizes, panels, threads, runs_of)
    piece = piece_of(arranged, walk_geo, runs, itemsize)
    if piece:  # a segment of a walk by panels goes over all runs
        runs = in_pieces(runs, piece)
        tasks = [[(*start, first, len(runs), p, end) for *start, first, _, p, end in task] for task in tasks]
    far = sizes[0] * sizes[3] * itemsize > cpu().l3 // FAR
    schedule = tables(tasks, runs, panels, itemsize, at_once and not backward, piece, far=far)
    slots = min(threads, len(schedule.starts) - 1)
    order = order_of(arranged, backward, slots)
    return Walk(schedule, order, arranged.room(slots), at_once, slots)


def order_of(arranged, backward, threads):
    """What is done to the weights before a walk of so many threads."""
    if arranged.lie_so:
        return COPIED if arranged.own and threads > 1 else AS_IT_IS
    return FLIPPED if backward else FORWARD


def launch(schedule, a, b, bias, c):
    """`walk` with packed weights, or whatever else b may be."""
    threads = min(get_threads(), len(schedule.starts) - 1)
    b = b.reshape(1, -1)
    nothing, turns = b[:0].reshape(0, 0, 0), fresh_turns(COUNTERS, threads)
    walk(a.reshape(-1), nothing, AS_IT_IS, 1, b, bias, c.reshape(-1), schedule, 0, threads, turns)


def launch_images(geo, a, w, bias, c, backward, activation=0):
    """A walk over images with weights that are packed, or with weights (KH, KW, C, O)."""
    found = walk_of(geo, a.itemsize, get_threads(), backward, w.ndim == 1, activation)
    if found.order == AS_IT_IS:
        launch(found.schedule, a, w, bias, c)
        return
    a, c, w, lanes = a.reshape(-1), c.reshape(-1), by_taps(w), lanes_of(a.itemsize)
    turns, room = fresh_turns(COUNTERS, found.threads), aligned.workspace(found.room, a.dtype)
    if found.on_the_way:
        walk_panels(a, w, found.order, geo.groups, bias, c, found.schedule, lanes, room, turns)
    else:
        walk(a, w, found.order, geo.groups, room, bias, c, found.schedule, lanes, found.threads, turns)


def forward(geo, x, w, b, activation, y):
    x, _ = as_read(x, geo)
    launch_images(geo, x, w, b, y, False, in_registers(activation))
    finish(y, activation)


def input_grad(geo, dy, w, dx):
    target = grad_target(dx, geo)
    launch_images(geo, dy, w, np.zeros(geo.c, dy.dtype), target, True)
    fold(target, geo, dx)
