"""A chain of small layers, forward and backward: a group of images goes through all of it while its values stay in the cache.

What is done with which tile stands in the tables of `chain_tables` and `chain_back_tables`; the kernels here only walk them.
They reckon with addresses, as the tiles are functions of addresses.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.chain_back_tables import BACK, PASS, BackTables, backward_tables
from fastconv.kernels.chain_layout import Network
from fastconv.kernels.chain_tables import Tables, forward_tables
from fastconv.kernels.chain_writer import (
    BLOCKS,
    CALL,
    CONSTANTS,
    FILTERS,
    ONES,
    PARTIAL,
    ROWS,
    SPACE,
    STAGE,
    TURNED,
    WORK,
)  # fmt: skip
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.group_sizes import FLOAT
from fastconv.kernels.intrinsics import array_address, emits, number_at, row_of
from fastconv.kernels.sharing import done, fresh_turns, next_task, wait_for
from fastconv.machine import get_threads, kernel

__all__ = ["Chain", "chain_of"]

WEIGHTS, GRADIENTS = 0, 2  # the first of a block's slots
NOTHING = np.zeros(1, np.int64)  # no tasks
# what `turns` counts: tasks of work that are taken and that are done; groups, or blocks of them; the work behind them
WORKS, WORKS_DONE, GROUPS, GROUPS_DONE, LASTS, LASTS_DONE, COUNTERS = range(7)
# columns of the tables
IN_CALL, IN_STAGE, IN_WORK, IN_PASS, IN_BACK = map(len, (CALL, STAGE, WORK, PASS, BACK))
ZEROS_AND_ONES = np.repeat(np.array([0, 1], np.float32), ONES)


@emits()
def run_tile(v, like, tile, a, b, c, d, steps, steps_at, first, second):
    """Run the tile at the address `tile` on what lies at the addresses a, b, c, d; `like` says the type."""
    v.call(tile, *map(v.pointer, (a, b, c, d)), v.builder.gep(steps, [steps_at]), first, second)


@emits()
def copy(v, a, a_at, c, c_at, count):
    """c[c_at + i] = a[a_at + i]"""
    v.copy(v.at(a, a_at), v.at(c, c_at), count)


@emits()
def clear(v, c, c_at, count):
    """c[c_at + i] = 0"""
    v.clear(v.at(c, c_at), count)


@register_jitable
def run_stages(like, here, room, bases, calls, stages, steps, first, end):
    """Every call of the stages first ... end - 1, row after row; `here` is the address of the workspace of the group, `room` that
    of the thread's."""
    for s in range(first, end):
        rows, c0, c1 = row_of(stages, s, IN_STAGE)
        for row in range(rows):
            for k in range(c0, c1):
                call = row_of(calls, k, IN_CALL)
                tile, a_slot, a, b_room, b, b_step, c_room, c, c_step, d_slot, d, block, base, base_step, mark, mark_step = call
                a_base = here if a_slot == SPACE else bases[a_slot]
                d_base = here if d_slot == SPACE else bases[d_slot]
                c_here = c + row * c_step
                b_base, c_base = room if b_room else here, room if c_room else here
                run_tile(
                    like, tile, a_base + FLOAT * a, b_base + FLOAT * (b + row * b_step), c_base + FLOAT * c_here,
                    d_base + FLOAT * d, steps, block, base + row * base_step, mark + row * mark_step - c_here,
                )  # fmt: skip


@register_jitable
def do_work(like, bases, work, first, end, steps):
    """A task of what is done once for all images."""
    for k in range(first, end):
        tile, a_slot, a, b_slot, b, c_slot, c, block, one, two = row_of(work, k, IN_WORK)
        places = bases[a_slot] + FLOAT * a, bases[b_slot] + FLOAT * b, bases[c_slot] + FLOAT * c
        run_tile(like, tile, places[0], places[1], places[2], bases[CONSTANTS], steps, block, one, two)


@register_jitable
def share_work(like, bases, work, tasks, steps, turns, kind, thread):
    """All tasks of it, by all threads that come here; those that are done are counted as the next kind."""
    count = len(tasks) - 1
    task = next_task(turns, kind, thread, count)
    while task < count:
        do_work(like, bases, work, tasks[task], tasks[task + 1], steps)
        done(turns, kind + 1)
        task = next_task(turns, kind, thread, count)


