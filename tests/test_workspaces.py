"""Workspaces use memory again: never what an array still lies in, never more of it than is said."""

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


@pytest.mark.parametrize("algorithm", ("winograd", "tiled"))
def test_results_do_not_depend_on_what_a_workspace_held(algorithm):
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in ((2, 31, 29, 24), (3, 3, 24, 40)))
    wanted = fc.conv2d(x, w, padding=1, algorithm=algorithm)
    dw = fc.conv2d_weight_grad(wanted, x, w.shape, padding=1, algorithm=algorithm)
    for block in aligned.KEPT.blocks:
        block[...] = 0xFF  # NaN
    assert_same_bytes(fc.conv2d(x, w, padding=1, algorithm=algorithm), wanted)
    assert_same_bytes(fc.conv2d_weight_grad(wanted, x, w.shape, padding=1, algorithm=algorithm), dw)


def test_nobody_gets_a_result_that_is_used_again():
    rng = np.random.default_rng(6)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in ((1, 64, 64, 16), (4, 4, 16, 16)))
    calls = {
        "forward": lambda: fc.conv2d(x, w, stride=2, padding=1),
        "input_grad": lambda: fc.conv2d_input_grad(y, w, x.shape, stride=2, padding=1),
        "weight_grad": lambda: fc.conv2d_weight_grad(y, x, w.shape, stride=2, padding=1),
        "reflected": lambda: fc.conv2d_input_grad(y, w, x.shape, stride=2, padding=1, pad_mode="reflect"),
    }
    y = fc.conv2d(x, w, stride=2, padding=1)
    results = {name: call() for name, call in calls.items()}
    copies = {name: result.copy() for name, result in results.items()}
    for name, call in calls.items():
        call()
        assert_same_bytes(results[name], copies[name])
        assert not any(overlap(result, block) for result in results.values() for block in aligned.KEPT.blocks)
