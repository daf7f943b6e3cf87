"""How the channels of a result are cut into panels, and how the weights of a walk over images are arranged in them.

Nothing here needs Numba, so that a plan can say how much memory a call will ask for.
"""

import functools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fastconv.kernels.aligned import LINE, MOST_KEPT
from fastconv.kernels.blocks import balanced, packs_gradient
from fastconv.machine import cpu

__all__ = [
    "WIDEST",
    "Arrangement",
    "Panels",
    "arrangement",
    "forward_panels",
    "gradient_panels",
    "input_grad_panels",
    "panels_of",
    "walked",
]

WIDEST = {16: 2, 32: 4}  # vectors of a panel of filters, by number of vector registers
WHOLE_LINES = LINE // 4  # numbers, of any type
OWN_MACS = 16  # multiply-adds of a thread for each weight that it packs for itself
COPY_MACS = 768  # and for each packed one that it copies
FEW_ROWS = 32  # of all images, so few that each panel of weights is better read only once


@dataclass(frozen=True, eq=False)
class Panels:
    """How the channels of the result are cut into panels, and where the panel's part of b lies."""

    rows: np.ndarray  # (panels, 7): offsets in a, b and c, kind, lanes of the last vector, numbers in a row of b, columns
    kinds: tuple  # ((vectors, masked), ...) that occur
    lanes: int
    packed_rows: int  # rows of a packed panel
    packed_size: int  # numbers in all packed panels


def lanes_for(channels, itemsize):
    """Lanes of the vectors: half or a quarter of the widest where that needs no more of them."""
    widest = cpu().vector_bytes // itemsize
    return next(n for n in (widest // 4, widest // 2, widest) if n > 1 and -(-channels // n) == -(-channels // widest))


def panels_of(channels_a, channels_c, groups, itemsize, packed_rows=0, lanes=None, widest=None):
    """Panels over `channels_c` channels, a group reading its share of `channels_a`.

    `packed_rows`: rows of a panel where b is packed; `widest`: vectors of a panel at most.
    """
    share = channels_c // groups
    lanes = lanes or lanes_for(share, itemsize)
    rows, kinds, at = [], [], 0
    for group in range(groups):
        first = 0
        for vectors in balanced(-(-share // lanes), widest or WIDEST[cpu().registers]):
            columns = min(share - first, vectors * lanes)
            tail = columns - (vectors - 1) * lanes
            kind = (vectors, tail < lanes)
            if kind not in kinds:
                kinds.append(kind)
            c_at = group * share + first
            b_at, b_row = (at, vectors * lanes) if packed_rows else (c_at, channels_c)
            rows.append((group * (channels_a // groups), b_at, c_at, kinds.index(kind), tail, b_row, columns))
            at += packed_rows * vectors * lanes
            first += columns
    return Panels(np.array(rows, np.int64), tuple(kinds), lanes, packed_rows, at)


def weights_only(geo):
    """The geometry as far as the arrangement of weights depends on it, so that images of all sizes share it."""
    return replace(geo, n=1, h=1, w=1, p=1, q=1, pads=((0, 0), (0, 0)))


def forward_panels(geo, itemsize):
    """Of the filters of `geo`, whatever its images."""
    return forward_panels_of(weights_only(geo), itemsize)


def input_grad_panels(geo, itemsize):
    return input_grad_panels_of(weights_only(geo), itemsize)


@functools.lru_cache(maxsize=1024)
def forward_panels_of(geo, itemsize, widest=None):
    return panels_of(geo.c, geo.o, geo.groups, itemsize, packed_rows=geo.terms, widest=widest)


@functools.lru_cache(maxsize=1024)
def input_grad_panels_of(geo, itemsize, widest=None):
    return panels_of(geo.o, geo.c, geo.groups, itemsize, packed_rows=geo.kh * geo.kw * geo.o // geo.groups, widest=widest)


@functools.lru_cache(maxsize=1024)
def gradient_panels(geo, itemsize):
    """Of dy for a weight gradient, packed or where it lies."""
    rows = geo.n * geo.p * geo.q if packs_gradient(geo, itemsize) else 0
    return panels_of(geo.c, geo.o, geo.groups, itemsize, packed_rows=rows)


def walked(geo):
    """The geometry that is walked: without padding where the padding is not zero (a padded copy is used), and a 1x1 convolution
    of stride 1 as one long column of pixels."""
    return geo.written_out.as_column


class Arrangement(NamedTuple):
    """How a walk finds its weights."""

    panels: Panels
    by_panels: bool  # all images go through one panel after another: where there are more weights than pixels
    lie_so: bool  # the weights lie already as they are read
    own: bool  # each thread packs or copies all weights for itself: what another core has written takes longer to fetch

    @property
    def on_the_way(self):
        """Whether each thread packs a panel just before it is used."""
        return self.by_panels and not self.lie_so

    def room(self, threads):
        """Shape of the memory that a call takes for packed weights."""
        if self.lie_so and not self.own:
            return 0, 0
        if self.on_the_way:
            return threads, int(self.panels.rows[:, 5].max()) * self.panels.packed_rows
        return threads if self.own else 1, -(-self.panels.packed_size // WHOLE_LINES) * WHOLE_LINES


def arrangement(geo, itemsize, backward, kept, threads):
    """The `Arrangement` of a walk forward or for the input gradient, with weights that are `kept` in panels or not."""
    walk = walked(geo)
    panels = (input_grad_panels if backward else forward_panels)(geo, itemsize)
    rows, values = (walk.h, walk.p * walk.q * walk.o) if backward else (walk.p, walk.h * walk.w * walk.c)
    is_large = walk.n * rows <= FEW_ROWS or panels.packed_size > walk.n * values
    one_panel = not backward and len(panels.rows) == 1 and int(panels.rows[0, 5]) == geo.o
    by_panels = len(panels.rows) >= threads and is_large
    lie_so = kept or one_panel
    own = not by_panels and not one_panel and (copies if kept else packs_alone)(panels, geo.macs, itemsize, threads)
    found = Arrangement(panels, by_panels, lie_so, own)
    if not found.on_the_way:
        return found
    widest = evenly_shared(geo.groups, -(-(geo.c if backward else geo.o) // geo.groups // panels.lanes), threads)
    return found._replace(panels=(input_grad_panels_of if backward else forward_panels_of)(weights_only(geo), itemsize, widest))


def packs_alone(panels, macs, itemsize, threads):
    """Whether the second cache holds all packed weights, and a thread does much more than to pack them."""
    size = panels.packed_size * itemsize
    return size <= cpu().l2 // 2 and threads * size <= MOST_KEPT and macs >= OWN_MACS * threads * panels.packed_size


def copies(panels, macs, itemsize, threads):
    """Whether each of several threads copies packed weights first: so many that its second cache often loses some to the pixels,
    and lines that two cores share come back from farther away than its own."""
    enough = macs >= COPY_MACS * threads * panels.packed_size and panels.packed_size * itemsize >= cpu().l2 // 8
    return threads > 1 and enough and packs_alone(panels, macs, itemsize, threads)


def evenly_shared(groups, vectors, threads):
    """The most vectors of a panel, two at least, with which no thread has much more to do than another, where each of the groups
    has so many; a result is summed whole in any."""

    def longest(widest):
        panels = groups * -(-vectors // widest)
        return -(-panels // threads) * widest

    return min(range(WIDEST[cpu().registers], 1, -1), key=longest)
