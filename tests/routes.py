"""Which algorithm of `plans.ALGORITHMS` accepts which call, and the call itself."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import plans
from fastconv.geometry import ConvGeometry

DIRECTIONS = ("forward", "input_grad", "weight_grad")
FLOATS = (np.float32, np.float64)


def refusal(case, algorithm, direction, dtype=np.float32):
    """None, or why the algorithm cannot serve the case."""
    geo = ConvGeometry.of(case.x_shape, case.w_shape, **case.options)
    return getattr(algorithm, direction).fits(geo, np.dtype(dtype))


def served(direction, cases, dtypes=(np.float32,)):
    """Parameters (case, algorithm, dtype): every case with every algorithm that accepts it."""
    return [
        pytest.param(case, algorithm, dtype, id=f"{algorithm.name}-{np.dtype(dtype)}-{case}")
        for algorithm in plans.ALGORITHMS
        for dtype in dtypes
        for case in cases
        if refusal(case, algorithm, direction, dtype) is None
    ]


def served_every_way(cases):
    """Parameters (case, direction, algorithm): in float32, each direction that the algorithm accepts."""
    return [
        pytest.param(case, direction, algorithm, id=f"{direction}-{algorithm.name}-{case}")
        for algorithm in plans.ALGORITHMS
        for direction in DIRECTIONS
        for case in cases
        if refusal(case, algorithm, direction) is None
    ]


def growth(algorithm, direction="forward"):
    return getattr(algorithm, direction).growth


def run(case, direction, x, w, b, dy, **more):
    """One direction of one case through the public API."""
    if direction == "forward":
        return fc.conv2d(x, w, b, **case.options, **more)
    if direction == "input_grad":
        return fc.conv2d_input_grad(dy, w, case.x_shape, **case.options, **more)
    return fc.conv2d_weight_grad(dy, x, case.w_shape, **case.options, **more)


def to_nchw(a):
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2))


def to_oihw(w):
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))
