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
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.activation import activate_rows
from fastconv.kernels.blocks import BLOCK_BYTES, CHUNK_BYTES, FEW_TILES, WHOLE_FILTERS
from fastconv.kernels.codes import LEAKY_RELU
from fastconv.kernels.padding import fold, needs_copy, pad, padded_like
from fastconv.kernels.schedule import WIDEST, balanced, panels_of
from fastconv.kernels.tile import STEPS, Tile, call_tile, most_rows, tile_address
from fastconv.kernels.transpose import flip_filters, transpose_block
from fastconv.kernels.vector_ir import emits, flush_denormals, restore_denormals
from fastconv.kernels.winograd_tiles import FilterMove, InputMove, N, OutputMove, move_address, outputs
from fastconv.machine import cpu, get_threads, kernel

__all__ = [
    "exchanged_for_one_call",
    "filters_for_one_call",
    "forward",
    "input_grad",
    "transform_exchanged",
    "transform_filters",
]

E = N * N  # elements of a transformed tile
ROWS_AHEAD = 12  # of weights, asked for before they are read
FEW_MOVES = 300  # transforms of a vector of channels that are done before a second thread has woken up
GAP = 5  # vectors between the elements of transformed tiles: else all 36 may fall on the same lines of the cache
INPUT, INPUT_EDGE, OUTPUT, OUTPUT_EDGE, FILTER = range(5)  # addresses of the transforms
K, C_M = STEPS.index("k"), STEPS.index("c_m")
# steps of the transforms: of the input, then for each kind of panel those of the output and of the filters
OF_INPUT, OF_KIND, OF_FILTER = 3, 6, 4


@register_jitable
def tile_place(t, rows, cols, m):
    """(image, first output row, first output column) of tile t of images with rows x cols tiles of m x m outputs."""
    n, rest = divmod(t, rows * cols)
    return n, rest // cols * m, rest % cols * m


@emits()
def copy_run(v, source, source_at, target, target_at, count, ahead):
    """`count` numbers; those `ahead` of them, which need not exist, are asked for."""
    start = v.at(source, source_at)
    with v.loop(v.builder.sdiv(v.add(count, v.lanes - 1), v.index(v.lanes))) as i:
        v.prefetch(v.at(start, ahead, (i, v.lanes)))
    v.copy(start, v.at(target, target_at), count)


@register_jitable
def between(low, value, high):
    return min(max(value, low), high)


@register_jitable
def input_tile(x, view, t, tiles, m, pads, c0, c1, last, lanes, moves, steps, v, v_at):
    """Channels c0 ... c1 of tile t into V; `last` is where the image's channels end."""
    offset, image, row, pixel, H, W = view
    n, h, s = tile_place(t, tiles[0], tiles[1], m)
    h, s = h - pads[0], s - pads[1]
    start = offset + n * image + h * row + s * pixel
    inside = h >= 0 and s >= 0 and h + N <= H and s + N <= W
    limits = between(0, -h, N) | between(0, H - h, N) << 8 | between(0, -s, N) << 16 | between(0, W - s, N) << 24
    for c in range(c0, c1, lanes):
        move = moves[INPUT] if inside and c + lanes <= last else moves[INPUT_EDGE]
        call_tile(x, start + c, move, x, 0, v, v_at + c - c0, x, 0, steps, 0, limits, last - c)


@register_jitable
def output_tile(m_room, m_at, t, tiles, m, lanes, columns, bias, bias_at, moves, steps, steps_at, y, view, first):
    """Channels first ... first + columns of tile t from M."""
    offset, image, row, pixel, P, Q = view
    n, p, q = tile_place(t, tiles[0], tiles[1], m)
    start = offset + n * image + p * row + q * pixel + first
    rows, cols = min(m, P - p), min(m, Q - q)
    for c in range(0, columns, lanes):
        move = moves[OUTPUT] if rows == m and cols == m and c + lanes <= columns else moves[OUTPUT_EDGE]
        call_tile(
            m_room, m_at + c, move, bias, 0, y, start + c, bias, bias_at + c, steps, steps_at, rows | cols << 8, columns - c
        )


@register_jitable
def products(a, a_at, a_element, b, b_at, b_element, b_row, c, c_at, c_element, count, steps, block_at, addresses, most, zeros):
    """c[e] (+)= a[e] b[e] for the 36 elements e of transformed tiles; `steps[block_at:]` are the steps of the register tile."""
    parts = (count + most - 1) // most
    a_row, c_row = steps[block_at], steps[block_at + C_M]
    for e in range(E):
        a_here, c_here = a_at + e * a_element, c_at + e * c_element
        for part in range(parts):
            rows = count // parts + (1 if part < count % parts else 0)
            call_tile(a, a_here, addresses[rows], b, b_at + e * b_element, c, c_here, zeros, 0, steps, block_at, 0, b_row)
            a_here += rows * a_row
            c_here += rows * c_row


