"""Numbers too small for the usual format: zero inside kernels, untouched everywhere else, kept when asked."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import plans
from fastconv.functional.updates import Together, sgd_update, sum_of_squares
from lab import run

TINY = np.float32(1e-39)
X, W = np.full((1, 8, 8, 16), TINY), np.ones((3, 3, 16, 16), np.float32)
FLUSHING = [algorithm.name for algorithm in plans.ALGORITHMS if algorithm.flushes and algorithm.name != "depthwise"]


@pytest.mark.parametrize("algorithm", FLUSHING)
def test_denormals_count_as_zero_in_kernels_and_nowhere_else(algorithm):
    x, w = (X[:, :5, :5], W[:1, :1]) if algorithm == "pointwise" else (X, W)
    assert not fc.conv2d(x, w, algorithm=algorithm).any()
    assert (X * np.float32(0.5) > 0).all()  # the caller's thread is as it was
    assert "count as zero" in str(fc.plan(x.shape, w.shape, algorithm=algorithm))


@pytest.mark.parametrize("numbers", [100, 100_000])
def test_an_update_counts_them_as_zero(numbers):
    """A velocity whose gradient stays zero passes through them; on one thread and on all."""
    p, g, v = np.ones(numbers, np.float32), np.zeros(numbers, np.float32), np.full(numbers, TINY)
    sgd_update([(g, p, v)], 0.1, 0.9, False, 0.0, Together())
    assert not v.any() and (p == 1).all()
    assert sum_of_squares([np.full(numbers, np.float32(1e-20))], Together()) == 0
    assert (X * np.float32(0.5) > 0).all()


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
def test_the_loops_for_reading_keep_them(algorithm):
    assert (fc.conv2d(X, W, algorithm=algorithm) > 0).all()
    assert "denormal numbers: kept" in str(fc.plan(X.shape, W.shape, algorithm=algorithm))


def test_a_switch_keeps_them(tmp_path):
    program = """
import numpy as np
import fastconv as fc
x, w = np.full((1, 8, 8, 16), np.float32(1e-39)), np.ones((3, 3, 16, 16), np.float32)
print((fc.conv2d(x, w, algorithm="tiled") > 0).all(), "kept" in str(fc.plan(x.shape, w.shape)))
"""
    assert run(program, tmp_path, FASTCONV_DENORMALS="keep")[0] == "True True"


@pytest.mark.parametrize("variable, usual", [("FASTCONV_DENORMALS", "zero"), ("FASTCONV_WINOGRAD", "1")])
def test_a_switch_that_is_set_to_something_else_is_warned_about(tmp_path, variable, usual):
    program = "import fastconv as fc; print(fc.plan((1, 56, 56, 64), (3, 3, 64, 64), padding=1).algorithm)"
    out, err = run(program, tmp_path, **{variable: "off"})
    assert out == "winograd" and f"{variable}: got 'off', which changes nothing" in err and err.count("FastconvWarning") == 1
    assert run(program, tmp_path, **{variable: usual})[1] == ""


def test_a_switch_set_too_late_changes_neither_results_nor_the_cache(tmp_path):
    """It is read when fastconv is imported: kernels compiled so must not be found under another setting."""
    late = """
import os
import numpy as np
import fastconv as fc, fastconv.machine
os.environ["FASTCONV_DENORMALS"] = "keep"
print(fc.avg_pool2d(np.full((1, 4, 4, 1), 1e-40, np.float32), 2).any())
"""
    assert run(late, tmp_path)[0] == "False"
    again = late.replace('os.environ["FASTCONV_DENORMALS"] = "keep"', "")
    assert run(again, tmp_path, FASTCONV_DENORMALS="keep")[0] == "True"
