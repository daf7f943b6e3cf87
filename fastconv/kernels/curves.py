"""Activation functions and their gradients as formulas on vectors: of x, a second array of the same shape, and a number.

For a gradient the second array is dy, and x what the first one of `elementwise` says.
"""

from math import pi, sqrt

from fastconv.kernels.vector_math import exp, expm1, if_negative, minus, normal_distribution, sigmoid, tanh

__all__ = ["FORMULAS"]


def relu(v, x, _, __):
    """NaN stays NaN, -0 becomes 0."""
    return v.builder.select(v.builder.fcmp_ordered("<=", x, v.constant(0.0)), v.constant(0.0), x)


def relu_grad(v, y, dy, _):
    return v.builder.select(v.builder.fcmp_ordered(">", y, v.constant(0.0)), dy, v.constant(0.0))


def add_relu(v, a, b, _):
    return relu(v, v.builder.fadd(a, b), None, None)


def leaky_relu(v, x, _, slope):
    return v.where_negative(x, v.builder.fmul(x, slope))


def leaky_relu_grad(v, x, dy, slope):
    return if_negative(v, x, v.builder.fmul(dy, slope), dy)


def sigmoid_of(v, x, _, __):
    return sigmoid(v, x)


def sigmoid_grad(v, y, dy, _):
    """dy y (1 - y)"""
    return v.builder.fmul(v.builder.fmul(dy, y), v.builder.fsub(v.constant(1.0), y))


def tanh_of(v, x, _, __):
    return tanh(v, x)


def tanh_grad(v, y, dy, _):
    """dy (1 - y²)"""
    return v.builder.fmul(dy, v.builder.fsub(v.constant(1.0), v.builder.fmul(y, y)))


def elu(v, x, _, alpha):
    return v.builder.select(v.builder.fcmp_ordered(">", x, v.constant(0.0)), x, v.builder.fmul(alpha, expm1(v, x)))


def elu_grad(v, y, dy, alpha):
    below = v.builder.fmul(dy, v.builder.fadd(y, alpha))
    return v.builder.select(v.builder.fcmp_ordered(">", y, v.constant(0.0)), dy, below)


def swish(v, x, _, __):
    return v.builder.fmul(x, sigmoid(v, x))


def swish_grad(v, x, dy, _):
    """dy s (1 + x (1 - s)), s = sigmoid(x)"""
    one, s = v.constant(1.0), sigmoid(v, x)
    return v.builder.fmul(v.builder.fmul(dy, s), v.multiply_add(x, v.builder.fsub(one, s), one))


def gelu(v, x, _, __):
    return v.builder.fmul(x, normal_distribution(v, x))


def gelu_grad(v, x, dy, _):
    """dy (Φ(x) + x φ(x))"""
    halved = v.builder.fmul(v.builder.fmul(x, x), v.constant(0.5))
    density = v.builder.fmul(exp(v, minus(v, halved)), v.constant(1 / sqrt(2 * pi)))
    return v.builder.fmul(dy, v.multiply_add(x, density, normal_distribution(v, x)))


FORMULAS = {
    formula.__name__.removesuffix("_of"): formula
    for formula in (
        relu, relu_grad, add_relu, leaky_relu, leaky_relu_grad, sigmoid_of, sigmoid_grad, tanh_of, tanh_grad, elu, elu_grad,
        swish, swish_grad, gelu, gelu_grad,
    )
}  # fmt: skip