@kernel()
def by_blocks(
    x, of_x, u, u_at, bias, bias_at, y, of_y, cuts, tiles, m, pads, C, lanes, panels, steps, addresses, most, moves, move_steps,
    scratch, zeros,
):  # fmt: skip
    """`cuts` are the first tiles of the blocks; a row of `scratch` holds V and M of one block."""
    slots, blocks, v_element = len(scratch), len(cuts) - 1, move_steps[2]
    wide = (C + lanes - 1) // lanes * lanes
    for slot in prange(slots):  # a task owns the output tiles of its blocks and its row of scratch
        saved = flush_denormals()
        s = np.intp(slot)
        v = scratch[s]
        for block in range(s * blocks // slots, (s + 1) * blocks // slots):
            first, count = cuts[block], cuts[block + 1] - cuts[block]
            for t in range(count):
                input_tile(x, of_x, first + t, tiles, m, pads, 0, C, C, lanes, moves, move_steps, v, t * wide)
            for p in range(len(panels)):
                _, panel, out, kind, _, row, columns = panels[p]
                m_at, own, gap = E * v_element, OF_INPUT + OF_KIND * kind, GAP * lanes
                products(
                    v, 0, v_element, u, u_at + E * (panel + p * gap), C * row + gap, row, v, m_at, move_steps[own], count, steps,
                    2 * kind * len(STEPS), addresses[kind], most[kind], zeros,
                )  # fmt: skip
                for t in range(count):
                    output_tile(
                        v, m_at + t * row, first + t, tiles, m, lanes, columns, bias, bias_at + out, moves, move_steps, own, y,
                        of_y, out,
                    )  # fmt: skip
        restore_denormals(saved)


@kernel()
def input_tiles(x, of_x, count, tiles, m, pads, C, lanes, moves, move_steps, v):
    """V of all tiles of all images."""
    wide = (C + lanes - 1) // lanes * lanes
    for task in prange(count):  # a task owns one tile of V
        saved = flush_denormals()
        t = np.intp(task)
        input_tile(x, of_x, t, tiles, m, pads, 0, C, C, lanes, moves, move_steps, v, t * wide)
        restore_denormals(saved)


@register_jitable
def read_filters(w, view, taps, c0, depth, first, columns, lanes, room, room_at, room_tap, row):
    """`columns` filters from `first` on, `depth` channels of them from c0 on, to a place where they lie together: read where
    they are, all taps at once, they are in each other's way in the cache.
    """
    start, tap, channel, turned = view
    for t in range(taps):
        at, target = start + t * tap + c0 * channel + first, room_at + t * room_tap
        if turned == 0:
            for c in range(depth):
                copy_run(w, at + c * channel, room, target + c * row, columns, ROWS_AHEAD * channel)
            continue
        at = start + (taps - 1 - t) * tap + c0 + first * turned  # the filters of a gradient: from the last tap to the first
        for c in range(0, depth, lanes):
            for o in range(0, columns, lanes):
                transpose_block(w, at + c + o * turned, turned, columns - o, depth - c, room, target + c * row + o, row, lanes)


@kernel()
def by_panels(
    v, w, of_w, taps, bias, bias_at, y, of_y, count, tiles, m, chunk, C, lanes, panels, steps, addresses, most, moves, move_steps,
    scratch, zeros,
):  # fmt: skip
    """Each panel of filters in turn, `chunk` input channels at a time; a row of `scratch` holds their U, and M of all tiles."""
    slots, v_element = len(scratch), move_steps[2]
    for slot in prange(slots):  # a task owns the output channels of its panels and its row of scratch
        saved = flush_denormals()
        s = np.intp(slot)
        u, local = scratch[s], steps[s]
        for p in range(s * len(panels) // slots, (s + 1) * len(panels) // slots):
            _, _, out, kind, _, row, columns = panels[p]
            own = OF_INPUT + OF_KIND * kind
            u_element = move_steps[own + OF_FILTER + 1]
            m_at, m_element, w_tap = E * u_element, move_steps[own], move_steps[own + OF_FILTER]
            w_room = m_at + E * m_element
            for c0 in range(0, C, chunk):
                depth = min(chunk, C - c0)
                read_filters(w, of_w, taps, c0, depth, out, columns, lanes, u, w_room, w_tap, row)
                for c in range(depth):
                    for o in range(0, row, lanes):
                        call_tile(
                            u, w_room + c * row + o, moves[FILTER], w, 0, u, c * row + o, w, 0, move_steps, own + OF_FILTER, 0,
                            max(0, columns - o),
                        )  # fmt: skip
                block_at = (2 * kind + (1 if c0 else 0)) * len(STEPS)
                local[block_at + K] = depth
                products(
                    v, c0, v_element, u, 0, u_element, row, u, m_at, m_element, count, local, block_at, addresses[kind],
                    most[kind], zeros,
                )  # fmt: skip
            for t in range(count):
                output_tile(
                    u, m_at + t * row, t, tiles, m, lanes, columns, bias, bias_at + out, moves, move_steps, own, y, of_y, out
                )
        restore_denormals(saved)


@kernel()
def all_filters(w, w_at, C, O, lanes, panels, move, move_steps, u, u_at):
    """U of all filters of a group, panel by panel."""
    for task in prange(len(panels) * C):  # a task owns one row of a panel in all 36 elements
        saved = flush_denormals()
        p, c = divmod(np.intp(task), C)
        start, out, kind, row, columns = panels[p, 1], panels[p, 2], panels[p, 3], panels[p, 5], panels[p, 6]
        for o in range(0, row, lanes):
            at, target = w_at + c * O + out + o, u_at + E * (start + p * GAP * lanes) + c * row + o
            call_tile(w, at, move, w, 0, u, target, w, 0, move_steps, 2 * kind, 0, max(0, columns - o))
        restore_denormals(saved)


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
    target, (top, left) = (padded_like(dx, geo), (0, 0)) if needs_copy(geo) else (dx, before(geo))
    reach, bias = geo.kh - 1, np.zeros(geo.c, dy.dtype)
    pads = reach * geo.dh - top, reach * geo.dw - left
    exchanged = w.ndim == 1 or geo.groups > 1 or geo.dh * geo.dw == 1
    if not exchanged:  # each of the images into which a dilation falls reads all filters
        w = flip_filters(w)
    convolve(dy, w, geo.kh, bias, 0, target, (geo.dh, geo.dw), pads, geo.groups, exchanged)
    fold(target, geo, dx)
