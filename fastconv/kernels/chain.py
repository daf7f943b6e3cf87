"""A chain of small layers, forward and backward: a group of images goes through all of it while its values stay in the cache.

What is done with which tile stands in the tables of `chain_tables` and `chain_back_tables`; the kernels here only walk them, and
turn numbers from [image, number] to [number, image] and back.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels.chain_back_tables import BACK, PASS, WEIGHT, BackTables, backward_tables
from fastconv.kernels.chain_tables import CALL, ONES, STAGE, Network, Tables, forward_tables
from fastconv.kernels.transpose import transpose_block
from fastconv.kernels.vector_ir import emits, lanes_of
from fastconv.kernels.winograd_matrices import matrices
from fastconv.kernels.winograd_transform import both_ways
from fastconv.machine import get_threads, kernel

__all__ = ["Chain", "chain_of"]

FLOAT = 4  # bytes
CONSTANTS = np.repeat(np.array([0, 1], np.float32), ONES)


@emits()
def run_tile(v, like, tile, a, b, c, d, steps, steps_at, first, second):
    """Run the tile at the address `tile` on what lies at the addresses a, b, c, d; `like` says the type."""
    v.call(tile, *map(v.pointer, (a, b, c, d)), v.builder.gep(steps, [steps_at]), first, second)


@register_jitable
def columns_to_rows(a, a_at, numbers, lanes, c, c_at, c_row):
    """c[image, number] = a[number, image] for a group of images."""
    for r in range(0, numbers, lanes):
        transpose_block(a, a_at + r * lanes, lanes, numbers - r, lanes, c, c_at + r, c_row, numbers - r)


@register_jitable
def rows_to_columns(a, a_at, a_row, images, numbers, lanes, c, c_at):
    """c[number, image] = a[image, number]; images that do not exist are zero."""
    for r in range(0, numbers, lanes):
        transpose_block(a, a_at + r, a_row, images, numbers - r, c, c_at + r * lanes, lanes, lanes)


@register_jitable
def run_stages(like, here, bases, calls, stages, steps, first, end):
    """Every call of the stages first ... end - 1, row after row; `here` is the address of the workspace of the group."""
    for s in range(first, end):
        rows, c0, c1 = stages[s]
        for row in range(rows):
            for k in range(c0, c1):
                tile, a_slot, a, b, b_step, c, c_step, d_slot, d, block, base, base_step = calls[k]
                a_base = here if a_slot == 0 else bases[a_slot]
                d_base = here if d_slot == 0 else bases[d_slot]
                run_tile(
                    like, tile, a_base + FLOAT * a, here + FLOAT * (b + row * b_step), here + FLOAT * (c + row * c_step),
                    d_base + FLOAT * d, steps, block, base + row * base_step, 0,
                )  # fmt: skip


@kernel()
def forward(x, y, space, bases, entry, leave, calls, stages, steps, lanes):
    """y (N, numbers) of x (N, numbers); `space` has a row for every group, or one for each of a few tasks in inference."""
    (N, K), units, slots = x.shape, y.shape[1], len(space)
    groups, source, target = (N + lanes - 1) // lanes, x.reshape(-1), y.reshape(-1)
    high, wide, start, step = entry
    for slot in prange(slots):  # a task owns the results of its groups and a row of the workspace
        s = np.intp(slot)
        row = space[s]
        for g in range(s * groups // slots, (s + 1) * groups // slots):
            images = min(lanes, N - g * lanes)
            for h in range(high):
                rows_to_columns(source, g * lanes * K + h * wide, K, images, wide, lanes, row, start + h * step)
            run_stages(row, np.int64(row.ctypes.data), bases, calls, stages, steps, 0, len(stages))
            for r in range(0, units, lanes):
                transpose_block(
                    row, leave + r * lanes, lanes, units - r, images, target, g * lanes * units + r, units, units - r
                )


@kernel()
def backward(
    x, dy, space, bases, calls, stages, steps, lanes, turns, enter, top, convs, passes, image, lists, cuts, scratch, rows, partial,
    turned,
):  # fmt: skip
    """Partial sums of the weight gradients of the convolutions, and the gradients of dense layers in `rows`."""
    N, slots, blocks = len(x), len(scratch), len(partial)
    for slot in prange(slots):  # a task owns some partial sums and a row of scratch
        s = np.intp(slot)
        mine = scratch[s]
        for block in range(s * blocks // slots, (s + 1) * blocks // slots):
            partial[block] = 0
            for g in range(cuts[block], cuts[block + 1]):
                images = min(lanes, N - g * lanes)
                if enter[0] > 0:
                    dense_part(dy, space[g], g, images, bases, calls, stages, steps, lanes, turns, enter, top, mine, rows)
                for i in range(len(convs)):
                    turn_images(space[g], convs[i], i > 0, lanes, mine)
                for n in range(images):
                    one_image(x, dy, g * lanes + n, n, convs, passes, steps, image, lists, mine, partial[block], turned)


@register_jitable
def dense_part(dy, row, g, images, bases, calls, stages, steps, lanes, turns, enter, top, mine, rows):
    """The gradients of dense layers, from that of the result down to the last convolution's."""
    units, at, in_rows = enter
    rows_to_columns(dy.reshape(-1), g * lanes * units, units, images, units, lanes, row, at)
    columns_to_rows(row, at, units, lanes, rows, in_rows + g * lanes * units, units)
    for stage in range(len(stages)):
        run_stages(row, np.int64(row.ctypes.data), bases, calls, stages, steps, stage, stage + 1)
        numbers, at, in_rows = turns[stage]
        if numbers > 0:
            columns_to_rows(row, at, numbers, lanes, rows, in_rows + g * lanes * numbers, numbers)
    numbers, at, target = top
    columns_to_rows(row, at, numbers, lanes, mine, target, numbers)


