"""Random calls against PyTorch in float64: each algorithm that accepts the call, both dtypes, within the promised accuracy."""

import functools

import numpy as np
import pytest

import bounds
import fastconv as fc
from fastconv import plans
from random_cases import random_cases, random_pool_cases
from routes import DIRECTIONS, FLOATS, refusal, run

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import torch_twin  # noqa: E402  (needs PyTorch)

PART = 100  # calls of one test
EVERY_ALGORITHM = pytest.mark.parametrize("algorithm", plans.ALGORITHMS, ids=lambda algorithm: algorithm.name)


@functools.lru_cache(maxsize=1)
def references(seed, count):
    """[(case, arrays, exact results, the same of absolute values, and of ones)] from PyTorch; kept for the next algorithm."""
    found = []
    for i, case in enumerate(random_cases(seed, count)):
        arrays = case.arrays(seed=(seed, i), dtype=np.float64)
        kinds = (arrays, [abs(a) for a in arrays], [np.ones_like(a) for a in arrays])
        found.append((case, arrays, *(torch_twin.conv2d(case, *kind) for kind in kinds)))
    return found


def results(case, algorithm, *arrays):
    """(direction, result) of each direction that the algorithm accepts."""
    for direction in DIRECTIONS:
        if refusal(case, algorithm, direction, arrays[0].dtype) is None:
            yield direction, run(case, direction, *arrays, algorithm=algorithm.name)


def compare(algorithm, seed, count):
    for case, arrays, exact, size, terms in references(seed, count):
        for dtype in FLOATS:
            for direction, got in results(case, algorithm, *(a.astype(dtype) for a in arrays)):
                at = DIRECTIONS.index(direction)
                try:
                    allowed = bounds.allowed_terms(case, algorithm, direction, terms[at])
                    bounds.assert_within(got, exact[at], bounds.allowed_size(case, algorithm, direction, size[at]), allowed)
                except AssertionError as error:
                    raise AssertionError(f"{direction}, {np.dtype(dtype)}, {case!r}: {error}") from None
        bias_terms = case.y_shape[0] * case.y_shape[1] * case.y_shape[2]
        bounds.assert_within(fc.conv2d_bias_grad(arrays[3].astype(np.float32)), exact[3], size[3], bias_terms)


@EVERY_ALGORITHM
def test_60_random_calls_agree_with_pytorch(algorithm):
    compare(algorithm, seed=1, count=60)


@pytest.mark.full
@EVERY_ALGORITHM
@pytest.mark.parametrize("part", range(2000 // PART))
def test_2000_random_calls_agree_with_pytorch(algorithm, part):
    compare(algorithm, seed=100 + part, count=PART)


def compare_pools(seed, count):
    for i, case in enumerate(random_pool_cases(seed, count)):
        if case.symmetric:
            for dtype in FLOATS:
                compare_pool(case, *case.tied_arrays(seed=(seed, i), dtype=dtype))


def compare_pool(case, x, dy):
    """Whole numbers with many ties: the maximum and its gradient are exact."""
    wide_x, wide_dy = x.astype(np.float64), dy.astype(np.float64)
    y, dx = torch_twin.max_pool2d(case, wide_x, wide_dy)
    np.testing.assert_array_equal(fc.max_pool2d(x, case.size, **case.max_options), y, repr(case))
    np.testing.assert_array_equal(fc.max_pool2d_grad(dy, x, case.size, **case.max_options), dx, repr(case))
    exact, size = (torch_twin.avg_pool2d(case, a, d) for a, d in ((wide_x, wide_dy), (abs(wide_x), abs(wide_dy))))
    bounds.assert_within(fc.avg_pool2d(x, case.size, **case.avg_options), exact[0], size[0], case.terms + 1)
    bounds.assert_within(fc.avg_pool2d_grad(dy, x, case.size, **case.avg_options), exact[1], size[1], case.terms + 1)


def test_60_random_pools_agree_with_pytorch():
    compare_pools(seed=2, count=60)


@pytest.mark.full
@pytest.mark.parametrize("part", range(2000 // PART))
def test_2000_random_pools_agree_with_pytorch(part):
    compare_pools(seed=200 + part, count=PART)
