"""What convolution is, whatever the numbers: linear, shift equivariant, with an adjoint, a matrix; flipped, a commutative ring.

All values are small whole numbers, so that every sum is exact and both sides must be equal, not only close.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from cases import Case
from fastconv import plans
from random_cases import is_valid
from routes import growth

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=40, database=None)
settings.load_profile("repeatable")

SEEDS = st.integers(0, 2**32 - 1)
ALGORITHMS = st.sampled_from([algorithm.name for algorithm in plans.ALGORITHMS if growth(algorithm) == 1])
pairs = lambda least, most: st.tuples(st.integers(least, most), st.integers(least, most))  # noqa: E731


def willing(function):
    """The function, with "auto" in place of an algorithm that refuses the call; for float64 that multiplies and adds, too."""

    def call(*arguments, algorithm="auto", **options):
        try:
            return function(*arguments, **options, algorithm=algorithm)
        except fc.OptionError:
            return function(*arguments, **options)

    return call


conv2d, input_grad, weight_grad = map(willing, (fc.conv2d, fc.conv2d_input_grad, fc.conv2d_weight_grad))


@st.composite
def cases(draw, strides=(1, 3)):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    case = Case(
        n=draw(st.integers(0, 3)),
        h=draw(st.integers(1, 9)),
        w=draw(st.integers(1, 9)),
        c=groups * draw(st.integers(1, 4)),
        o=groups * draw(st.integers(1, 4)),
        k=draw(pairs(1, 4)),
        stride=draw(pairs(*strides)),
        padding=draw(st.one_of(st.sampled_from(["valid", "same", "full"]), st.tuples(pairs(0, 3), pairs(0, 3)))),
        dilation=draw(pairs(1, 2)),
        groups=groups,
        pad_mode=draw(st.sampled_from(["constant", "reflect", "replicate", "circular"])),
        flip=draw(st.booleans()),
    )
    if not is_valid(case):  # padding that always fits, instead of throwing the example away
        case = Case(**{**case.__dict__, "padding": "full", "pad_mode": "constant"})
    return case


def whole_numbers(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.integers(-4, 5, shape).astype(np.float64) for shape in shapes]


@given(cases(), SEEDS, ALGORITHMS)
def test_convolution_is_linear_in_images_and_in_filters(case, seed, algorithm):
    x1, x2, w1, w2 = whole_numbers(seed, case.x_shape, case.x_shape, case.w_shape, case.w_shape)
    conv = lambda x, w: conv2d(x, w, **case.options, algorithm=algorithm)  # noqa: E731
    np.testing.assert_array_equal(conv(3 * x1 - 2 * x2, w1), 3 * conv(x1, w1) - 2 * conv(x2, w1))
    np.testing.assert_array_equal(conv(x1, 3 * w1 - 2 * w2), 3 * conv(x1, w1) - 2 * conv(x1, w2))


@given(cases(), pairs(0, 4), SEEDS, ALGORITHMS)
def test_a_shifted_image_gives_a_shifted_result(case, shift, seed, algorithm):
    """A shift by `stride` pixels is one of one output; without padding nothing else moves."""
    options = {**case.options, "padding": "valid"}
    x, w = whole_numbers(seed, (case.n, case.h + 12, case.w + 12, case.c), case.w_shape)
    (a, b), (sh, sw) = shift, case.stride
    y = conv2d(x, w, **options, algorithm=algorithm)
    try:
        moved = conv2d(x[:, a * sh :, b * sw :], w, **options, algorithm=algorithm)
    except fc.ShapeError:
        assert y.shape[1] <= a or y.shape[2] <= b  # no window is left
        return
    np.testing.assert_array_equal(moved, y[:, a:, b:])


@given(cases(strides=(1, 1)), pairs(-9, 9), SEEDS, ALGORITHMS)
def test_circular_padding_makes_rotation_commute_with_convolution(case, shift, seed, algorithm):
    reach = [d * (k - 1) for d, k in zip(case.dilation, case.k, strict=True)]
    size = [max(n, r) for n, r in zip((case.h, case.w), reach, strict=True)]  # circular padding shows a pixel once a side
    options = {**case.options, "padding": ((0, reach[0]), (0, reach[1])), "pad_mode": "circular"}
    x, w = whole_numbers(seed, (case.n, *size, case.c), case.w_shape)
    turned = conv2d(np.roll(x, shift, axis=(1, 2)), w, **options, algorithm=algorithm)
    np.testing.assert_array_equal(turned, np.roll(conv2d(x, w, **options, algorithm=algorithm), shift, axis=(1, 2)))


@given(cases(), SEEDS, ALGORITHMS)
def test_both_gradients_are_adjoints(case, seed, algorithm):
    """<conv(x, w), dy> = <x, input_grad(dy)> = <w, weight_grad(dy)>"""
    x, w, dy = whole_numbers(seed, case.x_shape, case.w_shape, case.y_shape)
    options = {**case.options, "algorithm": algorithm}
    product = (conv2d(x, w, **options) * dy).sum()
    assert (x * input_grad(dy, w, x.shape, **options)).sum() == product
    assert (w * weight_grad(dy, x, w.shape, **options)).sum() == product


@given(cases(), SEEDS)
def test_transposed_convolution_is_the_adjoint(case, seed):
    """<conv(x, w), y> = <x, transposed(y, w')>, w' with its kinds of channels exchanged; unread pixels are output_padding."""
    (sh, sw), (dh, dw), (kh, kw) = case.stride, case.dilation, case.k
    h, w = case.h + dh * (kh - 1), case.w + dw * (kw - 1)  # at least one window without padding
    extra = (case.h - 1) % sh, (case.w - 1) % sw
    x, weights = whole_numbers(seed, (case.n, h, w, case.c), case.w_shape)
    options = {"stride": case.stride, "dilation": case.dilation, "groups": case.groups}
    y = conv2d(x, weights, **options)
    dy = whole_numbers(seed + 1, y.shape)[0]
    parts = [np.swapaxes(part, 2, 3) for part in np.split(weights, case.groups, axis=3)]
    back = fc.conv2d_transpose(dy, np.concatenate(parts, axis=3), **options, output_padding=extra)
    assert back.shape == x.shape
    assert (back * x).sum() == (y * dy).sum()


@given(pairs(1, 7), pairs(1, 7), pairs(1, 5), SEEDS, ALGORITHMS)
def test_true_convolution_commutes_and_associates(size_a, size_b, size_c, seed, algorithm):
    a, b, c = whole_numbers(seed, size_a, size_b, size_c)
    conv = lambda u, v: conv2d(u, v, flip=True, padding="full", algorithm=algorithm)  # noqa: E731
    np.testing.assert_array_equal(conv(a, b), conv(b, a))
    np.testing.assert_array_equal(conv(conv(a, b), c), conv(a, conv(b, c)))
    one = np.ones((1, 1))
    np.testing.assert_array_equal(conv(a, one), a)


@given(cases(), SEEDS, ALGORITHMS)
def test_convolution_is_a_matrix_product(case, seed, algorithm):
    x, w, dy = whole_numbers(seed, case.x_shape, case.w_shape, case.y_shape)
    options = {**case.options, "algorithm": algorithm}
    matrix = fc.connection_matrix(w, case.x_shape[1:], **case.options)
    outputs, inputs = matrix.shape
    columns, slopes = x.reshape(case.n, inputs), dy.reshape(case.n, outputs)
    np.testing.assert_array_equal(conv2d(x, w, **options).reshape(case.n, outputs), columns @ matrix.T)
    np.testing.assert_array_equal(input_grad(dy, w, x.shape, **options).reshape(case.n, inputs), slopes @ matrix)


@given(cases(), SEEDS, ALGORITHMS)
def test_images_and_groups_do_not_mix(case, seed, algorithm):
    """A batch is its images one by one, groups are convolutions side by side."""
    x, w = whole_numbers(seed, case.x_shape, case.w_shape)
    options = {**case.options, "algorithm": algorithm}
    y = conv2d(x, w, **options)
    for n in range(case.n):
        np.testing.assert_array_equal(conv2d(x[n], w, **options), y[n])
    options["groups"] = 1
    images, filters = np.split(x, case.groups, axis=3), np.split(w, case.groups, axis=3)
    alone = [conv2d(part, filters, **options) for part, filters in zip(images, filters, strict=True)]
    np.testing.assert_array_equal(np.concatenate(alone, axis=3), y)


@given(pairs(1, 12), pairs(1, 4), pairs(1, 4), SEEDS)
def test_pooling_sums_keep_the_gradient(size, window, stride, seed):
    """All of dy arrives in dx: the maximum passes it on, the average shares it out."""
    x = whole_numbers(seed, (2, *(max(n, k) for n, k in zip(size, window, strict=True)), 3))[0]
    y = fc.max_pool2d(x, window, stride=stride)
    dy = whole_numbers(seed + 1, y.shape)[0]
    assert fc.max_pool2d_grad(dy, x, window, stride=stride).sum() == dy.sum()
    dx = fc.avg_pool2d_grad(dy, x, window, stride=stride)
    assert abs(dx.sum() - dy.sum()) <= 16 * np.finfo(float).eps * dx.size * abs(dy).sum()
    assert (fc.avg_pool2d(x, window, stride=stride) <= y).all()
