"""The tables by which tiles walk for a gradient of weights: every weight sums all its pixels, each once, and begins once."""

import itertools
from collections import Counter

import pytest

from fastconv.geometry import ConvGeometry
from fastconv.kernels.panels import gradient_panels
from fastconv.kernels.tile import STEPS
from fastconv.kernels.weight_runs import side_by_side, tap_groups, weight_grad_runs

GEOMETRIES = (
    {"x_shape": (1, 9, 8, 3), "w_shape": (5, 5, 3, 4), "padding": 2},  # rows of taps together
    {"x_shape": (1, 9, 8, 3), "w_shape": (3, 3, 3, 4)},
    {"x_shape": (1, 11, 9, 1), "w_shape": (3, 3, 1, 40), "padding": 1, "stride": 2},
    {"x_shape": (1, 8, 7, 2), "w_shape": (3, 2, 2, 4), "padding": ((2, 0), (1, 0)), "dilation": (2, 1)},
    {"x_shape": (1, 2, 7, 3), "w_shape": (5, 3, 3, 4), "padding": 2},  # no row of dy sees all rows of taps
    {"x_shape": (1, 1, 6, 2), "w_shape": (3, 3, 2, 2), "padding": 1},
    {"x_shape": (1, 6, 6, 24), "w_shape": (3, 3, 24, 4), "padding": 1},  # channels alone are rows enough
    {"x_shape": (1, 6, 6, 4), "w_shape": (3, 3, 2, 6), "padding": 1, "groups": 2},
    {"x_shape": (1, 7, 7, 2), "w_shape": (3, 3, 2, 2), "padding": 2, "dilation": 2},
)


def wanted(geo):
    """{number of a weight of the first filter: Counter of (number of x, pixel of dy)} by the definition, for the first group."""
    found = {}
    for i, j, c in itertools.product(range(geo.kh), range(geo.kw), range(geo.c // geo.groups)):
        terms = found[((i * geo.kw + j) * (geo.c // geo.groups) + c) * geo.o] = Counter()
        for p, q in itertools.product(range(geo.p), range(geo.q)):
            h, w = p * geo.sh + i * geo.dh - geo.pads[0][0], q * geo.sw + j * geo.dw - geo.pads[1][0]
            if 0 <= h < geo.h and 0 <= w < geo.w:
                terms[(h * geo.w + w) * geo.c + c, p * geo.q + q] += 1
    return found


def walked(runs, side):
    """{number of a weight: [(its terms, whether they are added to what is there), ...]}; `side` rows lie side by side in x."""
    visits = {}
    for a, b, c, rows, *steps in runs:
        s = dict(zip(STEPS, steps, strict=True))
        loops = list(itertools.product(range(s["i"]), range(s["j"]), range(s["k"])))
        for m in range(rows):
            row = a + m // side * s["a_m"] + m % side
            terms = [(row + j * s["a_j"] + k * s["a_k"], b + j * s["b_j"] + k * s["b_k"]) for _, j, k in loops]
            visits.setdefault(c + m * s["c_m"], []).append((terms, s["accumulate"]))
    return visits


@pytest.mark.parametrize("options", GEOMETRIES, ids=str)
def test_every_weight_sums_its_pixels(options):
    geo = ConvGeometry.of(**options)
    groups, channels, orders = tap_groups(geo, gradient_panels(geo, 4)), geo.c // geo.groups, []
    assert [tap for group in groups for tap in range(*group)] == list(range(geo.kh))
    for bands in ((0, geo.p), (0, geo.p // 2, geo.p)):
        runs = []
        for first, end in itertools.pairwise(bands):
            runs += weight_grad_runs(geo, first, end, groups, (0, channels), int(first > 0)) if first < end else []
        visits = walked(runs, side_by_side(geo))
        assert {place: Counter(term for terms, _ in parts for term in terms) for place, parts in visits.items()} == wanted(geo)
        assert all([more for _, more in parts] == [0] + [1] * (len(parts) - 1) for parts in visits.values())
        orders.append(visits)
    alone = [run for group in groups for run in weight_grad_runs(geo, 0, geo.p, [group], (0, channels), 0)]
    assert walked(alone, side_by_side(geo)) == orders[0]  # tasks that share out the rows of taps


def test_rows_of_taps_go_together_where_registers_are_left():
    geo = ConvGeometry.of((1, 9, 8, 3), (3, 3, 3, 4))
    groups = tap_groups(geo, gradient_panels(geo, 4))
    counts = [run[3] for run in weight_grad_runs(geo, 0, geo.p, groups, (0, 3), 0)]
    assert max(counts) == max(end - first for first, end in groups) * 9
