"""Winograd's algorithm: the loops over tiles, channels and panels of filters.  What the steps are, `winograd` tells."""

from typing import NamedTuple

import numpy as np
from numba import prange

from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import array_address, emits, inlined
from fastconv.kernels.sharing import done, next_task, wait_for
from fastconv.kernels.tile import ROWS_AHEAD, call_tile
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.winograd_places import (
    AREA,
    INPUT,
    INPUT_EDGE,
    LAST,
    LIMITS,
    RESULT,
    RESULT_EDGE,
    X_AT,
    Y_AT,
    find_places,
)
from fastconv.kernels.winograd_products import product
from fastconv.kernels.winograd_sizes import GAP, E
from fastconv.machine import kernel

__all__ = [
    "COUNTERS",
    "OF_FILTER",
    "OF_KIND",
    "Tools",
    "all_filters",
    "by_blocks",
    "by_panels",
    "input_tiles",
    "products",
    "shared_range",
]

# steps of the transforms: of the input, then for each kind of panel those of the output and of the filters
OF_INPUT, OF_KIND, OF_FILTER = 3, 6, 4
# what `turns` counts: parts of U that were taken and that are made, or tiles of V; then blocks or panels
FILTERS, FILTERS_MADE, BLOCKS, COUNTERS = range(4)
TILES, TILES_MADE = FILTERS, FILTERS_MADE


class Tools(NamedTuple):
    """What the loops call, on which tiles, and on which panels of filters.

    Tiles are numbered through all images, area by area (`winograd_areas`).
    """

    areas: np.ndarray  # (areas, 19): the columns are named in `winograd_places`
    ranges: np.ndarray  # (36, ranges, 2): the first and the end of tiles that have an element
    panels: np.ndarray  # rows of `Panels`
    addresses: np.ndarray  # of the products: (kinds of panels, rows + 1); for no rows the rows of the tallest
    steps: np.ndarray  # of what they multiply: from row to row and from term to term
    filters: int  # address of the transform of filters
    move_steps: np.ndarray  # steps of the transforms


@emits()
def copy_run(v, source, source_at, target, target_at, count, ahead):
    """`count` numbers; those `ahead` of them, which need not exist, are asked for."""
    start = v.at(source, source_at)
    with v.loop(v.builder.sdiv(v.add(count, v.lanes - 1), v.index(v.lanes))) as i:
        v.prefetch(v.at(start, ahead, (i, v.lanes)))
    v.copy(start, v.at(target, target_at), count)


@inlined
def input_tiles(x, places, first, end, c0, c1, job, tools, v, v_at, wide):
    """Channels c0 ... c1 of the tiles in the rows first ... end of `places` into V, `wide` numbers from tile to tile, in whole
    vectors: behind the last channel lies what nobody reads, zeros or, where that does not pass the end of x, what follows
    there."""
    for place in range(first, end):
        area, start, limits, last = places[place, AREA], places[place, X_AT], places[place, LIMITS], places[place, LAST]
        whole, edge = tools.areas[area, INPUT], tools.areas[area, INPUT_EDGE]
        for c in range(c0, c1, job.lanes):
            move = whole if c <= last else edge
            call_tile(x, start + c, move, x, 0, v, v_at + c - c0, x, 0, tools.move_steps, 0, limits, job.C - c)
        v_at += wide


@inlined
def output_tiles(room, m_at, places, count, p, job, tools, bias, bias_at, y):
    """The results of panel p in the first `count` tiles of `places`, from M."""
    out, kind, row, columns = tools.panels[p, 2], tools.panels[p, 3], tools.panels[p, 5], tools.panels[p, 6]
    steps_at = OF_INPUT + OF_KIND * kind
    for place in range(count):
        area, start = places[place, AREA], places[place, Y_AT]
        whole, edge = tools.areas[area, RESULT], tools.areas[area, RESULT_EDGE]
        for c in range(0, columns, job.lanes):
            move, at = whole if c + job.lanes <= columns else edge, out + c
            call_tile(
                room, m_at + c, move, bias, 0, y, start + at, bias, bias_at + at, tools.move_steps, steps_at, 0, columns - c
            )
        m_at += row


@inlined
def shared_range(first, end, range_of):
    """Those of the tiles first ... end that are in the range."""
    return max(first, range_of[0]), min(end, range_of[1])


