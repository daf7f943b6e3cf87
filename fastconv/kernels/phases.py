"""A strided convolution as one of stride 1: the pixels that a step jumps become channels (`ConvGeometry.at_stride_one`).

X[n, i, j, (r, t, c)] = x[n, sh i + r - top, sw j + t - left, c].  The numbers of one i and r lie side by side in x.
"""

import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.kernels import aligned
from fastconv.kernels.intrinsics import emits
from fastconv.kernels.padding import pad
from fastconv.machine import kernel

__all__ = ["filters_at_stride_one", "image_at_stride_one", "join_filters", "join_image"]


@emits()
def copy_runs(v, source, at, source_step, target, place, target_step, runs, count):
    """`runs` runs of `count` numbers each, from places `source_step` apart to places `target_step` apart."""
    whole = v.builder.udiv(count, v.index(v.lanes))
    done = v.builder.mul(whole, v.index(v.lanes))
    rest = v.first_lanes(v.builder.sub(count, done))
    with v.loop(runs) as run:
        start, end = v.at(source, at, (run, source_step)), v.at(target, place, (run, target_step))
        with v.loop(whole) as n:
            v.store(v.load(v.at(start, (n, v.lanes))), v.at(end, (n, v.lanes)))
        with v.if_smaller(done, count):
            v.store(v.load(v.at(start, done), rest), v.at(end, done), rest)


@register_jitable
def whole_runs(size, before, step, count):
    """(first, end) of those among `count` runs of `step` pixels that lie whole in an axis of `size` behind `before` zeros."""
    first = min(count, (before + step - 1) // step)
    return first, max(first, min(count, (size + before) // step))


@kernel()
def cut_rows(x, high, wide, top, left, sh, sw, phases):
    """`phases` (N, I, J, sh sw C) from the first `high` rows and `wide` columns of x (N, H, W, C)."""
    (N, H, W, C), (_, I, J, _) = x.shape, phases.shape
    source, target, run = x.reshape(-1), phases.reshape(-1), sw * C
    for task in prange(N * I * sh):  # a task owns the numbers of one r in a row of `phases`
        n, rest = divmod(np.intp(task), I * sh)
        i, r = divmod(rest, sh)
        h, place = sh * i + r - top, ((n * I + i) * J * sh + r) * run
        row = (n * H + h) * W * C
        first, end = whole_runs(wide, left, sw, J) if 0 <= h < high else (0, 0)
        at = row + (first * sw - left) * C
        copy_runs(source, at, run, target, place + first * sh * run, sh * run, end - first, run)
        for j in range(J):
            if first <= j < end:
                continue
            for k in range(run):
                w = sw * j + k // C - left
                target[place + j * sh * run + k] = source[row + w * C + k % C] if 0 <= h < high and 0 <= w < wide else 0


@kernel()
def join_rows(phases, top, left, sh, sw, x):
    """x (N, H, W, C) from `phases`; pixels beyond them are zero."""
    (N, H, W, C), (_, I, J, _) = x.shape, phases.shape
    source, target, run = phases.reshape(-1), x.reshape(-1), sw * C
    for task in prange(N * H):  # a task owns one row of x
        n, h = divmod(np.intp(task), H)
        i, r = divmod(h + top, sh)
        base, row = ((n * I + i) * J * sh + r) * run, np.intp(task) * W * C
        first, end = whole_runs(W, left, sw, J) if i < I else (0, 0)
        place = row + (first * sw - left) * C
        copy_runs(source, base + first * sh * run, sh * run, target, place, run, end - first, run)
        for w in range(W):
            j, t = divmod(w + left, sw)
            if first <= j < end:
                continue
            for c in range(C):
                target[row + w * C + c] = source[base + j * sh * run + t * C + c] if i < I and j < J else 0


def image_at_stride_one(geo, x):
    """The image that `geo.at_stride_one` is about.  Pixels that no window reads become zeros: the taps that multiply them are
    zero, but a NaN times zero is NaN."""
    if geo.at_stride_one is geo:
        return x
    phases, inner = aligned.workspace(geo.at_stride_one.x_shape, x.dtype), geo.written_out
    top, left = corner(inner)
    high = min(inner.h, (geo.p - 1) * geo.sh + geo.kh - top)
    wide = min(inner.w, (geo.q - 1) * geo.sw + geo.kw - left)
    cut_rows(x if inner is geo else pad(x, geo), high, wide, top, left, geo.sh, geo.sw, phases)
    return phases


def join_image(geo, phases, dx):
    """The way back for gradients: dx, or what has the padding that is not zeros."""
    join_rows(phases, *corner(geo.written_out), geo.sh, geo.sw, dx)


def corner(geo):
    (top, _), (left, _) = geo.pads
    return top, left


@kernel(parallel=False)
def cut_filters(w, sh, sw, filters):
    """filters[i, j, r sw + t] = w[sh i + r, sw j + t], zero where w has no such tap; the last axis holds all numbers of a tap."""
    (KH, KW, _), (I, J, _, _) = w.shape, filters.shape
    for i in range(I):
        for j in range(J):
            for r in range(sh):
                for t in range(sw):
                    a, b, target = sh * i + r, sw * j + t, filters[i, j, r * sw + t]
                    if a < KH and b < KW:
                        target[:] = w[a, b]
                    else:
                        target[:] = 0


def filters_at_stride_one(geo, w):
    """The filters of `geo.at_stride_one`, which w may be already; taps that it does not have are zero."""
    flat = geo.at_stride_one
    if w.shape == flat.w_shape:
        return w
    filters = aligned.empty(flat.w_shape, w.dtype)
    cut_filters(w.reshape(geo.kh, geo.kw, -1), geo.sh, geo.sw, filters.reshape(flat.kh, flat.kw, geo.sh * geo.sw, -1))
    return filters


def join_filters(geo, filters, dw):
    """The way back for gradients: dw, where it is not the same array."""
    if filters is dw:
        return
    filters = filters.reshape(*geo.at_stride_one.w_shape[:2], geo.sh, geo.sw, geo.c, geo.o)
    for r, t in np.ndindex(geo.sh, geo.sw):
        taps = dw[r :: geo.sh, t :: geo.sw]
        taps[...] = filters[: taps.shape[0], : taps.shape[1], r, t]
