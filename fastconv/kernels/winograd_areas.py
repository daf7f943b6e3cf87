"""Winograd's tiles, area by area: an image that is not a multiple of a tile ends with smaller tiles.

These are multiplied at some of the points only: 14 results of 3x3 filters are three tiles of 4 with 6 points and one of 2 with 4,
together 22 by 22 products where four whole tiles take 24 by 24; 13 results take 21.
"""

import functools
import itertools

import numpy as np

from fastconv.kernels.winograd_sizes import N, outputs
from fastconv.kernels.winograd_tiles import InputMove, elements, move_address

__all__ = ["number_of_tiles", "row_counts", "tiles_of"]


def axis_tiles(results, m):
    """(the last one, the whole ones) along an axis, each a list of (tiles, first result, results of a tile)."""
    whole, rest = divmod(results, m)
    return [(1, whole * m, rest)] * (rest > 0), [(whole, 0, m)] * (whole > 0)


def number_of_tiles(images, job, size):
    m = outputs(size)
    return images * -(-job.P // m) * -(-job.Q // m)


def areas_of(images, p, q, size):
    """(`Tools.areas` without addresses, number of tiles): whole tiles between those that lack columns and those that lack
    rows."""
    (low, tall), (narrow, broad), areas, first = axis_tiles(p, outputs(size)), axis_tiles(q, outputs(size)), [], 0
    for rows, cols in ((tall, narrow), (tall, broad), (low, broad), (low, narrow)):
        for (down, p0, m_rows), (along, q0, m_cols) in itertools.product(rows, cols):
            areas.append((first, down, along, p0, q0, m_rows, m_cols, m_rows + size - 1, m_cols + size - 1))
            first += images * down * along
    return areas, first


def ranges_of(areas, count):
    """`Tools.ranges`"""
    ends, found = [first for first, *_ in areas[1:]] + [count], []
    for i, j in itertools.product(range(N), range(N)):
        having = [(a[0], end) for a, end in zip(areas, ends, strict=True) if i in elements(a[7]) and j in elements(a[8])]
        found.append((having[0][0], having[-1][1]) if having else (0, 0))
    return found


def moves_of(area, move, itemsize, lanes, size, ragged):
    """The addresses in a row of `Tools.areas`.  Few tiles are smaller ones: for these the edge's transforms will do."""
    *_, m_rows, m_cols, n_rows, n_cols = area
    whole = n_rows == n_cols == N
    inputs = [InputMove(itemsize, lanes, edge, n_rows, n_cols) for edge in (not whole, True)]
    results = [move(itemsize, lanes, size, edge, m_rows, m_cols) for edge in (not whole, ragged or not whole)]
    return [move_address(one) for one in (*inputs, *results)]  # as INPUT ... RESULT_EDGE number them


@functools.lru_cache(maxsize=256)
def tiles_of(job, images, size, move, itemsize, ragged):
    """((areas, ranges) of `Tools`, number of tiles).

    `move` is that of the results, `ragged`: whether their channels end within a vector.
    """
    areas, count = areas_of(images, job.P, job.Q, size)
    rows = [(*area, *moves_of(area, move, itemsize, job.lanes, size, ragged)) for area in areas]
    return (np.array(rows, np.int64), np.array(ranges_of(areas, count), np.int64)), count


def row_counts(cut, ranges):
    """How many rows the products of blocks have."""
    distinct = set(map(tuple, ranges.tolist()))
    shared = {min(end, high) - max(first, low) for first, end in cut for low, high in distinct}
    return tuple(sorted(count for count in shared if count > 0))