@register_jitable
def turn_images(row, conv, with_values, lanes, mine):
    """The input of a convolution (not of the first) and the numbers of its windows, image by image."""
    c, pixel, pixels = conv[C], conv[PIXEL], conv[PIXELS]
    columns_to_rows(row, conv[INDEX_FROM], conv[MARKS], lanes, mine, conv[INDEX], conv[INDEX_IMAGE])
    if with_values and c == pixel:
        columns_to_rows(row, conv[X_FROM], pixels * c, lanes, mine, conv[X], conv[X_IMAGE])
    elif with_values:
        for p in range(pixels):
            for r in range(0, c, lanes):
                transpose_block(
                    row, conv[X_FROM] + (p * c + r) * lanes, lanes, c - r, lanes, mine, conv[X] + p * pixel + r, conv[X_IMAGE],
                    pixel - r,
                )  # fmt: skip


@register_jitable
def one_image(x, dy, n, k, convs, passes, steps, image, lists, mine, sums, turned):
    """Image n of the batch, k of its group, from the last convolution to the first."""
    source, K = x.reshape(-1), x.shape[1]
    high, wide, start, step = image
    for h in range(high):
        for r in range(wide):
            mine[start + h * step + r] = source[n * K + h * wide + r]
    here, there, weights = np.int64(mine.ctypes.data), np.int64(sums.ctypes.data), np.int64(turned.ctypes.data)
    offsets, gradients = here + FLOAT * lists[0], here + FLOAT * lists[1]
    numbers = mine.view(np.int32)
    for i in range(len(convs) - 1, -1, -1):
        conv = convs[i]
        pixels = here + FLOAT * (conv[X] + (k * conv[X_IMAGE] if i > 0 else 0))
        for r in range(conv[DX_SIZE]):
            mine[conv[DX] + r] = 0
        for o in range(conv[O]):
            if conv[G] < 0:
                count = live(numbers, conv, k, o, dy.reshape(-1), n * conv[G_IMAGE], mine, lists)
            else:
                count = live(numbers, conv, k, o, mine, conv[G] + k * conv[G_IMAGE] + conv[G_START], mine, lists)
            for p in range(conv[FIRST], conv[MIDDLE]):
                tile, at, w_at, bias, block = passes[p]
                target = there + FLOAT * (conv[PARTIAL] + o * conv[FILTER] + w_at)
                run_tile(mine, tile, pixels + FLOAT * at, gradients, target, offsets, steps, block, count, bias)
            for p in range(conv[MIDDLE], conv[END]):
                tile, at, w_at, _, block = passes[p]
                filter_at = weights + FLOAT * (conv[TURNED] + o * conv[TURN] + w_at)
                run_tile(mine, tile, filter_at, gradients, here + FLOAT * (conv[DX] + at), offsets, steps, block, count, 0)


