"""Winograd's transformed filters U, panel by panel.

Kept where they are small; else made in each call, whole for many tiles, or where they are used.
"""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import WHOLE_FILTERS, WIDEST, transformed_bytes
from fastconv.kernels.phases import filters_at_stride_one
from fastconv.kernels.schedule import panels_of
from fastconv.kernels.sharing import fresh_turns
from fastconv.kernels.winograd_loops import COUNTERS, GAP, OF_FILTER, OF_KIND, E, all_filters
from fastconv.kernels.winograd_tiles import FilterMove, move_address
from fastconv.machine import cpu, get_threads

__all__ = [
    "filter_panels",
    "packed_size",
    "room_for_filters",
    "shared_panels",
    "transform_exchanged",
    "transform_filters",
    "view_of_filters",
]


@functools.lru_cache(maxsize=1024)
def filter_panels(c, o, itemsize):
    return panels_of(c, o, 1, itemsize, packed_rows=c, lanes=cpu().vector_bytes // itemsize)


@functools.lru_cache(maxsize=1024)
def shared_panels(c, o, itemsize, threads):
    """Panels that `threads` can share evenly, narrower ones if need be: weights that are not kept may be cut as we like."""
    lanes = cpu().vector_bytes // itemsize
    for widest in (4, 3, 2):
        panels = panels_of(c, o, 1, itemsize, packed_rows=c, lanes=lanes, widest=min(widest, WIDEST[cpu().registers]))
        if len(panels.rows) % threads == 0 or len(panels.rows) >= 4 * threads:
            return panels
    return filter_panels(c, o, itemsize)


def transform_filters(geo, w):
    """Weights for `forward` that are kept, whatever the image."""
    return transformed(geo, w, backward=False)


def transform_exchanged(geo, w):
    """Weights for `input_grad` that are kept."""
    return transformed(geo, w, backward=True)


def packed_size(panels):
    """Numbers of U."""
    return E * (panels.packed_size + len(panels.rows) * GAP * panels.lanes)


def room_for_filters(panels, size):
    """(numbers from tap to tap, numbers in all) where the filters of `lanes` channels of a panel lie before they are made U."""
    tap = panels.lanes * int(panels.rows[:, 5].max()) + GAP * panels.lanes
    return tap, size * size * tap


def view_of_filters(shape, group, groups, exchanged):
    """(offset, steps from tap to tap and from channel to channel, 0) in w; of the filters of a gradient the last number is the
    step from one to the next, and their channels lie side by side."""
    _, _, c, o = shape
    return (group * (o // groups), c * o, 1, o) if exchanged else (group * (o // groups), c * o, o, 0)


def transformed(geo, w, backward):
    """U to be kept, group after group; or the filters at stride 1 where U is too large."""
    w, flat = filters_at_stride_one(geo, w), geo.at_stride_one
    if transformed_bytes(flat, w.itemsize, backward)[1] > WHOLE_FILTERS:
        return w
    size, _, c, o = w.shape
    c, o = (o // geo.groups, c) if backward else (c, o // geo.groups)
    panels = filter_panels(c, o, w.itemsize)
    each, (tap, room) = packed_size(panels), room_for_filters(panels, size)
    steps = np.zeros((len(panels.kinds), OF_KIND), np.int64)
    for kind, (vectors, _) in enumerate(panels.kinds):
        steps[kind, OF_FILTER:] = tap, (c * vectors + GAP) * panels.lanes
    u, scratch = aligned.empty(geo.groups * each, w.dtype), aligned.workspace((get_threads(), room), w.dtype)
    move = move_address(FilterMove(w.itemsize, panels.lanes, size))
    flat, steps = w.reshape(-1), steps.reshape(-1)
    for g in range(geo.groups):
        of_w = view_of_filters(w.shape, g, geo.groups, backward)
        turns = fresh_turns(COUNTERS, len(scratch))
        all_filters(flat, of_w, size * size, c, panels.lanes, panels.rows, move, steps, u, g * each, scratch, turns)
    return u
