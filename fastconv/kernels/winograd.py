"""Winograd's minimal filtering at stride 1: 4x4 outputs of 3x3 filters with a quarter of the multiplications, 2x2 of 5x5 ones
with 36 %.

Three steps: 6x6 blocks of the input are transformed (V), each of their 36 elements is a matrix product over the channels with
the transformed filters (U), and the products (M) are transformed back to outputs.  Two schedules: `by_blocks` takes a few tiles
of the image through all three steps while they stay in the cache; `by_panels` transforms the whole input first and then takes a
panel of filters at a time, whose transformed weights are made just before they are used and need not be stored.

Groups of channels, and the interleaved images into which a dilation falls, are convolutions of their own: `parts` lists them as
views, (offset, steps from image to image, row to row and pixel to pixel, rows, columns) of x and of y.

A result is a combination of all 36 inputs of its tile.  Its error is at most 4 (C KH KW + 1) eps times the largest sum of
absolute products among the 16 results of its tile, and a NaN or an infinity anywhere in the tile reaches all of them.
"""

import functools
from dataclasses import dataclass

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.activation import activate_rows
from fastconv.kernels.blocks import BLOCK_BYTES, CHUNK_BYTES
from fastconv.kernels.codes import LEAKY_RELU
from fastconv.kernels.padding import fold, grad_target, needs_copy, pad
from fastconv.kernels.schedule import balanced
from fastconv.kernels.tile import STEPS, Tile, most_rows, tile_address
from fastconv.kernels.transpose import flip_filters
from fastconv.kernels.winograd_filters import filter_panels, packed_size, shared_panels
from fastconv.kernels.winograd_loops import GAP, E, by_blocks, by_panels, input_tiles
from fastconv.kernels.winograd_tiles import FilterMove, InputMove, OutputMove, move_address, outputs
from fastconv.machine import get_threads

__all__ = ["forward", "input_grad"]

FEW_MOVES = 300  # transforms of a vector of channels that are done before a second thread has woken up


@functools.lru_cache(maxsize=256)
def tile_tables(panels, itemsize, a_m, a_k, k, counts):
    """(steps, addresses, rows of the tallest tile) for products with `k` terms, for each kind of panel."""
    steps, kinds = [], panels.kinds
    most = [most_rows()[vectors] for vectors, _ in kinds]
    addresses = np.zeros((len(kinds), max(most) + 1), np.int64)
    for kind, (vectors, _) in enumerate(kinds):
        for height in {part for count in counts for part in balanced(count, most[kind])}:
            addresses[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked=False))
        known = {"a_m": a_m, "a_k": a_k, "b_k": 1, "c_m": vectors * panels.lanes, "i": 1, "j": 1, "k": k}
        steps += [known.get(name, 0) for name in STEPS] + [{**known, "accumulate": 1}.get(name, 0) for name in STEPS]
    return np.array(steps, np.int64), addresses, np.array(most)


