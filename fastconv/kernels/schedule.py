"""How a convolution is walked tile by tile: tables of int64, made once for a shape and read by one small kernel.

A *run* is a row of results that all sum over the same taps (`tile_runs`).  A *panel* is a few vectors of neighbouring channels.
A *segment* says: for these runs and panels, call the tiles, with a, b and c beginning here.  A task of the kernel is a list of
segments.
"""

from typing import NamedTuple

import numpy as np

from fastconv.kernels.blocks import balanced
from fastconv.kernels.tile import STEPS, Tile, most_rows, tile_address
from fastconv.machine import cpu

__all__ = ["Schedule", "tables"]

TERMS = [4 + STEPS.index(name) for name in "ijk"]  # columns of `Schedule.runs`: their product are the terms of a sum

AHEAD = 600  # cycles until memory answers: a shorter tile would only make its stores wait behind what it has asked for

NARROW = 2  # vectors of a tile so tall that there are not registers enough for the places of its rows; wider ones are as fast


class Schedule(NamedTuple):
    """The tables that `tiled.walk` reads."""

    starts: np.ndarray  # (tasks + 1,): the first segment of each task
    segments: np.ndarray  # (segments, 7): where a, rows of b and c begin; first and end of runs; first and end of panels
    runs: np.ndarray  # (runs, 4 + steps): offsets in a, in rows of b, in c; number of rows; then the tile's steps
    panels: np.ndarray
    tiles: np.ndarray  # (kinds, rows + 1): addresses
    most: np.ndarray  # (kinds,): rows of the tallest tile
    packing: np.ndarray  # (kinds,): address of the tile that packs a panel on its way, the first of the first run; else 0
    asking: np.ndarray  # (kinds, rows + 1): addresses of the tiles that ask for what comes next
    piece: int  # rows of b that all runs go over before the next ones, which are asked for meanwhile; 0: a sum is not cut
    far: int  # 1: results come from memory, and are asked for before a tile that takes as long as that writes them


def tables(tasks, runs, panels, itemsize, packs=False, piece=0, beside=0, far=False):
    """The `Schedule` of tasks (lists of segments), with the tiles that it needs compiled.

    The first tile `packs` a panel where its run needs all of it; with a `piece` the runs are `in_pieces` of that size already; so
    many rows of tiles lie `beside` each other in a (0: any number of steps apart); `far`: results come from memory, and are asked
    for by tiles that take as long as it does.
    """
    runs = np.array(runs, np.int64).reshape(-1, 4 + len(STEPS))
    most = [most_rows(beside > 0)[vectors] for vectors, _ in panels.kinds]
    tiles, packing = np.zeros((len(panels.kinds), max(most) + 1), np.int64), np.zeros(len(panels.kinds), np.int64)
    asking = np.zeros_like(tiles)
    for kind, (vectors, masked) in enumerate(panels.kinds):
        for height in {part for count in np.unique(runs[:, 3]) for part in balanced(int(count), most[kind])}:
            side = min(height, beside) if vectors <= NARROW or height > beside else 0
            tiles[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked, side))
            if piece:
                asking[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked, asks=True))
        if packs and runs[0, TERMS].prod() == panels.packed_rows:
            height = balanced(int(runs[0, 3]), most[kind])[0]
            packing[kind] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked, packs=packs))
    segments = np.array([segment for task in tasks for segment in task], np.int64).reshape(-1, 7)
    starts = np.cumsum([0, *map(len, tasks)])
    far = int(far and cycles_of_tile(runs, panels, most) >= AHEAD)
    return Schedule(starts, segments, runs, panels.rows, tiles, np.array(most), packing, asking, piece, far)


def cycles_of_tile(runs, panels, most):
    """How long the largest tile takes, at least."""
    sums = max(vectors * rows for (vectors, _), rows in zip(panels.kinds, most, strict=True))
    return sums * runs[:, TERMS].prod(axis=1).max() / cpu().multiply_adds
