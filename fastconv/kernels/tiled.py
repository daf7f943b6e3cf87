"""Convolution as a walk of the register tile over the image, neither padded nor unfolded, forward and backward."""

import functools
from dataclasses import replace

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.kernels.activation import activate_rows
from fastconv.kernels.blocks import block_count
from fastconv.kernels.codes import LEAKY_RELU
from fastconv.kernels.padding import after_padding, fold, grad_target, needs_copy, pad
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.schedule import cuts, forward_runs, input_grad_runs, panels_of, run, tables, weight_grad_runs
from fastconv.kernels.tile import STEPS, call_tile
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.vector_ir import flush_denormals, lanes_of, restore_denormals
from fastconv.machine import get_threads, kernel

__all__ = ["forward", "input_grad", "pack_flipped", "pack_panels", "weight_grad"]

PIXELS = 256  # terms of a sum between two times that it is loaded and stored
BAND_BYTES = 260_000  # of input rows that all panels go over in turn: a good part of L2
FIRST_STEP = 4  # columns of `runs` before the steps
A_M, C_M = FIRST_STEP + STEPS.index("a_m"), FIRST_STEP + STEPS.index("c_m")


@kernel()
def walk(a, b, bias, c, starts, segments, runs, panels, tiles, most):
    """Call the tiles that the tables of a `Schedule` name, on flat arrays."""
    table, width = runs.reshape(-1), runs.shape[1]
    for task in prange(len(starts) - 1):  # a task owns the results of its segments
        before = flush_denormals()
        t = np.intp(task)
        for s in range(starts[t], starts[t + 1]):
            a_base, b_base, c_base, r0, r1, p0, p1 = segments[s]
            for p in range(p0, p1):
                a_at, b_at, c_at, kind, tail, b_row, _ = panels[p]
                for r in range(r0, r1):
                    a_here = a_base + a_at + runs[r, 0]
                    b_here = b_base + b_at + runs[r, 1] * b_row
                    c_here = c_base + c_at + runs[r, 2]
                    count, block = runs[r, 3], r * width + FIRST_STEP
                    parts = (count + most[kind] - 1) // most[kind]
                    for part in range(parts):
                        rows = count // parts + (1 if part < count % parts else 0)
                        call_tile(a, a_here, tiles[kind, rows], b, b_here, c, c_here, bias, c_at, table, block, tail, b_row)
                        a_here += rows * runs[r, A_M]
                        c_here += rows * runs[r, C_M]
        restore_denormals(before)


@kernel()
def pack(w, panels, packed):
    """Copy the columns of w (K, O) into panels, zero where a panel is wider than what is left of its group."""
    K = len(w)
    for task in prange(len(panels) * K):  # a task owns one row of a panel
        p, k = divmod(np.intp(task), K)
        start, out, row, columns = panels[p, 1], panels[p, 2], panels[p, 5], panels[p, 6]
        source, target = w[k, out : out + columns], packed[start + k * row : start + (k + 1) * row]
        for o in range(columns):
            target[o] = source[o]
        for o in range(columns, row):
            target[o] = 0


@kernel()
def pack_exchanged(w, groups, panels, lanes, packed):
    """The same for the input gradient: w (taps, C, O) turned into columns of input channels, rows (taps backwards, filters)."""
    T, C, O = w.shape
    F, taps = O // groups, w.reshape(-1)
    for task in prange(len(panels) * T):  # a task owns one tap of a panel
        p, tap = divmod(np.intp(task), T)
        start, row, columns = panels[p, 1], panels[p, 5], panels[p, 6]
        group, first = panels[p, 0] // F, panels[p, 2] % C
        source, target = ((T - 1 - tap) * C + first) * O + group * F, start + tap * F * row
        for c in range(0, row, lanes):
            for o in range(0, F, lanes):
                transpose_block(taps, source + c * O + o, O, columns - c, F - o, packed, target + o * row + c, row, row - c)


@functools.lru_cache(maxsize=1024)
def forward_panels(geo, itemsize):
    return panels_of(geo.c, geo.o, geo.groups, itemsize, packed_rows=geo.terms)


