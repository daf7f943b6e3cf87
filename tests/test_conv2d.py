"""Convolution and its gradients: every algorithm, every option, every kind of array."""

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from cases import CASES, LARGE_CASES, TILE_CASES, Case
from fastconv import plans
from fastconv.errors import DTypeError
from fastconv.geometry import ConvGeometry

FLOATS = (np.float32, np.float64)
DIRECTIONS = ("forward", "input_grad", "weight_grad")
WITH_EVERY_ALGORITHM = pytest.mark.parametrize("algorithm", plans.ALGORITHMS, ids=lambda algorithm: algorithm.name)


def refusal(case, algorithm, direction, dtype=np.float32):
    """None, or why the algorithm cannot serve the case."""
    geo = ConvGeometry.of(case.x_shape, case.w_shape, **case.options)
    return getattr(algorithm, direction).fits(geo, np.dtype(dtype))


def served(direction, cases):
    """Every case with every algorithm that accepts it, for both dtypes."""
    return [
        pytest.param(case, algorithm, dtype, id=f"{algorithm.name}-{np.dtype(dtype)}-{case}")
        for algorithm in plans.ALGORITHMS
        for dtype in FLOATS
        for case in cases
        if refusal(case, algorithm, direction, dtype) is None
    ]


def run(case, direction, x, w, b, dy, **more):
    """One direction of one case through the public API."""
    if direction == "forward":
        return fc.conv2d(x, w, b, **case.options, **more)
    if direction == "input_grad":
        return fc.conv2d_input_grad(dy, w, case.x_shape, **case.options, **more)
    return fc.conv2d_weight_grad(dy, x, case.w_shape, **case.options, **more)


# ---- the promise of accuracy


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", CASES + TILE_CASES + LARGE_CASES))
def test_conv2d_agrees_with_float64(case, algorithm, dtype):
    x, w, b, _ = case.arrays(seed=7, dtype=dtype)
    y = fc.conv2d(x, w, b, **case.options, algorithm=algorithm.name)
    assert y.dtype == dtype
    bounds.assert_within(y, *bounds.conv2d(case, x, w, b), algorithm.forward.growth)


@pytest.mark.parametrize("case, algorithm, dtype", served("input_grad", CASES + TILE_CASES + LARGE_CASES))
def test_input_gradient_agrees_with_float64(case, algorithm, dtype):
    _, w, _, dy = case.arrays(seed=8, dtype=dtype)
    dx = fc.conv2d_input_grad(dy, w, case.x_shape, **case.options, algorithm=algorithm.name)
    assert dx.dtype == dtype
    bounds.assert_within(dx, *bounds.conv2d_input_grad(case, dy, w), algorithm.input_grad.growth)


@pytest.mark.parametrize("case, algorithm, dtype", served("weight_grad", CASES + TILE_CASES + LARGE_CASES))
def test_weight_gradient_agrees_with_float64(case, algorithm, dtype):
    x, _, _, dy = case.arrays(seed=9, dtype=dtype)
    dw = fc.conv2d_weight_grad(dy, x, case.w_shape, **case.options, algorithm=algorithm.name)
    assert dw.dtype == dtype
    bounds.assert_within(dw, *bounds.conv2d_weight_grad(case, dy, x), algorithm.weight_grad.growth)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bias_gradient_agrees_with_float64(case):
    dy = case.arrays(seed=10)[3]
    terms = dy.size // dy.shape[-1]
    bounds.assert_within(fc.conv2d_bias_grad(dy), oracle.conv2d_bias_grad(dy), oracle.conv2d_bias_grad(abs(dy)), terms)


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("case", CASES + TILE_CASES + LARGE_CASES, ids=str)
def test_small_whole_numbers_are_exact(case, algorithm):
    """Sums of small whole numbers do not round, so that every algorithm that only multiplies and adds is exact."""
    x, w, b, dy = case.whole_arrays(seed=11)
    exact = {
        "forward": oracle.conv2d(x, w, b, **case.options),
        "input_grad": oracle.conv2d_input_grad(dy, w, case.x_shape, **case.options),
        "weight_grad": oracle.conv2d_weight_grad(dy, x, case.w_shape, **case.options),
    }
    for direction, wanted in exact.items():
        if refusal(case, algorithm, direction) is None and getattr(algorithm, direction).growth == 1:
            np.testing.assert_array_equal(run(case, direction, x, w, b, dy, algorithm=algorithm.name), wanted, direction)


