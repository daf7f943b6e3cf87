"""Convolution and its gradients: accuracy of every algorithm for every option, the choice of one, bias and activation."""

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from bounds import assert_same_bytes
from cases import CASES, KINDS_OF_LAYER, LARGE_CASES, TILE_CASES, Case
from fastconv import plans
from routes import DIRECTIONS, FLOATS, growth, refusal, run, served

EVERY_CASE = CASES + TILE_CASES + LARGE_CASES


# ---- the promise of accuracy


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", EVERY_CASE, FLOATS))
def test_conv2d_agrees_with_float64(case, algorithm, dtype):
    x, w, b, dy = case.arrays(seed=7, dtype=dtype)
    y = fc.conv2d(x, w, b, **case.options, algorithm=algorithm.name)
    assert y.dtype == dtype
    bounds.assert_accurate(y, case, algorithm, "forward", x, w, b, dy)


@pytest.mark.parametrize("case, algorithm, dtype", served("input_grad", EVERY_CASE, FLOATS))
def test_input_gradient_agrees_with_float64(case, algorithm, dtype):
    x, w, b, dy = case.arrays(seed=8, dtype=dtype)
    dx = fc.conv2d_input_grad(dy, w, case.x_shape, **case.options, algorithm=algorithm.name)
    assert dx.dtype == dtype
    bounds.assert_accurate(dx, case, algorithm, "input_grad", x, w, b, dy)


@pytest.mark.parametrize("case, algorithm, dtype", served("weight_grad", EVERY_CASE, FLOATS))
def test_weight_gradient_agrees_with_float64(case, algorithm, dtype):
    x, w, b, dy = case.arrays(seed=9, dtype=dtype)
    dw = fc.conv2d_weight_grad(dy, x, case.w_shape, **case.options, algorithm=algorithm.name)
    assert dw.dtype == dtype
    bounds.assert_accurate(dw, case, algorithm, "weight_grad", x, w, b, dy)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bias_gradient_agrees_with_float64(case):
    dy = case.arrays(seed=10)[3]
    terms = dy.size // dy.shape[-1]
    bounds.assert_within(fc.conv2d_bias_grad(dy), oracle.conv2d_bias_grad(dy), oracle.conv2d_bias_grad(abs(dy)), terms)


@pytest.mark.parametrize("case", EVERY_CASE, ids=str)
def test_small_whole_numbers_are_exact(case):
    """Sums of small whole numbers do not round, so that every algorithm that only multiplies and adds is exact."""
    x, w, b, dy = case.whole_arrays(seed=11)
    for direction in DIRECTIONS:
        wanted = bounds.oracle_call(case, direction, x, w, b, dy)
        for algorithm in plans.ALGORITHMS:
            if refusal(case, algorithm, direction) is None and growth(algorithm, direction) == 1:
                got = run(case, direction, x, w, b, dy, algorithm=algorithm.name)
                np.testing.assert_array_equal(got, wanted, f"{direction}, {algorithm.name}")


EXACT = [parameter for parameter in served("forward", KINDS_OF_LAYER) if growth(parameter.values[1]) == 1]


@pytest.mark.parametrize("case, algorithm, dtype", EXACT)
def test_a_huge_pixel_costs_the_others_no_digits(case, algorithm, dtype):
    """The bound of an element knows only the pixels that it sees; Winograd rounds by the largest pixel of a tile."""
    x, w, b, dy = case.arrays(seed=39, dtype=dtype)
    x[:, 2, 1] = 1e10
    y = fc.conv2d(x, w, b, **case.options, algorithm=algorithm.name)
    bounds.assert_accurate(y, case, algorithm, "forward", x, w, b, dy)


# ---- the choice of an algorithm


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_auto_runs_what_plan_says(case, direction):
    arrays = case.arrays(seed=12)
    plan = fc.plan(case.x_shape, case.w_shape, **case.options, dtype="float32", direction=direction)
    assert_same_bytes(run(case, direction, *arrays), run(case, direction, *arrays, algorithm=plan.algorithm))
    others = {algorithm.name for algorithm in plans.ALGORITHMS} - {plan.algorithm}
    assert {name for name, reason in plan.refused if reason} == others


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_algorithm_that_cannot_serve_the_call_says_why(direction):
    for case in CASES:
        for algorithm in plans.ALGORITHMS:
            reason = refusal(case, algorithm, direction)
            if reason:
                with pytest.raises(ValueError) as error:
                    run(case, direction, *case.arrays(seed=13), algorithm=algorithm.name)
                assert reason in str(error.value) and algorithm.name in str(error.value)


