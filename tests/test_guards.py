"""No kernel reads or writes beside its arrays, nor depends on what its workspaces held before."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import plans
from fastconv.functional import pool
from guards import Guards
from random_cases import random_cases, random_pool_cases
from routes import DIRECTIONS, FLOATS, refusal, run

COUNT = 60  # random calls
EVERY_ALGORITHM = pytest.mark.parametrize("algorithm", plans.ALGORITHMS, ids=lambda algorithm: algorithm.name)


@pytest.fixture
def guards(monkeypatch):
    watching = Guards()
    watching.watch(monkeypatch)
    return watching


def result_shape(case, direction):
    return {"forward": case.y_shape, "input_grad": case.x_shape, "weight_grad": case.w_shape}[direction]


def check(case, algorithm, dtype, shift, guards):
    for direction in DIRECTIONS:
        if refusal(case, algorithm, direction, dtype) is None:
            x, w, b, dy = (guards.holding(a.astype(dtype), shift) for a in case.arrays(seed=1, dtype=np.float64))
            out = guards.empty(result_shape(case, direction), np.dtype(dtype), shift)
            run(case, direction, x, w, b, dy, algorithm=algorithm.name, out=out)
            assert np.isfinite(out).all(), (direction, case)
            guards.assert_intact()


@EVERY_ALGORITHM
@pytest.mark.parametrize("dtype", FLOATS)
def test_convolutions_stay_inside(algorithm, dtype, guards):
    for i, case in enumerate(random_cases(2, COUNT)):
        check(case, algorithm, dtype, i % 4, guards)


@pytest.mark.full
@EVERY_ALGORITHM
@pytest.mark.parametrize("dtype", FLOATS)
def test_many_convolutions_stay_inside(algorithm, dtype, guards):
    for i, case in enumerate(random_cases(3, 5 * COUNT)):
        check(case, algorithm, dtype, i % 4, guards)


@pytest.mark.parametrize("dtype", FLOATS)
def test_poolings_stay_inside(dtype, guards, monkeypatch):
    monkeypatch.setattr(pool, "empty", lambda shape, dtype, *_: guards.empty(shape, dtype))
    for i, case in enumerate(random_pool_cases(2, COUNT)):
        x, dy = (guards.holding(a, i % 4) for a in case.tied_arrays(seed=1, dtype=dtype))
        x += 100  # a maximum of what is beside x would be NaN, a zero of the padding smaller
        y = fc.max_pool2d(x, case.size, **case.max_options)
        dx = fc.max_pool2d_grad(dy, x, case.size, **case.max_options)
        mean = fc.avg_pool2d(x, case.size, **case.avg_options)
        dmean = fc.avg_pool2d_grad(dy, x, case.size, **case.avg_options)
        for found in (y, dx, mean, dmean):
            assert np.isfinite(found).all(), case
        assert (y >= x.min()).all()
        guards.assert_intact()
