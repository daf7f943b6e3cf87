"""The weight gradient by Winograd's algorithm: the loops over tiles, elements and channels.  `winograd_weights` tells the steps.

Both schedules add the terms of a sum in the order of the tiles, so that their results are the same to the bit.
"""

import numpy as np
from numba import prange

from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import array_address, inlined
from fastconv.kernels.sharing import done, next_task, wait_for
from fastconv.kernels.tile import call_tile
from fastconv.kernels.winograd_loops import input_tiles, shared_range
from fastconv.kernels.winograd_places import AREA, RESULT, RESULT_EDGE, Y_AT, find_places
from fastconv.kernels.winograd_products import product
from fastconv.kernels.winograd_sizes import E
from fastconv.machine import kernel

__all__ = ["COUNTERS", "by_elements", "by_parts"]

# steps of the transforms: the last one of the input; behind it, for each kind of panel, those of dy and from OF_SUM on of dU
V_ELEMENT, OF_DY, OF_KIND, G_ELEMENT, OF_SUM = 2, 3, 5, 2, 3
# what `turns` counts of each stage of `by_elements`: tiles, products and channels that were taken, and those that are done
TILES, TILES_MADE, PRODUCTS, PRODUCTS_MADE, CHANNELS, CHANNELS_MADE, COUNTERS = range(7)
TOGETHER = 8  # channels of a task


@inlined
def distances(tools, kind):
    """How far it is from element to element of V, A dy AT and dU."""
    own = OF_DY + OF_KIND * kind
    return tools.move_steps[V_ELEMENT], tools.move_steps[own + G_ELEMENT], tools.move_steps[own + OF_SUM]


@inlined
def gradient_tiles(dy, places, first, end, p, job, tools, room, at):
    """The transformed gradients of panel p of the tiles in the rows first ... end of `places`."""
    out, kind, row, columns = tools.panels[p, 2], tools.panels[p, 3], tools.panels[p, 5], tools.panels[p, 6]
    steps_at = OF_DY + OF_KIND * kind
    for place in range(first, end):
        area, start = places[place, AREA], places[place, Y_AT] + out
        whole, edge = tools.areas[area, RESULT], tools.areas[area, RESULT_EDGE]
        for o in range(0, columns, job.lanes):
            move = whole if o + job.lanes <= columns else edge
            call_tile(dy, start + o, move, dy, 0, room, at + o, dy, 0, tools.move_steps, steps_at, 0, columns - o)
        at += row


@inlined
def add_product(e, a, wide, b, c, row, channels, first, end, kind, more, tools):
    """c[e] = a[e] b[e] for an element e, or c[e] += it (`more`): the terms are those of the tiles first ... end that have e."""
    (a, a_at, a_element), (b, b_at, b_element), (c, c_at, c_element) = a, b, c
    addresses = tools.addresses[kind]
    for i in range(tools.ranges.shape[1]):
        low, high = shared_range(first, end, tools.ranges[e, i])
        terms, again = max(0, high - low), more or i > 0
        if terms == 0 and again:
            continue  # else the sum begins with zeros
        skipped = low - first if terms else 0
        a_here, b_here = a_at + e * a_element + skipped * wide, b_at + e * b_element + skipped * row
        c_here, ahead_row = c_at + e * c_element, row * c.itemsize
        ahead = array_address(c) + c_here * c.itemsize + addresses[0] * ahead_row
        product(
            a, a_here, b, b_here, c, c_here, row, channels, terms, 1 if again else 0, addresses, tools.steps, ahead, ahead_row
        )  # fmt: skip


@inlined
def filters_of(u, u_at, first, end, c0, panel, of_dw, block_at, flat, job, tools):
    """Channels first ... end of dw in a panel, from dU that begins with channel c0."""
    dw_at, dw_row, move = of_dw
    _, _, out, kind, _, row, columns = panel
    steps_at = OF_DY + OF_KIND * kind + OF_SUM
    for c in range(first, end):
        for o in range(0, columns, job.lanes):
            at, target = u_at + (c - c0) * row + o, block_at + c * dw_row + dw_at + out + o
            call_tile(u, at, move, u, 0, flat, target, u, 0, tools.move_steps, steps_at, 0, columns - o)


