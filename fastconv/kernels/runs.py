"""Runs: rows of results that see the same taps.  Pooling and depthwise convolution, whose channels do not mix, consist of them.

Where padding or the edge of the image takes taps away, another run begins, so that no padding is read and nothing is tested
inside a run.  For a gradient the results are pixels of dx, and its taps the windows that see them.
"""

import itertools
from contextlib import contextmanager

import numpy as np

from fastconv.kernels.vector_ir import masks_are_fast

__all__ = ["RUN", "SIDE_BY_SIDE", "over_channels", "over_results", "over_taps", "runs_of", "sums_of"]

# offsets of the first source and the first result; results and the steps between them; taps and the steps between those; what
# divides an average: numbers of windows, counted as the results or the taps are
RUN = (
    "a", "c", "count", "a_step", "c_step", "i", "j", "a_i", "a_j", "tap", "tap_i", "tap_j",
    "near", "near_step", "near_i", "near_j",
)  # fmt: skip


SIDE_BY_SIDE = 4  # vectors of channels that go through the taps together, where there are as many


@contextmanager
def over_results(v, run, channels, spreads=False):
    """`with over_results(...) as (q, spare)`: for the results of a run, from the first to the last.

    `spare`: so many numbers behind its channels each may read and write, too.  What it writes there is overwritten, by the next
    results where these lie side by side, by its next taps and the next windows where a run `spreads` windows over their taps, if
    all channels are in one vector.  Only the last results must stop where their channels end.
    """
    whole = v.index(0)
    if not masks_are_fast():
        reached = v.builder.udiv(v.add(channels, v.lanes - 2), channels)  # results that spare numbers belong to
        overwritten = (
            v.builder.icmp_signed("<=", channels, v.index(v.lanes))
            if spreads
            else v.builder.icmp_signed("==", run["c_step"], channels)
        )
        whole = v.builder.select(overwritten, v.builder.sub(run["count"], reached), whole)
    with v.loop(run["count"]) as q:
        yield q, v.builder.select(v.builder.icmp_signed("<", q, whole), v.index(v.lanes - 1), v.index(0))


def over_channels(v, channels, most, body, spare=0):
    """body([(offset, mask), ...]) for all vectors of channels, `most` at a time while there are; a mask only for the last few,
    if there are not as many `spare` numbers behind them."""
    done = v.index(0)
    for many in (most, 1)[most == 1 :]:
        left = v.add(v.builder.sub(channels, done), spare if many == 1 else 0)
        times, first = v.builder.udiv(left, v.index(many * v.lanes)), done
        with v.loop(times) as k:
            body([(v.add(first, (k, many * v.lanes), n * v.lanes), None) for n in range(many)])
        done = v.add(first, (times, many * v.lanes))
    with v.if_smaller(done, channels):
        body([(done, v.first_lanes(v.builder.sub(channels, done)))])


def over_taps(v, run, body, side=0):
    """body(number of the tap, its offset in the source, that of its window) in reading order; `side` > 0: of side x side taps,
    one after another instead of in a loop."""

    def at(i, j):
        body(*(v.add(run.get(first, 0), (i, run[f"{name}_i"]), (j, run[f"{name}_j"])) for name, first in OFFSETS))

    for i, j in itertools.product(range(side), repeat=2):
        at(v.index(i), v.index(j))
    if side == 0:
        with v.loop(run["i"]) as i, v.loop(run["j"]) as j:
            at(i, j)


def sums_of(v, run, places, term):
    """The sums over the taps of term(tap, step, window, offset, mask), one for each of `places`."""
    totals = [v.variable(v.constant(0.0)) for _ in places]

    def add(*tap):
        for total, place in zip(totals, places, strict=True):
            v.builder.store(v.builder.fadd(v.builder.load(total), term(*tap, *place)), total)

    over_taps(v, run, add)
    return [v.builder.load(total) for total in totals]


OFFSETS = (("tap", "tap"), ("a", ""), ("near", ""))


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
