"""Prepared weights: accepted wherever weights are, and the result is the same to the bit."""

from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
import oracle
from bounds import assert_same_bytes
from cases import CASES, KINDS_OF_LAYER, Case
from fastconv import machine
from fastconv.geometry import ConvGeometry
from fastconv.kernels import aligned, tiled
from fastconv.kernels.panels import evenly_shared
from guards import Guards
from routes import refusal, run, served, to_nchw, to_oihw


@pytest.mark.parametrize("case", CASES, ids=str)
def test_prepared_weights_give_the_same_bytes(case):
    x, w, b, dy = case.arrays(seed=24)
    prepared = fc.prepare(w, case.x_shape, **case.options)
    assert_same_bytes(run(case, "forward", x, prepared, b, dy), run(case, "forward", x, w, b, dy))
    assert_same_bytes(run(case, "input_grad", x, prepared, b, dy), run(case, "input_grad", x, w, b, dy))


def geometry(case):
    return ConvGeometry.of(case.x_shape, case.w_shape, **case.options)


FETCHED_AHEAD = (  # kept weights that the second cache does not hold, few pixels, borders that go tap by tap
    Case(n=1, h=1, w=7, c=512, o=512, k=(1, 5), padding=(0, 2)),
    Case(n=1, h=7, w=7, c=256, o=256, k=(5, 5), padding=2),
    Case(n=1, h=7, w=5, c=512, o=512, padding=1),
)


@pytest.mark.parametrize("case", FETCHED_AHEAD, ids=str)
@pytest.mark.parametrize("l2", [1 << 18, 1 << 30])
def test_prepared_weights_in_pieces_give_the_same_bytes(case, l2, monkeypatch):
    x, w, b, dy = case.arrays(seed=28)
    wanted = [run(case, direction, x, w, b, dy, algorithm="tiled") for direction in ("forward", "input_grad")]
    monkeypatch.setattr(tiled, "cpu", lambda: replace(machine.cpu(), l2=l2))
    tiled.walk_of.cache_clear()
    try:
        prepared = fc.prepare(w, case.x_shape, **case.options, algorithm="tiled")
        for direction, expected in zip(("forward", "input_grad"), wanted, strict=True):
            assert_same_bytes(run(case, direction, x, prepared, b, dy, algorithm="tiled"), expected)
            walk = tiled.walk_of(geometry(case), 4, fc.get_threads(), direction == "input_grad", True, 0)
            assert (walk.schedule.piece > 0) == (l2 == 1 << 18 and (case.k[0] > 1 or direction == "forward"))
    finally:
        tiled.walk_of.cache_clear()


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", KINDS_OF_LAYER))
def test_prepared_weights_serve_every_batch_and_algorithm(case, algorithm, dtype):
    x, w, b, _ = case.arrays(seed=25, dtype=dtype)
    prepared = fc.prepare(w, case.x_shape, **case.options, algorithm=algorithm.name)
    for images in (x, x[:1], np.concatenate([x] * 9)):
        larger = replace(case, n=len(images))
        names = ("auto", algorithm.name) if refusal(larger, algorithm, "forward", dtype) is None else ("auto",)
        for name in names:
            options = {**case.options, "algorithm": name}
            assert_same_bytes(fc.conv2d(images, prepared, b, **options), fc.conv2d(images, w, b, **options))


def test_prepared_weights_serve_another_dtype_option_and_layout():
    case = Case(k=(2, 3))
    x, w, b, dy = case.arrays(seed=38)
    prepared = fc.prepare(w, case.x_shape)
    assert_same_bytes(fc.conv2d(x.astype(np.float64), prepared, b), fc.conv2d(x.astype(np.float64), w, b))
    for options in ({"flip": True}, {"stride": 2}, {"dilation": 2, "padding": 3}):
        assert_same_bytes(fc.conv2d(x, prepared, b, **options), fc.conv2d(x, w, b, **options))
    prepared = fc.prepare(to_oihw(w), to_nchw(x).shape, layout="NCHW")
    assert_same_bytes(fc.conv2d(to_nchw(x), prepared, b, layout="NCHW"), to_nchw(fc.conv2d(x, w, b)))
    dx = fc.conv2d_input_grad(to_nchw(dy), prepared, to_nchw(x).shape, layout="NCHW")
    assert_same_bytes(dx, to_nchw(fc.conv2d_input_grad(dy, w, x.shape)))


