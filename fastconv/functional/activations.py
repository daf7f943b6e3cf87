"""Activation functions and their gradients: NumPy for a few numbers, compiled vector code for many."""

import numpy as np

from fastconv.functional.arrays import as_array, number, ready, result_dtype, same_shape
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
    "tanh",
    "tanh_grad",
]


def floats(a, name):
    a = as_array(a, name)
    return a.astype(result_dtype(a), copy=False)


def are_many(x, *others):
    """Whether the arrays, of one shape and dtype, are worth a launch of threads."""
    return x.size >= FEW and all((other.shape, other.dtype) == (x.shape, x.dtype) for other in others)


def compiled(name, x, other=None, number=0.0):
    """A formula of `kernels.curves`."""
    from fastconv.kernels.elementwise import apply

    return apply(name, ready(x, x.dtype), None if other is None else ready(other, x.dtype), number)


def relu(x):
    """max(x, 0), any shape; NaN stays NaN."""
    x = floats(x, "x")
    return compiled("relu", x) if are_many(x) else np.maximum(x, x.dtype.type(0))


def relu_grad(dy, y):
    """dy where y > 0, else 0; `y` is what `relu` gave (or its input: the sign is the same)."""
    dy, y = floats(dy, "dy"), as_array(y, "y")
    same_shape(dy, y, "y")
    return compiled("relu_grad", y, dy) if y.dtype == dy.dtype else np.where(y > 0, dy, dy.dtype.type(0))


def leaky_relu(x, slope=LEAKY_SLOPE):
    """x where x >= 0, else slope * x  [Maas, Hannun and Ng 2013]."""
    x, slope = floats(x, "x"), number(slope, "slope")
    return compiled("leaky_relu", x, None, slope) if are_many(x) else np.where(x < 0, x * x.dtype.type(slope), x)


def leaky_relu_grad(dy, x, slope=LEAKY_SLOPE):
    """dy where x >= 0, else slope * dy; for a positive slope `x` may be the output as well."""
    dy, x, slope = floats(dy, "dy"), as_array(x, "x"), number(slope, "slope")
    same_shape(dy, x, "x")
    return compiled("leaky_relu_grad", x, dy, slope) if are_many(dy, x) else np.where(x < 0, dy * dy.dtype.type(slope), dy)


def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow for any x."""
    x = floats(x, "x")
    if are_many(x):
        return compiled("sigmoid", x)
    power = np.exp(-abs(x))  # at most 1; a small result keeps its digits
    return np.where(x < 0, power, x.dtype.type(1)) / (1 + power)


def sigmoid_grad(dy, y):
    """dy * y * (1 - y), with y = sigmoid(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    same_shape(dy, y, "y")
    return compiled("sigmoid_grad", y, dy) if are_many(dy, y) else dy * y * (1 - y)


def tanh(x):
    """Hyperbolic tangent."""
    x = floats(x, "x")
    return compiled("tanh", x) if are_many(x) else np.tanh(x)


def tanh_grad(dy, y):
    """dy * (1 - y**2), with y = tanh(x)."""
    dy, y = floats(dy, "dy"), floats(y, "y")
    same_shape(dy, y, "y")
    return compiled("tanh_grad", y, dy) if are_many(dy, y) else dy * (1 - y * y)


FUSED = {"relu": relu, "leaky_relu": leaky_relu, "sigmoid": sigmoid, "tanh": tanh}


def activate(x, activation):
    """x behind an activation that convolutions can compute themselves, by its name; x itself for None."""
    return x if activation is None else FUSED[activation](x)
