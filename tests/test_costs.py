"""Costs put the algorithms of a call in the order that was measured, for CPUs that may be others than this one."""

import numpy as np
import pytest

from fastconv.algorithms import ALGORITHMS, NAMES
from fastconv.geometry import ConvGeometry
from fastconv.machine.cpu import Cpu

ZEN_4 = Cpu("Zen 4", "znver4", "", 64, 32, True, 1, 32 << 10, 1 << 20, 32 << 20)
XEON = Cpu("Emerald Rapids", "sapphirerapids", "", 64, 32, True, 2, 48 << 10, 2 << 20, 260 << 20)
STRIDED = ConvGeometry.of((64, 37, 37, 10), (5, 5, 10, 20), stride=2)
FEW_PIXELS = ConvGeometry.of((1, 7, 7, 48), (5, 5, 48, 128), padding=2)
LARGE = ConvGeometry.of((1, 56, 56, 128), (3, 3, 128, 128), padding=1)


def cost(name, geo, direction, processor):
    return getattr(ALGORITHMS[NAMES.index(name)], direction).cost(geo, np.dtype(np.float32), processor)


@pytest.mark.parametrize("processor", [ZEN_4, XEON], ids=lambda processor: processor.brand)
@pytest.mark.parametrize(
    ("geo", "direction", "faster", "slower"),
    [
        (STRIDED, "forward", "batch", "tiled"),
        (STRIDED, "weight_grad", "batch", "tiled"),
        (FEW_PIXELS, "input_grad", "tiled", "winograd"),
        (LARGE, "forward", "winograd", "tiled"),
        (LARGE, "input_grad", "winograd", "tiled"),
    ],
)
def test_what_was_faster_costs_less(processor, geo, direction, faster, slower):
    assert cost(faster, geo, direction, processor) < cost(slower, geo, direction, processor)


def test_half_as_many_multiply_adds_a_cycle_cost_what_multiplies_most_the_most():
    more = {name: cost(name, LARGE, "forward", ZEN_4) / cost(name, LARGE, "forward", XEON) for name in ("tiled", "winograd")}
    assert 1 < more["winograd"] < more["tiled"] < 2.1
