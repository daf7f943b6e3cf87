"""The tables by which tiles walk over an image: every result sums every tap that it sees, once, and begins and ends once."""

import itertools
from collections import Counter

import pytest

from fastconv.geometry import ConvGeometry
from fastconv.kernels import tile_runs
from fastconv.kernels.tile import STEPS
from fastconv.kernels.tile_runs import forward_runs, in_pieces, input_grad_runs

RELU = 1
GEOMETRIES = (
    {"x_shape": (1, 7, 7, 2), "w_shape": (5, 5, 2, 3), "padding": 2},
    {"x_shape": (1, 4, 6, 2), "w_shape": (3, 3, 2, 3), "padding": 1},
    {"x_shape": (1, 1, 3, 1), "w_shape": (3, 3, 1, 2), "padding": 1},
    {"x_shape": (1, 6, 5, 4), "w_shape": (2, 3, 2, 6), "padding": ((0, 1), (1, 1)), "groups": 2},
    {"x_shape": (1, 7, 8, 1), "w_shape": (3, 3, 1, 2), "padding": 2, "dilation": 2},
    {"x_shape": (1, 8, 9, 2), "w_shape": (3, 3, 2, 1), "padding": 1, "stride": 2},
    {"x_shape": (1, 3, 3, 1), "w_shape": (1, 1, 1, 1), "padding": 2},
    {"x_shape": (1, 2, 7, 2), "w_shape": (1, 5, 2, 2), "padding": (0, 2)},
)


def walked(runs):
    """{where a result lies: [(what it sums, whether it goes on, its activation), ...]} for the first channel of a panel."""
    visits = {}
    for a, b, c, rows, *steps in runs:
        s = dict(zip(STEPS, steps, strict=True))
        loops = list(itertools.product(range(s["i"]), range(s["j"]), range(s["k"])))
        for m in range(rows):
            terms = [
                (
                    a + m * s["a_m"] + i * s["a_i"] + j * s["a_j"] + k * s["a_k"],
                    b + i * s["b_i"] + j * s["b_j"] + k * s["b_k"],
                )
                for i, j, k in loops
            ]
            visits.setdefault(c + m * s["c_m"], []).append((terms, s["accumulate"], s["activation"]))
    return visits


def wanted(geo, backward):
    """{where a result lies: Counter of (number of a, row of b)} from the definition, for the first group."""
    found, channels = {}, (geo.o if backward else geo.c) // geo.groups
    for h, w in itertools.product(*map(range, (geo.h, geo.w) if backward else (geo.p, geo.q))):
        found[(h * (geo.w if backward else geo.q) + w) * (geo.c if backward else geo.o)] = Counter()
    for p, q, i, j in itertools.product(range(geo.p), range(geo.q), range(geo.kh), range(geo.kw)):
        h, w = p * geo.sh + i * geo.dh - geo.pads[0][0], q * geo.sw + j * geo.dw - geo.pads[1][0]
        if 0 <= h < geo.h and 0 <= w < geo.w:
            x, y = (h * geo.w + w) * geo.c, (p * geo.q + q) * geo.o
            tap = (geo.kh - 1 - i) * geo.kw + geo.kw - 1 - j if backward else i * geo.kw + j
            target, source = (x, y) if backward else (y, x)
            found[target].update((source + k, tap * channels + k) for k in range(channels))
    return found


def runs_of(geo, backward, first, end):
    return input_grad_runs(geo, first, end, 1) if backward else forward_runs(geo, first, end, 1, RELU)


@pytest.mark.parametrize("backward", (False, True), ids=("forward", "backward"))
@pytest.mark.parametrize("cheap", ("classes", "taps", None))
@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_every_result_sums_what_it_sees(options, cheap, backward, monkeypatch):
    if cheap:
        monkeypatch.setattr(tile_runs, "cycles", lambda r, cols, layout, calls: (cols[0].taps == 1) == (cheap == "classes"))
    geo = ConvGeometry.of(**options)
    height, orders = geo.h if backward else geo.p, []
    for cuts in ((0, height), (0, height // 2, height), range(height + 1)):
        bands = [band for band in itertools.pairwise(cuts) if band[0] < band[1]]
        runs = [one for band in bands for one in runs_of(geo, backward, *band)]
        check(walked(runs), geo, backward)
        orders.append({place: [term for terms, _, _ in parts for term in terms] for place, parts in walked(runs).items()})
        if geo.kh > 1 and all(dict(zip(STEPS, one[4:], strict=True))["j"] == 1 for one in runs):
            ordered = sorted(runs, key=lambda one: -one[4 + STEPS.index("i")] * one[4 + STEPS.index("k")])
            pieces = walked(in_pieces(ordered, geo.kw * (geo.o if backward else geo.c) // geo.groups))
            check(pieces, geo, backward)
            orders.append({place: [term for terms, _, _ in parts for term in terms] for place, parts in pieces.items()})
    assert all(order == orders[0] for order in orders)  # sums in one order, however the rows are shared out


def check(visits, geo, backward):
    expected = wanted(geo, backward)
    assert visits.keys() == expected.keys()
    for place, parts in visits.items():
        assert Counter(term for terms, _, _ in parts for term in terms) == expected[place]
        assert [more for _, more, _ in parts] == [0] + [1] * (len(parts) - 1)
        if not backward:
            assert [code for *_, code in parts] == [0] * (len(parts) - 1) + [RELU]


def test_short_runs_at_a_border_go_tap_by_tap():
    """Three of the five tap columns of a 5x5 filter on 7x7 pixels are seen by single pixels of their own."""
    geo = ConvGeometry.of((1, 7, 7, 64), (5, 5, 64, 16), padding=2)
    top = input_grad_runs(geo, 0, 1, 4)
    assert sorted(one[3] for one in top) == sorted([5, 6, 7, 6, 5] * 3)  # rows of tiles, for each of three rows of taps
    whole = forward_runs(geo, 3, 4, 4, RELU)
    assert max(one[4 + STEPS.index("i")] * one[4 + STEPS.index("k")] for one in whole) == 25 * 64  # the weights are packed by it
