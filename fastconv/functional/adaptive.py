"""Pooling to a wanted size, whatever the size of the image."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, result_dtype
from fastconv.functional.pool import avg_pool2d, avg_pool2d_grad, global_avg_pool2d, max_pool2d, max_pool2d_grad
from fastconv.geometry import adaptive_windows, pair

__all__ = ["adaptive_avg_pool2d", "adaptive_avg_pool2d_grad", "adaptive_max_pool2d", "adaptive_max_pool2d_grad"]


def cells(shape, size):
    """(p, q, rows, columns) of each window, as slices."""
    if len(shape) != 4:
        raise ShapeError(f"x: got {len(shape)} axes, shape {tuple(shape)}; needed (N, H, W, C)")
    (ph, pw), (_, h, w, _) = pair(size, "size"), shape
    rows, columns = adaptive_windows(h, ph, "height"), adaptive_windows(w, pw, "width")
    return [(p, q, slice(*r), slice(*c)) for p, r in enumerate(rows) for q, c in enumerate(columns)]


def even(shape, size):
    """The window of an ordinary pooling that does the same, None where windows differ in size."""
    (ph, pw), (h, w) = pair(size, "size"), shape[1:3]
    return (h // ph, w // pw) if not (h % ph or w % pw) else None


def pooled_shape(shape, size):
    return shape[0], *pair(size, "size"), shape[3]


def check_gradient(dy, shape, size):
    needed = pooled_shape(shape, size)
    if dy.shape != needed:
        raise ShapeError(f"dy: got {dy.shape}; needed that of the output, {needed}")


def empty_like_pooled(x, size):
    return np.empty(pooled_shape(x.shape, size), result_dtype(x))


def adaptive_avg_pool2d(x, size):
    """(N, H, W, C) -> (N, *size, C): means over windows that cover the image, of rows floor(p H / P) to ceil((p + 1) H / P).

    `size`: int or (height, width) of the output, at most that of the image.  PyTorch's rule; neighbours overlap by a row where
    H is no multiple of P.
    """
    x = as_array(x, "x")
    found = cells(x.shape, size)
    if window := even(x.shape, size):
        return global_avg_pool2d(x)[:, None, None] if window == x.shape[1:3] else avg_pool2d(x, window)
    y, x = empty_like_pooled(x, size), np.ascontiguousarray(x)  # in whose order it adds
    for p, q, rows, columns in found:
        y[:, p, q] = x[:, rows, columns].mean(axis=(1, 2), dtype=y.dtype)
    return y


def adaptive_avg_pool2d_grad(dy, x_shape, size):
    """Gradient of `adaptive_avg_pool2d`: dy in equal shares to the pixels of its window."""
    dy = as_array(dy, "dy")
    found = cells(x_shape, size)
    check_gradient(dy, x_shape, size)
    if window := even(x_shape, size):
        return avg_pool2d_grad(dy, x_shape, window)
    dx = np.zeros(x_shape, result_dtype(dy))
    for p, q, rows, columns in found:
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        dx[:, rows, columns] += (dy[:, p, q] / dx.dtype.type(pixels))[:, None, None]
    return dx


def adaptive_max_pool2d(x, size):
    """The largest value of each window; windows as in `adaptive_avg_pool2d`, NaN and ties as in `max_pool2d`."""
    x = as_array(x, "x")
    found = cells(x.shape, size)
    if window := even(x.shape, size):
        return max_pool2d(x, window)
    y = empty_like_pooled(x, size)
    for p, q, rows, columns in found:
        y[:, p, q] = x[:, rows, columns].max(axis=(1, 2))
    return y


def adaptive_max_pool2d_grad(dy, x, size):
    """Gradient of `adaptive_max_pool2d`: each dy to the first of the largest pixels of its window."""
    dy, x = as_array(dy, "dy"), as_array(x, "x")
    found = cells(x.shape, size)
    check_gradient(dy, x.shape, size)
    if window := even(x.shape, size):
        return max_pool2d_grad(dy, x, window)
    dx = np.zeros(x.shape, result_dtype(dy))
    images, channels = np.ogrid[: len(x), : x.shape[3]]
    for p, q, rows, columns in found:
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        winner = x[:, rows, columns].reshape(len(x), pixels, x.shape[3]).argmax(axis=1)
        row, column = divmod(winner, columns.stop - columns.start)
        dx[images, rows.start + row, columns.start + column, channels] += dy[:, p, q]
    return dx
