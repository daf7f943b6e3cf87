"""Batch normalisation over all axes but the last  [Ioffe and Szegedy, arXiv:1502.03167]."""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array, result_dtype

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


def batch_norm(x, scale, shift, *, mean, var, eps=1e-5):
    """y = (x - mean) / sqrt(var + eps) * scale + shift with given statistics, channels last.

    x (..., C); scale, shift, mean, var (C,).  Returns an array like x.
    """
    x, scale, shift, mean, var = inputs(x, scale=scale, shift=shift, mean=mean, var=var)
    factor = scale / np.sqrt(var + x.dtype.type(eps))
    return x * factor + (shift - mean * factor)


def statistics(x):
    """(mean, biased variance) of each channel, summed in float64."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=np.float64)
    var = np.square(x - mean.astype(x.dtype)).mean(axis=axes, dtype=np.float64)
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_train(x, scale, shift, *, eps=1e-5):
    """The same with the statistics of this batch.  Returns (y, mean, var); var divides by the count (biased)."""
    x, scale, shift = inputs(x, scale=scale, shift=shift)
    if x.size == 0:
        raise ShapeError(f"x: got shape {x.shape}, which has no values to take statistics of; needed at least one image")
    mean, var = statistics(x)
    return batch_norm(x, scale, shift, mean=mean, var=var, eps=eps), mean, var


def batch_norm_grad(dy, x, scale, mean, var, *, eps=1e-5):
    """Gradients of `batch_norm_train`: (dx, dscale, dshift), the dependence of mean and var on x included.

    With z = (x - mean) / sqrt(var + eps):  dshift = sum dy,  dscale = sum dy z,
    dx = scale / sqrt(var + eps) * (dy - dshift / m - z dscale / m),  m values in each channel.
    """
    x, scale, mean, var = inputs(x, scale=scale, mean=mean, var=var)
    dy = as_array(dy, "dy")
    if dy.shape != x.shape:
        raise ShapeError(f"dy: got shape {dy.shape}; needed that of x, {x.shape}")
    dy = dy.astype(x.dtype, copy=False)
    axes, inverse = tuple(range(x.ndim - 1)), 1 / np.sqrt(var + x.dtype.type(eps))
    z = (x - mean) * inverse
    dshift = dy.sum(axis=axes, dtype=np.float64).astype(x.dtype)
    dscale = (dy * z).sum(axis=axes, dtype=np.float64).astype(x.dtype)
    count = x.dtype.type(x.size // x.shape[-1])
    return scale * inverse * (dy - dshift / count - z * (dscale / count)), dscale, dshift
