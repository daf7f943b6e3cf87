"""Winograd's algorithm: the loops over tiles, channels and panels of filters.  What the steps are, `winograd` tells."""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.tile import STEPS, call_tile
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.vector_ir import emits, flush_denormals, restore_denormals
from fastconv.kernels.winograd_tiles import N
from fastconv.machine import kernel

__all__ = ["GAP", "E", "K", "all_filters", "by_blocks", "by_panels", "input_tile", "input_tiles", "products", "tile_place"]

E = N * N  # elements of a transformed tile
ROWS_AHEAD = 12  # of weights, asked for before they are read
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