@register_jitable
def live(numbers, conv, k, o, g, g_at, mine, lists):
    """The list of one image and filter: where windows begin whose result reaches the loss, and its gradient; returns its length."""
    count, offsets, gradients = 0, lists[0], lists[1]
    O, row, g_row, g_pixel = conv[O_], conv[INDEX_ROW], conv[G_ROW], conv[G_PIXEL]
    start = conv[INDEX] + k * conv[INDEX_IMAGE] + conv[INDEX_START] + o
    for p in range(conv[P]):
        for q in range(conv[Q]):
            mark = numbers[start + p * row + q * O]
            numbers[offsets + count] = mark
            mine[gradients + count] = g[g_at + p * g_row + q * g_pixel + o]
            count += mark >= 0
    return count


(
    C, PIXEL, PIXELS, X_FROM, X, X_IMAGE, O_, P, Q, MARKS, INDEX_FROM, INDEX, INDEX_IMAGE, INDEX_START, INDEX_ROW, G, G_IMAGE, G_START, G_ROW, G_PIXEL,
    DX, DX_SIZE, PARTIAL, FILTER, TURNED, TURN, FIRST, MIDDLE, END,
) = range(len(BACK))  # fmt: skip
O = O_


@kernel()
def collect(space, rows, bases, steps, weights):
    """Weight and bias gradients of dense layers, each summed whole over all images."""
    here = np.int64(space.ctypes.data)
    for task in prange(len(weights)):  # a task owns a tile of one gradient
        tile, a_slot, a, b, c_slot, c, block, tail, b_row = weights[np.intp(task)]
        a_base = here if a_slot == 0 else bases[a_slot]
        run_tile(
            rows, tile, a_base + FLOAT * a, np.int64(rows.ctypes.data) + FLOAT * b, bases[c_slot] + FLOAT * c, bases[1], steps, block, tail, b_row
        )  # fmt: skip