def block_cuts(count, c, row, itemsize, threads):
    """First tiles of blocks that fit BLOCK_BYTES, equally many for each thread."""
    blocks = -(-count * E * (c + row) * itemsize // BLOCK_BYTES)
    blocks = min(count, -(-blocks // threads) * threads)
    return np.array([count * i // blocks for i in range(blocks + 1)])


@functools.lru_cache(maxsize=256)
def moves_of(itemsize, lanes, size):
    """Addresses of the transforms."""
    inputs = [InputMove(itemsize, lanes, edge) for edge in (False, True)]
    results = [OutputMove(itemsize, lanes, size, edge) for edge in (False, True)]
    moves = [*inputs, *results, FilterMove(itemsize, lanes, size)]  # as INPUT ... FILTER number them
    return np.array([move_address(move) for move in moves])


@dataclass(frozen=True)
class Part:
    """One convolution: views of x and y, channels of each group, padding before, which group."""

    of_x: tuple
    of_y: tuple
    pads: tuple
    group: int


def axis_parts(size, results, dilation, before):
    """[(first input, inputs, first result, results, padding before), ...] of the images into which a dilation falls."""
    found = []
    for first in range(min(dilation, results)):
        shift, start = divmod(first - before, dilation)
        inputs = max(0, -(-(size - start) // dilation))
        found.append((start, inputs, first, -(-(results - first) // dilation), -shift))
    return found


@functools.lru_cache(maxsize=256)
def parts(x_shape, y_shape, dilations, before, groups):
    """The `Part`s of a convolution of stride 1."""
    (_, h, w, c), (_, p, q, o) = x_shape, y_shape
    (dh, dw), found = dilations, []
    for group in range(groups):
        for r in axis_parts(h, p, dh, before[0]):
            for s in axis_parts(w, q, dw, before[1]):
                x_at = (r[0] * w + s[0]) * c + group * (c // groups)
                y_at = (r[2] * q + s[2]) * o + group * (o // groups)
                of_x = (x_at, h * w * c, dh * w * c, dw * c, r[1], s[1])
                of_y = (y_at, p * q * o, dh * q * o, dw * o, r[3], s[3])
                found.append(Part(of_x, of_y, (r[4], s[4]), group))
    return found


def convolve(x, w, size, bias, activation, y, dilations, before, groups, exchanged=False):
    """Stride 1: y (N, P, Q, O) from x with `before` = (top, left) zeros before it and as many after it as y needs."""
    in_tile = activation if activation <= LEAKY_RELU else 0
    for part in parts(x.shape, y.shape, dilations, before, groups):
        convolve_part(x, w, size, bias, in_tile, y, part, groups, exchanged)
    if in_tile != activation:
        activate_rows(y.reshape(-1, y.shape[3]), activation)


def convolve_part(x, w, r, bias, code, y, part, groups, exchanged):
    n, c, o, size, threads, m = x.shape[0], x.shape[3] // groups, y.shape[3] // groups, x.itemsize, get_threads(), outputs(r)
    tiles = tuple(-(-results // m) for results in part.of_y[4:])
    panels = filter_panels(c, o, size) if w.ndim == 1 else shared_panels(c, o, size, threads)
    count, lanes, row = n * tiles[0] * tiles[1], panels.lanes, int(panels.rows[:, 5].max())
    wide = -(-c // lanes) * lanes
    moves, zeros, flat = moves_of(size, lanes, r), np.zeros(row, x.dtype), (x.reshape(-1), y.reshape(-1))
    if w.ndim == 1:  # U
        cuts = block_cuts(count, wide, row, size, threads)
        sizes = tuple(sorted({int(s) for s in np.diff(cuts)}))
        steps, addresses, most = tile_tables(panels, size, wide, 1, c, sizes)
        move_steps = steps_of_moves(part, panels, max(sizes), wide, 0, code)
        scratch = aligned.empty((min(threads, len(cuts) - 1), E * (max(sizes) * (wide + row) + 2 * GAP * lanes)), x.dtype)
        by_blocks(
            flat[0], part.of_x, w, part.group * packed_size(panels), bias, part.group * o, flat[1], part.of_y, cuts, tiles, m,
            part.pads, c, lanes, panels.rows, steps, addresses, most, moves, move_steps, scratch, zeros,
        )  # fmt: skip
        return
    chunk = min(c, max(lanes, CHUNK_BYTES // (E * row * size) // lanes * lanes))
    steps, addresses, most = tile_tables(panels, size, wide, 1, c, (count,))
    move_steps = steps_of_moves(part, panels, count, wide, chunk, code)
    v, slots = aligned.empty(E * (count * wide + GAP * lanes), x.dtype), min(threads, len(panels.rows))
    scratch = aligned.empty((slots, E * (count * row + GAP * lanes) + (E + r * r) * (chunk * row + GAP * lanes)), x.dtype)
    transform = input_tiles.alone if count * wide // lanes <= FEW_MOVES else input_tiles
    transform(flat[0], part.of_x, count, tiles, m, part.pads, c, lanes, moves, move_steps, v)
    of_w, steps = view_of_filters(w.shape, part.group, groups, exchanged), np.tile(steps, (slots, 1))
    by_panels(
        v, w.reshape(-1), of_w, r * r, bias, part.group * o, flat[1], part.of_y, count, tiles, m, chunk, c, lanes, panels.rows,
        steps, addresses, most, moves, move_steps, scratch, zeros,
    )  # fmt: skip


def view_of_filters(shape, group, groups, exchanged):
    """(offset, steps from tap to tap and from channel to channel, 0) in w; of the filters of a gradient the last number is the
    step from one to the next, and their channels lie side by side."""
    _, _, c, o = shape
    return (group * (o // groups), c * o, 1, o) if exchanged else (group * (o // groups), c * o, o, 0)


def steps_of_moves(part, panels, count, wide, chunk, code):
    """What the transforms read, for at most `count` tiles and `chunk` input channels at once."""
    gap = GAP * panels.lanes
    steps = [part.of_x[2], part.of_x[3], count * wide + gap]
    for vectors, _ in panels.kinds:
        row = vectors * panels.lanes
        steps += [count * row + gap, part.of_y[2], part.of_y[3], code, chunk * row + gap, chunk * row + gap]
    return np.array(steps, np.int64)


def before(geo):
    return geo.pads[0][0], geo.pads[1][0]


def forward(geo, x, w, b, activation, y):
    pads, dilations = before(geo), (geo.dh, geo.dw)
    if needs_copy(geo):
        x, pads = pad(x, geo), (0, 0)
    convolve(x, w, geo.kh, b, activation, y, dilations, pads, geo.groups)


def input_grad(geo, dy, w, dx):
    target, (top, left) = grad_target(dx, geo), (0, 0) if needs_copy(geo) else before(geo)
    reach, bias = geo.kh - 1, np.zeros(geo.c, dy.dtype)
    pads = reach * geo.dh - top, reach * geo.dw - left
    exchanged = w.ndim == 1 or geo.groups > 1 or geo.dh * geo.dw == 1
    if not exchanged:  # each of the images into which a dilation falls reads all filters
        w = flip_filters(w)
    convolve(dy, w, geo.kh, bias, 0, target, (geo.dh, geo.dw), pads, geo.groups, exchanged)
    fold(target, geo, dx)