# ---- the choice of an algorithm


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_auto_runs_what_plan_says(case, direction):
    arrays = case.arrays(seed=12)
    plan = fc.plan(case.x_shape, case.w_shape, **case.options, dtype="float32", direction=direction)
    assert_same_bytes(run(case, direction, *arrays), run(case, direction, *arrays, algorithm=plan.algorithm))
    others = {algorithm.name for algorithm in plans.ALGORITHMS} - {plan.algorithm}
    assert {name for name, reason in plan.refused if reason} == others


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_algorithm_that_cannot_serve_the_call_says_why(algorithm, direction):
    for case in CASES:
        reason = refusal(case, algorithm, direction)
        if reason:
            with pytest.raises(ValueError) as error:
                run(case, direction, *case.arrays(seed=13), algorithm=algorithm.name)
            assert reason in str(error.value)


def test_an_unknown_algorithm_is_refused_with_the_known_names():
    x, w, _, _ = Case().arrays(seed=14)
    with pytest.raises(ValueError) as error:
        fc.conv2d(x, w, algorithm="magic")
    assert all(algorithm.name in str(error.value) for algorithm in plans.ALGORITHMS)


# ---- bias and activation


@WITH_EVERY_ALGORITHM
def test_no_bias_is_a_bias_of_zero(algorithm):
    x, w, b, _ = Case().arrays(seed=15)
    assert_same_bytes(fc.conv2d(x, w, algorithm=algorithm.name), fc.conv2d(x, w, b * 0, algorithm=algorithm.name))


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    "case", [Case(), Case(c=4, o=6, groups=2, padding="same", stride=2), Case(n=1, h=5, w=6, c=65, o=17)], ids=str
)
def test_fused_activation(case, activation, algorithm):
    """No activation here is steeper than 1: its error is at most that of the convolution, and a few roundings of its own."""
    x, w, b, _ = case.arrays(seed=16)
    exact, size, terms = bounds.conv2d(case, x, w, b)
    wanted = getattr(oracle, activation)(exact)
    y = fc.conv2d(x, w, b, **case.options, activation=activation, algorithm=algorithm.name)
    bounds.assert_within(y, wanted, size * terms * algorithm.forward.growth + 8 * abs(wanted), 1)


@WITH_EVERY_ALGORITHM
def test_fused_activation_is_the_activation_of_the_result(algorithm):
    x, w, b, _ = Case().arrays(seed=17)
    fused = fc.conv2d(x, w, b, activation="relu", algorithm=algorithm.name)
    assert_same_bytes(fused, fc.relu(fc.conv2d(x, w, b, algorithm=algorithm.name)))
    assert (fused == 0).any() and (fused > 0).any()


# ---- out=


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", [Case(), Case(stride=3, k=(1, 1)), Case(padding=2, pad_mode="reflect"), Case(n=0)], ids=str)
def test_out_is_filled_and_returned(case, direction, algorithm):
    arrays = case.arrays(seed=18)
    wanted = run(case, direction, *arrays, algorithm=algorithm.name)
    out = np.full_like(wanted, np.nan)
    assert run(case, direction, *arrays, algorithm=algorithm.name, out=out) is out
    assert_same_bytes(out, wanted)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_out_of_another_shape_or_dtype_is_refused(direction):
    case = Case()
    arrays = case.arrays(seed=19)
    wanted = run(case, direction, *arrays)
    other_shapes = (*wanted.shape[:3], wanted.shape[3] + 1), wanted.shape[1:], (1, *wanted.shape), wanted.shape[::-1]
    for out in (np.zeros(wanted.shape, np.float64), *(np.zeros(s, np.float32) for s in other_shapes), wanted.tolist()):
        with pytest.raises((ValueError, TypeError)):
            run(case, direction, *arrays, out=out)
    wanted.flags.writeable = False
    with pytest.raises((ValueError, TypeError)):
        run(case, direction, *arrays, out=wanted)


