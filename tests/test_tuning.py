"""Choices that a user asks for: measured ones, and a limit of the workspace."""

import json

import numpy as np
import pytest

import fastconv as fc
from fastconv import plans

CALL = {"x_shape": (2, 12, 12, 16), "w_shape": (3, 3, 16, 16), "padding": "same"}


@pytest.fixture(autouse=True)
def as_before():
    yield
    plans.MEASURED.clear()
    fc.set_workspace_limit(None)


@pytest.mark.parametrize("direction", ["forward", "input_grad", "weight_grad"])
def test_the_fastest_is_taken_from_then_on(direction):
    before = fc.plan(**CALL, direction=direction)
    found = fc.autotune(**CALL, direction=direction)
    after = fc.plan(**CALL, direction=direction)
    assert found.estimated == before.algorithm
    assert found.algorithm == after.algorithm == min(found.milliseconds, key=found.milliseconds.get)
    assert "taken from now on" in str(found)
    for name, reason in after.refused:
        if name in found.milliseconds:
            assert f"{found.algorithm} was measured to be the fastest" in reason
    assert fc.plan((3, 12, 12, 16), CALL["w_shape"], padding="same").algorithm  # another call: estimated as always


def test_only_what_auto_may_take_is_measured():
    found = fc.autotune(**CALL, dtype="float64")
    assert "winograd" not in found.milliseconds


def test_the_chosen_one_really_runs(monkeypatch):
    geo = fc.plan(**CALL).geometry
    x, w = np.ones(CALL["x_shape"], np.float32), np.ones(CALL["w_shape"], np.float32)
    ran = []
    from fastconv.kernels import direct

    monkeypatch.setattr(direct, "forward", lambda *arrays: ran.append("direct"))
    plans.resolve.cache_clear()
    plans.remember(geo, np.dtype("float32"), "forward", "direct")
    fc.conv2d(x, w, padding="same")
    plans.resolve.cache_clear()
    assert ran == ["direct"]


def test_stored_choices_are_taken_over_by_another_process(tmp_path):
    path = tmp_path / "tuned.json"
    fc.autotune(**CALL, store=path)
    found = fc.autotune(**CALL, store=path)
    fc.autotune((1, 9, 9, 3), (3, 3, 3, 4), padding=((1, 0), (0, 1)), layout="NHWC", store=path)
    entries = json.loads(path.read_text())
    assert len(entries) == 2
    plans.MEASURED.clear()
    entries.append({**entries[0], "cpu": "another"})
    path.write_text(json.dumps(entries))
    assert fc.load_tuned(path) == 2
    assert plans.MEASURED[fc.plan(**CALL).geometry, np.dtype("float32"), "forward"] == found.algorithm


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[{"cpu": 1}]', b"\xff\xfe", b"[" * 100_000, None])
def test_a_file_that_is_none_of_ours(tmp_path, content):
    path = tmp_path / "tuned.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(fc.DataError, match="cannot be read as choices of autotune"):
        fc.load_tuned(path)


@pytest.mark.parametrize(
    "change",
    [
        {"options": []},
        {"options": {"bogus": 1}},
        {"options": {"direction": "forward"}},
        {"x_shape": 5},
        {"x_shape": [1, 2]},
        {"algorithm": [1]},
        {"direction": ["a"]},
        {"direction": "sideways"},
        {"dtype": "complex64"},
        {"options": {"stride": 0}},
    ],
    ids=str,
)
def test_an_entry_that_is_no_call(tmp_path, change):
    path = tmp_path / "tuned.json"
    fc.autotune(**CALL, store=path)
    [entry] = json.loads(path.read_text())
    plans.MEASURED.clear()
    path.write_text(json.dumps([entry, {**entry, **change}]))
    with pytest.raises(fc.DataError, match="entry 1: no call of fastconv"):
        fc.load_tuned(path)
    assert not plans.MEASURED


def test_options_as_numpy_has_them_are_stored(tmp_path):
    path = tmp_path / "tuned.json"
    fc.autotune((1, 8, 8, np.int64(4)), [3, 3, 4, 4], padding=np.array([1, 1]), store=path)
    assert fc.load_tuned(path) == 1


def test_autotune_finds_the_algorithm_itself():
    with pytest.raises(fc.OptionError, match="leave it out"):
        fc.autotune(**CALL, algorithm="direct")


def test_a_limit_of_the_workspace():
    call = {"x_shape": (1, 56, 56, 128), "w_shape": (3, 3, 128, 128), "padding": "same"}
    assert fc.plan(**call).algorithm == "winograd"
    fc.set_workspace_limit(0.5)
    limited = fc.plan(**call)
    assert limited.algorithm == "tiled"
    assert "MiB of workspace; the limit is 0.5 MiB" in dict(limited.refused)["winograd"]
    assert fc.plan(**call, algorithm="winograd").algorithm == "winograd"
    fc.set_workspace_limit(0)
    assert fc.plan(**call, pad_mode="reflect").workspace > 0  # the smallest always remains
    fc.set_workspace_limit(None)
    assert fc.plan(**call).algorithm == "winograd"


@pytest.mark.parametrize("limit", [-1, "many", float("nan"), [1]])
def test_a_limit_that_is_none(limit):
    with pytest.raises(fc.OptionError, match="workspace limit: got"):
        fc.set_workspace_limit(limit)
