"""What a plan says about memory against what a call asks for, as Python's allocator counts it."""

import tracemalloc

import numpy as np
import pytest

import fastconv as fc
from cases import Case
from fastconv import plans
from fastconv.kernels import aligned, batch
from random_cases import either, four_sides, is_valid, whole
from routes import DIRECTIONS, FLOATS, refusal, run

TABLES = 60_000  # bytes of Python's own objects and small arrays in a call
MOST_MACS = 200_000_000

CASES = (
    Case(n=2, h=30, w=30, c=40, o=72, k=(3, 3), padding=1),  # winograd in blocks
    Case(n=1, h=9, w=7, c=232, o=216, k=(3, 3), padding="same"),  # and panel by panel
    Case(n=2, h=19, w=23, c=24, o=40, k=(3, 3), padding=2, dilation=2, pad_mode="reflect"),
    Case(n=2, h=41, w=37, c=6, o=32, k=(7, 7), stride=2, padding=((3, 2), (3, 1))),  # at stride one
    Case(n=40, h=12, w=15, c=5, o=14, k=(5, 5), padding=2),  # groups of images
    Case(n=3, h=20, w=20, c=48, o=48, k=(3, 3), padding=1, groups=4, pad_mode="circular"),
    Case(n=2, h=12, w=12, c=96, o=160, k=(1, 1)),
    Case(n=4, h=1, w=1, c=700, o=300, k=(1, 1)),  # a dense layer
    Case(n=3, h=28, w=28, c=64, o=64, k=(3, 3), padding=1, groups=64, pad_mode="replicate"),
    Case(n=1, h=24, w=24, c=64, o=64, k=(4, 4), flip=True),
)


def asked(case, algorithm, direction, arrays):
    """The most bytes at one time beside the result, in a call that finds all tables made and no memory kept."""
    run(case, direction, *arrays, algorithm=algorithm.name)
    batch.POOL.clear()
    aligned.KEPT.blocks.clear()
    tracemalloc.start()
    try:
        result = run(case, direction, *arrays, algorithm=algorithm.name)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


def compare(case, algorithm, dtype, seed=0):
    arrays = case.arrays(seed=seed, dtype=dtype)
    for direction in DIRECTIONS:
        if refusal(case, algorithm, direction, dtype) is None:
            call = {"direction": direction, "algorithm": algorithm.name, "dtype": dtype, **case.options}
            stated, got = fc.plan(case.x_shape, case.w_shape, **call).workspace, asked(case, algorithm, direction, arrays)
            assert 0.6 * stated - TABLES <= got <= stated + TABLES, (direction, case, np.dtype(dtype), stated, got)


@pytest.fixture(autouse=True)
def two_threads():
    before = fc.get_threads()
    try:
        fc.set_threads(2)
    except fc.OptionError as error:
        pytest.skip(str(error))
    yield
    fc.set_threads(before)


@pytest.mark.parametrize("algorithm", plans.ALGORITHMS, ids=lambda algorithm: algorithm.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_plan_states_the_memory_of_a_call(case, algorithm):
    compare(case, algorithm, np.float32)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_plans_state_the_memory_of_random_calls(seed):
    rng, found = np.random.default_rng(seed), 0
    while found < 4:
        case = large_case(rng)
        if is_valid(case, MOST_MACS):
            found += 1
            for algorithm in plans.ALGORITHMS:
                for dtype in FLOATS:
                    compare(case, algorithm, dtype, seed)


def large_case(rng):
    """Large enough for workspaces that stand out."""
    groups, k = either(rng, 1, 1, 1, whole(rng, 2, 6)), either(rng, 1, 3, 3, 5, whole(rng, 1, 11))
    return Case(
        n=either(rng, 1, 2, whole(rng, 8, 60)),
        h=whole(rng, 6, 60),
        w=whole(rng, 6, 60),
        c=groups * whole(rng, 1, 300 // groups),
        o=groups * whole(rng, 1, 300 // groups),
        k=(k, k),
        stride=either(rng, 1, 1, 1, 2, 4),
        padding=either(rng, "valid", "same", four_sides(rng)),
        dilation=either(rng, 1, 1, 1, 2),
        groups=groups,
        pad_mode=either(rng, "constant", "constant", "reflect"),
    )
