"""The weight gradient of a 3x3 convolution by Winograd's algorithm: a quarter of the multiplications, as in the forward pass.

Forward, y = AT [U * V] A with U = G w GT and V = BT x B.  So dU = sum over all tiles of V * (A dy AT), and dw = GT dU G.  A task
takes some tiles, and some channels of x and of dy, through all of it: its sums stay in the cache, and its part of dw is a partial
sum, of which there are as many as the shape says.
"""

import functools

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.blocks import block_count
from fastconv.kernels.padding import needs_copy, pad
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.schedule import cuts
from fastconv.kernels.tile import STEPS
from fastconv.kernels.vector_ir import emits, flush_denormals, lanes_of, restore_denormals, take_turn
from fastconv.kernels.winograd import before, jobs, moves_of, tile_tables
from fastconv.kernels.winograd_filters import filter_panels
from fastconv.kernels.winograd_loops import GAP, E, K, Tools, input_tile, products, tile_place
from fastconv.kernels.winograd_matrices import matrices
from fastconv.kernels.winograd_tiles import N
from fastconv.kernels.winograd_transform import both_ways, floats
from fastconv.machine import get_threads, kernel

__all__ = ["weight_grad"]

M = 4  # outputs of a tile along one axis
A, GT = ([list(column) for column in zip(*floats(matrix), strict=True)] for matrix in matrices(M)[:2])
SUM_BYTES = 600_000  # of the sums dU of a task
TILE_BYTES = 600_000  # of the transformed tiles beside them
LEAST_TILES = 32  # at once: the sums are loaded and stored for every few tiles


@emits("edge")
def transform_gradient(v, edge, dy, dy_at, dy_row, dy_pixel, rows, cols, tail, out, out_at, out_element):
    """A dy AT for one tile and one vector of channels; at an edge only `rows` x `cols` outputs and `tail` lanes exist."""
    start, lanes = v.at(dy, dy_at), v.first_lanes(tail)

    def load(i, j):
        mask = v.if_inside(lanes, (i, v.index(0), rows), (j, v.index(0), cols)) if edge else None
        return v.load(v.at(start, (i, dy_row), (j, dy_pixel)), mask)

    columns = [[load(i, j) for i in range(M)] for j in range(M)]
    for (i, j), value in both_ways(v, [A], columns).items():
        v.store(value, v.at(out, out_at, (i * N + j, out_element)))


@emits()
def transform_back(v, sums, at, element, dw, dw_at, dw_tap, tail):
    """dw <- GT dU G for one input channel and one vector of filters."""
    lanes = v.first_lanes(tail)
    columns = [[v.load(v.at(sums, at, (i * N + j, element))) for i in range(N)] for j in range(N)]
    for (i, j), value in both_ways(v, [GT], columns).items():
        v.store(value, v.at(dw, dw_at, (i * 3 + j, dw_tap)), lanes)


@register_jitable
def tile_of_dy(dy, job, t, panel, room, at, element):
    """The transformed gradients of a panel of channels of tile t."""
    n, p, q = tile_place(t, job)
    _, _, first, _, _, _, columns = panel
    start, steps = job.y_at + n * job.y_image + p * job.y_row + q * job.y_pixel + first, (job.y_row, job.y_pixel)
    for o in range(0, columns, job.lanes):
        if p + M <= job.P and q + M <= job.Q and o + job.lanes <= columns:
            transform_gradient(0, dy, start + o, steps[0], steps[1], M, M, job.lanes, room, at + o, element)
        else:
            transform_gradient(1, dy, start + o, steps[0], steps[1], job.P - p, job.Q - q, columns - o, room, at + o, element)


