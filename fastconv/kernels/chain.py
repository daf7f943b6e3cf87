"""A chain of small layers, forward and backward: a group of images goes through all of it while its values stay in the cache.

What is done with which tile stands in the tables of `chain_tables` and `chain_back_tables`; `chain_walk` and `chain_back` walk
them.  They reckon with addresses, as the tiles are functions of addresses.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.kernels.chain_back import group_backward
from fastconv.kernels.chain_back_tables import BackTables, backward_tables
from fastconv.kernels.chain_layout import Network
from fastconv.kernels.chain_tables import Tables, forward_tables
from fastconv.kernels.chain_walk import add_zeros_of, clear, group_forward, share_work
from fastconv.kernels.chain_writer import BLOCKS, CONSTANTS, FILTERS, KEPT, ONES, PARTIAL, ROWS, TURNED
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.intrinsics import array_address
from fastconv.kernels.sharing import done, fresh_turns, next_task, wait_for
from fastconv.kernels.softmax import rows_of_cross_entropy
from fastconv.machine import get_threads, kernel

__all__ = ["Chain", "chain_of"]

WEIGHTS, GRADIENTS = 0, 2  # the first of a block's slots
NOTHING = np.zeros(1, np.int64)  # no tasks
# what `turns` counts: tasks of work that are taken and that are done; the same of the backward pass; groups, or blocks of them;
# the work behind them
WORKS, WORKS_DONE, FIRSTS, FIRSTS_DONE, GROUPS, GROUPS_DONE, LASTS, LASTS_DONE, COUNTERS = range(9)
ZEROS_AND_ONES = np.repeat(np.array([0, 1], np.float32), ONES)


class Targets(NamedTuple):
    """What a pass learns from; no labels where the gradient of the result is given."""

    labels: np.ndarray  # (N,)
    shares: np.ndarray  # the three of `rows_of_cross_entropy`
    losses: np.ndarray  # (N,), to be written


class Memory(NamedTuple):
    """What `backward` works in: a row of `space` for each group (for each thread, if that also goes forward), of `rooms` for each
    thread, of `partial` for each block of groups; and where everything lies."""

    space: np.ndarray
    rooms: np.ndarray
    partial: np.ndarray
    bases: np.ndarray


NO_SCORES = np.zeros((0, 1), np.float32)
NO_TARGETS = Targets(np.zeros(0, np.int64), np.zeros(3, np.float32), np.zeros(0, np.float32))


@kernel()
def forward(x, y, space, rooms, bases, tasks, ahead, turns):
    """y (N, numbers) of x (N, numbers), after the tasks of work that are done once; `space` has a row for every group, or one
    for each of the threads in inference; `rooms` has one for each of them."""
    groups, threads = (len(x) + ahead.lanes - 1) // ahead.lanes, turns.shape[1]
    for slot in prange(threads):  # a task owns the results of a group, and its row of the workspace
        before = flush_denormals()
        thread = np.intp(slot)
        room = array_address(rooms[thread])
        share_work(space[0], bases, ahead.work, tasks, ahead.steps, turns, WORKS, thread)
        wait_for(turns, WORKS_DONE, len(tasks) - 1)
        g = next_task(turns, GROUPS, thread, groups)
        while g < groups:
            group_forward(x, y, g, space[g if len(space) >= groups else thread], room, bases, ahead)
            g = next_task(turns, GROUPS, thread, groups)
        restore_denormals(before)


@kernel()
def backward(x, y, dy, targets, memory, tasks, ahead, back, turns):
    """Weight gradients, from that of the result, dy; or with labels the whole step of each group of images, while it is in the
    cache: results y, the loss of each image and dy (see `rows_of_cross_entropy`), then the gradients.  The loss of an image that
    is not finite, or has a label that is no class, is NaN.

    The groups of a block leave partial sums for the convolutions; for the dense layers they leave inputs and gradients, and sums
    over these come last.
    """
    slots, blocks, lanes, bases = len(memory.rooms), len(memory.partial), ahead.lanes, memory.bases
    labels, shares, losses = targets
    for slot in prange(slots):  # a task owns some partial sums, or what its calls write; a slot its room
        before = flush_denormals()
        thread = np.intp(slot)
        mine = memory.rooms[thread]  # as a view: Numba then compiles all functions with the same flags, once
        share_work(mine, bases, ahead.work, tasks, ahead.steps, turns, WORKS, thread)
        share_work(mine, bases, back.first, back.first_tasks, back.steps, turns, FIRSTS, thread)
        wait_for(turns, WORKS_DONE, len(tasks) - 1)
        wait_for(turns, FIRSTS_DONE, len(back.first_tasks) - 1)
        block = next_task(turns, GROUPS, thread, blocks)
        while block < blocks:
            sums = memory.partial[block]
            clear(sums, 0, len(sums))
            for g in range(back.cuts[block], back.cuts[block + 1]):
                row = memory.space[thread if len(labels) > 0 else g]
                if len(labels) > 0:
                    group_forward(x, y, g, row, array_address(mine), bases, ahead)
                    first, end = g * lanes, min(len(x), (g + 1) * lanes)
                    rows_of_cross_entropy(y, labels, first, end, shares[0], shares[1], shares[2], losses, dy)
                    for n in range(first, end):
                        add_zeros_of(x, n * x.shape[1], x.shape[1], losses, n)
                group_backward(x, dy, g, row, bases, back, lanes, mine, sums)
            done(turns, GROUPS_DONE)
            block = next_task(turns, GROUPS, thread, blocks)
        wait_for(turns, GROUPS_DONE, blocks)
        share_work(mine, bases, back.last, back.last_tasks, back.steps, turns, LASTS, thread)
        restore_denormals(before)


def start_of(array):
    return array.__array_interface__["data"][0]


class Workspace:
    """Memory for one pass at a time, and the addresses of everything: `rows` for groups, and not more `rooms` for threads."""

    def __init__(self, chain, rows, rooms):
        tables, back = chain.tables, chain.back
        self.space = aligned.zeros((rows, tables.space), np.float32)
        self.rooms = aligned.zeros((rooms, back.room if back else tables.room), np.float32)
        self.filters = aligned.zeros((1, tables.filters), np.float32)
        self.bases = np.zeros(BLOCKS + 4 * chain.blocks, np.int64)
        known = {CONSTANTS: ZEROS_AND_ONES, FILTERS: self.filters}
        if back:
            self.partial = aligned.zeros((len(back.cuts) - 1, back.partial), np.float32)
            self.rows = aligned.zeros((1, back.rows), np.float32)
            self.kept = aligned.zeros((tables.groups, back.keep[1]), np.float32)
            self.turned = aligned.zeros((1, back.turned), np.float32)
            self.memory = Memory(self.space, self.rooms, self.partial, self.bases)
            known |= {PARTIAL: self.partial, ROWS: self.rows, KEPT: self.kept, TURNED: self.turned}
        self.nbytes = self.space.nbytes + self.rooms.nbytes + sum(array.nbytes for array in known.values())
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

    def workspace(self, stays=False):
        """A new `Workspace` for as many threads as there are now.

        stays : whether values stay until a pass back; there and back at once, or forward alone, each group takes the place of
            the one before it
        """
        return Workspace(self, *self.sizes(stays))

    def serves(self, work, stays=False):
        """Whether a workspace is as large as `workspace` would make it now."""
        rows, rooms = self.sizes(stays)
        return len(work.space) >= rows and len(work.rooms) >= rooms

    def sizes(self, stays):
        """(rows, rooms): a thread that goes forward and back has both, even if there is no group for it."""
        groups, threads = self.tables.groups, get_threads()
        if self.back:
            return max(groups, threads) if stays else threads, threads
        return min(groups, threads), min(groups, threads)

    def prepare(self, work, arrays):
        """Take up new weights, (w, b or None) of each block, in the next pass."""
        work.place(WEIGHTS, arrays)
        work.tasks = self.tables.tasks

    def forward(self, x, y, work):
        """y (N, numbers) from x (N, numbers), both contiguous float32."""
        threads = min(get_threads(), len(work.rooms), self.tables.groups)
        turns = fresh_turns(COUNTERS, threads)
        forward(x, y, work.space, work.rooms, work.bases, work.tasks, self.tables.ahead, turns)
        work.tasks = NOTHING

    def backward(self, x, dy, arrays, grads, work):
        """Weight gradients into grads, (dw, db) of each block, contiguous float32."""
        work.place(WEIGHTS, arrays)
        self.pass_back(x, NO_SCORES, dy, NO_TARGETS, NOTHING, grads, work)

    def forward_backward(self, x, y, dy, labels, shares, losses, grads, work):
        """Forward, cross-entropy and backward: y, dy and losses as `softmax.cross_entropy` has them, and weight gradients."""
        self.pass_back(x, y, dy, Targets(labels, shares, losses), work.tasks, grads, work)
        work.tasks = NOTHING

    def pass_back(self, x, y, dy, targets, tasks, grads, work):
        """The kernel of both."""
        work.place(GRADIENTS, grads)
        backward(x, y, dy, targets, work.memory, tasks, self.tables.ahead, self.back, fresh_turns(COUNTERS, len(work.rooms)))


@functools.lru_cache(maxsize=64)
def chain_of(blocks, batch, training, winograd):
    """The `Chain` of a tuple of blocks; its tiles are compiled, or loaded from the kernel cache, here."""
    network = Network(blocks, batch, training, winograd)
    back = backward_tables(network) if training else None
    return Chain(len(blocks), forward_tables(network), back)
