"""The arithmetic of optimizers on whole arrays, in place; what the numbers mean is told in `fastconv.training.optimizers`."""

import functools
import operator
from itertools import pairwise

import numpy as np

__all__ = ["Together", "adadelta_update", "adam_update", "sgd_update", "sum_of_squares"]


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first update."""
    from fastconv.kernels import updates

    return updates


class Together:
    """Arrays that are treated in one pass over all of them; where they lie is noted once, as long as they are the same ones.

    A copy or a pickle of it begins anew: an address belongs to one process and one array.
    """

    def __init__(self):
        self.arrays, self.blocks, self.size = [], None, 0
        self.parts = {}
        self.given = self.made = None

    def part(self, place):
        """The one for the moves of this place, where not all are alike."""
        return self if place == 0 else self.parts.setdefault(place, Together())

    def once(self, given, make):
        """make(), the same as before where it is given the same object as before."""
        if self.given is not given:
            self.given, self.made = given, make()
        return self.made

    def __reduce__(self):
        return Together, ()

    def note(self, read, written=()):
        """(one of the arrays, blocks of all) for lists of arrays, one for each operand, those that are written after the others:
        the k-th of each belong together.  A row: how many numbers, and the address of the first of each operand.

        No blocks where dtypes or orders of memory differ, or where memory would be written twice.  ValueError: a written array is
        read-only.
        """
        arrays = [array for column in (*read, *written) for array in column]
        if len(arrays) != len(self.arrays) or any(map(operator.is_not, arrays, self.arrays)):
            targets = [array for column in written for array in column]
            for group in zip(*read, *written, strict=True):
                refuse_other_shapes(group)
            refuse_read_only(targets)
            self.blocks = blocks_of((*read, *written)) if are_alike(arrays) and are_apart(targets) else None
            self.arrays, self.size = arrays, sum(array.size for array in (*read, *written)[0])
        return arrays[0].reshape(-1), self.blocks


def blocks_of(columns):
    size, tables = kernels().BLOCK, []
    for group in zip(*columns, strict=True):
        firsts = np.arange(0, group[0].size, size)
        table = np.empty((len(firsts), 1 + len(columns)), np.int64)
        table[:, 0] = np.minimum(size, group[0].size - firsts)
        for column, array in enumerate(group, start=1):
            table[:, column] = array.__array_interface__["data"][0] + firsts * array.itemsize
        tables.append(table)
    return np.concatenate(tables)


def are_alike(arrays):
    """Of one dtype of this machine, and contiguous."""
    dtype = arrays[0].dtype
    return dtype.isnative and all(array.dtype == dtype and array.flags.c_contiguous for array in arrays)


def are_apart(arrays):
    """No two contiguous arrays share memory, as tied weights do."""
    starts = sorted((array.__array_interface__["data"][0], array.nbytes) for array in arrays)
    return all(start + length <= following for (start, length), (following, _) in pairwise(starts))


def refuse_other_shapes(arrays):
    """A kernel that is given addresses would read and write what belongs to others."""
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"a gradient and what it moves have the shapes {[array.shape for array in arrays]}; needed one")


def refuse_read_only(arrays):
    """What NumPy does; a kernel that is given addresses would not notice."""
    if not all(array.flags.writeable for array in arrays):
        raise ValueError("an array to be updated is read-only; a layer hands out its own by `trainable_arrays`")


def sgd_update(moves, lr, momentum, nesterov, decay, together):
    """p and velocity of each of `moves`, (g, p, velocity) of one shape, after one step along g + decay p."""
    update("sgd", moves, (lr, momentum, nesterov, decay), together)


def adam_update(moves, beta1, beta2, lr, correction, eps, decay, keep, together):
    """keep p, mean and square of each of `moves`, (g, p, mean, square) of one shape, after one step along g + decay p."""
    update("adam", moves, (beta1, beta2, lr, correction, eps, decay, keep), together)


def adadelta_update(moves, lr, rho, eps, decay, together):
    """p, square and moved of each of `moves`, (g, p, square, moved) of one shape, after one step along g + decay p."""
    update("adadelta", moves, (lr, rho, eps, decay), together)


def update(name, moves, settings, together):
    """One of the kernels on all moves, or where they cannot go together on one after the other."""
    if not moves:
        return
    gradients, *targets = zip(*moves, strict=True)
    like, blocks = together.note([gradients], targets)
    if blocks is not None:
        run(name, like, blocks, together.size, settings)
        return
    for move in moves:
        update_one(name, move, settings)


def run(name, like, blocks, size, settings):
    """The kernel with its settings, flags and numbers, in the dtype of `like`."""
    updates, number = kernels(), like.dtype.type
    updates.on_few(getattr(updates, name), size)(like, blocks, *(s if isinstance(s, bool) else number(s) for s in settings))


def update_one(name, move, settings):
    """The same for arrays of any dtypes and orders of memory."""
    dtype = move[1].dtype.newbyteorder("=")
    flat = [np.ascontiguousarray(array, dtype).reshape(-1) for array in move]
    run(name, flat[1], blocks_of([[array] for array in flat]), flat[1].size, settings)
    for array, values in zip(move[1:], flat[1:], strict=True):
        if not np.may_share_memory(array, values):
            array[...] = values.reshape(array.shape)


def sum_of_squares(arrays, together):
    """The sum of squares of all arrays, blocks of them in their dtype: finite exactly where all values are finite and those
    sums do not overflow."""
    if not arrays:
        return 0.0
    like, blocks = together.note([arrays])
    if blocks is None:
        return sum(sum_of_squares([np.ascontiguousarray(array, array.dtype.newbyteorder("="))], Together()) for array in arrays)
    updates, parts = kernels(), np.empty(len(blocks), like.dtype)
    updates.on_few(updates.squares, together.size)(like, blocks, parts)
    return sum(parts.tolist())