@functools.lru_cache(maxsize=1024)
def input_grad_panels(geo, itemsize):
    return panels_of(geo.o, geo.c, geo.groups, itemsize, packed_rows=geo.kh * geo.kw * geo.o // geo.groups)


def weights_only(geo):
    """The geometry as far as the arrangement of weights depends on it, so that images of all sizes share it."""
    return replace(geo, n=1, h=1, w=1, p=1, q=1, pads=((0, 0), (0, 0)))


def pack_panels(geo, w):
    """Weights for `forward`."""
    panels = forward_panels(weights_only(geo), w.itemsize)
    packed = aligned.empty(panels.packed_size, w.dtype)
    pack(w.reshape(-1, geo.o), panels.rows, packed)
    return packed


def pack_flipped(geo, w):
    """Weights for `input_grad`."""
    panels = input_grad_panels(weights_only(geo), w.itemsize)
    packed = aligned.empty(panels.packed_size, w.dtype)
    pack_exchanged(w.reshape(geo.kh * geo.kw, -1, geo.o), geo.groups, panels.rows, lanes_of(w.itemsize), packed)
    return packed


def image_tasks(images, rows, a_image, c_image, row_bytes, panels, threads, runs_of):
    """(tasks, runs) of a walk over whole images: by bands of rows, or by panels where weights are larger than images."""
    count = len(panels.rows)
    by_panel = count >= threads and (images * rows <= 32 or panels.packed_size > images * a_image)
    bands = min(rows, -(-rows * row_bytes // BAND_BYTES))
    while not by_panel and images * bands % threads and bands < rows:
        bands += 1
    runs, edges = [], [0]
    for first, end in cuts(rows, bands):
        runs += runs_of(first, end)
        edges.append(len(runs))
    if by_panel:
        shares = cuts(count, count if count % threads == 0 else min(count, 4 * threads))
        tasks = [
            [(n * a_image, 0, n * c_image, 0, len(runs), p, p + 1) for p in range(*share) for n in range(images)]
            for share in shares
        ]
    else:
        tasks = [
            [(n * a_image, 0, n * c_image, edges[band], edges[band + 1], 0, count)]
            for n in range(images)
            for band in range(bands)
        ]
    return tasks, runs


@functools.lru_cache(maxsize=1024)
def forward_schedule(geo, itemsize, threads, activation):
    panels = forward_panels(weights_only(geo), itemsize)
    sizes = geo.n, geo.p, geo.h * geo.w * geo.c, geo.p * geo.q * geo.o, geo.sh * geo.w * geo.c * itemsize
    tasks, runs = image_tasks(*sizes, panels, threads, lambda *band: forward_runs(geo, *band, activation))
    return tables(tasks, runs, panels, itemsize)


@functools.lru_cache(maxsize=1024)
def input_grad_schedule(geo, itemsize, threads):
    panels = input_grad_panels(weights_only(geo), itemsize)
    sizes = geo.n, geo.h, geo.p * geo.q * geo.o, geo.h * geo.w * geo.c, geo.q * geo.o * itemsize // geo.sh
    tasks, runs = image_tasks(*sizes, panels, threads, lambda *band: input_grad_runs(geo, *band))
    return tables(tasks, runs, panels, itemsize)


def work_shares(blocks, kernel_rows, panels, threads):
    """[((first, end) rows of the filter, (first, end) panels), ...]: few blocks are shared out further, four tasks a thread."""
    rows = cuts(kernel_rows, kernel_rows if blocks < 2 * threads else 1)
    parts = min(panels, max(1, -(-4 * threads // (blocks * len(rows)))))
    return [(taps, share) for taps in rows for share in cuts(panels, parts)]


@functools.lru_cache(maxsize=1024)
def weight_grad_schedule(geo, itemsize, threads):
    panels = panels_of(geo.c, geo.o, geo.groups, itemsize)
    blocks, size = block_count(geo, itemsize), geo.terms * geo.o
    chunk = max(1, min(geo.p, BAND_BYTES // ((geo.sh * geo.w * geo.c + geo.q * geo.o) * itemsize)))  # output rows at a time
    shares = work_shares(blocks, geo.kh, len(panels.rows), threads)
    tasks, runs, known = [], [], {}
    for block, (first, end) in enumerate(cuts(geo.n * geo.p, blocks)):
        for taps, share in shares:
            task, row = [], first
            while row < end:
                n, p = divmod(row, geo.p)
                rows = min(chunk, end - row, geo.p - p)
                key = (p, p + rows, taps, int(row > first))
                if key not in known:
                    known[key] = (len(runs), len(runs) + len(more)) if (more := weight_grad_runs(geo, *key)) else (0, 0)
                    runs += more
                task.append((n * geo.h * geo.w * geo.c, n * geo.p * geo.q * geo.o, block * size, *known[key], *share))
                row += rows
            tasks.append(task)
    return tables(tasks, runs, panels, itemsize)


def is_matrix_product(geo, itemsize):
    """Whether the weight gradient of a `walked` geometry is one product of matrices, large enough to copy x: steps from pixel to
    pixel that are a multiple of a large power of two would put all pixels on the same lines of the cache."""
    plain = geo.n == geo.kh == geo.kw == geo.w == geo.sh == geo.groups == 1 and not geo.is_padded
    return plain and geo.c * itemsize >= 512 and geo.o >= 96 and geo.p >= 32


@functools.lru_cache(maxsize=1024)
def pixel_panels(channels, pixels, itemsize):
    return panels_of(channels, channels, 1, itemsize, packed_rows=pixels)


def packed_pixels(x):
    """x (pixels, C) in panels of a few vectors of channels."""
    panels = pixel_panels(x.shape[1], len(x), x.itemsize)
    packed = aligned.empty(panels.packed_size, x.dtype)
    pack(x, panels.rows, packed)
    return packed


@functools.lru_cache(maxsize=1024)
def matrix_schedule(geo, itemsize, threads):
    """dw = xT dy, with x in panels: rows are input channels, the sum runs over the pixels, PIXELS of them at a time."""
    columns, panels = pixel_panels(geo.c, geo.p, itemsize), panels_of(geo.c, geo.o, 1, itemsize)
    blocks, runs, tasks, known = block_count(geo, itemsize), [], [], {}
    for block, (first, end) in enumerate(cuts(geo.p, blocks)):
        for _, share in work_shares(blocks, 1, len(panels.rows), threads):
            task = []
            for p in range(first, end, PIXELS):
                for _, at, c_at, _, _, row, wide in columns.rows.tolist():
                    key = (wide, row, min(PIXELS, end - p), int(p > first))
                    if key not in known:
                        known[key] = len(runs)
                        steps = {"a_m": 1, "a_k": row, "b_k": 1, "c_m": geo.o, "k": key[2], "accumulate": key[3]}
                        runs.append(run(0, 0, 0, wide, **steps))
                    c = (block * geo.c + c_at) * geo.o
                    task.append((at + p * row, p * geo.o, c, known[key], known[key] + 1, *share))
            tasks.append(task)
    return tables(tasks, runs, panels, itemsize)


@functools.lru_cache(maxsize=1024)
def walked(geo):
    """The geometry that is walked: without padding where the padding is not zero (a padded copy is used), and a 1x1 convolution
    of stride 1 as one long column of pixels."""
    geo = after_padding(geo)
    if geo.kh == geo.kw == geo.sh == geo.sw == 1 and not geo.is_padded:
        pixels = geo.n * geo.h * geo.w
        geo = replace(geo, n=1, h=pixels, w=1, p=pixels, q=1)
    return geo


def launch(schedule, a, b, bias, c):
    s = schedule
    walk(a.reshape(-1), b.reshape(-1), bias, c.reshape(-1), s.starts, s.segments, s.runs, s.panels, s.tiles, s.most)


def forward(geo, x, w, b, activation, y):
    if needs_copy(geo):
        x = pad(x, geo)
    in_tile = activation if activation <= LEAKY_RELU else 0
    launch(forward_schedule(walked(geo), x.itemsize, get_threads(), in_tile), x, w, b, y)
    if in_tile != activation:
        activate_rows(y.reshape(-1, geo.o), activation)


def input_grad(geo, dy, w, dx):
    target = grad_target(dx, geo)
    schedule = input_grad_schedule(walked(geo), dy.itemsize, get_threads())
    launch(schedule, dy, w, np.zeros(geo.c, dy.dtype), target)
    fold(target, geo, dx)


def weight_grad(geo, x, dy, dw):
    if needs_copy(geo):
        x = pad(x, geo)
    walk_geo, size = walked(geo), x.itemsize
    parts = partial_sums(block_count(walk_geo, size), dw)
    if is_matrix_product(walk_geo, size):
        x, schedule = packed_pixels(x.reshape(-1, geo.c)), matrix_schedule(walk_geo, size, get_threads())
    else:
        schedule = weight_grad_schedule(walk_geo, size, get_threads())
    launch(schedule, x, dy, np.zeros(geo.o, x.dtype), parts)
    add_blocks(parts, dw)
