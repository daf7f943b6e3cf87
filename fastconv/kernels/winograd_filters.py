"""Winograd's transformed filters U: panel by panel, kept where they are small, made where they are used where they are not."""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import FEW_TILES, WHOLE_FILTERS
from fastconv.kernels.schedule import WIDEST, panels_of
from fastconv.kernels.transpose import flip_filters
from fastconv.kernels.winograd_loops import GAP, E, all_filters
from fastconv.kernels.winograd_tiles import FilterMove, move_address, outputs
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


def whole(c, o, itemsize):
    """Whether U is small enough to be made before anything else; larger ones are made where they are used."""
    return E * c * o * itemsize <= WHOLE_FILTERS


def few_tiles(geo, c, itemsize):
    """Whether U is needed by so few tiles that, for this call only, no thread should wait for all of it."""
    tiles = geo.n * -(-max(geo.p, geo.h) // outputs(geo.kh)) * -(-max(geo.q, geo.w) // outputs(geo.kh))
    return E * c * tiles * itemsize <= FEW_TILES


def transform_filters(geo, w):
    """Weights for `forward`: U group after group, or the weights themselves."""
    c, o = geo.c // geo.groups, geo.o // geo.groups
    return transformed(w, geo.groups) if whole(c, o, w.itemsize) else w


def transform_exchanged(geo, w):
    """Weights for `input_grad`."""
    c, o = geo.c // geo.groups, geo.o // geo.groups
    if not whole(o, c, w.itemsize):
        return w
    turned = [flip_filters(np.ascontiguousarray(w[..., g * o : (g + 1) * o])) for g in range(geo.groups)]
    return transformed(np.concatenate(turned, axis=-1) if geo.groups > 1 else turned[0], geo.groups)


def filters_for_one_call(geo, w):
    """The same where the weights are not kept."""
    return w if few_tiles(geo, geo.c // geo.groups, w.itemsize) else transform_filters(geo, w)


def exchanged_for_one_call(geo, w):
    return w if few_tiles(geo, geo.o // geo.groups, w.itemsize) else transform_exchanged(geo, w)


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
