"""Every kind of array that convolution takes and gives: rank, layout, memory, `out=`, dtype."""

import numpy as np
import pytest

import fastconv as fc
import oracle
from bounds import assert_same_bytes
from cases import KINDS_OF_LAYER, Case
from fastconv.errors import DTypeError
from routes import DIRECTIONS, run, served, served_every_way, to_nchw, to_oihw

# ---- out=


SKIPPED_PIXELS = Case(stride=3, k=(1, 1))


@pytest.mark.parametrize(
    "case, direction, algorithm",
    served_every_way(
        (*KINDS_OF_LAYER, SKIPPED_PIXELS, Case(padding=2, pad_mode="reflect"), Case(n=0), Case(n=0, c=3, o=3, groups=3))
    ),
)
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


ALL_ALIKE = Case(n=3, h=3, w=3, c=3, o=3, padding="same")  # x, w, y and dy have the same shape


@pytest.mark.parametrize("case, direction, algorithm", served_every_way((ALL_ALIKE, Case(c=6, o=6, groups=6, padding=1))))
def test_out_may_be_an_input(case, direction, algorithm):
    arrays = case.arrays(seed=20)
    wanted = run(case, direction, *arrays, algorithm=algorithm.name)
    for position in (0, 1, 3):
        if arrays[position].shape == wanted.shape:
            x, w, b, dy = copies = [a.copy() for a in arrays]
            assert_same_bytes(run(case, direction, x, w, b, dy, algorithm=algorithm.name, out=copies[position]), wanted)


@pytest.mark.parametrize("case, algorithm, dtype", served("forward", KINDS_OF_LAYER))
def test_the_bias_may_lie_in_out(case, algorithm, dtype):
    x, w, b, _ = case.arrays(seed=40, dtype=dtype)
    options = {**case.options, "algorithm": algorithm.name}
    wanted = fc.conv2d(x, w, b, **options)
    out = np.zeros_like(wanted)
    out[0, 0, 0] = b
    assert_same_bytes(fc.conv2d(x, w, out[0, 0, 0], **options, out=out), wanted)


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
    case = ALL_ALIKE
    x, w, b, dy = case.arrays(seed=37)
    wanted = run(case, direction, x, w, b, dy)
    wanted = to_oihw(wanted) if direction == "weight_grad" else to_nchw(wanted)
    out = np.full_like(wanted, np.nan)
    x, w, dy = to_nchw(x), to_oihw(w), to_nchw(dy)
    assert run(case, direction, x, w, b, dy, layout="NCHW", out=out) is out
    assert_same_bytes(out, wanted)


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


@pytest.mark.parametrize("case, direction, algorithm", served_every_way((KINDS_OF_LAYER[0], KINDS_OF_LAYER[2])))
@pytest.mark.parametrize("kind", KINDS)
def test_every_arrangement_in_memory_gives_the_same_bytes(kind, case, direction, algorithm):
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


@pytest.mark.parametrize("case, direction, algorithm", served_every_way((*KINDS_OF_LAYER, Case(h=5, w=6, k=(5, 6)))))
def test_inputs_are_never_changed_nor_handed_out(case, direction, algorithm):
    arrays = case.arrays(seed=29)
    copies = [a.copy() for a in arrays]
    results = [run(case, direction, *arrays, algorithm=algorithm.name), fc.conv2d_bias_grad(arrays[3])]
    if direction == "forward":
        results.append(run(case, direction, *arrays, algorithm=algorithm.name, activation="relu"))
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