@kernel()
def sum_tiles(x, dy, parts, tasks, chunk, wide, job, tools, steps, scratch, turns):
    """`tasks` = (block, first and last tile, first and last input channel, panel); a row of `scratch` holds V, A dy AT and dU."""
    size, flat, O, gap = parts.shape[1], parts.reshape(-1), job.y_pixel, GAP * job.lanes
    for slot in prange(len(scratch)):  # a task owns a part of dw of one block; a slot its rows of scratch and of steps
        before = flush_denormals()
        s = np.intp(slot)
        room, local, task = scratch[s], steps[s], take_turn(turns)
        while task < len(tasks):
            block, first, end, c0, c1, p = tasks[task]
            _, _, out, kind, _, row, columns = tools.panels[p]
            v_element, g_element, u_element = chunk * wide + gap, chunk * row + gap, wide * row + gap
            g_at, u_at = E * v_element, E * (v_element + g_element)
            for t0 in range(first, end, chunk):
                count = min(chunk, end - t0)
                for t in range(count):
                    input_tile(x, job, t0 + t, c0, c1, tools, room, t * wide)
                    tile_of_dy(dy, job, t0 + t, tools.panels[p], room, g_at + t * row, g_element)
                block_at = (2 * kind + (1 if t0 > first else 0)) * len(STEPS)
                local[block_at + K] = count
                g_here, u_here = (room, g_at, g_element), (room, u_at, u_element)
                products((room, 0, v_element), g_here, row, u_here, c1 - c0, kind, block_at, local, tools)
            for c in range(c1 - c0):
                for o in range(0, columns, job.lanes):
                    at, target = u_at + c * row + o, block * size + (c0 + c) * O + out + o
                    transform_back(room, at, u_element, flat, target, size // 9, columns - o)
            task = take_turn(turns)
        restore_denormals(before)


@functools.lru_cache(maxsize=256)
def tables(c, o, itemsize, tiles, blocks):
    """(tasks, widest part of the input channels, tiles at once, panels, steps, addresses, rows of the tallest tile)."""
    panels = filter_panels(c, o, itemsize)
    row = int(panels.rows[:, 5].max())
    most_channels = max(panels.lanes, SUM_BYTES // (E * row * itemsize) // panels.lanes * panels.lanes)
    channels = cuts(-(-c // panels.lanes), -(-c // most_channels))
    channels = [(first * panels.lanes, min(c, end * panels.lanes)) for first, end in channels]
    wide = -(-max(end - first for first, end in channels) // panels.lanes) * panels.lanes
    chunk = min(tiles, max(LEAST_TILES, TILE_BYTES // (E * (wide + row) * itemsize)))
    sizes = tuple(sorted({end - first for first, end in channels}))
    steps, addresses, most = tile_tables(panels, itemsize, 1, wide, 0, sizes)  # k: the tiles at once, known later
    tasks = [
        (block, *share, *part, panel)
        for block, share in enumerate(cuts(tiles, blocks))
        for panel in range(len(panels.rows))
        for part in channels
    ]
    return np.array(tasks, np.int64), wide, chunk, panels.rows, steps, addresses, most


def weight_grad(geo, x, dy, dw):
    pads = before(geo)
    if needs_copy(geo):
        x, pads = pad(x, geo), (0, 0)
    size, lanes = x.itemsize, lanes_of(x.itemsize)
    ((_, job, _),) = jobs(x.shape, dy.shape, 3, (1, 1), pads, 1, lanes)
    count = geo.n * job.rows * job.cols
    blocks = min(count, block_count(geo, size))
    tasks, wide, chunk, panels, steps, addresses, most = tables(geo.c, geo.o, size, count, blocks)
    slots, row = min(get_threads(), len(tasks)), int(panels[:, 5].max())
    scratch = aligned.empty((slots, E * (chunk * (wide + row) + wide * row + 3 * GAP * lanes)), x.dtype)
    parts = partial_sums(blocks, dw.reshape(-1))
    move_steps = np.array([job.x_row, job.x_pixel, chunk * wide + GAP * lanes])
    tools = Tools(panels, addresses, most, moves_of(size, lanes, 3), move_steps, np.zeros(row, x.dtype))
    sum_tiles(
        x.reshape(-1), dy.reshape(-1), parts, tasks, chunk, wide, job, tools, np.repeat(steps[None], slots, axis=0), scratch,
        np.zeros(1, np.int64),
    )  # fmt: skip
    add_blocks(parts, dw.reshape(-1))
