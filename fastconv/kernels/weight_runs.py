"""The runs of a weight gradient: rows of results are input channels, b is dy, and its pixels are the terms of the sum.

Three channels would leave most registers of a tile free.  So where channels are few, a row of taps and its channels, which lie
side by side in x, are rows of one tile; where there is room for more, several rows of taps are.  A run of several is never cut:
it has more rows than lie side by side and no more than a tile (`tap_groups`), by which `schedule.tables` knows it.
"""

import functools

from fastconv.kernels.blocks import FEW_CHANNELS, cuts
from fastconv.kernels.parts import forward_parts, readers
from fastconv.kernels.tile import most_rows
from fastconv.kernels.tile_runs import run

__all__ = ["side_by_side", "tap_groups", "weight_grad_runs"]


@functools.lru_cache(maxsize=64)
def columns_together(geo):
    """Where a row of taps and its channels are rows of one tile: the columns of dy as Parts, those first that see all taps; else
    None."""
    if geo.c >= FEW_CHANNELS or geo.groups > 1 or geo.kw == 1 or geo.dw > 1:
        return None
    parts = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, 1, geo.pads[1][0])
    parts = sorted((part for part in parts if part.taps), key=lambda part: -part.taps)
    return parts if parts and parts[0].taps == geo.kw else None


def side_by_side(geo):
    """How many rows of a tile lie side by side in x: the channels of a group, or of a row of taps."""
    return geo.kw * geo.c if columns_together(geo) else geo.c // geo.groups


def tap_groups(geo, panels):
    """The rows of the filter that go through a tile together, as ((first, end), ...)."""
    most = min(most_rows(beside=True)[vectors] for vectors, _ in panels.kinds)
    together = max(1, most // side_by_side(geo)) if columns_together(geo) else 1
    return tuple(cuts(geo.kh, -(-geo.kh // together)))


def weight_grad_runs(geo, first, end, groups, part, accumulate):
    """Runs of dw over the output rows first ... end of one image, for some of the `tap_groups`; `part` = (first, end) of the
    input channels of a group of the convolution."""
    columns, runs = columns_together(geo), []
    for group in groups:
        seen = {tap: readers(tap * geo.dh - geo.pads[0][0], geo.h, geo.sh, first, end) for tap in range(*group)}
        common = max(p0 for p0, _ in seen.values()), min(p1 for _, p1 in seen.values())
        if columns and common[0] < common[1]:
            runs += together_runs(geo, columns, seen, common, accumulate)
        elif len(seen) > 1:
            runs += weight_grad_runs(geo, first, end, [(tap, tap + 1) for tap in seen], part, accumulate)
        else:
            runs += channel_runs(geo, group[0], common, part, accumulate)
    return runs


def together_runs(geo, columns, seen, common, accumulate):
    """Runs over the rows of taps that are `seen` by {tap: rows of dy}: together by the `common` rows, then one by one."""
    whole, *border = columns
    runs = [taps_run(geo, min(seen), len(seen), whole, common, accumulate)]
    for tap, rows in seen.items():
        rest = [(whole, (rows[0], common[0])), (whole, (common[1], rows[1])), *((s, rows) for s in border)]
        runs += [taps_run(geo, tap, 1, s, (p0, p1), 1) for s, (p0, p1) in rest if p0 < p1]
    return runs


def taps_run(geo, tap, count, s, rows, accumulate):
    """A run over `count` rows of taps, in each those of the Part s of columns, with all their channels."""
    a = (first_pixel(geo, tap, rows) + s.source) * geo.c
    b, c = rows[0] * geo.q + s.first, (tap * geo.kw + s.tap) * geo.c * geo.o
    a_m = geo.dh * geo.w * geo.c if count > 1 else 1
    steps = over_pixels(geo, rows, s.count)
    return run(a, b, c, count * s.taps * geo.c, a_m=a_m, c_m=geo.o, accumulate=accumulate, **steps)


def channel_runs(geo, i, rows, part, accumulate):
    """Runs over the channels of each tap of one row of taps, which the `rows` of dy see, or none do."""
    channels, left, runs, (p0, p1) = geo.c // geo.groups, geo.pads[1][0], [], rows
    for j in range(geo.kw):
        q0, q1 = readers(j * geo.dw - left, geo.w, geo.sw, 0, geo.q)
        a = (first_pixel(geo, i, rows) + q0 * geo.sw + j * geo.dw - left) * geo.c + part[0]
        c, count = ((i * geo.kw + j) * channels + part[0]) * geo.o, part[1] - part[0]
        steps = {"a_m": 1, "c_m": geo.o, "accumulate": accumulate, **over_pixels(geo, rows, q1 - q0)}
        if p1 > p0 and q1 > q0:
            runs.append(run(a, p0 * geo.q + q0, c, count, **steps))
        elif not accumulate:
            runs.append(run(0, 0, c, count, **{**steps, "j": 0}))
    return runs


def first_pixel(geo, tap, rows):
    """Of the row of x that the first of some rows of dy sees through a row of taps."""
    return (rows[0] * geo.sh + tap * geo.dh - geo.pads[0][0]) * geo.w


def over_pixels(geo, rows, columns):
    """The steps of a sum over so many columns of some rows of dy."""
    down = {"j": rows[1] - rows[0], "a_j": geo.sh * geo.w * geo.c, "b_j": geo.q}
    return {**down, "k": columns, "a_k": geo.sw * geo.c, "b_k": 1}