def test_out_has_the_rank_and_the_layout_of_the_result():
    x, w = np.zeros((5, 6, 2), np.float32), np.zeros((3, 3, 2, 4), np.float32)
    with pytest.raises(ValueError):
        fc.conv2d(x, w, out=np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(ValueError):
        fc.conv2d_input_grad(np.zeros((3, 4, 4), np.float32), w, x.shape, out=np.zeros((1, 5, 6, 2), np.float32))
    with pytest.raises(ValueError):
        fc.conv2d(to_nchw(x[None]), to_oihw(w), layout="NCHW", out=np.zeros((1, 3, 4, 4), np.float32))


@WITH_EVERY_ALGORITHM
def test_out_may_be_an_input(algorithm):
    """The shapes are chosen so that x, w, y and dy are all alike; the bias is a row of the output."""
    case = Case(n=3, h=3, w=3, c=3, o=3, padding="same")
    arrays = case.arrays(seed=20)
    for direction in DIRECTIONS:
        wanted = run(case, direction, *arrays, algorithm=algorithm.name)
        for position in (0, 1, 3):
            x, w, b, dy = copies = [a.copy() for a in arrays]
            assert_same_bytes(run(case, direction, x, w, b, dy, algorithm=algorithm.name, out=copies[position]), wanted)
    x, w, b, dy = arrays
    wanted = fc.conv2d(x, w, b, **case.options, algorithm=algorithm.name)
    out = np.zeros_like(wanted)
    out[1, 1, 1] = b
    assert_same_bytes(fc.conv2d(x, w, out[1, 1, 1], **case.options, algorithm=algorithm.name, out=out), wanted)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_out_that_is_not_contiguous_is_filled(direction):
    case = Case(padding=1)
    arrays = case.arrays(seed=36)
    wanted = run(case, direction, *arrays)
    out = np.full([2 * n for n in wanted.shape], np.nan, np.float32)[::2, ::-2, 1::2, ::2]
    assert run(case, direction, *arrays, out=out) is out
    assert_same_bytes(out, wanted)


# ---- rank and layout


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": "same"}, {"padding": ((1, 2), (0, 3)), "flip": True}], ids=str)
def test_a_single_image_and_a_plane_keep_their_rank(options):
    case = Case(n=1, c=1, o=1, k=(2, 3), **options)
    x, w, _, dy = case.whole_arrays(seed=21)
    y, dx, dw = (run(case, direction, x, w, None, dy) for direction in DIRECTIONS)
    np.testing.assert_array_equal(fc.conv2d(x[0], w, **options), y[0], strict=True)
    np.testing.assert_array_equal(fc.conv2d_input_grad(dy[0], w, x[0].shape, **options), dx[0], strict=True)
    np.testing.assert_array_equal(fc.conv2d_weight_grad(dy[0], x[0], w.shape, **options), dw, strict=True)
    plane, kernel, slope = x[0, :, :, 0], w[:, :, 0, 0], dy[0, :, :, 0]
    np.testing.assert_array_equal(fc.conv2d(plane, kernel, **options), y[0, :, :, 0], strict=True)
    np.testing.assert_array_equal(fc.conv2d_input_grad(slope, kernel, plane.shape, **options), dx[0, :, :, 0], strict=True)
    np.testing.assert_array_equal(fc.conv2d_weight_grad(slope, plane, kernel.shape, **options), dw[:, :, 0, 0], strict=True)


def test_a_single_image_of_several_channels():
    case = Case(n=1)
    x, w, b, dy = case.arrays(seed=22)
    np.testing.assert_array_equal(fc.conv2d(x[0], w, b), fc.conv2d(x, w, b)[0], strict=True)
    np.testing.assert_array_equal(
        fc.conv2d_input_grad(dy[0], w, x.shape[1:]), fc.conv2d_input_grad(dy, w, x.shape)[0], strict=True
    )


@pytest.mark.parametrize("case", [Case(), Case(c=4, o=8, groups=4, k=(2, 3), stride=(2, 1), padding=((1, 2), (0, 3)))], ids=str)
def test_nchw_is_the_same_numbers_in_another_order(case):
    x, w, b, dy = case.arrays(seed=23)
    y, dx, dw = (run(case, direction, x, w, b, dy) for direction in DIRECTIONS)
    options = {**case.options, "layout": "NCHW"}
    x, dy, w = to_nchw(x), to_nchw(dy), to_oihw(w)
    assert_same_bytes(fc.conv2d(x, w, b, **options), to_nchw(y))
    assert_same_bytes(fc.conv2d_input_grad(dy, w, x.shape, **options), to_nchw(dx))
    assert_same_bytes(fc.conv2d_weight_grad(dy, x, w.shape, **options), to_oihw(dw))
    out = np.full_like(to_nchw(y), np.nan)
    assert fc.conv2d(x, w, b, **options, out=out) is out
    assert_same_bytes(out, to_nchw(y))
    assert_same_bytes(fc.conv2d(x[1], w, b, **options), to_nchw(y)[1])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_out_in_nchw_when_all_sizes_are_alike(direction):
    """Nothing but `layout` tells the axes of a 3x3x3x3 result apart."""
    case = Case(n=3, h=3, w=3, c=3, o=3, padding="same")
    x, w, b, dy = case.arrays(seed=37)
    wanted = run(case, direction, x, w, b, dy)
    wanted = to_oihw(wanted) if direction == "weight_grad" else to_nchw(wanted)
    out = np.full_like(wanted, np.nan)
    x, w, dy = to_nchw(x), to_oihw(w), to_nchw(dy)
    assert run(case, direction, x, w, b, dy, layout="NCHW", out=out) is out
    assert_same_bytes(out, wanted)


def to_nchw(a):
    return np.ascontiguousarray(a.transpose(0, 3, 1, 2))


def to_oihw(w):
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))


