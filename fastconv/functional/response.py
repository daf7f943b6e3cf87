"""Local response normalisation across channels  [Krizhevsky, Sutskever and Hinton 2012, section 3.3]."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, least, number, ready, result_dtype, same_shape
from fastconv.geometry import whole

__all__ = ["local_response_norm", "local_response_norm_grad"]


def local_response_norm(x, size=5, *, alpha=1e-4, beta=0.75, k=2.0):
    """y[c] = x[c] / (k + alpha sum x[c']²)^beta, c' from c - size // 2 to c + (size - 1) // 2 as far as there are channels.

    x (..., C), channels last.  This is the paper's formula; PyTorch and Caffe divide alpha by size, so their alpha is size times
    as large: fc.local_response_norm(x, 5, alpha=a / 5) is torch.nn.functional.local_response_norm(x, 5, alpha=a, k=2).

    >>> local_response_norm([[3.0, 4.0]], 1, alpha=1.0, beta=0.5, k=0.0)
    array([[1., 1.]])
    """
    from fastconv.kernels.response import normalise

    x = inputs(x, size, alpha, beta, k)
    y = np.empty_like(x)
    normalise(rows(x), size // 2, (size - 1) // 2, *map(x.dtype.type, (alpha, beta, k)), rows(y))
    return y


def local_response_norm_grad(dy, x, size=5, *, alpha=1e-4, beta=0.75, k=2.0):
    """Gradient of `local_response_norm`, from dy and its input x.

    With d = k + alpha sum x² as above, and the sum over all c' whose window holds c,

        dx[c] = dy[c] / d[c]^beta - 2 alpha beta x[c] sum dy[c'] x[c'] / d[c']^(beta + 1)
    """
    from fastconv.kernels.response import normalise_grad

    x, dy = inputs(x, size, alpha, beta, k), as_array(dy, "dy")
    same_shape(dy, x, "x")
    dy, dx = ready(dy, x.dtype), np.empty_like(x)
    numbers = map(x.dtype.type, (alpha, beta, k, 2 * alpha * beta))
    normalise_grad(rows(dy), rows(x), size // 2, (size - 1) // 2, *numbers, rows(dx))
    return dx


def inputs(x, size, alpha, beta, k):
    x = as_array(x, "x")
    whole(size, "size", 1)
    number(alpha, "alpha"), number(beta, "beta"), least(k, "k")
    if x.ndim < 2:
        raise ShapeError(f"x: got {x.ndim} axes, shape {x.shape}; needed a batch axis and channels last")
    return ready(x, result_dtype(x))


def rows(x):
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, x.shape[-1])
