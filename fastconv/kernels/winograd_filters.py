"""Winograd's transformed filters U, panel by panel.

Kept where they are small; else made for each call, whole for many tiles, or where they are used.
"""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import WHOLE_FILTERS, WIDEST, is_whole_for_one_call, transformed_bytes
from fastconv.kernels.phases import filters_at_stride_one
from fastconv.kernels.schedule import panels_of
from fastconv.kernels.transpose import flip_filters
from fastconv.kernels.winograd_loops import GAP, E, all_filters
from fastconv.kernels.winograd_tiles import FilterMove, move_address
from fastconv.machine import cpu

__all__ = [
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
    """Weights for `forward` that are kept, whatever the image."""
    return arranged(geo, w, backward=False, once=False)


def transform_exchanged(geo, w):
    """Weights for `input_grad` that are kept."""
    return arranged(geo, w, backward=True, once=False)


def filters_for_one_call(geo, w, backward):
    """Weights that came as they are, or were kept, as this call wants them."""
    return w if w.ndim == 1 else arranged(geo, w, backward, once=True)


def arranged(geo, w, backward, once):
    """U, group after group; or the filters at stride 1 where U is too large to be kept or better made where it is used."""
    w, flat = filters_at_stride_one(geo, w), geo.at_stride_one
    if once:
        whole = is_whole_for_one_call(flat, w.itemsize, backward)
    else:
        whole = transformed_bytes(flat, w.itemsize, backward)[1] <= WHOLE_FILTERS
    return transformed(exchanged(geo, w) if backward else w, geo.groups, once) if whole else w


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
    u, steps = aligned.room(groups * each, w.dtype, once), []
    for vectors, _ in panels.kinds:
        steps += [c * o, (c * vectors + GAP) * panels.lanes]
    move, steps = move_address(FilterMove(w.itemsize, panels.lanes, size)), np.array(steps, np.int64)
    for g in range(groups):
        all_filters(w.reshape(-1), g * (o // groups), c, o, panels.lanes, panels.rows, move, steps, u, g * each)
    return u
