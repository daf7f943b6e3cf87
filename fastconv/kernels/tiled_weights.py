"""The weight gradient as a walk of the register tile: rows are input channels, the sum runs over pixels."""

import functools
import itertools

import numpy as np

from fastconv.kernels.blocks import block_count, cuts, packs_pixels
from fastconv.kernels.packing import packed_pixels
from fastconv.kernels.padding import as_read
from fastconv.kernels.panels import gradient_panels, panels_of, walked
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.schedule import tables
from fastconv.kernels.tile_runs import run
from fastconv.kernels.tiled import launch
from fastconv.kernels.weight_runs import side_by_side, tap_groups, weight_grad_runs
from fastconv.machine import cpu, get_threads

__all__ = ["weight_grad"]

LEAST_BAND = 260_000  # bytes of rows of x and dy that all panels go over in turn
LEAST_ROWS = 24  # input channels of a task
PIXELS = 256  # terms of a sum between two times that it is loaded and stored


def work_shares(blocks, taps, panels, channels, threads, channels_first=False):
    """[((first, end) groups of taps, panels, input channels in units), ...]: few blocks are shared out further, four tasks a
    thread.  Each share of the panels reads all of x, each share of the channels all of dy."""
    rows = cuts(taps, taps if blocks < 2 * threads else 1)
    wanted, most = -(-4 * threads // (blocks * len(rows))), (channels, panels) if channels_first else (panels, channels)
    first = min(most[0], wanted)
    second = min(most[1], -(-wanted // first))
    parts, more = (second, first) if channels_first else (first, second)
    return list(itertools.product(rows, cuts(panels, parts), cuts(channels, more)))


def band_bytes():
    """Of rows of x and dy that all panels go over in turn: a good part of L2.  In each band all sums are loaded and stored."""
    return max(LEAST_BAND, cpu().l2 // 4)


@functools.lru_cache(maxsize=1024)
def weight_grad_schedule(geo, itemsize, threads):
    panels = gradient_panels(geo, itemsize)
    groups = tap_groups(geo, panels)
    blocks, size = block_count(geo, itemsize), geo.terms * geo.o
    chunk = max(1, min(geo.p, band_bytes() // ((geo.sh * geo.w * geo.c + geo.q * geo.o) * itemsize)))  # output rows at a time
    channels = geo.c // geo.groups
    units = max(1, channels // LEAST_ROWS)
    shares = work_shares(blocks, len(groups), len(panels.rows), units, threads)
    tasks, runs, known = [], [], {}
    for block, (first, end) in enumerate(cuts(geo.n * geo.p, blocks)):
        for taps, share, unit in shares:
            task, row, part = [], first, tuple(channels * at // units for at in unit)
            while row < end:
                n, p = divmod(row, geo.p)
                rows = min(chunk, end - row, geo.p - p)
                key = (p, p + rows, groups[slice(*taps)], part, int(row > first))
                if key not in known:
                    known[key] = (len(runs), len(runs) + len(more)) if (more := weight_grad_runs(geo, *key)) else (0, 0)
                    runs += more
                task.append((n * geo.h * geo.w * geo.c, n * geo.p * geo.q, block * size, *known[key], *share))
                row += rows
            tasks.append(task)
    return tables(tasks, runs, panels, itemsize, beside=side_by_side(geo))


@functools.lru_cache(maxsize=1024)
def matrix_schedule(geo, itemsize, threads):
    """(panels of x, `Schedule`) of dw = xT dy, with the pixels of x that are read in panels: rows are input channels, the sum
    runs over the pixels, PIXELS of them at a time."""
    pixels = geo.n * geo.p * geo.q
    columns, panels = panels_of(geo.c, geo.c, 1, itemsize, packed_rows=pixels), gradient_panels(geo, itemsize)
    blocks, runs, tasks, known = block_count(geo, itemsize), [], [], {}
    for block, (first, end) in enumerate(cuts(pixels, blocks)):
        for _, share, unit in work_shares(blocks, 1, len(panels.rows), len(columns.rows), threads, channels_first=geo.c > geo.o):
            task = []
            for p in range(first, end, PIXELS):
                for _, at, c_at, _, _, row, wide in columns.rows[slice(*unit)].tolist():
                    key = (wide, row, min(PIXELS, end - p), int(p > first))
                    if key not in known:
                        known[key] = len(runs)
                        steps = {"a_m": 1, "a_k": row, "b_k": 1, "c_m": geo.o, "k": key[2], "accumulate": key[3]}
                        runs.append(run(0, 0, 0, wide, **steps))
                    c = (block * geo.c + c_at) * geo.o
                    task.append((at + p * row, p, c, known[key], known[key] + 1, *share))
            tasks.append(task)
    return columns, tables(tasks, runs, panels, itemsize, beside=geo.c)


def weight_grad(geo, x, dy, dw):
    x, geo = as_read(x, geo)
    if packs_pixels(geo, x.itemsize):
        parts = partial_sums(block_count(geo, x.itemsize), dw)
        columns, schedule = matrix_schedule(geo, x.itemsize, get_threads())
        x = packed_pixels(x, geo.sh, geo.sw, geo.p, geo.q, columns)
    else:
        parts = partial_sums(block_count(walked(geo), x.itemsize), dw)
        schedule = weight_grad_schedule(walked(geo), x.itemsize, get_threads())
    panels = gradient_panels(geo, x.itemsize)
    if panels.packed_size:
        dy = packed_pixels(dy, 1, 1, geo.p, geo.q, panels)
    launch(schedule, x, dy, np.zeros(geo.o, x.dtype), parts)
    add_blocks(parts, dw)
