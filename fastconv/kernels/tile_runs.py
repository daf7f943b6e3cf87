"""Runs: rows of results that tiles compute one after another, with the steps that these take, as rows of int64 tables.

All results of a run sum over the same taps.  Nothing chosen here changes a bit of a result for other threads: it is summed in an
order that only the shape decides.
"""

import functools
from dataclasses import replace
from typing import NamedTuple

from fastconv.kernels.blocks import balanced
from fastconv.kernels.parts import forward_parts, input_grad_parts, tap_parts
from fastconv.kernels.tile import STEPS, most_rows

__all__ = ["forward_runs", "in_pieces", "input_grad_runs", "run"]

IN_FLIGHT = 8  # multiply-adds that a core has begun and not ended
CALLED = 40  # multiply-adds that it could do while it calls a tile


def run(a, b, c, count, **steps):
    """One row of `Schedule.runs`; steps that are not given are 0, counts 1; a loop of a single turn is not the innermost."""
    given = {"i": 1, "j": 1, "k": 1} | steps
    if given["k"] == 1:
        for outer, inner in (("j", "k"), ("a_j", "a_k"), ("b_j", "b_k")):
            given[outer], given[inner] = given.get(inner, 0), given.get(outer, 0)
    return (a, b, c, count, *(given.get(name, 0) for name in STEPS))


class Layout(NamedTuple):
    """How an image is walked: what lies between its numbers, and how wide the tiles are."""

    a_row: int
    a_pixel: int
    c_row: int
    c_pixel: int
    kw: int
    channels: int  # of a group, over which sums go
    merge: bool  # whether the channels of neighbouring taps are neighbours in b
    vectors: int  # of a panel
    activation: int


def image_runs(rows, cols, by_tap, border, layout):
    """Runs over all Parts of rows, of a band or of the whole image, and of columns.

    Those of `border` see rows of taps for which it is faster to take `by_tap`, the columns that see a tap, one tap after another.
    """
    runs = []
    for r in rows:
        if seen(r) in border:
            runs += tap_runs(r, by_tap, layout)
        else:
            runs += [one for s in cols for one in pair_runs(r, s, layout, 0, layout.activation)]
    return runs


def seen(r):
    """What tells the Parts of an axis apart, wherever a band cuts them."""
    return r.tap, r.taps


@functools.lru_cache(maxsize=256)
def goes_by_tap(rows, cols, by_tap, layout, whole):
    """What `seen` says of those rows, among the Parts of all rows of the image, whose columns fall into runs so short, each with
    taps of its own, that it is faster to go tap by tap.  With `whole` one run must see all taps.

    This decides about the order of sums, so that it looks at the whole image, however the work is cut.
    """
    if not by_tap:
        return frozenset()
    needed = max((r.taps for r in rows), default=0) if whole else None
    known = [r for r in rows if r.taps and r.taps != needed]
    return frozenset(seen(r) for r in known if cycles(r, by_tap, layout, r.taps) < cycles(r, cols, layout, 1))


def along_rows(r, s):
    """Whether the runs over these Parts of rows and columns go along the rows, the longer of the two."""
    return s.count >= min(4, r.count)


def cycles(r, cols, layout, calls):
    """Multiply-adds of vectors that a core could do while it computes these rows, each tile in so many `calls`, one for each row
    of taps or one for all: a small tile waits for those that it has begun."""
    total, tallest = 0, most_rows()[layout.vectors]
    for s in cols:
        many, few = (s.count, r.count) if along_rows(r, s) else (r.count, s.count)
        for sums in (layout.vectors * rows for rows in balanced(many, tallest)):
            total += few * (max(IN_FLIGHT, sums) * r.taps * s.taps * layout.channels + calls * (CALLED + 2 * sums))
    return total


def tap_runs(r, by_tap, layout):
    """Runs over rows of one Part, tap by tap; the first tap is one that all columns see, and the activation comes last."""
    runs = []
    for e in range(r.taps):
        row = replace(r, source=r.source + e * r.source_step, tap=r.tap + e * r.tap_step, taps=1)
        for n, s in enumerate(by_tap):
            runs += pair_runs(row, s, layout, int(e + n > 0), 0)
    return runs + (pair_runs(replace(row, taps=0), by_tap[0], layout, 1, layout.activation) if layout.activation else [])


