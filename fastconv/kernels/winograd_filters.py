"""Winograd's transformed filters U, panel by panel.

Kept where they are small; else made for each call, whole for many tiles, or where they are used.
"""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import WHOLE_FILTERS, are_filters_whole, has_few_tiles, transformed_bytes
from fastconv.kernels.phases import filters_at_stride_one
from fastconv.kernels.schedule import WIDEST, panels_of
from fastconv.kernels.transpose import flip_filters
from fastconv.kernels.winograd_loops import GAP, E, all_filters
from fastconv.kernels.winograd_tiles import FilterMove, move_address
from fastconv.machine import cpu

__all__ = [
    "exchanged_for_one_call",
    "filter_panels",
    "filters_for_one_call",
    "packed_size",
    "shared_panels",
    "transform_exchanged",
    "transform_filters",
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
    """Weights for `forward` that are kept, whatever the image: U, group after group, where it is small; or those at stride 1."""
    w = filters_at_stride_one(geo, w)
    return transformed(w, geo.groups, once=False) if are_small(geo, w.itemsize, False) else w


def transform_exchanged(geo, w):
    """Weights for `input_grad` that are kept."""
    w = filters_at_stride_one(geo, w)
    return transformed(exchanged(geo, w), geo.groups, once=False) if are_small(geo, w.itemsize, True) else w


def are_small(geo, itemsize, backward):
    return transformed_bytes(geo.at_stride_one, itemsize, backward)[1] <= WHOLE_FILTERS


def is_whole_for_one_call(geo, itemsize, backward):
    return are_filters_whole(geo, itemsize, backward) and not has_few_tiles(geo, itemsize, backward)


def filters_for_one_call(geo, w):
    """Weights for `forward` as this call wants them: U, or the filters at stride 1 themselves."""
    if w.ndim == 1:
        return w
    w = filters_at_stride_one(geo, w)
    whole = is_whole_for_one_call(geo.at_stride_one, w.itemsize, False)
    return transformed(w, geo.groups, once=True) if whole else w


def exchanged_for_one_call(geo, w):
    """The same for `input_grad`."""
    if w.ndim == 1:
        return w
    w = filters_at_stride_one(geo, w)
    whole = is_whole_for_one_call(geo.at_stride_one, w.itemsize, True)
    return transformed(exchanged(geo, w), geo.groups, once=True) if whole else w


def exchanged(geo, w):
    """The filters of a gradient: turned by 180 degrees, with their channels exchanged, group by group."""
    o = geo.o // geo.groups
    turned = [flip_filters(np.ascontiguousarray(w[..., g * o : (g + 1) * o])) for g in range(geo.groups)]
    return np.concatenate(turned, axis=-1) if geo.groups > 1 else turned[0]


def packed_size(panels):
    """Numbers of U."""
    return E * (panels.packed_size + len(panels.rows) * GAP * panels.lanes)


def transformed(w, groups, once):
    """U of the filters of all groups, for this call only (`once`) or to be kept."""
    size, _, c, o = w.shape
    panels = filter_panels(c, o // groups, w.itemsize)
    each = packed_size(panels)
    u, steps = (aligned.workspace if once else aligned.empty)(groups * each, w.dtype), []
    for vectors, _ in panels.kinds:
        steps += [c * o, (c * vectors + GAP) * panels.lanes]
    move, steps = move_address(FilterMove(w.itemsize, panels.lanes, size)), np.array(steps, np.int64)
    for g in range(groups):
        all_filters(w.reshape(-1), g * (o // groups), c, o, panels.lanes, panels.rows, move, steps, u, g * each)
    return u
