"""Softmax along the last axis and the loss behind it: NumPy for a few numbers, compiled vector code for many."""

import functools

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.activations import are_many, floats
from fastconv.functional.arrays import ready, same_shape

__all__ = ["cross_entropy", "softmax", "softmax_grad"]


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first use."""
    from fastconv.kernels import softmax as compiled

    return compiled


def as_rows(a):
    """(rows, classes) of an array that kernels take."""
    return ready(a, a.dtype).reshape(-1, a.shape[-1])


def softmax(x):
    """exp(x) / sum exp(x) over the last axis; the largest x is subtracted first, so nothing overflows."""
    x = floats(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"x: got shape {x.shape}; needed at least one class along the last axis")
    if are_many(x):
        y = np.empty(x.shape, x.dtype)
        kernels().softmax(as_rows(x), as_rows(y))
        return y
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_grad(dy, y):
    """y * (dy - sum(dy * y)) over the last axis, with y = softmax(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    same_shape(dy, y, "y")
    if are_many(dy, y):
        dx = np.empty(y.shape, y.dtype)
        kernels().softmax_grad(as_rows(dy), as_rows(y), as_rows(dx))
        return dx
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def cross_entropy(scores, labels, smoothing):
    """(losses like labels, gradient of their mean like scores) for float scores (…, classes) and whole labels (…) in range."""
    losses, gradient = np.empty(labels.shape, scores.dtype), np.empty(scores.shape, scores.dtype)
    rows = as_rows(scores), np.ascontiguousarray(labels).reshape(-1), float(smoothing), losses.reshape(-1), as_rows(gradient)
    if are_many(scores):
        kernels().cross_entropy(*rows)
    elif scores.size:
        few_cross_entropies(*rows)
    return losses, gradient


def few_cross_entropies(rows, labels, smoothing, losses, gradient):
    """What the kernel of that name does."""
    (count, classes), each = rows.shape, np.arange(len(rows))
    shifted = rows - rows.max(-1, keepdims=True)
    np.exp(shifted, out=gradient)
    total = gradient.sum(-1)
    np.subtract(np.log(total), shifted[each, labels], out=losses)
    gradient /= (total * count)[:, None]
    gradient[each, labels] -= (1 - smoothing) / count
    if smoothing:
        losses += smoothing * (shifted[each, labels] - shifted.mean(-1))
        gradient -= smoothing / (count * classes)