@pytest.mark.parametrize("options", [{"padding": "same", "dilation": 20_000}, {"padding": 10**6, "stride": 10**6}], ids=str)
def test_auto_makes_no_copy_that_is_nearly_all_padding(options):
    x, w = np.arange(50, dtype=np.float32).reshape(1, 5, 5, 2), np.arange(18, dtype=np.float32).reshape(3, 3, 2, 1)
    y = fc.conv2d(x, w, **options)
    for direction in ("forward", "input_grad", "weight_grad"):
        assert fc.plan(x.shape, w.shape, direction=direction, **options).workspace < 1 << 20
    if "dilation" in options:  # all taps but the middle one see padding
        expected, taps = x @ w[1, 1], 1
    else:  # all windows but the middle one
        expected, taps = np.zeros((1, 3, 3, 1)), 9
        expected[0, 1, 1, 0] = (x[0, :3, :3] * w[..., 0]).sum()
    np.testing.assert_array_equal(y, expected)
    dx, dw = fc.conv2d_input_grad(y, w, x.shape, **options), fc.conv2d_weight_grad(y, x, w.shape, **options)
    assert dx.any() and np.count_nonzero(dw.any((2, 3))) == taps


def test_every_algorithm_has_a_call_that_it_accepts():
    for algorithm in plans.ALGORITHMS:
        assert [case for case in KINDS_OF_LAYER if refusal(case, algorithm, "forward") is None], algorithm.name


def test_an_unknown_algorithm_is_refused_with_the_known_names():
    x, w, _, _ = Case().arrays(seed=14)
    with pytest.raises(ValueError) as error:
        fc.conv2d(x, w, algorithm="magic")
    assert all(algorithm.name in str(error.value) for algorithm in plans.ALGORITHMS)


# ---- bias and activation


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", KINDS_OF_LAYER))
def test_no_bias_is_a_bias_of_zero(case, algorithm, dtype):
    x, w, b, _ = case.arrays(seed=15, dtype=dtype)
    options = {**case.options, "algorithm": algorithm.name}
    assert_same_bytes(fc.conv2d(x, w, **options), fc.conv2d(x, w, b * 0, **options))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("case, algorithm, dtype", served("forward", (*KINDS_OF_LAYER, Case(n=1, h=5, w=6, c=65, o=17)), FLOATS))
def test_fused_activation(case, algorithm, dtype, activation):
    """No activation here is steeper than 1: its error is at most that of the convolution, and a few roundings of its own."""
    x, w, b, _ = case.arrays(seed=16, dtype=dtype)
    wanted = getattr(oracle, activation)(oracle.conv2d(x, w, b, **case.options))
    size = oracle.conv2d(abs(x), abs(w), abs(b), **case.options)
    terms = bounds.allowed_terms(case, algorithm, "forward", np.prod(case.w_shape[:3]) + 1)
    y = fc.conv2d(x, w, b, **case.options, activation=activation, algorithm=algorithm.name)
    bounds.assert_within(y, wanted, terms * size + 8 * abs(wanted), 1)


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", KINDS_OF_LAYER))
def test_fused_activation_is_the_activation_of_the_result(case, algorithm, dtype):
    x, w, b, _ = case.arrays(seed=17, dtype=dtype)
    options = {**case.options, "algorithm": algorithm.name}
    fused = fc.conv2d(x, w, b, activation="relu", **options)
    assert_same_bytes(fused, fc.relu(fc.conv2d(x, w, b, **options)))
    assert (fused == 0).any() and (fused > 0).any()


def test_depthwise_tiles_are_made_once():
    from fastconv.kernels import tile

    w = np.ones((3, 3, 1, 8), np.float32)
    options = {"groups": 8, "padding": "same", "algorithm": "depthwise"}
    fc.conv2d(np.ones((1, 12, 12, 8), np.float32), w, **options)
    known = len(tile.KEEP)
    fc.conv2d(np.ones((2, 13, 11, 8), np.float32), w, **options)
    assert len(tile.KEEP) == known
