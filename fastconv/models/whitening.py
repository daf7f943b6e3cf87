"""First filters from the data: their outputs are uncorrelated and have the same size."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.errors import OptionError
from fastconv.functional.arrays import as_array
from fastconv.geometry import pair
from fastconv.layers import Conv2D
from fastconv.layers.values import fraction
from fastconv.models.sequential import checked_network

__all__ = ["whiten", "whitening_filters"]

ENOUGH = 5000  # images whose patches say how pixels go together


def whitening_filters(x, size=2, *, eps=5e-4):
    """Filters w (KH, KW, C, 2·KH·KW·C) that whiten the patches p of images x (N, H, W, C).

        w_k = v_k / sqrt(lambda_k + eps),   mean(p p^T) v_k = lambda_k v_k,   lambda_1 >= lambda_2 >= …

    and the same again with the other sign, so that a ReLU behind them loses nothing.  Page 2018, "How to train your ResNet 8";
    Jordan 2024, arXiv:2404.00498, section 3.2.  The mean is not taken off: images are expected around 0.

    x : any real dtype, the statistics are computed in float64;  size : int or (height, width), pixels
    eps : keeps filters small where patches hardly differ;  returns float64

    >>> whitening_filters(np.random.default_rng(0).normal(size=(9, 8, 8, 3))).shape
    (2, 2, 3, 24)
    """
    x, (kh, kw), eps = as_array(x, "x"), pair(size, "size"), fraction(eps, "eps", 1e-12, 1)
    if x.ndim != 4 or min(x.shape) < 1 or x.shape[1] < kh or x.shape[2] < kw:
        raise OptionError(f"x: got shape {x.shape}; needed images (N, H, W, C) of {kh}x{kw} pixels or more")
    patches = sliding_window_view(x, (kh, kw), axis=(1, 2))  # (N, P, Q, C, KH, KW)
    values, vectors = np.linalg.eigh(second_moments(patches))
    w = (vectors / np.sqrt(np.maximum(values, 0) + eps))[:, ::-1]
    w = w.reshape(x.shape[3], kh, kw, -1).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(np.concatenate([w, -w], axis=-1))


def second_moments(patches):
    """mean(p p^T) over patches (N, P, Q, C, KH, KW), a few images at a time."""
    length = int(np.prod(patches.shape[3:]))
    total, count = np.zeros((length, length)), 0
    for start in range(0, len(patches), 256):
        rows = patches[start : start + 256].reshape(-1, length).astype(np.float64)
        total += rows.T @ rows
        count += len(rows)
    return total / count


def whiten(net, x, *, eps=5e-4):
    """Give the first convolution of `net` the whitening filters of images x, and freeze it; returns that layer.

    x (N, *net.input_shape) as the network gets them; the first 5,000 count.  The layer needs 2·KH·KW·C filters in one group.
    The freezing is saved with the network.

    Raises
    ------
    OptionError : no convolution, or one with another number of filters
    """
    layer = next((layer for layer in checked_network(net, "net").layers if isinstance(layer, Conv2D)), None)
    if layer is None:
        raise OptionError("whiten: the network has no Conv2D on its main path; needed one as its first layer with weights")
    kh, kw, channels, filters = layer.filter_shape(layer.input_shape)
    if layer.groups != 1 or filters != 2 * kh * kw * channels:
        needed = 2 * kh * kw * layer.input_shape[2]
        raise OptionError(
            f"whiten: {layer.label} has {filters} filters in groups of {layer.groups}; needed {needed} in one group"
        )
    x = as_array(x, "x")[:ENOUGH]
    for before in net.layers[: net.layers.index(layer)]:
        x = before.forward(x)
    layer.set_params(w=whitening_filters(x, layer.size, eps=eps))
    layer.trainable = False
    return layer