@inlined
def products(a, b, c, row, first, end, kind, terms, more, tools, many):
    """c[e] = a[e] b[e], or c[e] += it (`more` = 1), for the 36 elements e of transformed tiles: those of the tiles first ... end
    that have e as rows, and a panel of a kind, `row` numbers wide, as columns.  a, b, c = (array, where it begins, how far it is
    to the next element).

    With `many` tiles a comes from far away, and each few rows ask for the next ones; else b does, and all of an element ask for
    the next element's.
    """
    (a, a_at, a_element), (b, b_at, b_element), (c, c_at, c_element) = a, b, c
    addresses, steps = tools.addresses[kind], tools.steps
    for e in range(E):
        for i in range(tools.ranges.shape[1]):
            low, high = shared_range(first, end, tools.ranges[e, i])
            if low >= high:
                continue
            a_here, c_here = a_at + e * a_element + (low - first) * steps[0], c_at + e * c_element + (low - first) * row
            b_here, count = b_at + e * b_element, high - low
            if many:
                ahead_row = steps[0] * a.itemsize
                ahead = array_address(a) + a_here * a.itemsize + addresses[0] * ahead_row
            else:
                ahead = array_address(b) + (b_here + b_element) * b.itemsize
                ahead_row = terms * row * b.itemsize // count
            product(a, a_here, b, b_here, c, c_here, row, count, terms, more, addresses, steps, ahead, ahead_row)


@inlined
def read_filters(w, of_w, taps, c0, depth, first, columns, lanes, room, tap_room, row):
    """`columns` filters from `first` on, `depth` channels of them from c0 on, to a place where they lie together: read where
    they are, all taps at once, they are in each other's way in the cache.
    """
    start, tap, channel, turned = of_w
    for t in range(taps):
        at, target = start + t * tap + c0 * channel + first, t * tap_room
        if turned == 0:
            for c in range(depth):
                copy_run(w, at + c * channel, room, target + c * row, columns, ROWS_AHEAD * channel)
            continue
        at = start + (taps - 1 - t) * tap + c0 + first * turned  # the filters of a gradient: from the last tap to the first
        for c in range(0, depth, lanes):
            for o in range(0, columns, lanes):
                transpose_block(w, at + c + o * turned, turned, columns - o, depth - c, room, target + c * row + o, row, lanes)


@inlined
def panel_filters(w, of_w, taps, c0, depth, panel, lanes, move, move_steps, own, u, u_at, room):
    """U of a panel for `depth` channels from c0 on; `own`: where the steps of `move` for its kind stand."""
    _, _, out, _, _, row, columns = panel
    read_filters(w, of_w, taps, c0, depth, out, columns, lanes, room, move_steps[own], row)
    for c in range(depth):
        for o in range(0, row, lanes):
            at, tail = c * row + o, max(0, columns - o)
            call_tile(room, at, move, w, 0, u, u_at + at, w, 0, move_steps, own, 0, tail)


@inlined
def make_filters(w, of_w, taps, C, lanes, panels, move, move_steps, steps_at, u, u_at, room, turns, thread, alone):
    """U of all panels, `lanes` channels after another, by this thread alone or by all that come here; these go on when it is
    whole."""
    chunks = (C + lanes - 1) // lanes
    count = len(panels) * chunks if taps else 0
    task = next_part(-1, count, turns, thread, alone)
    while task < count:
        p, chunk = divmod(task, chunks)
        kind, row, c0 = panels[p, 3], panels[p, 5], chunk * lanes
        own, target = steps_at + OF_KIND * kind + OF_FILTER, u_at + E * (panels[p, 1] + p * GAP * lanes) + c0 * row
        panel_filters(w, of_w, taps, c0, min(lanes, C - c0), panels[p], lanes, move, move_steps, own, u, target, room)
        if not alone:
            done(turns, FILTERS_MADE)
        task = next_part(task, count, turns, thread, alone)
    if not alone:
        wait_for(turns, FILTERS_MADE, count)


@inlined
def next_part(task, count, turns, thread, alone):
    return task + 1 if alone else next_task(turns, FILTERS, thread, count)


@kernel()
def all_filters(w, of_w, taps, C, lanes, panels, move, move_steps, u, u_at, scratch, turns):
    """U of the filters of a group."""
    for slot in prange(len(scratch)):  # a task owns `lanes` rows of a panel in all 36 elements; a slot its row of scratch
        saved = flush_denormals()
        s = np.intp(slot)
        make_filters(w, of_w, taps, C, lanes, panels, move, move_steps, 0, u, u_at, scratch[s], turns, s, False)
        restore_denormals(saved)


