"""Activation functions without a corner: ELU, GELU and Swish, with their gradients."""

from math import pi, sqrt

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.activations import floats, sigmoid
from fastconv.functional.arrays import as_array

__all__ = ["elu", "elu_grad", "gelu", "gelu_grad", "swish", "swish_grad"]

# Rational approximations of erf and erfc, highest power first, by W. J. Cody 1969 as in the Cephes library (S. Moshier, ndtr.c):
# erf(a) = a T(a²) / U(a²) for a <= 1, erfc(a) = exp(-a²) P(a) / Q(a) above
T = (9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3)
T += (5.55923013010394962768e4,)
U = (1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3, 2.26290000613890934246e4)
U += (4.92673942608635921086e4,)
P = (2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0, 4.86371970985681366614e1)
P += (1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3)
P += (5.57535335369399327526e2,)
Q = (1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2)
Q += (1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2)


def elu(x, alpha=1.0):
    """x where x > 0, else alpha (exp(x) - 1)  [Clevert, Unterthiner and Hochreiter, arXiv:1511.07289]."""
    x = floats(x, "x")
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, x.dtype.type(0))))


def elu_grad(dy, y, alpha=1.0):
    """dy where y > 0, else dy (y + alpha), with y = elu(x)."""
    dy, y = pair(dy, y, "y")
    return np.where(y > 0, dy, dy * (y + y.dtype.type(alpha)))


def swish(x):
    """x sigmoid(x), also called SiLU  [Ramachandran, Zoph and Le, arXiv:1710.05941]."""
    x = floats(x, "x")
    return x * sigmoid(x)


def swish_grad(dy, x):
    """dy s (1 + x (1 - s)), with s = sigmoid(x)."""
    dy, x = pair(dy, x, "x")
    s = sigmoid(x)
    return dy * s * (1 + x * (1 - s))


def gelu(x):
    """x Φ(x), Φ the normal distribution function; not the tanh approximation  [Hendrycks and Gimpel, arXiv:1606.08415]."""
    x = floats(x, "x")
    return x * distribution(x)


def gelu_grad(dy, x):
    """dy (Φ(x) + x φ(x)), φ the normal density."""
    dy, x = pair(dy, x, "x")
    density = np.exp(-np.square(x) / 2) * x.dtype.type(1 / sqrt(2 * pi))
    return dy * (distribution(x) + x * density)


def pair(dy, values, name):
    dy, values = floats(dy, "dy"), floats(as_array(values, name), name)
    if dy.shape != values.shape:
        raise ShapeError(f"dy: got shape {dy.shape}; needed that of {name}, {values.shape}")
    return dy, values


def distribution(x):
    """Φ(x) = erfc(-x / √2) / 2, with small relative error on both sides."""
    a = abs(x) * x.dtype.type(1 / sqrt(2))
    squares = a * a
    near = 1 - a * polynomial(T, squares) / polynomial(U, squares)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite a: the quotient of polynomials is not used there
        far = np.exp(-squares) * polynomial(P, a) / polynomial(Q, a)
    tail = np.where(a < 1, near, np.where(a < 26, far, a.dtype.type(0))) / 2
    tail = np.where(np.isnan(x), x, tail)
    return np.where(x < 0, tail, 1 - tail)


def polynomial(coefficients, x):
    """Horner's rule."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += x.dtype.type(coefficient)
    return value
