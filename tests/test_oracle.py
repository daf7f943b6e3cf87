"""The oracle itself, against seven plain loops, and against PyTorch and SciPy where they are installed."""

import numpy as np
import pytest

import oracle
from cases import CASES, Case
from pool_cases import POOL_CASES

TINY = (
    Case(n=2, h=3, w=4, c=2, o=3, k=(2, 3), padding=((1, 0), (2, 1))),
    Case(n=1, h=4, w=5, c=4, o=2, k=(3, 2), stride=(2, 1), padding="same", groups=2),
    Case(n=1, h=5, w=4, c=2, o=4, k=(2, 2), dilation=(2, 1), padding="full", groups=2, flip=True),
    Case(n=1, h=3, w=4, c=1, o=2, k=(2, 2), padding=((2, 1), (1, 3)), pad_mode="reflect"),
    Case(n=1, h=3, w=2, c=1, o=2, k=(3, 2), padding=((2, 1), (1, 2)), pad_mode="replicate", flip=True),
    Case(n=1, h=3, w=4, c=1, o=1, k=(2, 3), padding=((3, 2), (0, 4)), pad_mode="circular", stride=2),
    Case(n=1, h=4, w=3, c=2, o=2, k=(3, 3), padding="same", stride=3),
    Case(n=1, h=5, w=6, c=1, o=1, k=(4, 2), padding="same", stride=(1, 2), dilation=(1, 2)),
)

# (before, after) of both axes, counted by hand
PADS_BY_HAND = {
    TINY[0]: ((1, 0), (2, 1)),
    TINY[1]: ((0, 1), (0, 1)),  # 4 -> 2 rows of 3 taps, 5 -> 5 columns of 2 taps
    TINY[2]: ((2, 2), (1, 1)),
    TINY[3]: ((2, 1), (1, 3)),
    TINY[4]: ((2, 1), (1, 2)),
    TINY[5]: ((3, 2), (0, 4)),
    TINY[6]: ((1, 1), (0, 0)),  # 4 -> 2 rows: 3 + 3 = 6 pixels; 3 -> 1 column
    TINY[7]: ((1, 2), (0, 1)),  # 5 -> 5 rows of 4 taps; 6 -> 3 columns: 2 * 2 + 3 = 7 pixels
}


def shown_pixel(position, size, mode):
    """Walk from outside to the pixel shown, one step at a time; None: zero."""
    while not 0 <= position < size:
        if mode == "constant":
            return None
        if mode == "circular":
            position += size if position < 0 else -size
        if mode == "replicate":
            position += 1 if position < 0 else -1
        if mode == "reflect":
            position = -position if position < 0 else 2 * (size - 1) - position
    return position


def seven_loops(case):
    """Every product of the convolution: indices (n, p, q, o), (n, h, w, c) and (i, j, c in the group, o)."""
    (top, _), (left, _) = PADS_BY_HAND[case]
    (sh, sw), (dh, dw) = oracle.pair(case.stride), oracle.pair(case.dilation)
    kh, kw, group_in, _ = case.w_shape
    for n in range(case.n):
        for p in range(case.y_shape[1]):
            for q in range(case.y_shape[2]):
                for o in range(case.o):
                    for i in range(kh):
                        for j in range(kw):
                            for c in range(group_in):
                                row = shown_pixel(p * sh + i * dh - top, case.h, case.pad_mode)
                                col = shown_pixel(q * sw + j * dw - left, case.w, case.pad_mode)
                                if row is None or col is None:
                                    continue
                                group = o * case.groups // case.o
                                tap = (kh - 1 - i, kw - 1 - j) if case.flip else (i, j)
                                yield (n, p, q, o), (n, row, col, group * group_in + c), (*tap, c, o)


@pytest.mark.parametrize("case", TINY, ids=str)
def test_oracle_agrees_with_seven_loops(case):
    x, w, b, dy = case.arrays(seed=1, dtype=np.float64)
    y, dx, dw = np.zeros(case.y_shape) + b, np.zeros(case.x_shape), np.zeros(case.w_shape)
    for at_y, at_x, at_w in seven_loops(case):
        y[at_y] += x[at_x] * w[at_w]
        dx[at_x] += dy[at_y] * w[at_w]
        dw[at_w] += dy[at_y] * x[at_x]
    close(oracle.conv2d(x, w, b, **case.options), y)
    close(oracle.conv2d_input_grad(dy, w, case.x_shape, **case.options), dx)
    close(oracle.conv2d_weight_grad(dy, x, case.w_shape, **case.options), dw)