@kernel()
def forward(x, y, space, rooms, bases, work, tasks, entry, leave, calls, stages, steps, lanes, turns):
    """y (N, numbers) of x (N, numbers), after the tasks of `work` that are done once; `space` has a row for every group, or one
    for each of the threads in inference; `rooms` has one for each of them."""
    (N, K), units, threads = x.shape, y.shape[1], turns.shape[1]
    groups, source, target = (N + lanes - 1) // lanes, array_address(x), array_address(y)
    high, a_row, c_row, start, into, turn_in = row_of(entry, 0, 6)
    rows, row_step, y_step, result, out, turn_out, gather, gather_row = row_of(leave, 0, 8)
    for slot in prange(threads):  # a task owns the results of a group, and its row of the workspace
        before = flush_denormals()
        thread = np.intp(slot)
        room = array_address(rooms[thread])
        share_work(space[0], bases, work, tasks, steps, turns, WORKS, thread)
        wait_for(turns, WORKS_DONE, len(tasks) - 1)
        g = next_task(turns, GROUPS, thread, groups)
        while g < groups:
            row = space[g if len(space) == groups else thread]
            here, images, first = array_address(row), min(lanes, N - g * lanes), g * lanes
            for h in range(high):
                a, c = source + FLOAT * (first * K + h * a_row), here + FLOAT * (start + h * c_row)
                run_tile(row, turn_in, a, a, c, c, steps, into, images, 0)
            run_stages(row, here, room, bases, calls, stages, steps, 0, len(stages))
            for h in range(rows):
                a, at = here + FLOAT * (result + h * row_step), first * units + h * y_step
                c = target + FLOAT * at if gather < 0 else here + FLOAT * gather
                run_tile(row, turn_out, a, a, c, c, steps, out, images, 0)
                for i in range(images if gather >= 0 else 0):
                    copy(row, gather + i * gather_row, y, at + i * units, y_step)
            g = next_task(turns, GROUPS, thread, groups)
        restore_denormals(before)


@kernel()
def backward(x, dy, space, bases, back, scratch, partial, lanes, turns):
    """Partial sums of the weight gradients of the convolutions, and the gradients of dense layers as rows; at last the sums of
    them."""
    N, slots, blocks = len(x), len(scratch), len(partial)
    for slot in prange(slots):  # a task owns some partial sums, or what its calls write; a slot its row of scratch
        before = flush_denormals()
        thread = np.intp(slot)
        mine = scratch[thread]  # as a view: Numba then compiles all functions with the same flags, once
        share_work(mine, bases, back.first, back.first_tasks, back.steps, turns, WORKS, thread)
        wait_for(turns, WORKS_DONE, len(back.first_tasks) - 1)
        block = next_task(turns, GROUPS, thread, blocks)
        while block < blocks:
            sums = partial[block]
            clear(sums, 0, len(sums))
            for g in range(back.cuts[block], back.cuts[block + 1]):
                images, here = min(lanes, N - g * lanes), array_address(space[g])
                if back.enter[0] > 0:
                    dense_part(mine, here, array_address(dy), g, images, bases, back, lanes)
                for i in range(len(back.convs)):
                    turn_images(mine, here, row_of(back.convs, i, IN_BACK), i > 0, back, lanes)
                for n in range(images):
                    one_image(x, array_address(dy), g * lanes + n, n, bases, back, mine, sums)
            done(turns, GROUPS_DONE)
            block = next_task(turns, GROUPS, thread, blocks)
        wait_for(turns, GROUPS_DONE, blocks)
        share_work(mine, bases, back.last, back.last_tasks, back.steps, turns, LASTS, thread)
        restore_denormals(before)


@register_jitable
def dense_part(mine, here, dy, g, images, bases, back, lanes):
    """The gradients of dense layers, from that of the result down to the last convolution's."""
    enter, top, rows = back.enter, back.top, bases[ROWS]
    a, c = dy + FLOAT * g * lanes * enter[0], here + FLOAT * enter[1]
    run_tile(mine, back.tiles[0], a, a, c, c, back.steps, enter[2], images, 0)
    to_rows(mine, here, row_of(enter, 0, 7)[3:], rows, g, back, lanes)
    for stage in range(len(back.stages)):
        run_stages(mine, here, here, bases, back.calls, back.stages, back.steps, stage, stage + 1)
        if back.turns[stage, 2] > 0:
            to_rows(mine, here, row_of(back.turns, stage, 4), rows, g, back, lanes)
    a, c = here + FLOAT * top[0], array_address(mine) + FLOAT * top[2]
    run_tile(mine, back.tiles[1], a, a, c, c, back.steps, top[1], lanes, 0)