# ---- prepared weights


@pytest.mark.parametrize("case", CASES, ids=str)
def test_prepared_weights_give_the_same_bytes(case):
    x, w, b, dy = case.arrays(seed=24)
    prepared = fc.prepare(w, case.x_shape, **case.options)
    assert_same_bytes(run(case, "forward", x, prepared, b, dy), run(case, "forward", x, w, b, dy))
    assert_same_bytes(run(case, "input_grad", x, prepared, b, dy), run(case, "input_grad", x, w, b, dy))


@WITH_EVERY_ALGORITHM
def test_prepared_weights_serve_every_batch_and_algorithm(algorithm):
    case = Case()
    x, w, b, _ = case.arrays(seed=25)
    prepared = fc.prepare(w, case.x_shape, algorithm=algorithm.name)
    for images in (x, x[:1], np.concatenate([x, x, x])):
        for name in ("auto", algorithm.name):
            y = fc.conv2d(images, prepared, b, algorithm=name)
            bounds.assert_within(y, *bounds.conv2d(case, images, w, b), algorithm.forward.growth)


def test_prepared_weights_serve_another_dtype_option_and_layout():
    case = Case(k=(2, 3))
    x, w, b, dy = case.arrays(seed=38)
    prepared = fc.prepare(w, case.x_shape)
    assert_same_bytes(fc.conv2d(x.astype(np.float64), prepared, b), fc.conv2d(x.astype(np.float64), w, b))
    for options in ({"flip": True}, {"stride": 2}, {"dilation": 2, "padding": 3}):
        assert_same_bytes(fc.conv2d(x, prepared, b, **options), fc.conv2d(x, w, b, **options))
    prepared = fc.prepare(to_oihw(w), to_nchw(x).shape, layout="NCHW")
    assert_same_bytes(fc.conv2d(to_nchw(x), prepared, b, layout="NCHW"), to_nchw(fc.conv2d(x, w, b)))
    dx = fc.conv2d_input_grad(to_nchw(dy), prepared, to_nchw(x).shape, layout="NCHW")
    assert_same_bytes(dx, to_nchw(fc.conv2d_input_grad(dy, w, x.shape)))


def test_prepared_weights_do_not_see_later_changes():
    case = Case()
    x, w, b, _ = case.arrays(seed=26)
    before, prepared = fc.conv2d(x, w, b), fc.prepare(w, case.x_shape)
    fc.conv2d(x, prepared, b)
    w[:] = 0
    assert_same_bytes(fc.conv2d(x, prepared, b), before)


# ---- kinds of arrays


