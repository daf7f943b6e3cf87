"""A convolution written as a matrix."""

import inspect

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry.conv import ConvGeometry

__all__ = ["connection_matrix"]


def connection_matrix(w, x_shape, **options):
    """Convolution of one image as a matrix: `matrix @ x.ravel() == conv2d(x, w, **options).ravel()`.

    Shared weights show as equal numbers on its diagonals, sparse connection as its zeros.  `w` is (KH, KW) for an (H, W)
    image or (KH, KW, C / groups, O) for (H, W, C); options as in `ConvGeometry.of`.

    >>> m = connection_matrix(np.ones((3, 3)), (6, 6))
    >>> m.shape, int((m != 0).sum(1).max())
    ((16, 36), 9)
    """
    w = np.asarray(w)
    if not isinstance(x_shape, (tuple, list)):
        given = f"an array of shape {x_shape.shape}" if isinstance(x_shape, np.ndarray) else f"{x_shape!r:.80}"
        raise ShapeError(f"x_shape: got {given}; needed the shape of the image, a tuple: pass x.shape")
    unknown = options.keys() - inspect.signature(ConvGeometry.of).parameters.keys()
    if unknown:
        raise OptionError(
            f"connection_matrix: got an unknown option {min(unknown)!r}; it takes those of conv2d, such as stride=2"
        )
    if w.ndim == 2:
        w, x_shape = w[:, :, None, None], (*x_shape, 1)
    geo = ConvGeometry.of((1, *x_shape), w.shape, **options)
    cells = geo.p * geo.q * geo.o * geo.h * geo.w * geo.c
    if cells > 10**8:
        raise ShapeError(
            f"connection_matrix: {cells:,} cells are too many to hold; needed at most 100,000,000: use a smaller image"
        )
    if geo.flip:
        w = w[::-1, ::-1]
    rows, cols = geo.sources()
    matrix = np.zeros((geo.p, geo.q, geo.o, geo.h, geo.w, geo.c), np.result_type(w, np.float32))
    c_group, o_group = geo.c // geo.groups, geo.o // geo.groups
    for p, q, i, j in np.ndindex(geo.p, geo.q, geo.kh, geo.kw):
        h, v = rows[p * geo.sh + i * geo.dh], cols[q * geo.sw + j * geo.dw]
        if h < 0 or v < 0:
            continue
        for g in range(geo.groups):
            outs, ins = slice(g * o_group, (g + 1) * o_group), slice(g * c_group, (g + 1) * c_group)
            matrix[p, q, outs, h, v, ins] += w[i, j, :, outs].T
    return matrix.reshape(geo.p * geo.q * geo.o, geo.h * geo.w * geo.c)