@kernel()
def by_parts(x, dy, parts, of_dw, tasks, chunk, wide, job, tools, places, scratch, turns):
    """`tasks` = (block, first and last tile, first and last input channel, panel); a row of `scratch` holds V, A dy AT and dU.

    `of_dw`: where the weights of the group begin, how far it is to those of the next channel, the address of the transform.
    """
    size, flat = parts.shape[1], parts.reshape(-1)
    for slot in prange(len(scratch)):  # a task owns a part of dw of one block; a slot its rows of scratch and places
        before = flush_denormals()
        s = np.intp(slot)
        room, here, task = scratch[s], places[s], next_task(turns, 0, s, len(tasks))
        while task < len(tasks):
            block, first, end, c0, c1, p = tasks[task]
            kind, row = tools.panels[p, 3], tools.panels[p, 5]
            v_element, g_element, u_element = distances(tools, kind)
            g_at, u_at = E * v_element, E * (v_element + g_element)
            for t0 in range(first, end, chunk):
                t1 = min(t0 + chunk, end)
                find_places(t0, t1, job, tools.areas, len(x), here)
                input_tiles(x, here, 0, t1 - t0, c0, c1, job, tools, room, 0, wide)
                gradient_tiles(dy, here, 0, t1 - t0, p, job, tools, room, g_at)
                v_here, g_here, u_here = (room, 0, v_element), (room, g_at, g_element), (room, u_at, u_element)
                for e in range(E):
                    add_product(e, v_here, wide, g_here, u_here, row, c1 - c0, t0, t1, kind, t0 > first, tools)
            filters_of(room, u_at, c0, c1, c0, tools.panels[p], of_dw, block * size, flat, job, tools)
            task = next_task(turns, 0, s, len(tasks))
        restore_denormals(before)


@kernel()
def by_elements(x, dy, parts, of_dw, stages, wide, job, tools, places, v, g, u, turns):
    """`stages` = (block, first and last tile, first and last input channel, whether the tiles are the first and the last of their
    block): all threads transform the tiles, then they share the products by elements and panels, in the end the channels of dw.

    v, g and u hold V, A dy AT and dU of a stage, the last two panel by panel.
    """
    size, flat, panels = parts.shape[1], parts.reshape(-1), tools.panels
    g_size, u_size = len(g) // len(panels), len(u) // len(panels)
    for slot in prange(len(places)):  # a task owns a tile, an element of a panel of dU or some channels of dw; a slot its places
        before = flush_denormals()
        s = np.intp(slot)
        here = places[s]
        for stage in range(len(stages)):
            block, first, end, c0, c1, begins, ends = stages[stage]
            counters = stage * COUNTERS
            count = end - first
            find_places(first, end, job, tools.areas, len(x), here)
            task = next_task(turns, counters + TILES, s, count)
            while task < count:
                input_tiles(x, here, task, task + 1, c0, c1, job, tools, v, task * wide, wide)
                for p in range(len(panels)):
                    gradient_tiles(dy, here, task, task + 1, p, job, tools, g, p * g_size + task * panels[p, 5])
                done(turns, counters + TILES_MADE)
                task = next_task(turns, counters + TILES, s, count)
            wait_for(turns, counters + TILES_MADE, count)
            count = E * len(panels)
            task = next_task(turns, counters + PRODUCTS, s, count)
            while task < count:
                e, p = divmod(task, len(panels))
                kind, row = panels[p, 3], panels[p, 5]
                v_element, g_element, u_element = distances(tools, kind)
                v_here, g_here, u_here = (v, 0, v_element), (g, p * g_size, g_element), (u, p * u_size, u_element)
                add_product(e, v_here, wide, g_here, u_here, row, c1 - c0, first, end, kind, not begins, tools)
                done(turns, counters + PRODUCTS_MADE)
                task = next_task(turns, counters + PRODUCTS, s, count)
            wait_for(turns, counters + PRODUCTS_MADE, count)
            chunks = (c1 - c0 + TOGETHER - 1) // TOGETHER
            count = chunks * len(panels) if ends else 0
            task = next_task(turns, counters + CHANNELS, s, count)
            while task < count:
                p, chunk = divmod(task, chunks)
                low = c0 + chunk * TOGETHER
                filters_of(u, p * u_size, low, min(low + TOGETHER, c1), c0, panels[p], of_dw, block * size, flat, job, tools)
                done(turns, counters + CHANNELS_MADE)
                task = next_task(turns, counters + CHANNELS, s, count)
            wait_for(turns, counters + CHANNELS_MADE, count)
        restore_denormals(before)
