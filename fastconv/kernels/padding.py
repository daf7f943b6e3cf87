"""Padded copies, and the way back for gradients.  `rows` and `cols` name the source pixel of each padded one (-1: zero)."""

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.machine import kernel

__all__ = ["as_read", "fold", "grad_target", "pad", "padded_like"]


@kernel()
def copy_padded(x, rows, cols, padded):
    """padded[n,r,s,c] = x[n, rows[r], cols[s], c], or 0 where an index is -1."""
    N, R, S, C = padded.shape
    for task in prange(N * R):  # a task owns one row of `padded`
        n, r = divmod(np.intp(task), R)
        for s in range(S):
            target = padded[n, r, s]
            if rows[r] < 0 or cols[s] < 0:
                target[:] = 0
            else:
                source = x[n, rows[r], cols[s]]
                for c in range(C):
                    target[c] = source[c]


@kernel()
def add_folded(padded, rows, cols, x):
    """x[n, rows[r], cols[s], c] += padded[n,r,s,c], in reading order of the padded pixels."""
    N, R, S, C = padded.shape
    for task in prange(N):  # a task owns one image
        n = np.intp(task)
        for r in range(R):
            for s in range(S):
                if rows[r] >= 0 and cols[s] >= 0:
                    source, target = padded[n, r, s], x[n, rows[r], cols[s]]
                    for c in range(C):
                        target[c] += source[c]


def sources(geo):
    rows, cols = geo.sources()
    return np.array(rows, np.intp), np.array(cols, np.intp)


def pad(x, geo):
    """`x` with the padding of `geo` around it; `x` itself where there is none."""
    if not geo.is_padded:
        return x
    padded = aligned.workspace(geo.padded_shape, x.dtype)
    copy_padded(x, *sources(geo), padded)
    return padded


def as_read(x, geo):
    """(x, its geometry) for kernels that take zeros for padding: padding that is something else is written out."""
    return (pad(x, geo) if geo.needs_copy else x), geo.written_out


def padded_like(dx, geo):
    """Where the gradient of the padded input is to be written: `dx` itself without padding, else a workspace."""
    return aligned.workspace(geo.padded_shape, dx.dtype) if geo.is_padded else dx


def grad_target(dx, geo):
    """Where kernels write that take zeros for padding: `dx` itself, or a workspace where its padding is something else."""
    return padded_like(dx, geo) if geo.needs_copy else dx


def fold(padded, geo, dx):
    """The gradient of `pad`: what was written beside or on copies of a pixel is added up on that pixel."""
    if padded is dx:
        return
    (top, _), (left, _) = geo.pads
    if geo.pad_mode == "constant":
        np.copyto(dx, padded[:, top : top + geo.h, left : left + geo.w])
    else:
        dx[...] = 0
        add_folded(padded, *sources(geo), dx)
