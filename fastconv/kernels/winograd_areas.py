"""Winograd's tiles, area by area: an image that is not a multiple of a tile ends with smaller tiles.

These are multiplied at some of the points only: 14 results of 3x3 filters are three tiles of 4 with 6 points and one of 2 with 4,
together 22 by 22 products where four whole tiles take 24 by 24; 13 results take 21.

With a dilation d a result sees one of d x d lattices of pixels only, those that lie d apart.  Each is tiled like an image, and
the tiles of all are multiplied together.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from fastconv.kernels.winograd_sizes import E, N, outputs
from fastconv.kernels.winograd_tiles import InputMove, elements, move_address

__all__ = ["Lattice", "lattices_of", "row_counts", "tiles_of"]


class Lattice(NamedTuple):
    """Where its pixels and its results begin in an image of x and of y; zeros before the pixels; how many there are of both."""

    x_at: int
    y_at: int
    top: int
    left: int
    H: int
    W: int
    P: int
    Q: int


def axis_lattices(size, results, dilation, before):
    """[(first input, first result, zeros before, inputs, results), ...] along an axis."""
    found = []
    for first in range(min(dilation, results)):
        shift, start = divmod(first - before, dilation)
        found.append((start, first, -shift, max(0, -(-(size - start) // dilation)), -(-(results - first) // dilation)))
    return found


@functools.lru_cache(maxsize=32)
def lattices_of(x_shape, y_shape, dilations, before, pooled=False):
    """The `Lattice`s of a convolution of stride 1 from x (N, H, W, C) to y (N, P, Q, O), or to y that is `pooled`."""
    (_, h, w, c), (_, p, q, o) = x_shape, y_shape
    down, along = map(axis_lattices, (h, w), (p << pooled, q << pooled), dilations, before)
    return tuple(
        Lattice((h0 * w + w0) * c, (p0 * q + q0) * o, top, left, H, W, P, Q)
        for (h0, p0, top, H, P), (w0, q0, left, W, Q) in itertools.product(down, along)
    )


def axis_tiles(results, m):
    """(the last one, the whole ones) along an axis, each a list of (tiles, first result, results of a tile)."""
    whole, rest = divmod(results, m)
    return [(1, whole * m, rest)] * (rest > 0), [(whole, 0, m)] * (whole > 0)


def areas_of(images, lattices, size):
    """([(`Tools.areas` without addresses and lattice, its lattice), ...], number of tiles): whole tiles between those that lack
    columns and those that lack rows, and lattices of one size together, so that the tiles of most elements are neighbours."""
    areas, first, lattices = [], 0, sorted(lattices, key=lambda lattice: (lattice.P, lattice.Q))
    kinds = [(axis_tiles(lattice.P, outputs(size)), axis_tiles(lattice.Q, outputs(size))) for lattice in lattices]
    for low, broad in ((False, False), (False, True), (True, True), (True, False)):
        for (rows, cols), lattice in zip(kinds, lattices, strict=True):
            for (down, p0, m_rows), (along, q0, m_cols) in itertools.product(rows[not low], cols[broad]):
                areas.append(((first, down, along, p0, q0, m_rows, m_cols, m_rows + size - 1, m_cols + size - 1), lattice))
                first += images * down * along
    return areas, first


def ranges_of(areas, count):
    """`Tools.ranges`: neighbours are one range."""
    ends, ranges = [area[0] for area, _ in areas[1:]] + [count], [[] for _ in range(E)]
    for (area, _), end in zip(areas, ends, strict=True):
        for i, j in itertools.product(elements(area[7]), elements(area[8])):
            own = ranges[i * N + j]
            before = own.pop() if own and own[-1][1] == area[0] else area
            own.append((before[0], end))
    most = max(map(len, ranges))
    return [own + [(0, 0)] * (most - len(own)) for own in ranges]


@functools.cache
def moves_of(m_rows, m_cols, n_rows, n_cols, move, itemsize, lanes, size, ragged):
    """The addresses in a row of `Tools.areas`.  Few tiles are smaller ones: for these the edge's transforms will do."""
    whole = n_rows == n_cols == N
    inputs = [InputMove(itemsize, lanes, edge, n_rows, n_cols) for edge in (not whole, True)]
    results = [move(itemsize, lanes, size, edge, m_rows, m_cols) for edge in (not whole, ragged or not whole)]
    return [move_address(one) for one in (*inputs, *results)]  # as INPUT ... RESULT_EDGE number them


@functools.lru_cache(maxsize=32)
def tiles_of(lattices, images, size, move, itemsize, lanes, ragged):
    """((areas, ranges) of `Tools`, number of tiles).

    `move` is that of the results, `ragged`: whether their channels end within a vector.
    """
    areas, count = areas_of(images, lattices, size)
    rows = [(*area, *moves_of(*area[5:], move, itemsize, lanes, size, ragged), *lattice[:6]) for area, lattice in areas]
    return (np.array(rows, np.int64), np.array(ranges_of(areas, count), np.int64)), count


def row_counts(cut, ranges):
    """How many rows the products of blocks have."""
    distinct = set(map(tuple, ranges.reshape(-1, 2).tolist()))
    shared = {min(end, high) - max(first, low) for first, end in cut for low, high in distinct}
    return tuple(sorted(count for count in shared if count > 0))
