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
from fastconv.kernels.blocks import cuts
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.padding import as_read
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.phases import image_at_stride_one, join_filters
from fastconv.kernels.sharing import fresh_turns, next_task
from fastconv.kernels.tile import STEPS, call_tile
from fastconv.kernels.vector_ir import lanes_of
from fastconv.kernels.winograd import before, jobs, tile_tables
from fastconv.kernels.winograd_areas import number_of_tiles, tiles_of
from fastconv.kernels.winograd_loops import (
    RESULT,
    RESULT_EDGE,
    K,
    Tools,
    input_tile,
    product,
    results_at,
    shared_range,
)
from fastconv.kernels.winograd_sizes import GAP, E, filter_panels, sum_sizes, tile_blocks
from fastconv.kernels.winograd_tiles import GradientMove, SumMove, move_address
from fastconv.machine import get_threads, kernel

__all__ = ["weight_grad"]

ACCUMULATE = STEPS.index("accumulate")
OF_DY, OF_KIND, OF_SUM = 3, 5, 3  # steps of the transforms: behind those of the input, for each kind of panel, of dy and of dU


@register_jitable
def tile_of_dy(dy, job, t, tools, panel, room, at):
    """The transformed gradients of a panel of channels of tile t."""
    _, _, first, kind, _, _, columns = panel
    area, start = results_at(t, job, tools)
    steps_at = OF_DY + OF_KIND * kind
    for o in range(0, columns, job.lanes):
        move = area[RESULT if o + job.lanes <= columns else RESULT_EDGE]
        call_tile(dy, start + first + o, move, dy, 0, room, at + o, dy, 0, tools.move_steps, steps_at, 0, columns - o)


@register_jitable
def add_products(a, wide, b, b_row, c, channels, first, end, kind, block_at, steps, tools):
    """c[e] (+)= a[e] b[e] for the 36 elements e: the terms are those of the tiles first ... end that have e."""
    (a, a_at, a_element), (b, b_at, b_element), (c, c_at, c_element) = a, b, c
    for e in range(E):
        low, high = shared_range(first, end, tools.ranges[e])
        terms = max(0, high - low)
        if terms == 0 and steps[block_at + ACCUMULATE]:
            continue  # else the sum begins with zeros
        skipped = low - first if terms else 0
        steps[block_at + K] = terms
        a_here, b_here = a_at + e * a_element + skipped * wide, b_at + e * b_element + skipped * b_row
        product(a, a_here, b, b_here, b_row, c, c_at + e * c_element, channels, kind, block_at, steps, tools)


@kernel()
def sum_tiles(x, dy, parts, of_dw, tasks, chunk, wide, job, tools, steps, scratch, turns):
    """`tasks` = (block, first and last tile, first and last input channel, panel); a row of `scratch` holds V, A dy AT and dU.

    `of_dw`: where the weights of the group begin, how far it is to those of the next channel, the address of the transform.
    """
    dw_at, dw_row, move = of_dw
    size, flat, gap = parts.shape[1], parts.reshape(-1), GAP * job.lanes
    for slot in prange(len(scratch)):  # a task owns a part of dw of one block; a slot its rows of scratch and of steps
        before = flush_denormals()
        s = np.intp(slot)
        room, local, task = scratch[s], steps[s], next_task(turns, 0, s, len(tasks))
        while task < len(tasks):
            block, first, end, c0, c1, p = tasks[task]
            _, _, out, kind, _, row, columns = tools.panels[p]
            v_element, g_element, u_element = chunk * wide + gap, chunk * row + gap, wide * row + gap
            g_at, u_at, own = E * v_element, E * (v_element + g_element), OF_DY + OF_KIND * kind + OF_SUM
            for t0 in range(first, end, chunk):
                t1 = min(t0 + chunk, end)
                for t in range(t0, t1):
                    input_tile(x, job, t, c0, c1, tools, room, (t - t0) * wide)
                    tile_of_dy(dy, job, t, tools, tools.panels[p], room, g_at + (t - t0) * row)
                block_at = (2 * kind + (1 if t0 > first else 0)) * len(STEPS)
                v_here, g_here, u_here = (room, 0, v_element), (room, g_at, g_element), (room, u_at, u_element)
                add_products(v_here, wide, g_here, row, u_here, c1 - c0, t0, t1, kind, block_at, local, tools)
            for c in range(c1 - c0):
                for o in range(0, columns, job.lanes):
                    at, target = u_at + c * row + o, block * size + (c0 + c) * dw_row + dw_at + out + o
                    call_tile(room, at, move, dy, 0, flat, target, dy, 0, tools.move_steps, own, 0, columns - o)
            task = next_task(turns, 0, s, len(tasks))
        restore_denormals(before)


