"""Where the tiles of Winograd's algorithm lie in x and in y: a table that each thread makes for some tiles at a time, so that the
loops over them divide nothing."""

from typing import NamedTuple

import numpy as np

from fastconv.kernels.intrinsics import inlined
from fastconv.kernels.winograd_sizes import N

__all__ = [
    "AREA",
    "COLS",
    "FIRST",
    "INPUT",
    "INPUT_EDGE",
    "LAST",
    "LIMITS",
    "RESULT",
    "RESULT_EDGE",
    "ROWS",
    "X_AT",
    "Y_AT",
    "Job",
    "area_of",
    "find_places",
    "room_for_places",
]

# columns of the table: the row of `Tools.areas`; where the tile begins in x; of its rows and of its columns the first and the end
# of those that exist, 8 bits each; the last channel from which on a whole vector may be read in every row and column, -1 if some
# do not exist; where its results begin in y
AREA, X_AT, LIMITS, LAST, Y_AT, PLACES = range(6)
# columns of `Tools.areas`: the first tile, rows and columns of tiles in an image, first row and column of results in the lattice,
# results and inputs of a tile, addresses of the transforms; of the `Lattice` where it begins in x and in y, zeros before x, size
FIRST, ROWS, COLS, P_FIRST, Q_FIRST, M_ROWS, M_COLS, N_ROWS, N_COLS = range(9)
INPUT, INPUT_EDGE, RESULT, RESULT_EDGE, X_FIRST, Y_FIRST, TOP, LEFT, HEIGHT, WIDTH = range(9, 19)


class Job(NamedTuple):
    """One convolution of stride 1: where x and y begin, and how far it is to the next image, row and pixel of a lattice."""

    x_at: int
    x_image: int
    x_row: int
    x_pixel: int
    y_at: int
    y_image: int
    y_row: int
    y_pixel: int
    C: int
    lanes: int
    pooled: int  # 1: y has the largest of each 2x2 results


def room_for_places(threads, tiles):
    """A table for so many tiles for each thread."""
    return np.empty((threads, tiles, PLACES), np.int64)


@inlined
def existing(first, size):
    """Which of the numbers first, first + 1 ... lie within 0 ... size - 1: the first and the end of them, 8 bits each."""
    return min(max(-first, 0), N) | min(max(size - first, 0), N) << 8


@inlined
def area_of(t, areas):
    """The row of the area in which tile t lies."""
    low, high = 0, len(areas)
    while high - low > 1:
        middle = (low + high) >> 1
        if t < areas[middle, FIRST]:
            high = middle
        else:
            low = middle
    return low


@inlined
def find_places(first, end, job, areas, size, places):
    """The table for the tiles first ... end of an x of so many numbers."""
    t, area = first, area_of(first, areas)
    while t < end:
        while area + 1 < len(areas) and t >= areas[area + 1, FIRST]:
            area += 1
        cols, m_cols, n_rows, n_cols = areas[area, COLS], areas[area, M_COLS], areas[area, N_ROWS], areas[area, N_COLS]
        line, col = divmod(t - areas[area, FIRST], cols)  # the tiles of a line lie side by side in an image
        n, row = divmod(line, areas[area, ROWS])
        p, q = areas[area, P_FIRST] + row * areas[area, M_ROWS], areas[area, Q_FIRST] + col * m_cols
        h, left, H, W = p - areas[area, TOP], areas[area, LEFT], areas[area, HEIGHT], areas[area, WIDTH]
        x_line = job.x_at + areas[area, X_FIRST] + n * job.x_image + h * job.x_row
        y_line = job.y_at + areas[area, Y_FIRST] + n * job.y_image + (p >> job.pooled) * job.y_row
        rows, has_rows = existing(h, H), h >= 0 and h + n_rows <= H
        last = size - (n_rows - 1) * job.x_row - (n_cols - 1) * job.x_pixel - job.lanes
        stop = min(end, t + cols - col)
        for place in range(t - first, stop - first):
            s = q - left
            start = x_line + s * job.x_pixel
            places[place, AREA] = area
            places[place, X_AT] = start
            places[place, LIMITS] = rows | existing(s, W) << 16
            places[place, LAST] = last - start if has_rows and s >= 0 and s + n_cols <= W else -1
            places[place, Y_AT] = y_line + (q >> job.pooled) * job.y_pixel
            q += m_cols
        t = stop
