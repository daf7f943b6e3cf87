"""The arithmetic of optimizers on whole arrays, in place; what the numbers mean is told in `fastconv.training.optimizers`."""

import functools

import numpy as np

__all__ = ["adam_update", "sgd_update", "sum_of_squares"]


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first update."""
    from fastconv.kernels import updates

    return updates


def sgd_update(p, g, velocity, lr, momentum, nesterov):
    """p and velocity after one step along g; all of one shape and dtype."""
    updates = kernels()
    number, target = p.dtype.type, p.reshape(-1)
    run = updates.on_few(updates.sgd, p.size)
    run(target, g.reshape(-1), velocity.reshape(-1), number(lr), number(momentum), nesterov)
    put_back(p, target)


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


def sum_of_squares(a):
    """The sum of squares, in the array's dtype: finite exactly where all values are finite and their squares can be summed."""
    updates = kernels()
    parts = np.empty(updates.blocks_of(a.size), a.dtype)
    updates.on_few(updates.squares, a.size)(a.reshape(-1), parts)
    return parts[0] if parts.size == 1 else parts.sum(dtype=a.dtype)