@functools.lru_cache(maxsize=256)
def tables(job, images, o, filters, dtype, size, blocks, threads):
    """(tasks, tiles at once, widest part of the input channels, `Tools`, steps of the register tiles, shape of scratch)."""
    panels = filter_panels(job.C, o, dtype.itemsize)
    tiles, count = tiles_of(job, images, size, GradientMove, dtype.itemsize, o % job.lanes > 0)
    parts, wide, chunk, numbers = sum_sizes(job.C, panels, count, dtype.itemsize)
    row, lanes, gap = int(panels.rows[:, 5].max()), job.lanes, GAP * job.lanes
    sizes = tuple(sorted({end - first for first, end in parts}))
    steps, addresses = tile_tables(panels, dtype.itemsize, 1, wide, 0, sizes)  # k: the tiles at once, known later
    of_moves = [job.x_row, job.x_pixel, chunk * wide + gap]
    for vectors, _ in panels.kinds:
        own = vectors * lanes
        of_moves += [job.y_row, job.y_pixel, chunk * own + gap, wide * own + gap, job.C * filters]
    tools = Tools(*tiles, panels.rows, addresses, 0, np.array(of_moves), np.zeros(row, dtype))
    shares = list(enumerate(cuts(count, blocks)))
    tasks = [(block, *share, *part, p) for block, share in shares for p in range(len(panels.rows)) for part in parts]
    room = min(threads, len(tasks)), numbers
    return np.array(tasks, np.int64), chunk, wide, tools, np.repeat(steps[None], room[0], axis=0), room


def weight_grad(geo, x, dy, dw):
    x, flat = image_at_stride_one(geo, x), geo.at_stride_one
    x, flat = as_read(x, flat)
    whole = dw if geo.at_stride_one is geo else aligned.workspace(flat.w_shape, dw.dtype)
    found = jobs(x.shape, dy.shape, (flat.dh, flat.dw), before(flat), flat.groups, lanes_of(x.itemsize))
    images = len(found) // flat.groups  # into which a dilation falls, one after another
    blocks = min(tile_blocks(flat, x.itemsize), *[number_of_tiles(flat.n, job, flat.kh) for _, job, _ in found])
    parts = partial_sums(blocks, whole.reshape(-1))
    for number, (group, job, shape) in enumerate(found):
        known = shape, flat.n, flat.o // flat.groups, flat.o, x.dtype, flat.kh, blocks, get_threads()
        again = number % images > 0
        of_dw = group * (flat.o // flat.groups), flat.o, move_address(SumMove(x.itemsize, job.lanes, flat.kh, again))
        add_group(x, dy, parts, of_dw, job, tables(*known))
    add_blocks(parts, whole.reshape(-1))
    join_filters(geo, whole, dw)


def add_group(x, dy, parts, of_dw, job, known):
    tasks, chunk, wide, tools, steps, room = known
    sum_tiles(
        x.reshape(-1), dy.reshape(-1), parts, of_dw, tasks, chunk, wide, job, tools, steps.copy(),
        aligned.workspace(room, x.dtype), fresh_turns(1, room[0]),
    )  # fmt: skip
