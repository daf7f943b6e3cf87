"""Threads decide who does a piece of work, never how a sum is cut: the same bytes for 1, 2, up to 4 threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv as fc
from cases import Case, draw
from fastconv import plans
from fastconv.errors import OptionError
from pool_cases import PoolCase
from routes import FLOATS, refusal

CASES = (
    Case(n=3, h=19, w=23, c=17, o=33, k=(3, 5), padding="same"),
    Case(n=1, h=31, w=30, c=3, o=10, k=(5, 5), stride=2),
    Case(n=37, h=5, w=6, c=4, o=8, k=(2, 3), groups=2, padding="same", pad_mode="replicate"),
    Case(n=2, h=33, w=17, c=19, o=19, k=(3, 3), groups=19, padding="full", dilation=2, flip=True),
    Case(n=1, h=2, w=2, c=65, o=65, k=(1, 1)),
    Case(n=5, h=30, w=29, c=16, o=33, k=(3, 3), padding=1),
    Case(n=1, h=4, w=5, c=66, o=130, k=(3, 3), padding="same"),
    Case(n=1, h=98, w=1, c=1, o=3, k=(40, 1), stride=(16, 1)),
    Case(n=1, h=7, w=7, c=64, o=66, k=(5, 5), padding=2),  # borders that go tap by tap, in bands of few rows
    Case(n=1, h=8, w=16, c=48, o=96, k=(3, 3), padding=1),
    Case(n=1, h=7, w=7, c=16, o=16, k=(5, 5), padding=2),
    Case(n=2, h=64, w=48, c=24, o=40, k=(1, 1)),
    Case(n=2, h=33, w=35, c=5, o=20, k=(7, 7), stride=2, padding=3),
    Case(n=1, h=31, w=30, c=16, o=24, groups=2, dilation=(2, 3), padding=2),
)
POOL = PoolCase(n=3, h=21, w=19, c=17, size=3, stride=2, padding=1, ceil_mode=True)


def conv_calls():
    """Every direction of every case with every algorithm that accepts it, for both dtypes."""
    for case in CASES:
        for dtype in FLOATS:
            x, w, b, dy = case.arrays(seed=1, dtype=dtype)
            calls = {
                "forward": (fc.conv2d, (x, w, b), {"activation": "relu"}),
                "input_grad": (fc.conv2d_input_grad, (dy, w, x.shape), {}),
                "weight_grad": (fc.conv2d_weight_grad, (dy, x, w.shape), {}),
            }
            for direction, (function, arguments, more) in calls.items():
                able = [a.name for a in plans.ALGORITHMS if refusal(case, a, direction, dtype) is None]
                for name in ("auto", *able):
                    options = {**case.options, **more, "algorithm": name}
                    yield pytest.param((function, arguments, options), id=f"{direction}-{name}-{np.dtype(dtype)}-{case}")


def other_calls():
    for dtype in FLOATS:
        x, dy = POOL.arrays(seed=2, dtype=dtype)
        scale, shift, wide, w, b, dense_dy = draw(3, dtype, (17,), (17,), (129, 65), (65, 33), (33,), (129, 33))
        channels = Case(n=2, h=7, w=9, c=6, o=4).arrays(seed=4, dtype=dtype)
        mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        yield from named(
            str(np.dtype(dtype)),
            bias_grad=(fc.conv2d_bias_grad, (dy,), {}),
            transpose=(fc.conv2d_transpose, (channels[0], channels[1], channels[2]), {"stride": 2, "padding": 1}),
            max_pool=(fc.max_pool2d, (x, POOL.size), POOL.max_options),
            max_pool_grad=(fc.max_pool2d_grad, (dy, x, POOL.size), POOL.max_options),
            avg_pool=(fc.avg_pool2d, (x, POOL.size), POOL.avg_options),
            avg_pool_grad=(fc.avg_pool2d_grad, (dy, x, POOL.size), POOL.avg_options),
            global_avg_pool=(fc.global_avg_pool2d, (x,), {}),
            global_avg_pool_grad=(fc.global_avg_pool2d_grad, (x[:, 0, 0], x.shape), {}),
            dense=(fc.dense, (wide, w, b), {"activation": "tanh"}),
            dense_grad=(fc.dense_grad, (dense_dy, wide, w), {}),
            batch_norm=(fc.batch_norm, (x, scale, shift), {"mean": mean, "var": var}),
            batch_norm_train=(fc.batch_norm_train, (x, scale, shift), {}),
            batch_norm_grad=(fc.batch_norm_grad, (x, x, scale, mean, var), {}),
            relu=(fc.relu, (x,), {}),
            leaky_relu=(fc.leaky_relu, (x,), {}),
            sigmoid=(fc.sigmoid, (x,), {}),
            tanh=(fc.tanh, (x,), {}),
            softmax=(fc.softmax, (wide,), {}),
        )


def named(text, **calls):
    return [pytest.param(call, id=f"{name}-{text}") for name, call in calls.items()]


CALLS = [*conv_calls(), *other_calls()]


def bytes_of(call):
    function, arguments, options = call
    result = function(*arguments, **options)
    return b"".join(a.tobytes() for a in (result if isinstance(result, tuple) else (result,)))


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = fc.get_threads()
    yield
    fc.set_threads(before)


def possible(n):
    """Whether this process may use n threads; NUMBA_NUM_THREADS=4 allows 4 on any machine."""
    try:
        fc.set_threads(n)
    except OptionError:
        return False
    return True


@pytest.fixture
def two_threads():
    if not possible(2):
        pytest.skip("this process may use one core only; NUMBA_NUM_THREADS=2 allows more threads")


@pytest.mark.parametrize("call", CALLS)
def test_any_number_of_threads_gives_the_same_bytes(two_threads, call):
    fc.set_threads(1)
    alone = bytes_of(call)
    for n in (2, 3, 4):
        if possible(n):
            assert bytes_of(call) == alone, f"{n} threads"


def test_four_callers_at_once_get_what_one_gets(two_threads):
    """4 Python threads call every operation in different orders; nothing is shared between calls."""
    calls = [param.values[0] for param in CALLS]
    alone = [bytes_of(call) for call in calls]

    def everything(caller):
        order = np.random.default_rng(caller).permutation(len(calls))
        return [int(i) for i in order if bytes_of(calls[i]) != alone[i]]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(everything, range(4))) == [[]] * 4


def test_the_number_of_threads_is_the_same_in_every_python_thread(two_threads):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fc.get_threads).result() == 2
        pool.submit(fc.set_threads, 1).result()
    assert fc.get_threads() == 1


@pytest.mark.parametrize("n", [0, -1, 10**6, 1.5, "two", None, True], ids=str)
def test_numbers_of_threads_that_cannot_be(n):
    with pytest.raises(ValueError, match="threads"):
        fc.set_threads(n)
