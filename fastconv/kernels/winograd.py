"""Winograd's minimal filtering for 3x3 filters and stride 1: tiles of 4x4 outputs with a quarter of the multiplications.

Three steps: 6x6 blocks of the input are transformed (V), each of their 36 elements is a matrix product over the channels with
the transformed filters (U), and the products (M) are transformed back to 4x4 outputs.  Two schedules: `by_blocks` takes a few
tiles of the image through all three steps while they stay in the cache; `by_panels` transforms the whole input first and then
takes a panel of filters at a time, whose transformed weights are made just before they are used and need not be stored.

A result is a combination of all 36 inputs of its tile.  Its error is at most 4 (C KH KW + 1) eps times the largest sum of
absolute products among the 16 results of its tile, and a NaN or an infinity anywhere in the tile reaches all of them.
"""

import functools

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.activation import activate_rows
from fastconv.kernels.codes import LEAKY_RELU
from fastconv.kernels.padding import fold, pad, padded_like
from fastconv.kernels.schedule import balanced, panels_of
from fastconv.kernels.tile import STEPS, Tile, activate, call_tile, most_rows, tile_address
from fastconv.kernels.transpose import flip_filters
from fastconv.kernels.vector_ir import emits, flush_denormals, restore_denormals
from fastconv.kernels.winograd_matrices import matrices
from fastconv.kernels.winograd_transform import both_ways
from fastconv.machine import cpu, get_threads, kernel

__all__ = ["forward", "input_grad", "transform_exchanged", "transform_filters"]

M, N = 4, 6  # outputs and inputs of a tile along one axis
E = N * N  # elements of a transformed tile
AT, G, BT = ([[float(c) for c in row] for row in matrix] for matrix in matrices(M))
WHOLE_FILTERS = 4 << 20  # bytes of transformed weights up to which they are made once for all blocks
BLOCK_BYTES = 700_000  # of V and M of the tiles of one block: what L2 holds beside the weights that stream through
CHUNK_BYTES = 500_000  # of transformed weights made and used at once by `by_panels`


@emits("edge")
def transform_input(v, edge, x, x_at, x_row, x_pixel, i0, i1, j0, j1, tail, out, out_at, out_element):
    """V <- BT x B for one tile and one vector of channels; at an edge only rows i0...i1, columns j0...j1, `tail` lanes exist."""
    start, lanes = v.at(x, x_at), v.first_lanes(tail)

    def load(i, j):
        mask = v.if_inside(lanes, (i, i0, i1), (j, j0, j1)) if edge else None
        return v.load(v.at(start, (i, x_row), (j, x_pixel)), mask)

    columns = [[load(i, j) for i in range(N)] for j in range(N)]
    for (i, j), value in both_ways(v, BT, columns).items():
        v.store(value, v.at(out, out_at, (i * N + j, out_element)))


@emits("edge")
def transform_output(v, edge, m, m_at, m_element, bias, bias_at, code, y, y_at, y_row, y_pixel, rows, cols, tail):
    """y <- activation(AT m A + bias) for one tile and one vector of channels; at an edge only `rows` x `cols` of it exist."""
    lanes = v.first_lanes(tail)
    mask = lanes if edge else None
    offset = v.load(v.at(bias, bias_at), mask)
    columns = [[v.load(v.at(m, m_at, (i * N + j, m_element))) for i in range(N)] for j in range(N)]
    for (i, j), value in both_ways(v, AT, columns).items():
        register = v.variable(v.builder.fadd(value, offset))
        activate(v, code, [register])
        inside = v.if_inside(lanes, (i, v.index(0), rows), (j, v.index(0), cols)) if edge else None
        v.store(v.builder.load(register), v.at(y, y_at, (i, y_row), (j, y_pixel)), inside)


@emits()
def transform_filter(v, w, w_at, w_tap, tail, out, out_at, out_element):
    """U <- G w GT for one input channel and one vector of filters (in float64 the final error is the same: it comes from V)."""
    lanes = v.first_lanes(tail)
    columns = [[v.load(v.at(w, w_at, (i * 3 + j, w_tap)), lanes) for i in range(3)] for j in range(3)]
    for (i, j), value in both_ways(v, G, columns).items():
        v.store(value, v.at(out, out_at, (i * N + j, out_element)))


@register_jitable
def tile_place(t, rows, cols):
    """(image, first output row, first output column) of tile t of images with rows x cols tiles."""
    n, rest = divmod(t, rows * cols)
    return n, rest // cols * M, rest % cols * M


@register_jitable
def input_tile(x, t, rows, cols, top, left, lanes, v, v_at, v_element):
    """All channels of tile t into V."""
    _, H, W, C = x.shape
    n, h, s = tile_place(t, rows, cols)
    h, s = h - top, s - left
    flat, start = x.reshape(-1), ((n * H + h) * W + s) * C
    inside = h >= 0 and s >= 0 and h + N <= H and s + N <= W
    for c in range(0, C, lanes):
        if inside and c + lanes <= C:
            transform_input(0, flat, start + c, W * C, C, 0, N, 0, N, lanes, v, v_at + c, v_element)
        else:
            transform_input(
                1, flat, start + c, W * C, C, max(0, -h), min(N, H - h), max(0, -s), min(N, W - s), C - c, v, v_at + c, v_element
            )


