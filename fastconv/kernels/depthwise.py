"""Depthwise convolution, one filter for each channel: the same walk as `tiled`, with tiles that multiply vector by vector.

y[n,p,q,c] = b[c] + sum_ij x[n, p*sh - top + i*dh, q*sw - left + j*dw, c] * w[i,j,0,c]
"""

import functools

import numpy as np

from fastconv.kernels import tiled

__all__ = ["flipped", "forward", "input_grad", "weight_grad"]

forward = functools.partial(tiled.forward, depthwise=True)
input_grad = functools.partial(tiled.input_grad, depthwise=True)
weight_grad = functools.partial(tiled.weight_grad, depthwise=True)


def flipped(geo, w):
    """Weights for `input_grad`: the taps backwards."""
    return np.ascontiguousarray(w[::-1, ::-1])
