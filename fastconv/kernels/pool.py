"""Max and average pooling over windows, and their gradients: vectors of channels, each result written once.

As in `schedule`, a *run* is a row of results that all see the same taps: where padding or the edge takes taps away, another run
begins, so that no padding is read and nothing is tested inside a run.  For a gradient the results are pixels of dx, and its taps
the windows that see them.
"""

import functools

import numpy as np
from numba import prange

from fastconv.kernels.schedule import forward_parts, input_grad_parts
from fastconv.kernels.vector_ir import emits, flush_denormals, restore_denormals
from fastconv.machine import kernel

__all__ = ["average", "average_grad", "maximum", "maximum_grad"]

# offsets of the first source and the first result; results and the steps between them; taps and the steps between those; what
# divides an average: numbers of windows, counted as the results or the taps are
RUN = (
    "a", "c", "count", "a_step", "c_step", "i", "j", "a_i", "a_j", "tap", "tap_i", "tap_j",
    "near", "near_step", "near_i", "near_j",
)  # fmt: skip


def over_channels(v, channels, body):
    """body(offset, mask) for every vector of channels; the mask is None but for the last few."""
    whole = v.builder.udiv(channels, v.index(v.lanes))
    with v.loop(whole) as k:
        body(v.add((k, v.lanes)), None)
    done = v.add((whole, v.lanes))
    with v.if_smaller(done, channels):
        body(done, v.first_lanes(v.builder.sub(channels, done)))


def over_taps(v, run, body):
    """body(number of the tap, its offset in the source, that of its window) in reading order."""
    with v.loop(run["i"]) as i, v.loop(run["j"]) as j:
        body(*(v.add(run.get(first, 0), (i, run[f"{name}_i"]), (j, run[f"{name}_j"])) for name, first in OFFSETS))


OFFSETS = (("tap", "tap"), ("a", ""), ("near", ""))


@emits()
def maximum_run(v, x, x_at, y, y_at, winner, wanted, channels, runs, at):
    """y[window] = the largest x of its taps, winner (if wanted) the first of these taps; NaN wins."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))

        def few(offset, mask):
            first = v.load(v.at(x, start, offset), mask)
            best, where = v.variable(first), v.variable(v.numbers(run["tap"]))

            def compare(tap, step, _):
                value, known = v.load(v.at(x, start, offset, step), mask), v.builder.load(best)
                better = v.larger_or_nan(value, known)
                v.builder.store(v.builder.select(better, value, known), best)
                v.builder.store(v.builder.select(better, v.numbers(tap), v.builder.load(where)), where)

            over_taps(v, run, compare)
            v.store(v.builder.load(best), v.at(y, place, offset), mask)
            with v.only_if_not(wanted, 0):
                v.store_whole(v.builder.load(where), v.builder.gep(winner, [v.add(place, offset)]), mask)

        over_channels(v, channels, few)


@emits()
def maximum_grad_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at):
    """dx[pixel] = the sum of dy over the windows that it won."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))

        def few(offset, mask):
            total = v.variable(v.constant(0.0))

            def gather(tap, step, _):
                source = v.add(start, offset, step)
                won = v.equal_whole(v.whole(v.builder.gep(winner, [source]), mask), tap)
                value = v.builder.select(won, v.load(v.at(dy, source), mask), v.constant(0.0))
                v.builder.store(v.builder.fadd(v.builder.load(total), value), total)

            over_taps(v, run, gather)
            v.store(v.builder.load(total), v.at(dx, place, offset), mask)

        over_channels(v, channels, few)


