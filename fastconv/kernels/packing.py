"""Weights in panels: the channels that a register tile takes at once lie side by side, in the order in which it reads them.

Weights that are kept are packed whole; where a thread would often fetch them again, each copies them first.  Few weights that are
used once each thread packs for itself, more of them all threads together at the beginning of a call; or, for few pixels, they are
packed panel by panel where they are used, while the panel is in the cache: the first tile that needs one writes it down.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.intrinsics import emits
from fastconv.kernels.panels import forward_panels, input_grad_panels
from fastconv.kernels.sharing import done, fresh_turns, next_task, wait_for
from fastconv.kernels.tile import ROWS_AHEAD
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import get_threads, kernel

__all__ = [
    "AS_IT_IS",
    "COPIED",
    "COUNTERS",
    "FLIPPED",
    "FORWARD",
    "TASKS",
    "by_taps",
    "pack_all",
    "pack_flipped",
    "pack_panel",
    "pack_panels",
    "packed_pixels",
    "share_packing",
]

ROWS = 64  # of a panel that a task packs
AS_IT_IS, COPIED, FORWARD, FLIPPED = range(4)  # what is done to weights
# what `turns` counts: parts of panels that were taken and that are done; tasks then
PARTS, PARTS_DONE, TASKS, COUNTERS = range(4)


@emits()
def pack_rows(v, w, at, step, rows, columns, packed, place, row):
    """`rows` rows of `columns` numbers, `step` apart, to rows of `row` numbers that follow each other, zero behind the columns.

    Rows to come are asked for early: a step from row to row is often a page, over which the CPU does not look ahead by itself.
    """
    whole = v.builder.udiv(columns, v.index(v.lanes))
    done = v.builder.mul(whole, v.index(v.lanes))
    rest, room = v.first_lanes(v.builder.sub(columns, done)), v.first_lanes(v.builder.sub(row, done))
    with v.loop(rows) as k:
        source, target = v.at(w, at, (k, step)), v.at(packed, place, (k, row))
        with v.loop(whole) as n:
            v.prefetch(v.at(source, (step, ROWS_AHEAD), (n, v.lanes)))
            v.store(v.load(v.at(source, (n, v.lanes))), v.at(target, (n, v.lanes)))
        with v.if_smaller(done, row):
            v.store(v.load(v.at(source, done), rest), v.at(target, done), room)


@register_jitable
def pack_tap(w, tap, groups, panel, lanes, packed, at):
    """For the input gradient: one tap of w (taps, C, O), the last one first; rows are filters, columns channels."""
    T, C, O = w.shape
    F, taps = O // groups, w.reshape(-1)
    a_at, _, first, _, _, row, columns = panel
    group, first = a_at // F, first % C
    source, target = ((T - 1 - tap) * C + first) * O + group * F, at + tap * F * row
    for c in range(0, row, lanes):
        for o in range(0, F, lanes):
            transpose_block(taps, source + c * O + o, O, columns - c, F - o, packed, target + o * row + c, row, row - c)


@register_jitable
def pack_panel(w, flipped, groups, panel, lanes, packed):
    """A whole panel of w (taps, C, O) at the beginning of `packed`."""
    if flipped:
        for tap in range(len(w)):
            pack_tap(w, tap, groups, panel, lanes, packed, 0)
    else:
        T, C, O = w.shape
        pack_rows(w.reshape(-1), panel[2], O, T * C, panel[6], packed, 0, panel[5])


@register_jitable
def pack_all(w, order, groups, panels, lanes, packed):
    """All panels of w (taps, C, O), by one thread; or a copy of panels (1, 1, numbers)."""
    if order == COPIED:
        pack_rows(w.reshape(-1), 0, 0, 1, w.size, packed, 0, w.size)
        return
    for p in range(len(panels)):
        pack_panel(w, order == FLIPPED, groups, panels[p], lanes, packed[panels[p, 1] :])


@register_jitable
def share_packing(w, order, groups, panels, lanes, packed, turns, thread):
    """All panels of w (taps, C, O), by all threads that come here; they go on when `packed` is whole."""
    T, C, O = w.shape
    parts = T if order == FLIPPED else (T * C + ROWS - 1) // ROWS  # of a panel: taps, or a few rows
    count = len(panels) * parts if order != AS_IT_IS else 0
    task = next_task(turns, PARTS, thread, count)
    while task < count:
        p, part = divmod(task, parts)
        if order == FLIPPED:
            pack_tap(w, part, groups, panels[p], lanes, packed, panels[p, 1])
        else:
            first, row = part * ROWS, panels[p, 5]
            place = panels[p, 1] + first * row
            pack_rows(w.reshape(-1), first * O + panels[p, 2], O, min(ROWS, T * C - first), panels[p, 6], packed, place, row)
        done(turns, PARTS_DONE)
        task = next_task(turns, PARTS, thread, count)
    wait_for(turns, PARTS_DONE, count)


@kernel()
def pack(w, order, groups, panels, lanes, packed, threads, turns):
    """`share_packing` by itself."""
    for thread in prange(threads):  # a task owns one tap or a few rows of a panel
        share_packing(w, order, groups, panels, lanes, packed, turns, thread)


@kernel()
def pack_pixels(x, sh, sw, P, Q, panels, packed):
    """Panels of the channels of the pixels (n, p sh, q sw)."""
    N, H, W, C = x.shape
    flat = x.reshape(-1)
    for task in prange(len(panels) * N * P):  # a task owns a row of pixels of a panel
        k, row = divmod(np.intp(task), N * P)
        n, p = divmod(row, P)
        at, wide = (n * H + p * sh) * W * C + panels[k, 2], panels[k, 5]
        pack_rows(flat, at, sw * C, Q, panels[k, 6], packed, panels[k, 1] + row * Q * wide, wide)


def packed(w, order, groups, panels):
    """w (taps, C, O) in panels, to be kept."""
    room, threads = aligned.empty(panels.packed_size, w.dtype), get_threads()
    pack(w, order, groups, panels.rows, lanes_of(w.itemsize), room, threads, fresh_turns(COUNTERS, threads))
    return room


def packed_pixels(x, sh, sw, P, Q, panels):
    """Every sh-th row and sw-th column of x (N, H, W, C) as a matrix of P x Q pixels an image, in panels of channels, for this
    call."""
    room = aligned.workspace(panels.packed_size, x.dtype)
    pack_pixels(x, sh, sw, P, Q, panels.rows, room)
    return room


def pack_panels(geo, w):
    """Weights for `tiled.forward` that are kept."""
    return packed(by_taps(w), FORWARD, geo.groups, forward_panels(geo, w.itemsize))


def pack_flipped(geo, w):
    """Weights for `tiled.input_grad` that are kept."""
    return packed(by_taps(w), FLIPPED, geo.groups, input_grad_panels(geo, w.itemsize))


def by_taps(w):
    """(KH, KW, C, O) as (taps, C, O); packed weights as (1, 1, numbers)."""
    return w.reshape(1, 1, -1) if w.ndim == 1 else w.reshape(-1, *w.shape[2:])
