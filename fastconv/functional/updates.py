"""The arithmetic of optimizers on whole arrays, in place; what the numbers mean is told in `fastconv.training.optimizers`."""

import functools
import operator

import numpy as np

__all__ = ["Together", "adam_update", "sgd_update", "sum_of_squares"]


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first update."""
    from fastconv.kernels import updates

    return updates


class Together:
    """Arrays that are treated in one pass over all of them; where they lie is noted once, as long as they are the same ones."""

    def __init__(self):
        self.arrays, self.blocks, self.size = [], None, 0

    def note(self, *columns):
        """(one of the arrays, blocks of all) for lists of arrays, a list for each operand: the k-th of each belong together.
        A row: how many numbers, and the address of the first of each operand.  No blocks where dtypes or orders of memory
        differ."""
        arrays = [array for column in columns for array in column]
        if len(arrays) != len(self.arrays) or any(map(operator.is_not, arrays, self.arrays)):
            self.blocks = blocks_of(columns) if are_alike(arrays) else None
            self.arrays, self.size = arrays, sum(array.size for array in columns[0])
        return arrays[0].reshape(-1), self.blocks


def blocks_of(columns):
    size, rows = kernels().BLOCK, []
    for group in zip(*columns, strict=True):
        starts = [array.__array_interface__["data"][0] for array in group]
        for first in range(0, group[0].size, size):
            count, step = min(size, group[0].size - first), first * group[0].itemsize
            rows.append((count, *(start + step for start in starts)))
    return np.array(rows, np.int64).reshape(-1, 1 + len(columns))


def are_alike(arrays):
    """Of one dtype, and contiguous."""
    dtype = arrays[0].dtype
    return all(array.dtype == dtype and array.flags.c_contiguous for array in arrays)


def sgd_update(moves, lr, momentum, nesterov, together):
    """p and velocity of each of `moves`, (p, g, velocity) of one shape, after one step along g."""
    like, blocks = together.note(*zip(*moves, strict=True))
    if blocks is None:
        for p, g, velocity in moves:
            one_sgd_update(p, g, velocity, lr, momentum, nesterov)
        return
    updates, number = kernels(), like.dtype.type
    updates.on_few(updates.sgd, together.size)(like, blocks, number(lr), number(momentum), nesterov)


def one_sgd_update(p, g, velocity, lr, momentum, nesterov):
    """The same for arrays in any order of memory."""
    p_flat, g_flat, v_flat = (np.ascontiguousarray(array, p.dtype) for array in (p, g, velocity))
    sgd_update([(p_flat, g_flat, v_flat)], lr, momentum, nesterov, Together())
    for array, flat in ((p, p_flat), (velocity, v_flat)):
        if flat is not array:
            array[...] = flat


def adam_update(p, g, mean, square, beta1, beta2, lr, correction, eps):
    """p, mean and square after one step along g."""
    updates = kernels()
    number, target = p.dtype.type, p.reshape(-1)
    run = updates.on_few(updates.adam, p.size)
    run(target, g.reshape(-1), mean.reshape(-1), square.reshape(-1), *map(number, (beta1, beta2, lr, correction, eps)))
    put_back(p, target)


def put_back(p, flat):
    """Where p is no contiguous array, `flat` is a copy."""
    if not p.flags.c_contiguous:
        p[...] = flat.reshape(p.shape)


def sum_of_squares(arrays, together):
    """The sum of squares of all arrays, each summed in its dtype: finite exactly where all values are finite and their squares
    can be summed."""
    if not arrays:
        return 0.0
    like, blocks = together.note(arrays)
    if blocks is None:
        return sum(sum_of_squares([np.ascontiguousarray(array)], Together()) for array in arrays)
    updates, parts = kernels(), np.empty(len(blocks), like.dtype)
    updates.on_few(updates.squares, together.size)(like, blocks, parts)
    return float(parts.sum(dtype=np.float64))