@pytest.mark.parametrize("case", TINY, ids=str)
def test_output_size_is_the_number_of_windows_that_fit(case):
    for axis, size in enumerate((case.h, case.w)):
        padded = size + sum(PADS_BY_HAND[case][axis])
        reach = oracle.pair(case.dilation)[axis] * (case.k[axis] - 1)
        starts = range(0, padded - reach, oracle.pair(case.stride)[axis])
        assert case.y_shape[1 + axis] == len(starts)


def test_transposed_convolution_by_loops():
    x, w, b = np.arange(24.0).reshape(1, 3, 2, 4), np.arange(48.0).reshape(3, 2, 2, 4) - 20, np.arange(4.0)
    canvas = np.zeros((1, 8, 7, 4))  # (3 - 1) * 2 + 3 + 1 rows, (2 - 1) * 3 + 2 * (2 - 1) + 1 + 1 columns
    for h, width, i, j, c, o in np.ndindex(3, 2, 3, 2, 2, 4):
        canvas[0, h * 2 + i, width * 3 + j * 2, o] += x[0, h, width, (o // 2) * 2 + c] * w[i, j, c, o]
    y = oracle.conv2d_transpose(x, w, b, stride=(2, 3), dilation=(1, 2), groups=2, output_padding=1, padding=((1, 0), (0, 2)))
    close(y, canvas[:, 1:, :-2] + b)


def windows(case):
    """(p, q, [(h, w), ...] really there, pixels of the padded image) of each pooling window."""
    (kh, kw), stride = oracle.pair(case.size), oracle.pair(case.size if case.stride is None else case.stride)
    (top, bottom), (left, right) = oracle.pads(case.padding, (case.h, case.w), (kh, kw), stride, (1, 1))
    for p, q in np.ndindex(*case.out):
        cells = [(p * stride[0] + i - top, q * stride[1] + j - left) for i in range(kh) for j in range(kw)]
        padded = [(h, w) for h, w in cells if -top <= h < case.h + bottom and -left <= w < case.w + right]
        yield p, q, [(h, w) for h, w in cells if 0 <= h < case.h and 0 <= w < case.w], padded


@pytest.mark.parametrize("case", POOL_CASES, ids=str)
def test_pooling_oracle_agrees_with_loops(case):
    x, dy = case.tied_arrays(seed=2, dtype=np.float64)
    y_max, y_avg, dx_max, dx_avg = np.zeros(case.y_shape), np.zeros(case.y_shape), np.zeros(x.shape), np.zeros(x.shape)
    for p, q, real, padded in windows(case):
        count = len(padded) if case.count_include_pad else len(real)
        for n in range(case.n):
            for c in range(case.c):
                values = [x[n, h, w, c] for h, w in real]
                y_max[n, p, q, c], y_avg[n, p, q, c] = max(values), sum(values) / count
                dx_max[(n, *real[values.index(max(values))], c)] += dy[n, p, q, c]
                for h, w in real:
                    dx_avg[n, h, w, c] += dy[n, p, q, c] / count
    close(oracle.max_pool2d(x, case.size, **case.max_options)[0], y_max)
    close(oracle.max_pool2d_grad(dy, x, case.size, **case.max_options), dx_max)
    close(oracle.avg_pool2d(x, case.size, **case.avg_options), y_avg)
    close(oracle.avg_pool2d_grad(dy, x.shape, case.size, **case.avg_options), dx_avg)


@pytest.mark.parametrize("size, stride, pad, windows", [(7, 2, 0, 4), (6, 2, 0, 3), (5, 3, 1, 2), (5, 3, 0, 2), (4, 3, 1, 2)])
def test_ceil_windows_by_hand(size, stride, pad, windows):
    """Window 2: 7 -> starts 0 2 4 6; 5 with padding 1 -> starts -1 2, and 5 would be in the padding."""
    assert oracle.pool_axis(size, 2, stride, (pad, pad), ceil_mode=True) == windows


def test_nan_wins_and_the_first_of_two_nans_gets_the_gradient():
    x = np.array([[1.0, np.nan], [np.nan, 9.0]]).reshape(1, 2, 2, 1)
    y, row, col = oracle.max_pool2d(x, 2)
    assert np.isnan(y[0, 0, 0, 0]) and (row[0, 0, 0, 0], col[0, 0, 0, 0]) == (0, 1)


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "softmax"])
def test_activations_at_known_points(function):
    known = {
        "sigmoid": ([-1000, 0, 1000], [0, 0.5, 1]),
        "tanh": ([0, np.log(3) / 2], [0, 0.5]),
        "softmax": ([0, np.log(3)], [0.25, 0.75]),
    }
    x, y = known[function]
    close(getattr(oracle, function)(np.array(x, float)), y)


