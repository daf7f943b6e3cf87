"""The worked examples, golden vectors and counts that lectures print, through the public API; where one slips, the true value."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import plans
from fastconv.geometry import (
    ConvGeometry,
    conv_formula,
    conv_parameters,
    dense_formula,
    dense_parameters,
    output_size,
    receptive_field,
)
from routes import growth

A = [[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]]
STEP = [[10, 10, 10, 0, 0, 0]] * 6
BLOCKS = [[10, 10, 10, 0, 0, 0]] * 3 + [[0, 0, 0, 10, 10, 10]] * 3
VERTICAL = [[1, 0, -1]] * 3
HORIZONTAL = [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]
SOBEL = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
SCHARR = [[3, 0, -3], [10, 0, -10], [3, 0, -3]]
S = [
    [2, 3, 7, 4, 6, 2, 9],
    [6, 6, 9, 8, 7, 4, 3],
    [3, 4, 8, 3, 8, 9, 7],
    [7, 8, 3, 6, 6, 3, 4],
    [4, 2, 1, 8, 3, 4, 6],
    [3, 2, 4, 1, 9, 8, 3],
    [0, 1, 3, 9, 2, 1, 4],
]
F = [[3, 4, 4], [1, 0, 2], [-1, 0, 3]]
TRUE = [[3, 4, 5], [1, 0, 2], [-1, 9, 7]]
ROTATED = [[7, 9, -1], [2, 0, 1], [5, 4, 3]]
A_SAME = [
    [-5, -5, -6, -1, 6, 10],
    [-12, -5, -4, 0, 8, 11],
    [-13, -10, -2, 2, 3, 11],
    [-10, 0, -2, -4, -7, 10],
    [-7, -3, -2, -3, -16, 12],
    [-6, 0, -2, 1, -9, 5],
]
CORRELATED = [[166, 168, 165, 194], [192, 165, 211, 162], [99, 142, 183, 145], [117, 125, 138, 209]]
CONVOLVED = [[110, 161, 180, 174], [177, 196, 209, 193], [97, 157, 133, 163], [162, 118, 125, 178]]
STRIDE_1 = [[91, 80, 100, 84, 88], [99, 106, 126, 92, 77], [69, 98, 91, 93, 117], [80, 79, 87, 93, 61], [44, 72, 72, 63, 74]]
S6 = [row[:6] for row in S[:6]]
MIRRORED = [row[::-1] for row in STEP]

EXAMPLES = {
    "vertical edge": (A, VERTICAL, {}, [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]),
    "vertical edge, same": (A, VERTICAL, {"padding": "same"}, A_SAME),
    "bright to dark": (STEP, VERTICAL, {}, [[0, 30, 30, 0]] * 4),
    "dark to bright": (MIRRORED, VERTICAL, {}, [[0, -30, -30, 0]] * 4),
    "horizontal edge": (BLOCKS, HORIZONTAL, {}, [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]),
    "Sobel": (A, SOBEL, {}, [[-12, -8, 5, 16], [-10, 0, 3, 5], [-3, -2, -8, -14], [0, -6, -4, -18]]),
    "Sobel on the step": (STEP, SOBEL, {}, [[0, 40, 40, 0]] * 4),
    "Scharr": (A, SCHARR, {}, [[-64, -40, 35, 80], [-30, 8, 13, 23], [-21, -6, -40, -70], [12, -34, -16, -62]]),
    "Scharr on the step": (STEP, SCHARR, {}, [[0, 160, 160, 0]] * 4),
    "stride 2": (S, F, {"stride": 2}, [[91, 100, 88], [69, 91, 117], [44, 72, 74]]),
    "stride 1": (S, F, {}, STRIDE_1),
    "correlation": (S6, TRUE, {}, CORRELATED),
    "true convolution": (S6, TRUE, {"flip": True}, CONVOLVED),
    "rotated by hand": (S6, ROTATED, {}, CONVOLVED),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES.keys())
def test_worked_convolutions(example):
    """Whole numbers: exact, but for rounding in algorithms that do more than multiply and add."""
    image, kernel, options, wanted = example
    image, kernel = np.array(image), np.array(kernel)
    np.testing.assert_array_equal(fc.conv2d(image, kernel, **options), np.array(wanted, np.float64), strict=True)
    bytes_, small = image.astype(np.uint8), kernel.astype(np.int8)
    most = fc.conv2d(image, abs(kernel), **options).max()  # an algorithm of tiles rounds by its largest element
    geo = ConvGeometry.of((1, *image.shape, 1), (*kernel.shape, 1, 1), **options)
    for algorithm in plans.ALGORITHMS:
        if algorithm.forward.fits(geo, np.dtype(np.float32)) is None:
            y = fc.conv2d(bytes_, small, **options, algorithm=algorithm.name)
            rounding = growth(algorithm) * kernel.size * np.finfo(np.float32).eps * most if growth(algorithm) > 1 else 0
            assert y.dtype == np.float32 and (abs(y - wanted) <= rounding).all(), algorithm.name


EDGES = {"vertical": VERTICAL, "horizontal": HORIZONTAL, "sobel_x": SOBEL, "scharr_x": SCHARR}


@pytest.mark.parametrize("name", EDGES)
def test_named_edge_filters_are_those_of_the_course(name):
    np.testing.assert_array_equal(getattr(fc.edges, name), EDGES[name])


def test_worked_pools():
    course = [[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]]
    np.testing.assert_array_equal(fc.max_pool2d(np.array(course), 2, stride=2), [[9, 2], [6, 3]])
    larger = [[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]]
    np.testing.assert_array_equal(fc.max_pool2d(np.array(larger), 3, stride=1), [[9, 9, 5], [9, 9, 5], [8, 6, 9]])
    course[2][1] = 4
    np.testing.assert_array_equal(fc.avg_pool2d(np.array(course), 2, stride=2), [[3.75, 1.25], [4, 2]])


# ---- golden vectors of two course notebooks


def cs231n(shape, low, high):
    return np.linspace(low, high, num=np.prod(shape)).reshape(shape)


def test_cs231n_convolution():
    x, w, b = cs231n((2, 3, 4, 4), -0.1, 0.5), cs231n((3, 3, 4, 4), -0.2, 0.3), np.linspace(-0.1, 0.2, 3)
    out = fc.conv2d(x, w, b, stride=2, padding=1, layout="NCHW")
    assert out.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(out[0, 0], [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]], atol=5e-9)
    np.testing.assert_allclose(out[1, 2], [[2.36270298, 2.36904306], [2.38090835, 2.38247847]], atol=5e-9)


def test_cs231n_max_pool():
    out = fc.max_pool2d(cs231n((2, 3, 4, 4), -0.3, 0.4), 2, stride=2, layout="NCHW")
    assert out.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(out[0, 0], [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]], atol=5e-9)
    np.testing.assert_allclose(out[1, 2], [[0.32631579, 0.34105263], [0.38526316, 0.4]], atol=5e-9)


def test_course_notebook_forward_and_backward():
    np.random.seed(1)  # the notebook's own numbers come from the legacy generator
    x, w, b = np.random.randn(10, 4, 4, 3), np.random.randn(2, 2, 3, 8), np.random.randn(1, 1, 1, 8)
    options = {"stride": 2, "padding": 2}
    z = fc.conv2d(x, w, b.reshape(8), **options)
    assert z.shape == (10, 4, 4, 8)
    np.testing.assert_allclose(z.mean(), 0.0489952035289, rtol=1e-10)
    golden = [-0.61490741, -6.7439236, -2.55153897, 1.75698377, 3.56208902, 0.53036437, 5.18531798, 8.75898442]
    np.testing.assert_allclose(z[3, 2, 1], golden, atol=5e-9)
    np.testing.assert_allclose(fc.conv2d_input_grad(z, w, x.shape, **options).mean(), 1.45243777754, rtol=1e-11)
    np.testing.assert_allclose(fc.conv2d_weight_grad(z, x, w.shape, **options).mean(), 1.72699145831, rtol=1e-11)
    np.testing.assert_allclose(fc.conv2d_bias_grad(z).mean(), 7.83923256462, rtol=1e-11)


# ---- shapes and counts


@pytest.mark.parametrize("size", [6, 1000, 5000])
def test_ten_filters_have_280_parameters_for_every_image(size):
    assert ConvGeometry.of((1, size, size, 3), (3, 3, 3, 10)).parameters() == 280


def test_parameters_as_formula_and_number():
    assert conv_parameters(3, 3, 3, 10) == 280 and conv_formula(3, 3, 3, 10) == "(3·3·3 + 1)·10"
    assert conv_parameters(3, 3, 8, 10, groups=2) == (3 * 3 * 4 + 1) * 10
    assert conv_parameters(5, 5, 3, 6) == 456  # a lecture prints 156: it forgets the three input channels
    assert conv_parameters(5, 5, 3, 64, bias=False) == 4_800 and conv_parameters(5, 5, 3, 64) == 4_864
    assert conv_parameters(1, 1, 64, 32) == 2_080
    assert dense_parameters(3072, 4704, bias=False) == 14_450_688
    assert dense_parameters(32 * 32 * 3, 28 * 28 * 64, bias=False) == 154_140_672
    assert dense_parameters(1000 * 1000 * 3, 1000, bias=False) == 3_000_000_000
    assert 154_140_672 // 4_800 == 32_112 and round(154_140_672 / 4_800) == 32_113
    assert dense_parameters(400, 120) == 48_120 and dense_formula(400, 120) == "(400 + 1)·120"


SIZES = [
    # n, f, s, (before, after), d, output
    (6, 3, 1, (0, 0), 1, 4),
    (32, 5, 1, (0, 0), 1, 28),
    (7, 3, 2, (0, 0), 1, 3),
    (6, 3, 2, (0, 0), 1, 2),  # floor: the last column is not read
    (227, 11, 4, (0, 0), 1, 55),
    (224, 11, 4, (0, 0), 1, 54),  # AlexNet's paper says 224 and 55
    (225, 7, 2, (0, 0), 1, 110),
    (19, 5, 1, (2, 2), 1, 19),
    (10, 3, 1, (0, 0), 2, 6),
    (9, 3, 2, (1, 2), 3, 3),
]


@pytest.mark.parametrize("n, f, s, pad, d, wanted", SIZES)
def test_output_sizes(n, f, s, pad, d, wanted):
    assert output_size(n, f, stride=s, pad=pad, dilation=d) == wanted
    x, w = np.zeros((1, n, 40, 1), np.uint8), np.zeros((f, 1, 1, 1), np.uint8)
    assert fc.conv2d(x, w, stride=s, padding=(pad, (0, 0)), dilation=d).shape[1] == wanted


@pytest.mark.parametrize("f, pad", [(3, (1, 1)), (5, (2, 2)), (7, (3, 3)), (2, (0, 1)), (4, (1, 2))])
def test_same_padding_of_stride_1(f, pad):
    assert ConvGeometry.of((1, 9, 9, 1), (f, f, 1, 1), padding="same").pads == (pad, pad)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_gives_the_size_over_the_stride_rounded_up(stride, dilation):
    for n in range(1, 13):
        for f in range(1, 6):
            geo = ConvGeometry.of((1, n, 2 * n, 1), (f, 2, 1, 1), padding="same", stride=stride, dilation=dilation)
            assert (geo.p, geo.q) == (-(-n // stride), -(-2 * n // stride))
            for before, after in geo.pads:
                assert after - before in (0, 1)  # the odd pixel goes after
            assert geo.pads[0][0] + geo.pads[0][1] == max((geo.p - 1) * stride + dilation * (f - 1) + 1 - n, 0)


def test_a_volume_with_two_filters():
    x, w = np.zeros((6, 6, 3), np.float32), np.zeros((3, 3, 3, 2), np.float32)
    assert fc.conv2d(x, w).shape == (4, 4, 2)
    assert ConvGeometry.of((1, 56, 56, 64), (1, 1, 64, 32)).y_shape == (1, 56, 56, 32)


def test_the_simple_net_on_39_pixels():
    shape, sizes, macs, parameters = (1, 39, 39, 3), [], [], []
    for f, s, filters in ((3, 1, 10), (5, 2, 20), (5, 2, 40)):
        geo = ConvGeometry.of(shape, (f, f, shape[3], filters), stride=s)
        shape = geo.y_shape
        sizes.append(shape[1:])
        macs.append(geo.macs)
        parameters.append(geo.parameters())
    assert sizes == [(37, 37, 10), (17, 17, 20), (7, 7, 40)] and np.prod(shape) == 1_960
    assert macs == [369_630, 1_445_000, 980_000]
    assert parameters == [280, 5_020, 20_040]


def test_sparse_connection_and_shared_weights():
    """An output of a 3x3 filter on 6x6 pixels depends on 9 of the 36 inputs, with the same 9 weights in every row."""
    matrix = fc.connection_matrix(np.arange(1.0, 10).reshape(3, 3), (6, 6))
    assert matrix.shape == (16, 36)
    for row in matrix:
        np.testing.assert_array_equal(row[row != 0], np.arange(1, 10))


CONV3, POOL2 = (3, 1, 1, 1), (2, 2, 1, 0)
FIELDS = {
    "LeNet to its second pool": ([(5, 1, 1, 0), POOL2, (5, 1, 1, 0), POOL2], 16),
    "AlexNet to its last pool": (
        [(11, 4, 1, 0), (3, 2, 1, 0), (5, 1, 1, 2), (3, 2, 1, 0), CONV3, CONV3, CONV3, (3, 2, 1, 0)],
        195,
    ),
    "VGG-16 to its last pool": ([CONV3, CONV3, POOL2] * 2 + [CONV3, CONV3, CONV3, POOL2] * 3, 212),
}


@pytest.mark.parametrize("layers, size", FIELDS.values(), ids=FIELDS.keys())
def test_receptive_fields(layers, size):
    assert receptive_field(layers).size == size


def test_receptive_field_is_what_a_nudge_reaches():
    """Unit u reads the pixels start + u * jump ... + size - 1: no other pixel changes it."""
    layers = [(3, 2, 1, 1), (2, 1, 2, 0), (3, 2, 1, 2)]
    field = receptive_field(layers)
    base = chain(np.zeros((1, 41)), layers)
    for pixel in range(41):
        nudged = np.zeros((1, 41))
        nudged[0, pixel] = 1
        changed = {int(u) for u in np.flatnonzero(chain(nudged, layers) != base)}
        seen = {u for u in range(base.size) if 0 <= pixel - field.start - u * field.jump < field.size}
        assert changed <= seen
        if pixel == field.start + 3 * field.jump or pixel == field.start + 3 * field.jump + field.size - 1:
            assert 3 in changed


def chain(x, layers):
    for k, s, d, p in layers:
        x = fc.conv2d(x, np.ones((1, k)), stride=(1, s), dilation=(1, d), padding=((0, 0), (p, p)))
    return x[0]


def test_pixels_that_no_window_reads():
    assert ConvGeometry.of((1, 6, 8, 1), (3, 3, 1, 1), stride=2).unread == (1, 1)
    assert ConvGeometry.of((1, 7, 9, 1), (3, 3, 1, 1), stride=(2, 3)).unread == (0, 0)
    assert ConvGeometry.of((1, 10, 9, 1), (2, 3, 1, 1), stride=(3, 1)).unread == (2, 0)
