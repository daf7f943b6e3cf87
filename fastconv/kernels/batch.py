"""One convolution with a group of images as the lanes of every vector: for batches with few channels.

The images are turned to [row, column, channel, image], convolved as the first link of a chain, and turned back; full vectors make
good for it where channels alone would fill a half or a tenth of one.
"""

import functools
import threading
from dataclasses import dataclass, replace

import numpy as np

from fastconv.kernels.activation import activate_rows
from fastconv.kernels.chain import chain_of
from fastconv.kernels.codes import NONE, RELU
from fastconv.kernels.transpose import flip_filters
from fastconv.machine import whole_after_fork

__all__ = ["forward", "input_grad", "winograd_forward", "winograd_input_grad"]


@dataclass(frozen=True)
class Single:
    """A chain of one convolution."""

    geometry: object  # a ConvGeometry
    relu: bool
    pooled = False
    units = 0

    @property
    def out(self):
        return self.geometry.p, self.geometry.q, self.geometry.o


@functools.lru_cache(maxsize=256)
def single(geo, relu, winograd):
    return chain_of((Single(replace(geo, n=1), relu),), geo.n, False, winograd)


POOL = []  # (chain, its workspace) of the last calls: fresh memory costs as much as a small convolution
MOST_KEPT, ALL_KEPT, MOST_IDLE = 8 << 20, 16 << 20, 16  # bytes of one and of all; how many
LOCK = whole_after_fork(threading.Lock())


def borrowed(chain):
    """A workspace that no other thread has."""
    with LOCK:
        for i, (owner, work) in enumerate(POOL):
            if owner is chain and chain.serves(work):
                del POOL[i]
                return work
    return chain.workspace()


def give_back(chain, work):
    """For the next call, without the arrays of this one."""
    work.forget()
    if work.nbytes <= MOST_KEPT:
        with LOCK:
            POOL.append((chain, work))
            while len(POOL) > MOST_IDLE or sum(kept.nbytes for _, kept in POOL) > ALL_KEPT:
                del POOL[0]


def convolve(geo, x, w, b, activation, y, winograd):
    in_tile = activation == RELU
    chain = single(geo, in_tile, winograd)
    work = borrowed(chain)
    chain.prepare(work, [(w, b)])
    chain.forward(x.reshape(geo.n, -1), y.reshape(geo.n, -1), work)
    give_back(chain, work)
    if activation not in (NONE, RELU):
        activate_rows(y.reshape(-1, geo.o), activation)


def gradient(geo, dy, w, dx, winograd):
    """The forward pass of dy with filters turned by 180 degrees, for stride 1."""
    convolve(geo.turned, dy, flip_filters(w), np.zeros(geo.c, dy.dtype), NONE, dx, winograd)


def forward(geo, x, w, b, activation, y):
    convolve(geo, x, w, b, activation, y, False)


def winograd_forward(geo, x, w, b, activation, y):
    convolve(geo, x, w, b, activation, y, True)


def input_grad(geo, dy, w, dx):
    gradient(geo, dy, w, dx, False)


def winograd_input_grad(geo, dy, w, dx):
    gradient(geo, dy, w, dx, True)
