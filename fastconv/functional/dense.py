"""The fully connected layer: a matrix product."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, deliver, ready, result, result_dtype
from fastconv.functional.conv import activation_code, bias

__all__ = ["dense", "dense_grad"]


def matrix(a, name, form):
    a = as_array(a, name)
    if a.ndim != 2:
        raise ShapeError(f"{name}: got {a.ndim} axes, shape {a.shape}; needed {form}; flatten images with x.reshape(len(x), -1)")
    return a


def check_match(x, w):
    if x.shape[1] != w.shape[0]:
        raise ShapeError(
            f"x has {x.shape[1]} inputs (axis 1 of {x.shape}), w {w.shape[0]} (axis 0 of {w.shape}); needed the same number"
        )


def dense(x, w, b=None, *, activation=None, out=None):
    """y[n,o] = activation(b[o] + sum_i x[n,i] w[i,o]).

    Parameters
    ----------
    x : array (N, inputs)      w : array (inputs, outputs)      b : array (outputs,), optional
    activation : as in `conv2d`

    Returns
    -------
    y : array (N, outputs) of dtype result_type(x, w, float32)

    Raises
    ------
    ShapeError, DTypeError, OptionError
    """
    from fastconv.kernels.matmul import product

    x, w = matrix(x, "x", "(N, inputs)"), matrix(w, "w", "(inputs, outputs)")
    check_match(x, w)
    dtype = result_dtype(x, w)
    code, offsets = activation_code(activation), bias(b, w.shape[1], dtype)
    x, w = ready(x, dtype), ready(w, dtype)
    y, copy_to = result(out, (len(x), w.shape[1]), dtype, x, w)
    product(x[:, None], w[None], offsets[None], code, y[:, None])
    return deliver(y, copy_to, 4, "NHWC")


def dense_grad(dy, x, w, *, needs_dx=True):
    """Gradients of `dense`: (dx or None, dw, db) from dy (N, outputs), the gradient before the activation.

    dx = dy wᵀ,  dw = xᵀ dy,  db = the sum of dy over the batch.
    """
    from fastconv.kernels.matmul import product, transposed_product

    dy, x, w = matrix(dy, "dy", "(N, outputs)"), matrix(x, "x", "(N, inputs)"), matrix(w, "w", "(inputs, outputs)")
    check_match(x, w)
    if dy.shape != (len(x), w.shape[1]):
        raise ShapeError(f"dy: got {dy.shape}; needed (N, outputs) = {(len(x), w.shape[1])}")
    dtype = result_dtype(dy, x, w)
    dy, x, w = ready(dy, dtype), ready(x, dtype), ready(w, dtype)
    dw = np.zeros(w.shape, dtype)
    transposed_product(x[:, None], dy[:, None], dw[None])
    db = dy.sum(axis=0, dtype=np.float64).astype(dtype)
    if not needs_dx:
        return None, dw, db
    dx = np.empty(x.shape, dtype)
    product(dy[:, None], ready(w.T, dtype)[None], bias(None, w.shape[0], dtype)[None], 0, dx[:, None])
    return dx, dw, db