def arrangements(a):
    """The same values in every way that NumPy can hold them."""
    spaced = np.full([2 * n for n in a.shape], np.nan, a.dtype)  # NaN between the values: reading one would show
    view = spaced[tuple(slice(1, None, 2) for _ in a.shape)]
    view[:] = a
    locked = a.copy()
    locked.flags.writeable = False
    shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    shifted[:] = a
    return {
        "read-only": locked,
        "strided": view,
        "reversed": a[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
        "Fortran": np.asfortranarray(a),
        "transposed": np.ascontiguousarray(a.transpose(3, 1, 0, 2)).transpose(2, 1, 3, 0),
        "unaligned": shifted,
        "big-endian": a.astype(a.dtype.newbyteorder(">")),
        "subclass": a.view(np.recarray),
    }


KINDS = ("read-only", "strided", "reversed", "Fortran", "transposed", "unaligned", "big-endian", "subclass")


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_arrangement_in_memory_gives_the_same_bytes(kind, direction, algorithm):
    case = Case(padding=1)
    x, w, b, dy = case.arrays(seed=27)
    wanted = run(case, direction, x, w, b, dy, algorithm=algorithm.name)
    x, w, dy = (arrangements(a)[kind] for a in (x, w, dy))
    got = run(case, direction, x, w, b, dy, algorithm=algorithm.name)
    assert_same_bytes(got, wanted)
    assert type(got) is np.ndarray and got.flags.c_contiguous and got.flags.writeable


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_broadcast_arrays(direction):
    case = Case(padding=1)
    arrays = [np.broadcast_to(a[:1, :1], a.shape) for a in case.arrays(seed=28) if a.ndim == 4]
    x, w, dy = arrays
    bias = np.broadcast_to(np.float32(0.5), case.o)
    copies = [a.copy() for a in (x, w, bias, dy)]
    assert_same_bytes(run(case, direction, x, w, bias, dy), run(case, direction, *copies))


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("case", [Case(), Case(padding=2, pad_mode="circular", flip=True), Case(h=7, w=4, k=(1, 1))], ids=str)
def test_inputs_are_never_changed_nor_handed_out(case, algorithm):
    arrays = case.arrays(seed=29)
    copies = [a.copy() for a in arrays]
    results = [run(case, direction, *arrays, algorithm=algorithm.name) for direction in DIRECTIONS]
    results += [run(case, "forward", *arrays, algorithm=algorithm.name, activation="relu"), fc.conv2d_bias_grad(arrays[3])]
    for array, copy in zip(arrays, copies, strict=True):
        assert_same_bytes(array, copy)
        assert not any(np.shares_memory(array, result) for result in results)


def test_two_calls_give_two_arrays():
    x, w, _, _ = Case().arrays(seed=30)
    assert not np.shares_memory(fc.conv2d(x, w), fc.conv2d(x, w))


@pytest.mark.parametrize(
    "stride", [3, [2, 1], np.int64(2), (np.int32(1), np.uint8(3))], ids=["int", "list", "NumPy int", "NumPy ints"]
)
def test_pairs_may_be_written_in_any_way(stride):
    x, w, _, _ = Case().arrays(seed=31)
    plain = tuple(int(s) for s in stride) if np.ndim(stride) else (int(stride), int(stride))
    assert_same_bytes(fc.conv2d(x, w, stride=stride), fc.conv2d(x, w, stride=plain))


# ---- dtypes


@pytest.mark.parametrize(
    "x_dtype, w_dtype, wanted",
    [
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("uint8", "float32", "float32"),
        ("uint8", "int8", "float32"),
        ("bool", "bool", "float32"),
        ("int16", "uint16", "float32"),
        ("float16", "float16", "float32"),
        ("int32", "float32", "float64"),
        ("int64", "int64", "float64"),
        ("uint32", "uint8", "float64"),
        ("uint64", "float16", "float64"),
        ("float32", "float64", "float64"),
        ("float64", "uint8", "float64"),
        (">i2", "<f4", "float32"),
    ],
)
def test_dtype_table(x_dtype, w_dtype, wanted):
    """result_type(x, w, float32), and never rescaled: bytes stay 0 to 255."""
    case = Case(padding=1)
    rng = np.random.default_rng(32)
    most = {"bool": 1}.get(x_dtype, 100)
    x, w = (rng.integers(0, most + 1, shape).astype(dtype) for shape, dtype in ((case.x_shape, x_dtype), (case.w_shape, w_dtype)))
    dy = rng.integers(0, 9, case.y_shape).astype(x_dtype)
    assert np.result_type(x, w, np.float32) == wanted
    for direction, exact in (
        ("forward", oracle.conv2d(x, w, **case.options)),
        ("input_grad", oracle.conv2d_input_grad(dy, w, x.shape, **case.options)),
        ("weight_grad", oracle.conv2d_weight_grad(dy, x.astype(w_dtype), w.shape, **case.options)),
    ):
        got = run(case, direction, x.astype(w_dtype) if direction == "weight_grad" else x, w, None, dy)
        assert got.dtype == wanted
        np.testing.assert_array_equal(got, exact)


@pytest.mark.parametrize(
    "refused",
    [
        np.ones((1, 4, 4, 2), complex),
        np.ones((1, 4, 4, 2), object),
        np.ma.masked_array(np.ones((1, 4, 4, 2)), mask=np.eye(4, dtype=bool)[None, :, :, None].repeat(2, 3)),
        np.ones((1, 4, 4, 2), "datetime64[s]"),
        np.full((1, 4, 4, 2), "1"),
        np.ones((1, 4, 4, 2), np.longdouble),
    ],
    ids=["complex", "object", "masked", "dates", "strings", "longdouble"],
)
def test_other_dtypes_are_refused(refused):
    good = np.ones((3, 3, 2, 1), np.float32)
    with pytest.raises(DTypeError):
        fc.conv2d(refused, good)
    with pytest.raises(DTypeError):
        fc.conv2d(np.ones((1, 9, 9, 2), np.float32), refused.reshape(4, 4, 2, 1))
    with pytest.raises(DTypeError):
        fc.conv2d_weight_grad(refused, np.ones((1, 6, 6, 2), np.float32), (3, 3, 2, 2))


# ---- numbers that are not finite


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_value_that_is_not_finite_stays_in_the_windows_that_see_it(algorithm, value):
    case = Case(n=1, h=5, w=6, c=2, o=3, k=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1)))
    x, w, b, _ = case.arrays(seed=33)
    for at in np.ndindex(*case.x_shape):
        one = np.zeros(case.x_shape)
        one[at] = 1
        spoiled = np.where(one, np.float32(value), x)
        seen = oracle.conv2d(one, np.ones(case.w_shape), **case.options) > 0
        y = fc.conv2d(spoiled, w, b, **case.options, algorithm=algorithm.name)
        np.testing.assert_array_equal(~np.isfinite(y), seen)


