"""Max and average pooling over windows, and their gradients: vectors of channels, each result written once."""

import functools

import numpy as np
from numba import prange

from fastconv.kernels.aligned import LINE
from fastconv.kernels.denormals import flush_denormals, restore_denormals
from fastconv.kernels.parts import forward_parts, input_grad_parts
from fastconv.kernels.pool_runs import (
    average_grad_run,
    average_run,
    average_spread_run,
    maximum_grad_run,
    maximum_run,
    maximum_spread_run,
)
from fastconv.kernels.runs import RUN, SIDE_BY_SIDE, runs_of
from fastconv.kernels.vector_ir import lanes_of
from fastconv.machine import kernel

__all__ = ["average", "average_grad", "maximum", "maximum_grad"]

AHEAD = 2048  # bytes: 1024 and 4096 gained less on an Intel Xeon


# Each function makes the kernel that walks one kind of run, `most` vectors of channels side by side: a call compiles no other.


@functools.cache
def maximum_rows(most, ahead):
    """Rows of y, and of `winner` where it is wanted."""

    @kernel()
    def rows(x, y, winner, wanted, starts, runs):
        N, P, Q, C = y.shape
        source, target, winners, size = x.reshape(-1), y.reshape(-1), winner.reshape(-1), x.shape[1] * x.shape[2] * C
        for task in prange(N * P):  # a task owns one row of y
            n, p = divmod(np.intp(task), P)
            for r in range(starts[p], starts[p + 1]):
                maximum_run(source, n * size, target, n * P * Q * C, winners, wanted, C, runs, r * len(RUN), most, ahead)

    return rows


@functools.cache
def rows_of(run, most, ahead):
    """Rows of y, each a sum along its `run`; `beside` has what a run reads besides x, for each result or each source."""

    def rows(x, y, beside, starts, runs):
        N, P, Q, C = y.shape
        source, target, others, size = x.reshape(-1), y.reshape(-1), beside.reshape(-1), x.shape[1] * x.shape[2] * C
        for task in prange(N * P):  # a task owns one row of y
            before = flush_denormals()
            n, p = divmod(np.intp(task), P)
            for r in range(starts[p], starts[p + 1]):
                run(source, n * size, target, n * P * Q * C, others, C, runs, r * len(RUN), most, ahead)
            restore_denormals(before)

    return named(rows, run, most, ahead)


average_rows = functools.partial(rows_of, average_run)


@functools.cache
def spread_of(run, most, side):
    """All of dx, where windows cover every pixel once: each window's dy goes along its `run` to its taps, `side` x `side` of them
    one after another (0: in a loop)."""

    def spread(dy, dx, beside, starts, runs):
        N, P, Q, C = dy.shape
        source, target, others, size = dy.reshape(-1), dx.reshape(-1), beside.reshape(-1), dx.shape[1] * dx.shape[2] * C
        for task in prange(N * P):  # a task owns the rows of dx that a row of windows covers
            before = flush_denormals()
            n, p = divmod(np.intp(task), P)
            for r in range(starts[p], starts[p + 1]):
                run(source, n * P * Q * C, target, n * size, others, C, runs, r * len(RUN), most, side)
            restore_denormals(before)

    return named(spread, run, most, side)


def named(walk, run, *numbers):
    """The kernel of a walk, under a name of its own: the cache does not look into `run`."""
    walk.__name__ = "_".join(map(str, (run.__name__, *numbers)))
    return kernel()(walk)


@functools.lru_cache(maxsize=1024)
def forward_runs(geo):
    rows = forward_parts(0, geo.p, geo.h, geo.kh, geo.sh, 1, geo.pads[0][0])
    cols = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, 1, geo.pads[1][0])
    return runs_of(rows, cols, geo.w, geo.q, geo.c, (geo.kh, geo.kw), backward=False)


@functools.lru_cache(maxsize=1024)
def backward_runs(geo):
    rows = input_grad_parts(0, geo.h, geo.p, geo.kh, geo.sh, 1, geo.pads[0][0])
    cols = input_grad_parts(0, geo.w, geo.q, geo.kw, geo.sw, 1, geo.pads[1][0])
    return runs_of(rows, cols, geo.q, geo.w, geo.c, (geo.kh, geo.kw), backward=True)


@functools.lru_cache(maxsize=1024)
def forward_walk(rows, geo, itemsize):
    """(kernel, first run of each row, runs)"""
    return rows(side_by_side(geo, itemsize), ahead_of(geo, itemsize)), *forward_runs(geo)


def maximum(geo, x, y, winner):
    """y[n,p,q,c] = max_ij x[n, p*sh - top + i, q*sw - left + j, c];  winner = i*kw + j of the first maximum, or None; NaN wins"""
    wanted = winner is not None
    winner = winner if wanted else np.empty((1, 1, 1, 1), np.uint8)
    rows, starts, runs = forward_walk(maximum_rows, geo, x.itemsize)
    rows(x, y, winner, int(wanted), starts, runs)


def maximum_grad(geo, dy, winner, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows that (h, w) won"""
    gradient(geo, dy, dx, winner, maximum_spread_run, maximum_grad_run, 2 * SIDE_BY_SIDE)  # a register each, much to do for a tap


def average(geo, x, counts, y):
    """y[n,p,q,c] = sum_ij x[n, p*sh - top + i, q*sw - left + j, c] / counts[p,q]"""
    rows, starts, runs = forward_walk(average_rows, geo, y.itemsize)
    rows(x, y, counts, starts, runs)


def average_grad(geo, dy, shares, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] * shares[p,q] over the windows that see (h, w)"""
    gradient(geo, dy, dx, shares, average_spread_run, average_grad_run, SIDE_BY_SIDE)


def gradient(geo, dy, dx, beside, spread_run, grad_run, many):
    """dx by windows where these cover every pixel once, else by pixels, `many` vectors of channels side by side."""
    if geo.covers_once:
        most = side_by_side(geo, dx.itemsize)
        spread_of(spread_run, most, side_of(geo, most))(dy, dx, beside, *forward_runs(geo))
    else:
        rows = rows_of(grad_run, side_by_side(geo, dx.itemsize, many), ahead=0)  # to ask for dy ahead gained nothing
        rows(dy, dx, beside, *backward_runs(geo))


def ahead_of(geo, itemsize):
    """Numbers between asking for those of x and reading them: by themselves the caches fetch too little of two rows at once.  0
    where windows share much, where a pixel is no whole cache line, and where the line behind is not read next."""
    pixel = geo.c * itemsize
    few_share = 2 * geo.sh >= geo.kh and 2 * geo.sw >= geo.kw
    return AHEAD // itemsize if few_share and pixel % LINE == 0 and pixel < AHEAD else 0


def side_by_side(geo, itemsize, many=SIDE_BY_SIDE):
    """Vectors of channels that go through the taps together: `many` where that leaves none over."""
    vectors = geo.c // lanes_of(itemsize)
    if vectors >= many and vectors % many == 0:
        return many
    return SIDE_BY_SIDE if vectors >= SIDE_BY_SIDE else 1


def side_of(geo, most):
    """Taps a side of the windows that are worth being written one after another: the usual ones, of few channels."""
    return 2 if most == 1 and geo.kh == geo.kw == 2 else 0