@kernel()
def by_blocks(x, w, of_w, taps, u, u_at, own, bias, bias_at, y, cuts, job, tools, places, scratch, turns):
    """`cuts` are the first tiles and the ends of the blocks; a row of `scratch` holds V and M of one block, one of `places` where
    its tiles are.  U is made first unless there are no taps, by each thread for itself if it has `own` numbers of room for it."""
    v_element, panels = tools.move_steps[2], tools.panels
    wide, gap = (job.C + job.lanes - 1) // job.lanes * job.lanes, GAP * job.lanes
    for slot in prange(len(scratch)):  # a task owns the output tiles of its blocks and its row of scratch
        saved = flush_denormals()
        s = np.intp(slot)
        v, here, at = scratch[s], places[s], u_at + s * own
        move, steps, block = tools.filters, tools.move_steps, next_task(turns, BLOCKS, s, len(cuts))
        needed = taps if block < len(cuts) or own == 0 else 0  # whoever comes too late for a block needs no U of its own
        make_filters(w, of_w, needed, job.C, job.lanes, panels, move, steps, OF_INPUT, u, at, v, turns, s, own > 0)
        while block < len(cuts):
            first, end = cuts[block]
            find_places(first, end, job, tools.areas, len(x), here)
            input_tiles(x, here, 0, end - first, 0, job.C, job, tools, v, 0, wide)
            for p in range(len(panels)):
                kind, row = panels[p, 3], panels[p, 5]
                m_at, m_element = E * v_element, tools.move_steps[OF_INPUT + OF_KIND * kind]
                u_here = u, at + E * (panels[p, 1] + p * gap), job.C * row + gap
                m_here = v, m_at, m_element
                products((v, 0, v_element), u_here, m_here, row, first, end, kind, job.C, 0, tools, False)
                output_tiles(v, m_at, here, end - first, p, job, tools, bias, bias_at, y)
            block = next_task(turns, BLOCKS, s, len(cuts))
        restore_denormals(saved)


@kernel()
def by_panels(x, w, of_w, taps, bias, bias_at, y, count, chunk, job, tools, places, v, scratch, turns):
    """V of all tiles first, `chunk` input channels after another; then each panel of filters in turn, as many channels at a time.
    A row of `scratch` holds their U, and M of all tiles; there may be fewer rows than threads, as there are panels."""
    v_element, panels = tools.move_steps[2], tools.panels
    wide, v_chunk = (chunk + job.lanes - 1) // job.lanes * job.lanes, E * v_element
    for slot in prange(len(places)):  # a task owns a tile of V or the output channels of a panel; a slot its scratch and places
        saved = flush_denormals()
        s = np.intp(slot)
        here = places[s]
        find_places(0, count, job, tools.areas, len(x), here)
        t = next_task(turns, TILES, s, count)
        while t < count:
            for c0 in range(0, job.C, chunk):
                c1, at = min(c0 + chunk, job.C), c0 // chunk * v_chunk + t * wide
                input_tiles(x, here, t, t + 1, c0, c1, job, tools, v, at, wide)
            done(turns, TILES_MADE)
            t = next_task(turns, TILES, s, count)
        own_row, p = min(s, len(scratch) - 1), len(panels)
        u = scratch[own_row]
        if s == own_row:
            wait_for(turns, TILES_MADE, count)
            p = next_task(turns, BLOCKS, s, len(panels))
        while p < len(panels):
            kind, row = panels[p, 3], panels[p, 5]
            own = OF_INPUT + OF_KIND * kind
            m_element, u_element = tools.move_steps[own], tools.move_steps[own + OF_FILTER + 1]
            m_at = E * u_element
            room = u[m_at + E * m_element :]
            for c0 in range(0, job.C, chunk):
                depth, of_filter = min(chunk, job.C - c0), own + OF_FILTER
                panel_filters(
                    w, of_w, taps, c0, depth, panels[p], job.lanes, tools.filters, tools.move_steps, of_filter, u, 0, room
                )
                u_here = u, 0, u_element
                m_here = u, m_at, m_element
                v_here = v, c0 // chunk * v_chunk, v_element
                products(v_here, u_here, m_here, row, 0, count, kind, depth, 1 if c0 else 0, tools, True)
            output_tiles(u, m_at, here, count, p, job, tools, bias, bias_at, y)
            p = next_task(turns, BLOCKS, s, len(panels))
        restore_denormals(saved)
