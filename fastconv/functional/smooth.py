"""Activation functions without a corner: ELU, GELU and Swish, with their gradients."""

import numpy as np

from fastconv.functional.activations import compiled, floats
from fastconv.functional.arrays import as_array, number, same_shape

__all__ = ["elu", "elu_grad", "gelu", "gelu_grad", "swish", "swish_grad"]


def elu(x, alpha=1.0):
    """x where x > 0, else alpha (exp(x) - 1)  [Clevert, Unterthiner and Hochreiter, arXiv:1511.07289]."""
    return compiled("elu", floats(x, "x"), None, number(alpha, "alpha"))


def elu_grad(dy, y, alpha=1.0):
    """dy where y > 0, else dy (y + alpha), with y = elu(x)."""
    dy, y = pair(dy, y, "y")
    return compiled("elu_grad", y, dy, number(alpha, "alpha"))


def swish(x):
    """x sigmoid(x), also called SiLU  [Ramachandran, Zoph and Le, arXiv:1710.05941]."""
    return compiled("swish", floats(x, "x"))


def swish_grad(dy, x):
    """dy s (1 + x (1 - s)), with s = sigmoid(x)."""
    dy, x = pair(dy, x, "x")
    return compiled("swish_grad", x, dy)


def gelu(x):
    """x Φ(x), Φ the normal distribution function; not the tanh approximation  [Hendrycks and Gimpel, arXiv:1606.08415]."""
    return compiled("gelu", floats(x, "x"))


def gelu_grad(dy, x):
    """dy (Φ(x) + x φ(x)), φ the normal density."""
    dy, x = pair(dy, x, "x")
    return compiled("gelu_grad", x, dy)


def pair(dy, values, name):
    """Both as floating point of one dtype."""
    dy, values = floats(dy, "dy"), floats(as_array(values, name), name)
    same_shape(dy, values, name)
    dtype = np.result_type(dy, values)
    return dy.astype(dtype, copy=False), values.astype(dtype, copy=False)
