"""Winograd's transformed filters U: panel by panel, kept where they are small, made where they are used where they are not."""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import are_filters_whole, has_few_tiles
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
    """Weights for `forward`: U group after group, or the weights themselves."""
    return transformed(w, geo.groups) if are_filters_whole(geo, w.itemsize, False) else w


def transform_exchanged(geo, w):
    """Weights for `input_grad`."""
    if not are_filters_whole(geo, w.itemsize, True):
        return w
    o = geo.o // geo.groups
    turned = [flip_filters(np.ascontiguousarray(w[..., g * o : (g + 1) * o])) for g in range(geo.groups)]
    return transformed(np.concatenate(turned, axis=-1) if geo.groups > 1 else turned[0], geo.groups)


def filters_for_one_call(geo, w):
    """The same where the weights are not kept."""
    return w if has_few_tiles(geo, w.itemsize, False) else transform_filters(geo, w)


def exchanged_for_one_call(geo, w):
    return w if has_few_tiles(geo, w.itemsize, True) else transform_exchanged(geo, w)


def packed_size(panels):
    """Numbers of U."""
    return E * (panels.packed_size + len(panels.rows) * GAP * panels.lanes)


def transformed(w, groups):
    """U of the filters of all groups."""
    size, _, c, o = w.shape
    panels = filter_panels(c, o // groups, w.itemsize)
    each = packed_size(panels)
    u, steps = aligned.empty(groups * each, w.dtype), []
    for vectors, _ in panels.kinds:
        steps += [c * o, (c * vectors + GAP) * panels.lanes]
    move, steps = move_address(FilterMove(w.itemsize, panels.lanes, size)), np.array(steps, np.int64)
    for g in range(groups):
        all_filters(w.reshape(-1), g * (o // groups), c, o, panels.lanes, panels.rows, move, steps, u, g * each)
    return u
