"""Batch normalisation over all axes but the last  [Ioffe and Szegedy, arXiv:1502.03167]."""

import functools

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, least, result_dtype, same_shape
from fastconv.functional.conv import conv2d_bias_grad

__all__ = ["batch_norm", "batch_norm_grad", "batch_norm_train"]


def channel_vector(v, name, x):
    v = as_array(v, name)
    if v.shape != x.shape[-1:]:
        raise ShapeError(f"{name}: got shape {v.shape}; needed {x.shape[-1:]}, one number for each channel of x {x.shape}")
    return v.astype(x.dtype, copy=False)


def inputs(x, **vectors):
    x = as_array(x, "x")
    if x.ndim < 2:
        raise ShapeError(f"x: got {x.ndim} axes, shape {x.shape}; needed a batch axis and channels last")
    x = x.astype(result_dtype(x), copy=False)
    return x, *(channel_vector(v, name, x) for name, v in vectors.items())


@functools.cache
def kernels():
    """The compiled loops; Numba is imported at the first batch."""
    from fastconv.kernels import norm

    return norm


def as_rows(x):
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def batch_norm(x, scale, shift, *, mean, var, eps=1e-5):
    """y = (x - mean) / sqrt(var + eps) * scale + shift with given statistics, channels last.

    x (..., C); scale, shift, mean, var (C,).  Returns an array like x.
    """
    x, scale, shift, mean, var = inputs(x, scale=scale, shift=shift, mean=mean, var=var)
    if (var < 0).any():
        raise OptionError(f"var: got {var.min()}; a variance is at least 0")
    factor = scale / np.sqrt(var + x.dtype.type(least(eps, "eps")))
    return kernels().normalised(as_rows(x), mean, factor, shift, False).reshape(x.shape) if x.size else np.empty_like(x)


def statistics(x):
    """(about the mean, what is left of the mean, the biased variance) of each channel of x (rows, C).

    The corrected two-pass algorithm of Chan, Golub and LeVeque 1983: squares are summed only when the mean is gone, so that no
    digits are lost where it is large, and what rounding left of it is taken out of the result.
    """
    count = x.dtype.type(len(x))
    mean = conv2d_bias_grad(x[None, None]) / count
    first, second = kernels().sums_about(x, mean)
    rest = first / count
    return mean, rest, np.maximum(second / count - rest * rest, 0)  # NaN stays NaN


def batch_norm_train(x, scale, shift, *, eps=1e-5):
    """The same with the statistics of this batch.  Returns (y, mean, var); var divides by the count (biased)."""
    return normalise_batch(x, scale, shift, eps, False)[:3]


def normalise_batch(x, scale, shift, eps, rectified):
    """(y, mean, var, line): `batch_norm_train`, with a ReLU behind it if `rectified`; `line` is for `batch_gradients`."""
    x, scale, shift = inputs(x, scale=scale, shift=shift)
    eps = least(eps, "eps")
    if x.size == 0:
        raise ShapeError(f"x: got shape {x.shape}, which has no values to take statistics of; needed at least one image")
    rows = as_rows(x)
    mean, rest, var = statistics(rows)
    factor = scale / np.sqrt(var + x.dtype.type(eps))
    line = mean, factor, shift - rest * factor, rectified
    return kernels().normalised(rows, *line).reshape(x.shape), mean + rest, var, line


def batch_norm_grad(dy, x, scale, mean, var, *, eps=1e-5, needs_dx=True):
    """Gradients of `batch_norm_train`: (dx or None, dscale, dshift), the dependence of mean and var on x included.

    With z = (x - mean) / sqrt(var + eps):  dshift = sum dy,  dscale = sum dy z,
    dx = scale / sqrt(var + eps) * (dy - dshift / m - z dscale / m),  m values in each channel.
    """
    x, scale, mean, var = inputs(x, scale=scale, mean=mean, var=var)
    return batch_gradients(dy, x, scale, mean, var, least(eps, "eps"), needs_dx, (mean, scale, scale, False))


def batch_gradients(dy, x, scale, mean, var, eps, needs_dx, line):
    """`batch_norm_grad` for the `line` of `normalise_batch`, and the ReLU in it."""
    dy = as_array(dy, "dy")
    shape = x.shape
    same_shape(dy, x, "x")
    if x.size == 0:
        return np.empty_like(x) if needs_dx else None, np.zeros_like(scale), np.zeros_like(scale)
    dy, x = as_rows(dy.astype(x.dtype, copy=False)), as_rows(x)
    inverse = 1 / np.sqrt(var + x.dtype.type(eps))
    dshift, dscale = kernels().gradient_sums(dy, x, mean, line)
    dscale = dscale * inverse
    if not needs_dx:
        return None, dscale, dshift
    count, factor = x.dtype.type(len(x)), scale * inverse
    dx = kernels().gradient(dy, x, mean, line, factor, -factor * inverse * dscale / count, -factor * dshift / count)
    return dx.reshape(shape), dscale, dshift
