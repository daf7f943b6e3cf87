"""Costs put the algorithms of a call in the order that was measured, for CPUs that may be others than this one."""

import numpy as np
import pytest

from fastconv.algorithms import ALGORITHMS, NAMES
from fastconv.geometry import ConvGeometry
from fastconv.machine.cpu import Cpu

ZEN_4 = Cpu("Zen 4", "znver4", "", 64, 32, True, 1, 32 << 10, 1 << 20, 32 << 20)
XEON = Cpu("Emerald Rapids", "sapphirerapids", "", 64, 32, True, 2, 48 << 10, 2 << 20, 260 << 20)
AVX2 = Cpu("Zen 4, AVX2", "haswell", "", 32, 16, True, 2, 32 << 10, 1 << 20, 32 << 20)
STRIDED = ConvGeometry.of((64, 37, 37, 10), (5, 5, 10, 20), stride=2)
FEW_PIXELS = ConvGeometry.of((1, 7, 7, 48), (5, 5, 48, 128), padding=2)
LARGE = ConvGeometry.of((1, 56, 56, 128), (3, 3, 128, 128), padding=1)

POINTS = ConvGeometry.of((16, 14, 14, 256), (1, 1, 256, 1024))
FEW_CHANNELS = ConvGeometry.of((64, 32, 32, 3), (5, 5, 3, 16), padding=2)
MANY_RESULTS = ConvGeometry.of((8, 224, 224, 3), (3, 3, 3, 16), padding=1)
FIRST = ConvGeometry.of((1, 224, 224, 3), (3, 3, 3, 64), padding=1)
GROUPS = ConvGeometry.of((16, 14, 14, 64), (5, 5, 64, 64), padding=2)


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


@pytest.mark.parametrize(
    ("geo", "faster", "slower"),
    [(POINTS, "tiled", "batch"), (GROUPS, "winograd", "batch_winograd"), (FEW_CHANNELS, "batch_winograd", "tiled")],
)
@pytest.mark.parametrize("direction", ["forward", "input_grad"])
def test_what_was_faster_with_avx2_costs_less(geo, faster, slower, direction):
    assert cost(faster, geo, direction, AVX2) < cost(slower, geo, direction, AVX2)


@pytest.mark.parametrize("processor", [ZEN_4, AVX2], ids=lambda processor: processor.brand)
def test_results_that_go_to_memory_are_written_faster_row_by_row(processor):
    assert cost("tiled", MANY_RESULTS, "forward", processor) < cost("winograd", MANY_RESULTS, "forward", processor)
    assert cost("winograd", FIRST, "forward", ZEN_4) < cost("tiled", FIRST, "forward", ZEN_4)


def test_half_as_many_multiply_adds_a_cycle_cost_what_multiplies_most_the_most():
    more = {name: cost(name, LARGE, "forward", ZEN_4) / cost(name, LARGE, "forward", XEON) for name in ("tiled", "winograd")}
    assert 1 < more["winograd"] < more["tiled"] < 2.1