@pytest.mark.parametrize("case", (Case(n=1, h=9, w=9, c=8, o=8, k=(4, 4)), Case(n=1, h=14, w=14, c=64, o=160, k=(4, 4))), ids=str)
def test_one_prepared_filter_serves_every_stride(case):
    """Winograd's filters are arranged for one stride; the larger ones stay as they are."""
    x, w, b, _ = case.arrays(seed=39)
    prepared = fc.PreparedWeights(w)
    for stride in (1, 2, 1):
        options = {"stride": stride, "padding": 1, "algorithm": "winograd"}
        y = fc.conv2d(x, w, b, **options)
        assert_same_bytes(fc.conv2d(x, prepared, b, **options), y)
        dx = fc.conv2d_input_grad(y, w, x.shape, **options)
        assert_same_bytes(fc.conv2d_input_grad(y, prepared, x.shape, **options), dx)
        exact = oracle.conv2d(x, w, b, stride=stride, padding=1)
        np.testing.assert_allclose(y, exact, atol=1e-5 * abs(exact).max())


def test_kept_weights_do_not_lie_in_workspaces():
    rng = np.random.default_rng(40)
    w = rng.standard_normal((3, 3, 64, 64)).astype("f4")
    for algorithm in ("winograd", "tiled"):
        form = next(iter(fc.prepare(w, (1, 30, 30, 64), padding=1, algorithm=algorithm).forms.values()))
        assert not any(np.shares_memory(form, block) for block in aligned.KEPT.blocks)


def test_prepared_weights_do_not_see_later_changes():
    case = Case()
    x, w, b, _ = case.arrays(seed=26)
    before, prepared = fc.conv2d(x, w, b), fc.prepare(w, case.x_shape)
    fc.conv2d(x, prepared, b)
    w[:] = 0
    assert_same_bytes(fc.conv2d(x, prepared, b), before)


IN_PIECES = [
    (Case(n=1, h=7, w=7, c=24, o=160, k=(3, 3), padding=1), 3 * 24),
    (Case(n=1, h=9, w=8, c=20, o=150, k=(3, 2), stride=2, padding=1), 2 * 20),
    (Case(n=1, h=11, w=7, c=12, o=140, k=(3, 3), dilation=2, padding=2), 0),  # the columns of a tap lie apart
    (Case(n=1, h=5, w=6, c=tiled.PIECE + 70, o=130, k=(1, 1)), tiled.PIECE),
    (Case(n=1, h=3, w=5, c=2 * tiled.PIECE, o=65, k=(1, 1)), tiled.PIECE),
    (Case(n=1, h=5, w=6, c=48, o=130, k=(1, 1), padding=1), tiled.PIECE),  # results that see no tap
    (Case(n=1, h=7, w=5, c=48, o=130, k=(2, 1), stride=2, padding=2), 48),
    (Case(n=2, h=4, w=4, c=16, o=130, k=(3, 3), padding=1), 0),  # two images share what is fetched
    (Case(n=1, h=6, w=6, c=32, o=256, k=(3, 3), groups=2, padding=1), 0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@pytest.mark.parametrize("case, piece", IN_PIECES, ids=str)
def test_weights_that_are_fetched_piece_by_piece(monkeypatch, case, piece, dtype):
    """As where no cache holds them: the same bytes, nothing read or written outside the arrays."""
    guards = Guards()
    guards.watch(monkeypatch)
    x, w, b, _ = (guards.holding(array) for array in case.arrays(seed=41, dtype=dtype))
    options = {**case.options, "algorithm": "tiled"}
    whole = fc.conv2d(x, w, b, **options)
    monkeypatch.setattr(tiled, "cpu", lambda: replace(machine.cpu(), l2=1024))
    tiled.walk_of.cache_clear()
    try:
        for threads in (1, 2):
            walk = tiled.walk_of(
                fc.plan(case.x_shape, case.w_shape, **case.options).geometry, x.itemsize, threads, False, True, 0
            )
            assert walk.schedule.piece == piece
        got = fc.conv2d(x, fc.prepare(w, case.x_shape, **options), b, **options)
    finally:
        tiled.walk_of.cache_clear()
    assert_same_bytes(got, whole)
    guards.assert_intact()
    exact = oracle.conv2d(x.astype(np.float64), w.astype(np.float64), **case.options) + b
    assert abs(got - exact).max() <= 1e-5 * abs(exact).max()


@pytest.mark.parametrize("channels", [33, 192, 320])
def test_panels_of_any_width_give_the_same_bytes(channels):
    """They follow the number of threads, where weights are packed on their way."""
    case = Case(n=1, h=7, w=7, c=channels, o=channels + 5, k=(3, 3), padding=1)
    x, w, b, dy = case.arrays(seed=42)
    results, before = [], fc.get_threads()
    try:
        for threads in range(1, min(before, 4) + 1):
            fc.set_threads(threads)
            results.append([run(case, d, x, w, b, dy, algorithm="tiled") for d in ("forward", "input_grad")])
    finally:
        fc.set_threads(before)
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            assert_same_bytes(one, other)
    assert {evenly_shared(1, 12, threads) for threads in (1, 2)} == ({2} if machine.cpu().registers == 16 else {4, 3})
