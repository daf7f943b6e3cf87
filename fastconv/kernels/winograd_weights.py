"""The weight gradient by Winograd's algorithm: with 3x3 filters a quarter of the multiplications, as in the forward pass.

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
from fastconv.kernels.padding import after_padding, needs_copy, pad
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.phases import image_at_stride_one, join_filters
from fastconv.kernels.schedule import cuts
from fastconv.kernels.tile import STEPS, call_tile
from fastconv.kernels.vector_ir import flush_denormals, lanes_of, restore_denormals, take_turn
from fastconv.kernels.winograd import before, jobs, tile_tables
from fastconv.kernels.winograd_filters import filter_panels
from fastconv.kernels.winograd_loops import GAP, E, K, Tools, input_tile, products, tile_place
from fastconv.kernels.winograd_tiles import GradientMove, InputMove, SumMove, move_addresses
from fastconv.machine import get_threads, kernel

__all__ = ["weight_grad"]

INPUT, INPUT_EDGE, GRADIENT, GRADIENT_EDGE, SUM, SUM_MORE = range(6)  # addresses of the transforms
OF_DY, OF_KIND, OF_SUM = 3, 5, 3  # steps of the transforms: behind those of the input, for each kind of panel, of dy and of dU
SUM_BYTES = 600_000  # of the sums dU of a task
TILE_BYTES = 600_000  # of the transformed tiles beside them
LEAST_TILES = 32  # at once: the sums are loaded and stored for every few tiles


@register_jitable
def tile_of_dy(dy, job, t, tools, panel, room, at):
    """The transformed gradients of a panel of channels of tile t."""
    n, p, q = tile_place(t, job)
    _, _, first, kind, _, _, columns = panel
    start = job.y_at + n * job.y_image + p * job.y_row + q * job.y_pixel + first
    rows, cols, steps_at = min(job.m, job.P - p), min(job.m, job.Q - q), OF_DY + OF_KIND * kind
    for o in range(0, columns, job.lanes):
        whole = rows == cols == job.m and o + job.lanes <= columns
        move = tools.moves[GRADIENT if whole else GRADIENT_EDGE]
        call_tile(dy, start + o, move, dy, 0, room, at + o, dy, 0, tools.move_steps, steps_at, rows | cols << 8, columns - o)


@kernel()
def sum_tiles(x, dy, parts, sum_move, dw_at, dw_row, tasks, chunk, wide, job, tools, steps, scratch, turns):
    """`tasks` = (block, first and last tile, first and last input channel, panel); a row of `scratch` holds V, A dy AT and dU.

    The weights of the group begin at `dw_at`, those of the next channel come `dw_row` later; `sum_move` writes them or adds them.
    """
    size, flat, gap = parts.shape[1], parts.reshape(-1), GAP * job.lanes
    for slot in prange(len(scratch)):  # a task owns a part of dw of one block; a slot its rows of scratch and of steps
        before = flush_denormals()
        s = np.intp(slot)
        room, local, task = scratch[s], steps[s], take_turn(turns)
        while task < len(tasks):
            block, first, end, c0, c1, p = tasks[task]
            _, _, out, kind, _, row, columns = tools.panels[p]
            v_element, g_element, u_element = chunk * wide + gap, chunk * row + gap, wide * row + gap
            g_at, u_at, own = E * v_element, E * (v_element + g_element), OF_DY + OF_KIND * kind + OF_SUM
            for t0 in range(first, end, chunk):
                count = min(chunk, end - t0)
                for t in range(count):
                    input_tile(x, job, t0 + t, c0, c1, tools, room, t * wide)
                    tile_of_dy(dy, job, t0 + t, tools, tools.panels[p], room, g_at + t * row)
                block_at = (2 * kind + (1 if t0 > first else 0)) * len(STEPS)
                local[block_at + K] = count
                g_here, u_here = (room, g_at, g_element), (room, u_at, u_element)
                products((room, 0, v_element), g_here, row, u_here, c1 - c0, kind, block_at, local, tools)
            for c in range(c1 - c0):
                for o in range(0, columns, job.lanes):
                    at, target = u_at + c * row + o, block * size + (c0 + c) * dw_row + dw_at + out + o
                    call_tile(room, at, tools.moves[sum_move], dy, 0, flat, target, dy, 0, tools.move_steps, own, 0, columns - o)
            task = take_turn(turns)
        restore_denormals(before)


@functools.lru_cache(maxsize=256)
def tables(job, images, o, filters, dtype, size, more, blocks, threads):
    """(tasks, tiles at once, widest part of the input channels, `Tools`, steps of the register tiles, shape of scratch)."""
    panels, tiles = filter_panels(job.C, o, dtype.itemsize), images * job.rows * job.cols
    row, lanes, gap = int(panels.rows[:, 5].max()), job.lanes, GAP * job.lanes
    parts = channel_parts(job.C, lanes, SUM_BYTES // (E * row * dtype.itemsize))
    wide = -(-max(end - first for first, end in parts) // lanes) * lanes
    chunk = min(tiles, max(LEAST_TILES, TILE_BYTES // (E * (wide + row) * dtype.itemsize)))
    sizes = tuple(sorted({end - first for first, end in parts}))
    steps, addresses, most = tile_tables(panels, dtype.itemsize, 1, wide, 0, sizes)  # k: the tiles at once, known later
    of_moves = [job.x_row, job.x_pixel, chunk * wide + gap]
    for vectors, _ in panels.kinds:
        own = vectors * lanes
        of_moves += [job.y_row, job.y_pixel, chunk * own + gap, wide * own + gap, job.C * filters]
    tools = Tools(
        panels.rows, addresses, most, moves_of(dtype.itemsize, lanes, size, more), np.array(of_moves), np.zeros(row, dtype)
    )
    shares = list(enumerate(cuts(tiles, blocks)))
    tasks = [(block, *share, *part, p) for block, share in shares for p in range(len(panels.rows)) for part in parts]
    room = min(threads, len(tasks)), E * (chunk * (wide + row) + wide * row + 3 * gap)
    return np.array(tasks, np.int64), chunk, wide, tools, np.repeat(steps[None], room[0], axis=0), room


def channel_parts(channels, lanes, most):
    """[(first, end), ...] of about `most` channels each, in whole vectors."""
    most = max(lanes, most // lanes * lanes)
    return [(first * lanes, min(channels, end * lanes)) for first, end in cuts(-(-channels // lanes), -(-channels // most))]


@functools.lru_cache(maxsize=256)
def moves_of(itemsize, lanes, size, more):
    """Addresses of the transforms, SUM_MORE only where there is `more` than one image to add up."""
    inputs = [InputMove(itemsize, lanes, edge) for edge in (False, True)]
    gradients = [GradientMove(itemsize, lanes, size, edge) for edge in (False, True)]
    sums = [SumMove(itemsize, lanes, size, again) for again in (False, True)[: 1 + more]]
    return move_addresses(*inputs, *gradients, *sums)  # as INPUT ... SUM_MORE number them


def weight_grad(geo, x, dy, dw):
    x, flat = image_at_stride_one(geo, x), geo.at_stride_one
    x, flat = (pad(x, flat), after_padding(flat)) if needs_copy(flat) else (x, flat)
    whole = dw if geo.at_stride_one is geo else aligned.workspace(flat.w_shape, dw.dtype)
    found = jobs(x.shape, dy.shape, flat.kh, (flat.dh, flat.dw), before(flat), flat.groups, lanes_of(x.itemsize))
    images = len(found) // flat.groups  # into which a dilation falls, one after another
    blocks = min(block_count(flat, x.itemsize), *[flat.n * job.rows * job.cols for _, job, _ in found])
    parts = partial_sums(blocks, whole.reshape(-1))
    for number, (group, job, shape) in enumerate(found):
        known = shape, flat.n, flat.o // flat.groups, flat.o, x.dtype, flat.kh, images > 1, blocks, get_threads()
        sum_move, first = SUM_MORE if number % images else SUM, group * (flat.o // flat.groups)
        add_group(x, dy, parts, sum_move, first, flat.o, job, tables(*known))
    add_blocks(parts, whole.reshape(-1))
    join_filters(geo, whole, dw)


def add_group(x, dy, parts, sum_move, first, filters, job, known):
    tasks, chunk, wide, tools, steps, room = known
    sum_tiles(
        x.reshape(-1), dy.reshape(-1), parts, sum_move, first, filters, tasks, chunk, wide, job, tools, steps.copy(),
        aligned.workspace(room, x.dtype), np.zeros(1, np.int64),
    )  # fmt: skip