@emits()
def average_run(v, x, x_at, y, y_at, counts, channels, runs, at):
    """y[window] = the sum of its taps / counts[window]"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))
        count = v.splat(v.builder.load(v.at(counts, run["near"], (q, run["near_step"]))))

        def few(offset, mask):
            total = v.variable(v.constant(0.0))

            def add(tap, step, _):
                value = v.load(v.at(x, start, offset, step), mask)
                v.builder.store(v.builder.fadd(v.builder.load(total), value), total)

            over_taps(v, run, add)
            v.store(v.builder.fdiv(v.builder.load(total), count), v.at(y, place, offset), mask)

        over_channels(v, channels, few)


@emits()
def average_grad_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at):
    """dx[pixel] = the sum of dy * shares[window] over the windows that see it"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))
        near = v.add(run["near"], (q, run["near_step"]))

        def few(offset, mask):
            total = v.variable(v.constant(0.0))

            def gather(tap, step, window):
                share = v.splat(v.builder.load(v.at(shares, near, window)))
                value = v.load(v.at(dy, start, offset, step), mask)
                v.builder.store(v.multiply_add(value, share, v.builder.load(total)), total)

            over_taps(v, run, gather)
            v.store(v.builder.load(total), v.at(dx, place, offset), mask)

        over_channels(v, channels, few)


