"""Softmax along the last axis and the loss behind it: NumPy for a few numbers, compiled vector code for many."""

import functools

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.activations import are_many, floats
from fastconv.functional.arrays import ready, same_shape

__all__ = ["LABELS", "cross_entropy", "loss_shares", "softmax", "softmax_grad"]

MOST_BLOCKS = 64  # tasks
LABELS = np.dtype(np.int64)  # of classes


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first use."""
    from fastconv.kernels import softmax as compiled

    return compiled


def as_rows(a):
    """(rows, classes) of an array that kernels take."""
    return ready(a, a.dtype).reshape(-1, a.shape[-1])


def blocks_of(a):
    """Tasks for an array of rows."""
    return min(MOST_BLOCKS, a.size // a.shape[-1])


def softmax(x):
    """exp(x) / sum exp(x) over the last axis; the largest x is subtracted first, so nothing overflows."""
    x = floats(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"x: got shape {x.shape}; needed at least one class along the last axis")
    if are_many(x):
        y = np.empty(x.shape, x.dtype)
        kernels().softmax(as_rows(x), as_rows(y), blocks_of(x))
        return y
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_grad(dy, y):
    """y * (dy - sum(dy * y)) over the last axis, with y = softmax(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    same_shape(dy, y, "y")
    if are_many(dy, y):
        dx = np.empty(y.shape, y.dtype)
        kernels().softmax_grad(as_rows(dy), as_rows(y), as_rows(dx), blocks_of(y))
        return dx
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def loss_shares(count, classes, smoothing):
    """What one of `count` examples counts in the mean, and in its loss every class, and the label besides."""
    return 1 / count, smoothing / classes, 1 - smoothing


def cross_entropy(scores, labels, smoothing):
    """(losses like labels, gradient of their mean like scores) for float scores (…, classes) and whole labels (…) in range."""
    losses, gradient = np.empty(labels.shape, scores.dtype), np.empty(scores.shape, scores.dtype)
    if scores.size:
        share = map(scores.dtype.type, loss_shares(labels.size, scores.shape[-1], smoothing))
        run = kernels().cross_entropy if are_many(scores) else kernels().cross_entropy.serial
        places = ready(labels, LABELS).reshape(-1)
        run(as_rows(scores), places, *share, losses.reshape(-1), as_rows(gradient), blocks_of(scores))
    return losses, gradient