@register_jitable
def to_rows(mine, here, turn, rows, g, back, lanes):
    """A gradient of a group as rows, for the gradient of the weights."""
    a, c = here + FLOAT * turn[0], rows + FLOAT * (turn[3] + g * lanes * turn[2])
    run_tile(mine, back.tiles[1], a, a, c, c, back.steps, turn[1], lanes, 0)


@register_jitable
def turn_images(mine, here, conv, with_values, back, lanes):
    """The input of a convolution (not of the first) image by image, and its marks, filter by filter."""
    there, turn_out, steps = array_address(mine), back.tiles[1], back.steps
    for f in range(conv[O]):
        a, c = here + FLOAT * (conv[MARKS_FROM] + f * lanes), there + FLOAT * (conv[MARKS] + f * conv[WINDOWS])
        run_tile(mine, turn_out, a, a, c, c, steps, conv[TURN_MARKS], lanes, 0)
    if with_values:
        for p in range(conv[PIXELS]):
            a = here + FLOAT * (conv[X_FROM] + p * conv[C] * lanes)
            c = there + FLOAT * (conv[X] + p * conv[PIXEL])
            run_tile(mine, turn_out, a, a, c, c, steps, conv[TURN_X], lanes, 0)


@register_jitable
def one_image(x, dy, n, k, bases, back, mine, sums):
    """Image n of the batch, k of its group, from the last convolution to the first."""
    convs, passes, live, steps = back.convs, back.passes, back.tiles[2], back.steps
    high, wide, start, step = row_of(back.image, 0, 4)
    for h in range(high):
        copy(x, n * x.shape[1] + h * wide, mine, start + h * step, wide)
    here, there, weights = array_address(mine), array_address(sums), bases[TURNED]
    offsets_at, gradients_at, longest = row_of(back.lists, 0, 3)
    offsets, gradients = here + FLOAT * offsets_at, here + FLOAT * gradients_at
    for i in range(len(convs) - 1, -1, -1):
        conv = row_of(convs, i, IN_BACK)
        pixels = here + FLOAT * (conv[X] + (k * conv[X_IMAGE] if i > 0 else 0))
        marks = here + FLOAT * (conv[MARKS] + k * conv[MARKS_IMAGE])
        g = dy + FLOAT * n * conv[G_IMAGE]
        if conv[G] >= 0:
            g = here + FLOAT * (conv[G] + k * conv[G_IMAGE] + conv[G_START])
        for o in range(conv[O]):  # all weight gradients first, then all of the input's: x and dx together would not fit L1
            found, slopes, keep = marks + FLOAT * o * conv[WINDOWS], g + FLOAT * o, o * conv[LIST]
            run_tile(mine, live, found, slopes, gradients + FLOAT * keep, offsets + FLOAT * keep, steps, conv[LIVE], longest, 0)
            count = number_at(mine, offsets_at + keep + longest)
            for p in range(conv[FIRST], conv[MIDDLE]):
                tile, at, w_at, bias, block = row_of(passes, p, IN_PASS)
                target = there + FLOAT * (conv[PARTIAL_AT] + o * conv[FILTER] + w_at)
                run_tile(
                    mine, tile, pixels + FLOAT * at, gradients + FLOAT * keep, target, offsets + FLOAT * keep, steps, block,
                    count, bias,
                )  # fmt: skip
        clear(mine, conv[DX], conv[DX_SIZE])
        for p in range(conv[MIDDLE], conv[END]):
            tile, at, w_at, _, block = row_of(passes, p, IN_PASS)
            for o in range(conv[O]):
                keep, target = o * conv[LIST], here + FLOAT * (conv[DX] + at)
                count = number_at(mine, offsets_at + keep + longest)
                filter_at = weights + FLOAT * (conv[TURNED_AT] + o * conv[TURN] + w_at)
                run_tile(
                    mine, tile, filter_at, gradients + FLOAT * keep, target, offsets + FLOAT * keep, steps, block, count, 0
                )  # fmt: skip


