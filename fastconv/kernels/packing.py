"""Weights in panels: the channels that a register tile takes at once lie side by side, in the order in which it reads them.

Weights that are kept are packed whole.  Weights that are used once, and by few pixels, are packed panel by panel where they are
used, while the panel is in the cache.
"""

import functools
from dataclasses import replace

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.schedule import panels_of
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.vector_ir import emits, lanes_of
from fastconv.machine import kernel

__all__ = [
    "ROWS_AHEAD",
    "forward_panels",
    "input_grad_panels",
    "pack_columns",
    "pack_flipped",
    "pack_panel",
    "pack_panels",
    "weights_only",
]

ROWS = 64  # of a panel that a task packs
ROWS_AHEAD = 12  # between asking for numbers and reading them


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


@kernel()
def pack(w, panels, packed):
    """All panels of w (K, O)."""
    (K, O), flat = w.shape, w.reshape(-1)
    bands = (K + ROWS - 1) // ROWS
    for task in prange(len(panels) * bands):  # a task owns a few rows of a panel
        p, band = divmod(np.intp(task), bands)
        first, row = band * ROWS, panels[p, 5]
        rows, place = min(ROWS, K - first), panels[p, 1] + first * row
        pack_rows(flat, first * O + panels[p, 2], O, rows, panels[p, 6], packed, place, row)


@kernel()
def pack_all_flipped(w, groups, panels, lanes, packed):
    """All panels of w (taps, C, O) for the input gradient."""
    T = len(w)
    for task in prange(len(panels) * T):  # a task owns one tap of a panel
        p, tap = divmod(np.intp(task), T)
        pack_tap(w, tap, groups, panels[p], lanes, packed, panels[p, 1])


@functools.lru_cache(maxsize=1024)
def forward_panels(geo, itemsize):
    return panels_of(geo.c, geo.o, geo.groups, itemsize, packed_rows=geo.terms)


@functools.lru_cache(maxsize=1024)
def input_grad_panels(geo, itemsize):
    return panels_of(geo.o, geo.c, geo.groups, itemsize, packed_rows=geo.kh * geo.kw * geo.o // geo.groups)


def weights_only(geo):
    """The geometry as far as the arrangement of weights depends on it, so that images of all sizes share it."""
    return replace(geo, n=1, h=1, w=1, p=1, q=1, pads=((0, 0), (0, 0)))


def pack_columns(w, panels, once):
    """w (K, O) in panels, for this call only (`once`) or to be kept."""
    packed = aligned.room(panels.packed_size, w.dtype, once)
    pack(w, panels.rows, packed)
    return packed


def pack_panels(geo, w, once=False):
    """Weights for `tiled.forward`."""
    return pack_columns(w.reshape(-1, geo.o), forward_panels(weights_only(geo), w.itemsize), once)


def pack_flipped(geo, w, once=False):
    """Weights for `tiled.input_grad`."""
    panels = input_grad_panels(weights_only(geo), w.itemsize)
    packed = aligned.room(panels.packed_size, w.dtype, once)
    pack_all_flipped(w.reshape(geo.kh * geo.kw, -1, geo.o), geo.groups, panels.rows, lanes_of(w.itemsize), packed)
    return packed
