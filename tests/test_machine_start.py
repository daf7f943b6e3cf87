"""What starting costs: what an import loads, what a call adds to its kernel.  Times are printed (pytest -s), never asserted."""

import statistics

import pytest

from lab import run

HEAVY = "numba llvmlite rich safetensors psutil platformdirs PIL matplotlib pooch scipy torch"


@pytest.mark.parametrize(
    "program",
    [
        "import fastconv",
        "import fastconv as fc; fc.ShapeError, fc.geometry, fc.errors",
        "import fastconv as fc; fc.conv2d, fc.Sequential, fc.set_threads",
        "import fastconv as fc; fc.get_threads()",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(tmp_path, program):
    out, err = run(f"{program}\nimport sys\nprint([name for name in {HEAVY.split()!r} if name in sys.modules])", tmp_path)
    assert (out, err) == ("[]", "")


def test_an_import_starts_no_thread_and_writes_nothing(tmp_path):
    program = """
        import os, threading
        before = set(os.listdir("."))
        import fastconv as fc
        fc.conv2d, fc.Sequential
        print(threading.active_count(), set(os.listdir(".")) - before)
    """
    assert run(program, tmp_path)[0] == "1 set()"


def test_time_of_the_import_beyond_numpy(tmp_path):
    program = "import time, numpy\nstart = time.perf_counter()\nimport fastconv\nprint(time.perf_counter() - start)"
    seconds = statistics.median(float(run(program, tmp_path)[0]) for _ in range(5))
    print(f"\nimport fastconv: {1e3 * seconds:.1f} ms beyond NumPy (median of 5)")
    assert seconds > 0


OVERHEAD = """
import time
import numpy as np
import fastconv as fc
from fastconv import machine

def microseconds(call, repeat=300, calls=200):
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / calls

machine.set_threads(1)  # on more, waking the others hides what is measured
x, w = np.ones((1, 4, 4, 1), "float32"), np.ones((3, 3, 1, 1), "float32")
y, b = fc.conv2d(x, w), np.zeros(1, "float32")
plan = fc.plan(x.shape, w.shape)
packed = plan.pack(w)
call, kernel = microseconds(lambda: fc.conv2d(x, w)), microseconds(lambda: plan.run(plan.geometry, x, packed, b, 0, y))
print(f"{plan.algorithm}: conv2d {call:.2f} us, its kernel {kernel:.2f} us: {call - kernel:.2f} us more")
"""


@pytest.mark.full
def test_time_of_a_call_beyond_its_kernel(tmp_path):
    out, _ = run(OVERHEAD, tmp_path)
    print(f"\n{out}")
    assert "us more" in out