@pytest.mark.parametrize("name", ["batch_norm", "softmax"])
def test_gradients_agree_with_differences(name):
    rng = np.random.default_rng(3)
    x, dy, scale, step = rng.standard_normal((6, 4)), rng.standard_normal((6, 4)), rng.standard_normal(4), 1e-6
    if name == "softmax":
        forward, dx = oracle.softmax, oracle.softmax_grad(dy, oracle.softmax(x))
    else:
        forward, dx = (lambda v: oracle.batch_norm(v, scale, 0, *oracle.statistics(v))), oracle.batch_norm_grad(dy, x, scale)[0]
    for at in np.ndindex(*x.shape):
        nudge = np.zeros_like(x)
        nudge[at] = step
        slope = (dy * (forward(x + nudge) - forward(x - nudge))).sum() / (2 * step)
        assert abs(slope - dx[at]) < 1e-7  # step**2 times third derivatives, and rounding / step


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


# ---- against other libraries


@pytest.fixture
def torch_twin():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    import torch_twin

    return torch_twin


@pytest.mark.parametrize("case", [case for case in CASES if case.n], ids=str)
def test_oracle_agrees_with_pytorch(torch_twin, case):
    x, w, b, dy = case.arrays(seed=4, dtype=np.float64)
    y, dx, dw, db = torch_twin.conv2d(case, x, w, b, dy)
    close(oracle.conv2d(x, w, b, **case.options), y)
    close(oracle.conv2d_input_grad(dy, w, x.shape, **case.options), dx)
    close(oracle.conv2d_weight_grad(dy, x, w.shape, **case.options), dw)
    close(oracle.conv2d_bias_grad(dy), db)


@pytest.mark.parametrize("case", [case for case in POOL_CASES if case.n and case.symmetric], ids=str)
def test_pooling_oracle_agrees_with_pytorch(torch_twin, case):
    x, dy = case.tied_arrays(seed=5, dtype=np.float64)
    y, dx = torch_twin.max_pool2d(case, x, dy)
    close(oracle.max_pool2d(x, case.size, **case.max_options)[0], y)
    close(oracle.max_pool2d_grad(dy, x, case.size, **case.max_options), dx)
    y, dx = torch_twin.avg_pool2d(case, x, dy)
    close(oracle.avg_pool2d(x, case.size, **case.avg_options), y)
    close(oracle.avg_pool2d_grad(dy, x.shape, case.size, **case.avg_options), dx)


@pytest.mark.parametrize("flip", [False, True], ids=["correlate", "convolve"])
@pytest.mark.parametrize("padding", ["valid", "full"])
def test_oracle_agrees_with_scipy(padding, flip):
    signal = pytest.importorskip("scipy.signal", reason="SciPy is not installed")
    rng = np.random.default_rng(6)
    image, kernel = rng.standard_normal((7, 9)), rng.standard_normal((3, 4))
    wanted = (signal.convolve2d if flip else signal.correlate2d)(image, kernel, mode=padding)
    close(oracle.conv2d(image[None, :, :, None], kernel[:, :, None, None], padding=padding, flip=flip)[0, :, :, 0], wanted)