@WITH_EVERY_ALGORITHM
def test_a_nan_in_the_gradient_stays_in_the_window_it_came_from(algorithm):
    case = Case(n=1, h=5, w=6, c=2, o=3, k=(3, 2), stride=(1, 2), padding=((1, 0), (0, 1)))
    x, w, b, dy = case.arrays(seed=34)
    for at in np.ndindex(*case.y_shape):
        one = np.zeros(case.y_shape)
        one[at] = 1
        spoiled = np.where(one, np.float32(np.nan), dy)
        seen = oracle.conv2d_input_grad(one, np.ones(case.w_shape), x.shape, **case.options) > 0
        np.testing.assert_array_equal(np.isnan(run(case, "input_grad", x, w, b, spoiled, algorithm=algorithm.name)), seen)
        dw = run(case, "weight_grad", x, w, b, spoiled, algorithm=algorithm.name)
        others = [o for o in range(case.o) if o != at[3]]
        assert np.isfinite(dw[..., others]).all()


@WITH_EVERY_ALGORITHM
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_a_nan_survives_the_fused_activation(algorithm, activation):
    x, w, b, _ = Case().arrays(seed=35)
    x[0, 4, 4, 0] = np.nan
    plain, fused = (
        fc.conv2d(x, w, b, algorithm=algorithm.name),
        fc.conv2d(x, w, b, algorithm=algorithm.name, activation=activation),
    )
    np.testing.assert_array_equal(np.isnan(fused), np.isnan(plain))
    assert np.isnan(fused).any()


def assert_same_bytes(got, wanted):
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    differ = np.ascontiguousarray(got).view(np.uint8) != np.ascontiguousarray(wanted).view(np.uint8)
    assert not differ.any(), f"{differ.sum()} of {differ.size} bytes differ"
