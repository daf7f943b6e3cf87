"""Workspaces use memory again: never what an array still lies in, never more of it than is said."""

import math
import sys
import threading

import numpy as np
import pytest

import fastconv as fc
from bounds import assert_same_bytes
from fastconv.kernels import aligned

SHAPE = (100, 1000)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(aligned, "KEPT", aligned.Kept())


def overlap(a, b):
    return np.shares_memory(a, b)


def kept():
    return sum(map(len, aligned.KEPT.blocks))


def test_memory_is_used_again_when_no_array_is_left():
    first = aligned.workspace(SHAPE, np.float32)
    place = first.ctypes.data
    del first
    again = aligned.workspace(SHAPE, np.float32)
    assert (again.ctypes.data, again.shape, again.dtype) == (place, SHAPE, np.float32)
    assert place % aligned.LINE == 0


def test_arrays_that_live_never_share_memory():
    arrays = [aligned.workspace(SHAPE, np.float64) for _ in range(5)]
    assert not any(overlap(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


@pytest.mark.parametrize("part", (lambda a: a[3:5], lambda a: a.reshape(-1), lambda a: a.T, lambda a: memoryview(a)))
def test_a_view_keeps_its_memory(part):
    view = part(aligned.workspace(SHAPE, np.float32))
    assert not overlap(np.asarray(view), aligned.workspace(SHAPE, np.float32))


def test_a_block_is_not_used_for_much_less():
    large = aligned.workspace((1000, 1000), np.float32)
    place = large.ctypes.data
    del large
    assert aligned.workspace(SHAPE, np.float32).ctypes.data != place


def test_what_is_kept_has_a_limit():
    for size in range(1, 40):
        aligned.workspace((size, 1 << 18), np.float32)
        assert kept() <= aligned.ALL_KEPT
    many = [aligned.workspace((7, 1 << 18), np.float32) for _ in range(10)]
    assert kept() <= aligned.ALL_KEPT
    assert not any(overlap(a, b) for i, a in enumerate(many) for b in many[:i])
    before = kept()
    aligned.workspace((aligned.MOST_KEPT,), np.uint8)
    aligned.workspace((10,), np.float32)
    assert kept() == before


def test_each_thread_has_its_own():
    places = []

    def note():
        places.append(aligned.workspace(SHAPE, np.float32).ctypes.data)

    aligned.workspace(SHAPE, np.float32)
    own = aligned.KEPT.blocks[0].ctypes.data
    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    assert not own <= places[0] < own + len(aligned.KEPT.blocks[0])
    assert len(aligned.KEPT.blocks) == 1


def test_what_interrupts_a_call_shares_no_memory_with_it():
    """As a signal handler may, before any line of it."""
    inner, last = [], aligned.workspace.__code__

    def trace(frame, event, _):
        if frame.f_code is last and event == "line":
            sys.settrace(None)
            inner.append(aligned.workspace(SHAPE, np.float32))
            sys.settrace(trace)
        return trace

    for _ in range(3):
        sys.settrace(trace)
        try:
            outer = aligned.workspace(SHAPE, np.float32)
        finally:
            sys.settrace(None)
        assert len(inner) > 5
        assert not any(overlap(outer, array) for array in inner)
        inner.clear()


@pytest.mark.parametrize("algorithm", ("winograd", "tiled"))
def test_results_do_not_depend_on_what_a_workspace_held(algorithm):
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in ((2, 31, 29, 24), (3, 3, 24, 40)))
    wanted = fc.conv2d(x, w, padding=1, algorithm=algorithm)
    dw = fc.conv2d_weight_grad(wanted, x, w.shape, padding=1, algorithm=algorithm)
    assert aligned.KEPT.blocks
    for block in aligned.KEPT.blocks:
        block[...] = 0xFF  # NaN
    assert_same_bytes(fc.conv2d(x, w, padding=1, algorithm=algorithm), wanted)
    assert_same_bytes(fc.conv2d_weight_grad(wanted, x, w.shape, padding=1, algorithm=algorithm), dw)


def test_nobody_gets_a_result_that_is_used_again():
    rng = np.random.default_rng(6)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in ((1, 64, 64, 16), (4, 4, 16, 16)))
    options = {"stride": 2, "padding": 1, "algorithm": "winograd"}
    y = fc.conv2d(x, w, **options)
    assert aligned.KEPT.blocks
    calls = {
        "forward": lambda: fc.conv2d(x, w, **options),
        "input_grad": lambda: fc.conv2d_input_grad(y, w, x.shape, **options),
        "weight_grad": lambda: fc.conv2d_weight_grad(y, x, w.shape, **options),
        "reflected": lambda: fc.conv2d_input_grad(y, w, x.shape, **options, pad_mode="reflect"),
    }
    results = {name: call() for name, call in calls.items()}
    copies = {name: result.copy() for name, result in results.items()}
    for name, call in calls.items():
        call()
        assert_same_bytes(results[name], copies[name])
        assert not any(overlap(result, block) for result in results.values() for block in aligned.KEPT.blocks)


CALLS = (  # x, w, options: strided, grouped, dilated, padded, in small tiles and in large ones
    ((4, 28, 28, 64), (3, 3, 64, 64), {"dilation": 4, "padding": 4}),
    ((1, 33, 33, 32), (3, 3, 16, 48), {"dilation": 2, "padding": 2, "groups": 2}),
    ((2, 63, 61, 6), (7, 7, 6, 40), {"stride": 2, "padding": 3}),
    ((1, 56, 56, 64), (5, 5, 64, 32), {"padding": 2, "pad_mode": "reflect"}),
    ((2, 32, 32, 512), (3, 3, 512, 8), {"padding": 1}),
)


@pytest.mark.parametrize("algorithm", ("winograd", "tiled"))
@pytest.mark.parametrize("direction", ("forward", "input_grad", "weight_grad"))
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), CALLS, ids=str)
def test_a_call_takes_no_more_than_its_plan_says(x_shape, w_shape, options, direction, algorithm, monkeypatch):
    """Beside weights in another arrangement; an estimate is for two threads and may be a little short."""
    for name, limit in (("LEAST_KEPT", 0), ("MOST_KEPT", math.inf), ("ALL_KEPT", math.inf)):
        monkeypatch.setattr(aligned, name, limit)  # so that the blocks are all that a call took
    plan = fc.plan(x_shape, w_shape, direction=direction, algorithm=algorithm, **options)
    rng = np.random.default_rng(7)
    x, w, dy = (rng.standard_normal(shape).astype("f4") for shape in (x_shape, w_shape, plan.geometry.y_shape))
    prepared, options = fc.PreparedWeights(w), {**options, "algorithm": algorithm}
    calls = {
        "forward": lambda: fc.conv2d(x, prepared, **options),
        "input_grad": lambda: fc.conv2d_input_grad(dy, prepared, x_shape, **options),
        "weight_grad": lambda: fc.conv2d_weight_grad(dy, x, w_shape, **options),
    }
    calls[direction]()  # weights are arranged
    aligned.KEPT.blocks.clear()
    calls[direction]()
    assert kept() <= 1.1 * plan.workspace + (1 << 16)
