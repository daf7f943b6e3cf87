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
from fastconv.kernels.vector_ir import emits, flush_denormals, restore_denormals
from fastconv.kernels.winograd import before, moves_of, tile_tables
from fastconv.kernels.winograd_filters import filter_panels
from fastconv.kernels.winograd_loops import GAP, E, K, input_tile, products, tile_place
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
def tile_of_dy(dy, t, tiles, first, columns, lanes, out, out_at, out_element):
    """The transformed gradients of channels first ... first + columns of tile t."""
    _, P, Q, O = dy.shape
    n, p, q = tile_place(t, tiles[0], tiles[1], M)
    flat, start = dy.reshape(-1), ((n * P + p) * Q + q) * O + first
    for o in range(0, columns, lanes):
        if p + M <= P and q + M <= Q and o + lanes <= columns:
            transform_gradient(0, flat, start + o, Q * O, O, M, M, lanes, out, out_at + o, out_element)
        else:
            transform_gradient(1, flat, start + o, Q * O, O, P - p, Q - q, columns - o, out, out_at + o, out_element)


@kernel()
def sum_tiles(
    x, of_x, dy, parts, tasks, tiles, pads, chunk, wide, lanes, panels, steps, addresses, most, moves, move_steps, scratch, zeros
):  # fmt: skip
    """`tasks` = (block, first and last tile, first and last input channel, panel); a row of `scratch` holds V, A dy AT and dU."""
    C, O, size, source = x.shape[3], dy.shape[3], parts.shape[1], x.reshape(-1)
    flat = parts.reshape(-1)
    for slot in prange(len(scratch)):  # a task owns a part of dw of one block; a slot its row of scratch
        before = flush_denormals()
        s = np.intp(slot)
        room, local = scratch[s], steps[s]
        for task in range(s * len(tasks) // len(scratch), (s + 1) * len(tasks) // len(scratch)):
            block, first, end, c0, c1, p = tasks[task]
            _, _, out, kind, _, row, columns = panels[p]
            gap = GAP * lanes
            v_element, g_element, u_element = chunk * wide + gap, chunk * row + gap, wide * row + gap
            g_at, u_at = E * v_element, E * (v_element + g_element)
            for t0 in range(first, end, chunk):
                count = min(chunk, end - t0)
                for t in range(count):
                    input_tile(source, of_x, t0 + t, tiles, M, pads, c0, c1, C, lanes, moves, move_steps, room, t * wide)
                    tile_of_dy(dy, t0 + t, tiles, out, columns, lanes, room, g_at + t * row, g_element)
                block_at = (2 * kind + (1 if t0 > first else 0)) * len(STEPS)
                local[block_at + K] = count
                products(
                    room, 0, v_element, room, g_at, g_element, row, room, u_at, u_element, c1 - c0, local, block_at,
                    addresses[kind], most[kind], zeros,
                )  # fmt: skip
            for c in range(c1 - c0):
                for o in range(0, columns, lanes):
                    at, target = u_at + c * row + o, block * size + (c0 + c) * O + out + o
                    transform_back(room, at, u_element, flat, target, size // 9, columns - o)
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
    return np.array(tasks, np.int64), wide, chunk, panels.lanes, panels.rows, steps, addresses, most


def weight_grad(geo, x, dy, dw):
    pads = before(geo)
    if needs_copy(geo):
        x, pads = pad(x, geo), (0, 0)
    size, tiles = x.itemsize, (-(-geo.p // M), -(-geo.q // M))
    count = geo.n * tiles[0] * tiles[1]
    blocks = min(count, block_count(geo, size))
    tasks, wide, chunk, lanes, panels, steps, addresses, most = tables(geo.c, geo.o, size, count, blocks)
    slots, row = min(get_threads(), len(tasks)), int(panels[:, 5].max())
    scratch = aligned.empty((slots, E * (chunk * (wide + row) + wide * row + 3 * GAP * lanes)), x.dtype)
    parts = partial_sums(blocks, dw.reshape(-1))
    local, zeros = np.tile(steps, (slots, 1)), np.zeros(row, x.dtype)
    _, h, w, c = x.shape
    of_x, move_steps = (0, h * w * c, w * c, c, h, w), np.array([w * c, c, chunk * wide + GAP * lanes])
    sum_tiles(
        x, of_x, dy, parts, tasks, tiles, pads, chunk, wide, lanes, panels, local, addresses, most, moves_of(size, lanes, 3),
        move_steps, scratch, zeros,
    )  # fmt: skip
    add_blocks(parts, dw.reshape(-1))