@emits()
def maximum_spread_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at):
    """dx[tap] = dy of its window, 0 where another tap won: for windows that cover every pixel once, a run of `maximum_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))

        def few(offset, mask):
            source = v.add(start, offset)
            value, won = v.load(v.at(dy, source), mask), v.whole(v.builder.gep(winner, [source]), mask)

            def put(tap, step, _):
                v.store(v.builder.select(v.equal_whole(won, tap), value, v.constant(0.0)), v.at(dx, place, offset, step), mask)

            over_taps(v, run, put)

        over_channels(v, channels, few)


@emits()
def average_spread_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at):
    """dx[tap] = dy * share of its window: for windows that cover every pixel once, a run of `average_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))
        share = v.splat(v.builder.load(v.at(shares, run["near"], (q, run["near_step"]))))

        def few(offset, mask):
            value = v.builder.fmul(v.load(v.at(dy, start, offset), mask), share)
            over_taps(v, run, lambda tap, step, _: v.store(value, v.at(dx, place, offset, step), mask))

        over_channels(v, channels, few)


@kernel()
def maximum_spread(dy, winner, dx, starts, runs):
    N, P, Q, C = dy.shape
    source, target, winners, size = dy.reshape(-1), dx.reshape(-1), winner.reshape(-1), dx.shape[1] * dx.shape[2] * C
    for task in prange(N * P):  # a task owns the rows of dx that a row of windows covers
        n, p = divmod(np.intp(task), P)
        for r in range(starts[p], starts[p + 1]):
            maximum_spread_run(source, n * P * Q * C, target, n * size, winners, C, runs, r * len(RUN))


@kernel()
def average_spread(dy, dx, shares, starts, runs):
    N, P, Q, C = dy.shape
    source, target, size = dy.reshape(-1), dx.reshape(-1), dx.shape[1] * dx.shape[2] * C
    for task in prange(N * P):  # a task owns the rows of dx that a row of windows covers
        before = flush_denormals()
        n, p = divmod(np.intp(task), P)
        for r in range(starts[p], starts[p + 1]):
            average_spread_run(source, n * P * Q * C, target, n * size, shares, C, runs, r * len(RUN))
        restore_denormals(before)


@kernel()
def maximum_rows(x, y, winner, wanted, starts, runs):
    N, P, Q, C = y.shape
    source, target, winners, size = x.reshape(-1), y.reshape(-1), winner.reshape(-1), x.shape[1] * x.shape[2] * C
    for task in prange(N * P):  # a task owns one row of y
        n, p = divmod(np.intp(task), P)
        for r in range(starts[p], starts[p + 1]):
            maximum_run(source, n * size, target, n * P * Q * C, winners, wanted, C, runs, r * len(RUN))


@kernel()
def maximum_grad_rows(dy, winner, dx, starts, runs):
    N, H, W, C = dx.shape
    source, target, winners, size = dy.reshape(-1), dx.reshape(-1), winner.reshape(-1), dy.shape[1] * dy.shape[2] * C
    for task in prange(N * H):  # a task owns one row of dx
        before = flush_denormals()
        n, h = divmod(np.intp(task), H)
        for r in range(starts[h], starts[h + 1]):
            maximum_grad_run(source, n * size, target, n * H * W * C, winners, C, runs, r * len(RUN))
        restore_denormals(before)


@kernel()
def average_rows(x, y, counts, starts, runs):
    N, P, Q, C = y.shape
    source, target, size = x.reshape(-1), y.reshape(-1), x.shape[1] * x.shape[2] * C
    for task in prange(N * P):  # a task owns one row of y
        before = flush_denormals()
        n, p = divmod(np.intp(task), P)
        for r in range(starts[p], starts[p + 1]):
            average_run(source, n * size, target, n * P * Q * C, counts, C, runs, r * len(RUN))
        restore_denormals(before)


@kernel()
def average_grad_rows(dy, dx, shares, starts, runs):
    N, H, W, C = dx.shape
    source, target, size = dy.reshape(-1), dx.reshape(-1), dy.shape[1] * dy.shape[2] * C
    for task in prange(N * H):  # a task owns one row of dx
        before = flush_denormals()
        n, h = divmod(np.intp(task), H)
        for r in range(starts[h], starts[h + 1]):
            average_grad_run(source, n * size, target, n * H * W * C, shares, C, runs, r * len(RUN))
        restore_denormals(before)


def runs_of(rows, cols, a_cols, c_cols, channels, size, backward):
    """(first run of each row of results, runs) for Parts of rows and of columns; `size` = (KH, KW)."""
    kh, kw = size
    by_row = {}
    for r in rows:
        for s in cols:
            # a gradient's Parts count the taps backwards
            tap = (kh - 1 - r.tap) * kw + kw - 1 - s.tap if backward else r.tap * kw + s.tap
            sign = -1 if backward else 1
            for f in range(r.count):
                a, c = (r.source + f * r.source_every) * a_cols + s.source, (r.first + f * r.every) * c_cols + s.first
                near, near_step = (a, s.source_every) if backward else (c, s.every)
                by_row.setdefault(r.first + f * r.every, []).append((
                    a * channels, c * channels, s.count, s.source_every * channels, s.every * channels, r.taps, s.taps,
                    r.source_step * a_cols * channels, s.source_step * channels, tap, sign * r.tap_step * kw, sign * s.tap_step,
                    near, near_step, r.source_step * a_cols, s.source_step,
                ))  # fmt: skip
    ordered = [by_row[row] for row in sorted(by_row)]
    return np.cumsum([0, *map(len, ordered)]), np.array([run for row in ordered for run in row], np.int64).reshape(-1)


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


def maximum(geo, x, y, winner):
    """y[n,p,q,c] = max_ij x[n, p*sh - top + i, q*sw - left + j, c];  winner = i*kw + j of the first maximum, or None; NaN wins"""
    wanted = winner is not None
    maximum_rows(x, y, winner if wanted else np.empty((1, 1, 1, 1), np.uint8), int(wanted), *forward_runs(geo))


def maximum_grad(geo, dy, winner, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] over the windows that (h, w) won"""
    if covered_once(geo):
        maximum_spread(dy, winner, dx, *forward_runs(geo))
    else:
        maximum_grad_rows(dy, winner, dx, *backward_runs(geo))


def average(geo, x, counts, y):
    """y[n,p,q,c] = sum_ij x[n, p*sh - top + i, q*sw - left + j, c] / counts[p,q]"""
    average_rows(x, y, counts.reshape(-1).astype(y.dtype), *forward_runs(geo))


def average_grad(geo, dy, counts, dx):
    """dx[n,h,w,c] = sum of dy[n,p,q,c] / counts[p,q] over the windows that see (h, w)"""
    shares = (1 / counts.reshape(-1)).astype(dx.dtype)
    if covered_once(geo):
        average_spread(dy, dx, shares, *forward_runs(geo))
    else:
        average_grad_rows(dy, dx, shares, *backward_runs(geo))


def covered_once(geo):
    """Whether every pixel is seen by one window."""
    return (geo.p * geo.kh, geo.q * geo.kw, geo.sh, geo.sw) == (geo.h, geo.w, geo.kh, geo.kw) and geo.pads == ((0, 0), (0, 0))