def pair_runs(r, s, layout, accumulate, activation):
    """Runs over one Part of rows and one of columns."""
    merged = layout.merge and s.source_step == s.tap_step == 1  # taps of a row and their channels are neighbours in a and in b
    steps = {
        "a_i": r.source_step * layout.a_row,
        "a_j": s.source_step * layout.a_pixel,
        "a_k": 1,
        "b_i": r.tap_step * layout.kw * layout.channels,
        "b_j": s.tap_step * layout.channels,
        "b_k": 1,
        "i": r.taps,
        "j": 1 if merged else s.taps,
        "k": s.taps * layout.channels if merged else layout.channels,
        "accumulate": accumulate,
        "activation": activation,
    }
    a, b = r.source * layout.a_row + s.source * layout.a_pixel, (r.tap * layout.kw + s.tap) * layout.channels
    c = r.first * layout.c_row + s.first * layout.c_pixel
    down = r.count, r.source_every * layout.a_row, r.every * layout.c_row
    along = s.count, s.source_every * layout.a_pixel, s.every * layout.c_pixel
    (many, a_m, c_m), (few, a_step, c_step) = (along, down) if along_rows(r, s) else (down, along)
    return [run(a + f * a_step, b, c + f * c_step, many, a_m=a_m, c_m=c_m, **steps) for f in range(few)]


def forward_runs(geo, first, end, vectors, activation):
    """Runs of the output rows first ... end of one image: rows of a are input pixels, b is w, k counts input channels; a panel
    has so many `vectors` of filters."""
    down = geo.h, geo.kh, geo.sh, geo.dh, geo.pads[0][0]
    rows, all_rows = forward_parts(first, end, *down), forward_parts(0, geo.p, *down)
    cols = forward_parts(0, geo.q, geo.w, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    by_tap = tap_parts(geo.q, geo.w, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    merge, between = geo.groups == 1 or geo.kw == 1, (geo.w * geo.c, geo.c, geo.q * geo.o, geo.o)
    layout = Layout(*between, geo.kw, geo.c // geo.groups, merge, vectors, activation)
    # with one run that sees all taps, the first tile of which packs the weights
    border = goes_by_tap(*map(tuple, (all_rows, cols, by_tap)), layout, whole=True)
    return image_runs(rows, cols, by_tap, border, layout)


def input_grad_runs(geo, first, end, vectors):
    """Runs of the rows first ... end of one image of dx: rows of a are pixels of dy, b is w flipped, k counts filters."""
    down = geo.p, geo.kh, geo.sh, geo.dh, geo.pads[0][0]
    rows, all_rows = input_grad_parts(first, end, *down), input_grad_parts(0, geo.h, *down)
    cols = input_grad_parts(0, geo.w, geo.q, geo.kw, geo.sw, geo.dw, geo.pads[1][0])
    by_tap = tap_parts(geo.w, geo.q, geo.kw, 1, geo.dw, (geo.kw - 1) * geo.dw - geo.pads[1][0]) if geo.sw == 1 else []
    merge, between = geo.groups == 1 or geo.kw == 1, (geo.q * geo.o, geo.o, geo.w * geo.c, geo.c)
    layout = Layout(*between, geo.kw, geo.o // geo.groups, merge, vectors, 0)
    border = goes_by_tap(*map(tuple, (all_rows, cols, by_tap)), layout, whole=False)
    return image_runs(rows, cols, by_tap, border, layout)


def in_pieces(runs, piece):
    """Runs that go over `piece` rows of b at a time, all of them over the first rows, then all over the next.

    Their taps lie in a row of numbers each (j = b_k = 1); a run that sees no tap stays as it is.  Runs over the same results must
    lie in pieces that never go back.
    """
    found = []
    for a, b, c, rows, *steps in runs:
        named = dict(zip(STEPS, steps, strict=True))
        parts = [
            (a + i * named["a_i"] + k * named["a_k"], b + i * named["b_i"] + k, count) for i, k, count in in_rows(b, named, piece)
        ]
        for n, (a_at, b_at, count) in enumerate(parts):
            activation = named["activation"] if n == len(parts) - 1 else 0
            more = {"i": 1, "k": count, "accumulate": named["accumulate"] or int(n > 0), "activation": activation}
            found.append((a_at, b_at, c, rows, *(named | more).values()))
        if not parts:
            found.append((a, b, c, rows, *steps))
    return sorted(found, key=lambda one: one[1] // piece)


def in_rows(b, steps, piece):
    """(i, first k, how many) of a run that begins with row b, so that none goes over the end of a piece."""
    for i in range(steps["i"]):
        k = 0
        while k < steps["k"]:
            count = min(steps["k"] - k, piece - (b + i * steps["b_i"] + k) % piece)
            yield i, k, count
            k += count
