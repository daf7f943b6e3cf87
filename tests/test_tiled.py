"""The walk of the register tile over whole calls."""

from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
from fastconv import machine
from fastconv.kernels import schedule, tiled
from fastconv.kernels.schedule import tables


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_that_come_from_memory_have_the_same_bits(dtype, monkeypatch):
    """They are asked for before they are written, if a tile takes long enough, and no more."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 7, 5)).astype(dtype), rng.standard_normal((3, 3, 5, 35)).astype(dtype)
    dy = rng.standard_normal((2, 9, 7, 35)).astype(dtype)

    def both():
        y = fc.conv2d(x, w, padding=1, algorithm="tiled")
        return y, fc.conv2d_input_grad(dy, w, x.shape, padding=1, algorithm="tiled")

    near, asked = both(), []

    def noted(*given, **more):
        asked.append(tables(*given, **more))
        return asked[-1]

    monkeypatch.setattr(tiled, "cpu", lambda: replace(machine.cpu(), l3=0))
    monkeypatch.setattr(tiled, "walk_of", tiled.walk_of.__wrapped__)
    monkeypatch.setattr(tiled, "tables", noted)
    for least, wanted in ((0, 1), (1e9, 0)):  # tiles that take less than this do not ask
        monkeypatch.setattr(schedule, "AHEAD", least)
        for before, found in zip(near, both(), strict=True):
            np.testing.assert_array_equal(before, found)
        assert [made.far for made in asked[-2:]] == [wanted, wanted]
