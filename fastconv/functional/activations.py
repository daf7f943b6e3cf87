"""Activation functions and their gradients.  Only the gradient of ReLU has a kernel: the others are rare in large networks."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, ready, result_dtype
from fastconv.kernels.codes import LEAKY_SLOPE

FEW = 1 << 16  # numbers that NumPy has done before a second thread has woken up

__all__ = [
    "activate",
    "leaky_relu",
    "leaky_relu_grad",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_grad",
    "tanh",
    "tanh_grad",
]


def floats(a, name):
    a = as_array(a, name)
    return a.astype(result_dtype(a), copy=False)


def relu(x):
    """max(x, 0), any shape; NaN stays NaN."""
    x = floats(x, "x")
    if x.size < FEW or not x.flags.c_contiguous:
        return np.maximum(x, x.dtype.type(0))
    from fastconv.kernels.elementwise import keep_positive

    y = np.empty(x.shape, x.dtype)
    keep_positive(x.reshape(-1), y.reshape(-1))
    return y


def relu_grad(dy, y):
    """dy where y > 0, else 0; `y` is what `relu` gave (or its input: the sign is the same)."""
    dy, y = as_array(dy, "dy"), as_array(y, "y")
    dtype = result_dtype(dy)
    if dy.shape != y.shape or y.dtype != dtype:
        return np.where(y > 0, dy.astype(dtype, copy=False), dtype.type(0))
    from fastconv.kernels.elementwise import mask_negative

    dx = np.empty(dy.shape, dtype)
    mask_negative(ready(dy, dtype).reshape(-1), ready(y, dtype).reshape(-1), dx.reshape(-1))
    return dx


def leaky_relu(x, slope=LEAKY_SLOPE):
    """x where x >= 0, else slope * x  [Maas, Hannun and Ng 2013]."""
    x = floats(x, "x")
    return np.where(x < 0, x * x.dtype.type(slope), x)


def leaky_relu_grad(dy, x, slope=LEAKY_SLOPE):
    """dy where x >= 0, else slope * dy; for a positive slope `x` may be the output as well."""
    dy = floats(dy, "dy")
    return np.where(as_array(x, "x") < 0, dy * dy.dtype.type(slope), dy)


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow for any x."""
    x = floats(x, "x")
    power = np.exp(-abs(x))  # at most 1; a small result keeps its digits
    return np.where(x < 0, power, x.dtype.type(1)) / (1 + power)


def sigmoid_grad(dy, y):
    """dy * y * (1 - y), with y = sigmoid(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    return dy * y * (1 - y)


def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(floats(x, "x"))


def tanh_grad(dy, y):
    """dy * (1 - y**2), with y = tanh(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    return dy * (1 - y * y)


def softmax(x):
    """exp(x) / sum exp(x) over the last axis; the largest x is subtracted first, so nothing overflows."""
    x = floats(x, "x")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"x: got shape {x.shape}; needed at least one class along the last axis")
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_grad(dy, y):
    """y * (dy - sum(dy * y)) over the last axis, with y = softmax(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


FUSED = {"relu": relu, "leaky_relu": leaky_relu, "sigmoid": sigmoid, "tanh": tanh}


def activate(x, activation):
    """x behind an activation that convolutions can compute themselves, by its name; x itself for None."""
    return x if activation is None else FUSED[activation](x)
