"""The fully connected layer: a 1x1 convolution of a column of pixels, one for each example."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, empty, filled, result_dtype
from fastconv.functional.conv import (
    PreparedWeights,
    activation_code,
    bias,
    conv2d,
    conv2d_bias_grad,
    conv2d_input_grad,
    conv2d_weight_grad,
    plan,
)

__all__ = ["dense", "dense_grad"]

FEW_EXAMPLES = 64
LARGE = 1 << 18  # weights


def matrix(a, name, form):
    a = as_array(a, name)
    if a.ndim != 2:
        raise ShapeError(f"{name}: got {a.ndim} axes, shape {a.shape}; needed {form}; flatten images with x.reshape(len(x), -1)")
    return a


def column(a):
    """(N, C) as one image of N pixels below each other."""
    return a[None, :, None, :]


def check_match(x, filters):
    kh, kw, inputs, outputs = filters.shape
    if (kh, kw) != (1, 1):
        raise ShapeError(f"w: got filters of {kh}x{kw} pixels; needed (inputs, outputs), or prepared (1, 1, inputs, outputs)")
    if x.shape[1] != inputs:
        raise ShapeError(
            f"x has {x.shape[1]} inputs (axis 1 of {x.shape}), w {inputs} (axis 0 of {(inputs, outputs)}); needed as many"
        )


def dense(x, w, b=None, *, activation=None, algorithm="auto", out=None):
    """y[n,o] = activation(b[o] + sum_i x[n,i] w[i,o]).

    Parameters
    ----------
    x : array (N, inputs)      w : array (inputs, outputs)      b : array (outputs,), optional
        w may be `PreparedWeights` of w[None, None], which pays where the same weights are used again
    activation, algorithm, out : as in `conv2d`

    Returns
    -------
    y : array (N, outputs) of dtype result_type(x, w, float32)

    Raises
    ------
    ShapeError, DTypeError, OptionError
    """
    x, filters = matrix(x, "x", "(N, inputs)"), w
    if type(w) is not PreparedWeights:
        w = matrix(w, "w", "(inputs, outputs)")
        filters = w[None, None]
    check_match(x, filters)
    shape, dtype = (len(x), filters.shape[3]), result_dtype(x, filters)
    y = empty(shape, dtype) if out is None else filled(out, shape, dtype)
    activation_code(activation)
    if len(x):
        conv2d(column(x), filters, b, activation=activation, algorithm=algorithm, out=column(y))
    else:
        bias(b, shape[1], dtype)  # no convolution looks at it
    return y


def dense_grad(dy, x, w, *, needs_dx=True, out=None):
    """Gradients of `dense`: (dx or None, dw, db) from dy (N, outputs), the gradient before the activation.

    dx = dy wᵀ,  dw = xᵀ dy,  db = the sum of dy over the batch.  `out`: array (inputs, outputs) for dw.
    """
    dy, x = matrix(dy, "dy", "(N, outputs)"), matrix(x, "x", "(N, inputs)")
    filters = w.w if type(w) is PreparedWeights else matrix(w, "w", "(inputs, outputs)")[None, None]
    check_match(x, filters)
    w = filters[0, 0]
    if dy.shape != (len(x), w.shape[1]):
        raise ShapeError(f"dy: got {dy.shape}; needed (N, outputs) = {(len(x), w.shape[1])}")
    dtype = result_dtype(dy, x, w)
    dw = empty(w.shape, dtype) if out is None else filled(out, w.shape, dtype)
    if len(x) == 0:
        dw[...] = 0
        return np.empty(x.shape, dtype) if needs_dx else None, dw, np.zeros(w.shape[1], dtype)
    db = conv2d_bias_grad(column(dy)).astype(dtype, copy=False)
    dx = input_gradient(dy, w).astype(dtype, copy=False) if needs_dx else None
    place = dw[None, None] if dtype == result_dtype(dy, x) else None  # the last: `out` may be w or dy
    found = conv2d_weight_grad(column(dy), column(x), (1, 1, *w.shape), out=place)[0, 0]
    if place is None:
        dw[...] = found
    return dx, dw, db


def dense_plans(examples, inputs, outputs, dtype):
    """The `ConvPlan` of what `dense`, then the gradients of its weights and of its input run for so many examples."""
    x_shape, w_shape = (1, examples, 1, inputs), (1, 1, inputs, outputs)
    forward, weights = (plan(x_shape, w_shape, dtype=dtype, direction=name) for name in ("forward", "weight_grad"))
    if is_turned(examples, inputs * outputs):
        return forward, weights, plan((1, inputs, 1, outputs), (1, 1, outputs, examples), dtype=dtype)
    return forward, weights, plan(x_shape, w_shape, dtype=dtype, direction="input_grad")


def is_turned(examples, weights):
    """Whether the gradient of the input is (w dyᵀ)ᵀ, which reads large weights once, as they lie."""
    return examples <= FEW_EXAMPLES and weights >= LARGE


def input_gradient(dy, w):
    """dy wᵀ"""
    if is_turned(len(dy), w.size):
        return np.ascontiguousarray(dense(w, dy.T).T)
    return conv2d_input_grad(column(dy), w[None, None], (1, len(dy), 1, len(w)))[0, :, 0]