@kernel()
def collect_taps(partial, at, size, run, pixel, lanes, dw, db):
    """dw (KH, parts of a row, C, O) and db (O,) of a convolution from its partial sums, added in order.

    In a partial sum each filter has `size` numbers, a row of taps `run`, a part of it `pixel`.
    """
    KH, J, C, O = dw.shape
    total, target = partial[0], dw.reshape(-1)
    for task in prange((O + lanes - 1) // lanes):  # a task owns a few filters
        o0 = np.intp(task) * lanes
        few = min(lanes, O - o0)
        for block in range(1, len(partial)):
            for r in range(at + o0 * size, at + (o0 + few) * size):
                total[r] += partial[block, r]
        for h in range(KH):
            for j in range(J):
                for c in range(0, C, lanes):
                    start = at + o0 * size + h * run + j * pixel + c
                    transpose_block(total, start, size, few, C - c, target, ((h * J + j) * C + c) * O + o0, O, few)
        for o in range(few):
            db[o0 + o] = total[at + (o0 + o + 1) * size - 2]


@kernel()
def turn_filters(w, at, size, pixel, lanes, turned):
    """turned[o, tap, c] = w[tap, c, o], with room for `pixel` channels."""
    T, C, O = w.shape
    source = w.reshape(-1)
    for task in prange(T):  # a task owns one tap
        t = np.intp(task)
        for o in range(0, O, lanes):
            for c in range(0, C, lanes):
                transpose_block(
                    source, (t * C + c) * O + o, O, C - c, O - o, turned, at + o * size + t * pixel + c, size, pixel - c
                )


@emits("size")
def transform_filter(v, size, w, w_at, w_tap, tail, out):
    """out[i, j, o] = (G w GT)[i, j] for a vector of filters of `size` x `size` taps."""
    g, lanes = [[float(x) for x in row] for row in matrices(2, size)[1]], v.first_lanes(tail)
    columns = [[v.load(v.at(w, w_at, (i * size + j, w_tap)), lanes) for i in range(size)] for j in range(size)]
    for (i, j), value in both_ways(v, g, columns).items():
        v.store(value, v.at(out, (i * (size + 1) + j) * v.lanes))


@kernel()
def transform_filters(w, lanes, parts, u):
    """U of `Window`'s products: parts (outputs of a tile, ...) after each other, each [row, channel, column, output]."""
    K, C, O, n = w.shape[0], w.shape[2], w.shape[3], w.shape[0] + 1
    taps = w.reshape(-1)
    places = np.empty((O, 2), np.int64)
    first = 0
    for part in parts:
        for m in range(part):
            places[first + m, 0], places[first + m, 1] = first * n * n * C + m, part
        first += part
    for task in prange(C):  # a task owns an input channel
        c = np.intp(task)
        few = np.empty(36 * lanes, w.dtype)
        for o in range(0, O, lanes):
            if K == 5:
                transform_filter(5, taps, c * O + o, C * O, O - o, few)
            else:
                transform_filter(3, taps, c * O + o, C * O, O - o, few)
            for m in range(o, min(O, o + lanes)):
                start, part = places[m]
                for i in range(n):
                    for j in range(n):
                        u[start + ((i * C + c) * n + j) * part] = few[(i * n + j) * lanes + m - o]


def aligned(rows, columns, zeros=False):
    """(rows, columns) float32, each row on a 64-byte boundary."""
    flat = (np.zeros if zeros else np.empty)(rows * columns + 16, np.float32)
    start = -(flat.ctypes.data // FLOAT) % 16
    return flat[start : start + rows * columns].reshape(rows, columns)


def address(array):
    return array.__array_interface__["data"][0]


class Workspace:
    """Memory for one pass at a time."""

    def __init__(self, chain, rows):
        tables, back = chain.tables, chain.back
        self.space = aligned(rows, tables.space, zeros=True)
        self.filters = [aligned(1, size)[0] for _, _, size in tables.filters]
        self.bases = np.zeros(2 + 2 * len(chain.blocks), np.int64)
        self.bases[1] = address(CONSTANTS)
        if back:
            self.scratch = aligned(get_threads(), back.scratch, zeros=True)
            self.partial = aligned(len(back.cuts) - 1, back.partial)
            self.rows = aligned(1, back.rows)[0]
            self.turned = aligned(1, max(16, back.turned), zeros=True)[0]


@dataclass(frozen=True, eq=False)
class Chain:
    """A network made ready for one batch size and one mode."""

    blocks: tuple
    tables: Tables
    back: BackTables | None

    def workspace(self):
        """A new `Workspace`: for training a row for every group, for inference one for each thread."""
        return Workspace(self, self.tables.groups if self.back else min(self.tables.groups, get_threads()))

    def forward(self, x, y, arrays, work):
        """y (N, numbers) from x (N, numbers); arrays: (w, b or None) of each block."""
        tables = self.tables
        for (i, parts, _), u in zip(tables.filters, work.filters, strict=True):
            transform_filters(arrays[i][0], tables.lanes, parts, u)
        place(work, arrays, {i: u for (i, _, _), u in zip(tables.filters, work.filters, strict=True)})
        forward(
            x, y, work.space, work.bases, tables.entry, tables.leave, tables.calls, tables.stages, tables.steps, tables.lanes
        )

    def backward(self, x, dy, arrays, grads, work):
        """Weight gradients into grads: (dw, db or None) of each block."""
        tables, back = self.tables, self.back
        place(work, arrays, {})
        for i, at, size, pixel in back.turning:
            w = arrays[i][0]
            turn_filters(w.reshape(-1, *w.shape[2:]), at, size, pixel, tables.lanes, work.turned)
        backward(
            x, dy, work.space, work.bases, back.calls, back.stages, back.steps, tables.lanes, back.turns, back.enter, back.top,
            back.convs, back.passes, back.image, back.lists, back.cuts, work.scratch, work.rows, work.partial, work.turned,
        )  # fmt: skip
        for i, at, size, run, pixel in back.sums:
            dw, db = grads[i]
            collect_taps(work.partial, at, size, run, pixel, tables.lanes, dw, db)
        if len(back.weights):
            place(work, grads, {})
            collect(work.space, work.rows, work.bases, back.steps, back.weights)


def place(work, arrays, instead):
    """The addresses of weights and biases (or gradients) for the tables."""
    for i, (w, b) in enumerate(arrays):
        work.bases[2 + 2 * i] = address(instead.get(i, w))
        work.bases[3 + 2 * i] = address(CONSTANTS if b is None else b)


@functools.lru_cache(maxsize=64)
def chain_of(blocks, batch, training, winograd):
    """The `Chain` of a tuple of blocks; its tiles are compiled, or loaded from the kernel cache, here."""
    network = Network(blocks, batch, training, winograd)
    back = backward_tables(network) if training else None
    return Chain(blocks, forward_tables(network), back)