@register_jitable
def output_tile(m, m_at, m_element, t, rows, cols, lanes, first, columns, bias, code, y):
    """Channels first ... first + columns of tile t from M."""
    _, P, Q, O = y.shape
    n, p, q = tile_place(t, rows, cols)
    flat, start = y.reshape(-1), ((n * P + p) * Q + q) * O + first
    for c in range(0, columns, lanes):
        if p + M <= P and q + M <= Q and c + lanes <= columns:
            transform_output(0, m, m_at + c, m_element, bias, first + c, code, flat, start + c, Q * O, O, M, M, lanes)
        else:
            transform_output(
                1, m, m_at + c, m_element, bias, first + c, code, flat, start + c, Q * O, O, P - p, Q - q, columns - c
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


C_M = STEPS.index("c_m")


@kernel()
def by_blocks(x, u, bias, code, y, cuts, tiles, pads, lanes, panels, steps, addresses, most, scratch, zeros):
    """`cuts` are the first tiles of the blocks; a row of `scratch` holds V and M of one block."""
    C, slots, blocks = x.shape[3], len(scratch), len(cuts) - 1
    wide = (C + lanes - 1) // lanes * lanes
    for slot in prange(slots):  # a task owns the output tiles of its blocks and its row of scratch
        before = flush_denormals()
        s = np.intp(slot)
        v = scratch[s]
        for block in range(s * blocks // slots, (s + 1) * blocks // slots):
            first, count = cuts[block], cuts[block + 1] - cuts[block]
            v_element = count * wide + lanes
            for t in range(count):
                input_tile(x, first + t, tiles[0], tiles[1], pads[0], pads[1], lanes, v, t * wide, v_element)
            for p in range(len(panels)):
                _, u_at, out, kind, _, row, columns = panels[p]
                m_at, m_element = E * v_element, count * row + lanes
                products(
                    v, 0, v_element, u, u_at * E, C * row, row, v, m_at, m_element, count, steps, 2 * kind * len(STEPS),
                    addresses[kind], most[kind], zeros,
                )  # fmt: skip
                for t in range(count):
                    output_tile(v, m_at + t * row, m_element, first + t, tiles[0], tiles[1], lanes, out, columns, bias, code, y)
        restore_denormals(before)


@kernel()
def input_tiles(x, tiles, pads, lanes, v, v_element):
    """V of all tiles of all images."""
    wide = (x.shape[3] + lanes - 1) // lanes * lanes
    for task in prange(x.shape[0] * tiles[0] * tiles[1]):  # a task owns one tile of V
        before = flush_denormals()
        t = np.intp(task)
        input_tile(x, t, tiles[0], tiles[1], pads[0], pads[1], lanes, v, t * wide, v_element)
        restore_denormals(before)


@kernel()
def by_panels(v, v_element, w, bias, code, y, tiles, chunk, lanes, panels, steps, addresses, most, scratch, zeros):
    """Each panel of filters in turn, `chunk` input channels at a time; a row of `scratch` holds their U, and M of all tiles."""
    C, O = w.shape[2], y.shape[3]
    count, slots, taps = y.shape[0] * tiles[0] * tiles[1], len(scratch), w.reshape(-1)
    for slot in prange(slots):  # a task owns the output channels of its panels and its row of scratch
        before = flush_denormals()
        s = np.intp(slot)
        u = scratch[s]
        for p in range(s * len(panels) // slots, (s + 1) * len(panels) // slots):
            _, _, out, kind, _, row, columns = panels[p]
            u_element = chunk * row + lanes
            m_at, m_element = E * u_element, count * row + lanes
            for c0 in range(0, C, chunk):
                depth = min(chunk, C - c0)
                for c in range(depth):
                    for o in range(0, row, lanes):
                        transform_filter(taps, (c0 + c) * O + out + o, C * O, max(0, columns - o), u, c * row + o, u_element)
                block_at = (2 * kind + (1 if c0 else 0)) * len(STEPS)
                local = steps[s]
                local[block_at + K] = depth
                products(
                    v, c0, v_element, u, 0, u_element, row, u, m_at, m_element, count, local, block_at, addresses[kind],
                    most[kind], zeros,
                )  # fmt: skip
            for t in range(count):
                output_tile(u, m_at + t * row, m_element, t, tiles[0], tiles[1], lanes, out, columns, bias, code, y)
        restore_denormals(before)


K = STEPS.index("k")


@kernel()
def all_filters(w, lanes, panels, u):
    """U of all filters, panel by panel."""
    _, _, C, O = w.shape
    taps = w.reshape(-1)
    for task in prange(len(panels) * C):  # a task owns one row of a panel in all 36 elements
        before = flush_denormals()
        p, c = divmod(np.intp(task), C)
        start, out, row, columns = panels[p, 1], panels[p, 2], panels[p, 5], panels[p, 6]
        for o in range(0, row, lanes):
            transform_filter(taps, c * O + out + o, C * O, max(0, columns - o), u, start * E + c * row + o, C * row)
        restore_denormals(before)


@functools.lru_cache(maxsize=1024)
def filter_panels(c, o, itemsize):
    return panels_of(c, o, 1, itemsize, packed_rows=c, lanes=cpu().vector_bytes // itemsize)


def whole(c, o, itemsize):
    """Whether the transformed weights are made once and kept; the others are made where they are used."""
    return E * c * o * itemsize <= WHOLE_FILTERS


def transform_filters(geo, w):
    """Weights for `forward`: U, or the weights themselves where U is too large to keep."""
    c, o = w.shape[2:]
    if not whole(c, o, w.itemsize):
        return w
    panels = filter_panels(c, o, w.itemsize)
    u = np.empty(E * panels.packed_size, w.dtype)
    all_filters(w, panels.lanes, panels.rows, u)
    return u


def transform_exchanged(geo, w):
    """Weights for `input_grad`."""
    return transform_filters(geo, flip_filters(w))


@functools.lru_cache(maxsize=256)
def tile_tables(panels, itemsize, a_row, k, counts):
    """(steps, addresses, rows of the tallest tile) for products with `k` terms on rows `a_row` apart, for each kind of panel."""
    steps, kinds = [], panels.kinds
    most = [most_rows()[vectors] for vectors, _ in kinds]
    addresses = np.zeros((len(kinds), max(most) + 1), np.int64)
    for kind, (vectors, _) in enumerate(kinds):
        for height in {part for count in counts for part in balanced(count, most[kind])}:
            addresses[kind, height] = tile_address(Tile(itemsize, panels.lanes, height, vectors, masked=False))
        known = {"a_m": a_row, "a_k": 1, "b_k": 1, "c_m": vectors * panels.lanes, "i": 1, "j": 1, "k": k}
        steps += [known.get(name, 0) for name in STEPS] + [{**known, "accumulate": 1}.get(name, 0) for name in STEPS]
    return np.array(steps, np.int64), addresses, np.array(most)


def block_cuts(count, c, row, itemsize, threads):
    """First tiles of blocks that fit BLOCK_BYTES, equally many for each thread."""
    blocks = -(-count * E * (c + row) * itemsize // BLOCK_BYTES)
    blocks = min(count, -(-blocks // threads) * threads)
    return np.array([count * i // blocks for i in range(blocks + 1)])


def convolve(x, w, bias, activation, y, pads):
    """3x3, stride 1: y (N, P, Q, O) from x with `pads` = (top, left) zeros before it and as many after it as y needs."""
    (n, p, q, o), c, size, threads = y.shape, x.shape[3], x.itemsize, get_threads()
    tiles, panels = (-(-p // M), -(-q // M)), filter_panels(c, o, size)
    count, lanes, row = n * tiles[0] * tiles[1], panels.lanes, int(panels.rows[:, 5].max())
    wide = -(-c // lanes) * lanes
    in_tile, zeros = (activation if activation <= LEAKY_RELU else 0), np.zeros(row, x.dtype)
    if whole(c, o, size):
        cuts = block_cuts(count, wide, row, size, threads)
        sizes = tuple(sorted({int(s) for s in np.diff(cuts)}))
        steps, addresses, most = tile_tables(panels, size, wide, c, sizes)
        scratch = np.empty((min(threads, len(cuts) - 1), E * (max(sizes) * (wide + row) + 2 * lanes)), x.dtype)
        by_blocks(x, w, bias, in_tile, y, cuts, tiles, pads, lanes, panels.rows, steps, addresses, most, scratch, zeros)
    else:
        v_element, chunk = count * wide + lanes, min(c, max(lanes, CHUNK_BYTES // (E * row * size) // lanes * lanes))
        steps, addresses, most = tile_tables(panels, size, wide, c, (count,))
        v, slots = np.empty(E * v_element, x.dtype), min(threads, len(panels.rows))
        scratch = np.empty((slots, E * ((chunk + count) * row + 2 * lanes)), x.dtype)
        local = np.tile(steps, (slots, 1))
        input_tiles(x, tiles, pads, lanes, v, v_element)
        by_panels(
            v, v_element, w, bias, in_tile, y, tiles, chunk, lanes, panels.rows, local, addresses, most, scratch, zeros
        )  # fmt: skip
    if in_tile != activation:
        activate_rows(y.reshape(-1, o), activation)


def before(geo):
    return geo.pads[0][0], geo.pads[1][0]


def forward(geo, x, w, b, activation, y):
    if geo.is_padded and geo.pad_mode != "constant":
        convolve(pad(x, geo), w, b, activation, y, (0, 0))
    else:
        convolve(x, w, b, activation, y, before(geo))


def input_grad(geo, dy, w, dx):
    target = padded_like(dx, geo) if geo.is_padded and geo.pad_mode != "constant" else dx
    top, left = (0, 0) if target is not dx else before(geo)
    convolve(dy, w, np.zeros(geo.c, dy.dtype), 0, target, (2 - top, 2 - left))
    fold(target, geo, dx)