(
    C, PIXEL, PIXELS, X_FROM, X, X_IMAGE, TURN_X, O, WINDOWS, MARKS_FROM, MARKS, MARKS_IMAGE, TURN_MARKS, LIVE, LIST, G, G_IMAGE,
    G_START, DX, DX_SIZE, PARTIAL_AT, FILTER, TURNED_AT, TURN, FIRST, MIDDLE, END,
) = range(len(BACK))  # fmt: skip


def start_of(array):
    return array.__array_interface__["data"][0]


class Workspace:
    """Memory for one pass at a time, and the addresses of everything."""

    def __init__(self, chain, rows):
        tables, back = chain.tables, chain.back
        self.space = aligned.zeros((rows, tables.space), np.float32)
        self.rooms = aligned.zeros((min(rows, get_threads()), tables.room), np.float32)
        self.filters = aligned.zeros((1, tables.filters), np.float32)
        self.bases = np.zeros(BLOCKS + 4 * chain.blocks, np.int64)
        known = {SPACE: self.space, CONSTANTS: ZEROS_AND_ONES, FILTERS: self.filters}
        if back:
            self.scratch = aligned.zeros((get_threads(), back.scratch), np.float32)
            self.partial = aligned.zeros((len(back.cuts) - 1, back.partial), np.float32)
            self.rows = aligned.zeros((1, back.rows), np.float32)
            self.turned = aligned.zeros((1, back.turned), np.float32)
            known |= {PARTIAL: self.partial, ROWS: self.rows, TURNED: self.turned}
        self.nbytes = self.rooms.nbytes + sum(array.nbytes for array in known.values())
        self.forget()
        self.tasks = NOTHING  # of the work that the next pass does first
        for slot, array in known.items():
            self.bases[slot] = start_of(array)

    def forget(self):
        """The arrays of the last pass may go."""
        self.placed = {WEIGHTS: None, GRADIENTS: None}

    def place(self, kind, pairs):
        """Where WEIGHTS (None for no bias) or GRADIENTS of each block lie; the same list holds the same arrays."""
        if self.placed[kind] is pairs:
            return
        self.placed[kind] = pairs
        for i, (w, b) in enumerate(pairs):
            self.bases[BLOCKS + 4 * i + kind] = start_of(w)
            self.bases[BLOCKS + 4 * i + kind + 1] = start_of(ZEROS_AND_ONES if b is None else b)


@dataclass(frozen=True, eq=False)
class Chain:
    """A network made ready for one batch size and one mode."""

    blocks: int
    tables: Tables
    back: BackTables | None

    def workspace(self):
        """A new `Workspace`: for training a row for every group, for inference one for each thread."""
        return Workspace(self, self.tables.groups if self.back else min(self.tables.groups, get_threads()))

    def serves_all_threads(self, work):
        """Whether a workspace has rows for as many threads as there are now."""
        threads = min(self.tables.groups, get_threads())
        return len(work.rooms) >= threads and (not self.back or len(work.scratch) >= get_threads())

    def prepare(self, work, arrays):
        """Take up new weights, (w, b or None) of each block, in the next pass."""
        work.place(WEIGHTS, arrays)
        work.tasks = self.tables.tasks

    def forward(self, x, y, work):
        """y (N, numbers) from x (N, numbers), both contiguous float32."""
        t = self.tables
        turns = fresh_turns(COUNTERS, min(get_threads(), len(work.rooms)))
        forward(
            x, y, work.space, work.rooms, work.bases, t.work, work.tasks,
            t.entry, t.leave, t.calls, t.stages, t.steps, t.lanes, turns,
        )  # fmt: skip
        work.tasks = NOTHING

    def backward(self, x, dy, arrays, grads, work):
        """Weight gradients into grads, (dw, db) of each block, contiguous float32."""
        t = self.back
        work.place(WEIGHTS, arrays)
        work.place(GRADIENTS, grads)
        turns = fresh_turns(COUNTERS, len(work.scratch))
        backward(x, dy, work.space, work.bases, t, work.scratch, work.partial, self.tables.lanes, turns)


@functools.lru_cache(maxsize=64)
def chain_of(blocks, batch, training, winograd):
    """The `Chain` of a tuple of blocks; its tiles are compiled, or loaded from the kernel cache, here."""
    network = Network(blocks, batch, training, winograd)
    back = backward_tables(network) if training else None
    return Chain(len(blocks), forward_tables(network), back)
