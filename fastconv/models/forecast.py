"""How long the convolutions and dense layers of a network will take here: an estimate from the plans' cycles, before anything
is run."""

import functools
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from fastconv import functional as F
from fastconv import plans
from fastconv.functional.dense import dense_plans
from fastconv.layers import Dense
from fastconv.layers.conv import Bank
from fastconv.models.program import lower

__all__ = ["Forecast", "chained", "cycles_per_second", "forecast"]

DIRECTIONS = ("forward", "weight_grad", "input_grad")
SAMPLE = (1, 56, 56, 128), (3, 3, 128, 128)  # the convolution that tells how fast cycles go by
TURNS = 15


@dataclass(frozen=True)
class Forecast:
    """Of one layer: the algorithm of each direction, and seconds of all of them together."""

    algorithms: tuple
    seconds: float


def forecast(layer, input_shape, batch, training, needs_dx=True):
    """The `Forecast` of a layer, None for one that is neither a convolution nor dense.

    With `training` both gradients count too, but for that of the network's input, which nobody asks for (`needs_dx=False`).
    """
    found = layer_plans(layer, input_shape, batch)[: (3 if needs_dx else 2) if training else 1]
    if not found:
        return None
    return Forecast(tuple(plan.algorithm for plan in found), sum(plan.cycles for plan in found) / cycles_per_second())


def layer_plans(layer, input_shape, batch):
    """The `ConvPlan` of each of DIRECTIONS; none for a layer that has no such product."""
    if isinstance(layer, Dense):
        return dense_plans(batch, input_shape[0], layer.units, layer.dtype)
    geo = layer.geometry(input_shape, batch)
    if geo is None or not isinstance(layer, Bank):  # a transposed convolution is a Bank without windows of its own
        return ()
    options = layer.options_for(input_shape[2])
    return [F.plan(geo.x_shape, geo.w_shape, dtype=layer.dtype, direction=name, **options) for name in DIRECTIONS]


@functools.cache
def cycles_per_second():
    """Cycles of one core, in the plans' count, that all threads together do in a second: one convolution, run some times now."""
    x_shape, w_shape = SAMPLE
    x, w = np.ones(x_shape, np.float32), np.full(w_shape, 0.01, np.float32)
    prepared = F.prepare(w, x_shape, padding=1, algorithm="tiled")
    F.conv2d(x, prepared, padding=1, algorithm="tiled")
    seconds = []
    for _ in range(TURNS):
        start = perf_counter()
        F.conv2d(x, prepared, padding=1, algorithm="tiled")
        seconds.append(perf_counter() - start)
    return F.plan(x_shape, w_shape, padding=1, algorithm="tiled").cycles / median(seconds)


def chained(net, batch, training):
    """Names of the layers that will go through the cache as one chain, in their order; none for most networks."""
    mode = "training" if training else "inference"
    ops = lower(net, batch, mode)
    return tuple(ops[i].layer for first, last in plans.plan_chain(ops, net.dtype, mode).chains for i in range(first, last + 1))
