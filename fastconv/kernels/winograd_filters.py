"""Winograd's transformed filters U, panel by panel.

Kept where they are small; else made in each call, whole for many tiles, or where they are used.
"""

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.phases import filters_at_stride_one
from fastconv.kernels.sharing import fresh_turns
from fastconv.kernels.winograd_loops import COUNTERS, OF_FILTER, OF_KIND, all_filters
from fastconv.kernels.winograd_sizes import GAP, filter_panels, kept_bytes, packed_size, room_for_filters, transformed_bytes
from fastconv.kernels.winograd_tiles import FilterMove, move_address
from fastconv.machine import get_threads

__all__ = ["transform_exchanged", "transform_filters", "view_of_filters"]


def transform_filters(geo, w):
    """Weights for `forward` that are kept, whatever the image."""
    return transformed(geo, w, backward=False)


def transform_exchanged(geo, w):
    """Weights for `input_grad` that are kept."""
    return transformed(geo, w, backward=True)


def view_of_filters(shape, group, groups, exchanged):
    """(offset, steps from tap to tap and from channel to channel, 0) in w; of the filters of a gradient the last number is the
    step from one to the next, and their channels lie side by side."""
    _, _, c, o = shape
    return (group * (o // groups), c * o, 1, o) if exchanged else (group * (o // groups), c * o, o, 0)


def transformed(geo, w, backward):
    """U to be kept, group after group; or the filters at stride 1 where U is too large."""
    w, flat = filters_at_stride_one(geo, w), geo.at_stride_one
    if transformed_bytes(flat, w.itemsize, backward)[1] > kept_bytes():
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
