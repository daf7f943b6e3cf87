"""Programs that run beside the tests: each in a process of its own, with a kernel cache that nobody else uses."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("FASTCONV_", "NUMBA_", "XDG_")  # variables that a test sets itself or not at all

# a module of small kernels, quick to compile
KERNELS = '''
import numpy as np
from numba import prange
from numba.extending import register_jitable

from fastconv.machine import kernel


@register_jitable
def helper(x):
    return x * 2


@kernel()
def double(x, y):
    """y = 2 x, on all cores."""
    for i in prange(len(x)):
        y[i] = helper(x[i])


@kernel(parallel=False)
def triple(x, y):
    """y = 3 x, on one."""
    for i in range(len(x)):
        y[i] = x[i] * 3


def result(kernel, dtype="float64"):
    x = np.arange(5, dtype=dtype)
    y = np.zeros_like(x)
    kernel(x, y)
    return y.tolist()
'''


# small calls of the public operations: one, or every algorithm in every direction that it serves
OPERATIONS = """
import hashlib
import numpy as np
import fastconv as fc
from fastconv import machine

rng = np.random.default_rng(0)
X, W, DY = (rng.standard_normal(s).astype("float32") for s in ((3, 7, 6, 3), (3, 3, 3, 5), (3, 7, 6, 5)))

def bytes_of(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:12]

def small():
    return bytes_of(fc.avg_pool2d(X, 2))

def large():
    from fastconv import plans
    results = [small(), bytes_of(fc.max_pool2d(X, 2), fc.dense(X[0, 0], W[0, 0]))]
    for algorithm in plans.ALGORITHMS:
        options = {"padding": "same", "algorithm": algorithm.name}
        calls = (fc.conv2d, X, W), (fc.conv2d_input_grad, DY, W, X.shape), (fc.conv2d_weight_grad, DY, X, W.shape)
        for function, *arguments in calls:
            try:
                results.append(bytes_of(function(*arguments, **options)))
            except fc.OptionError:  # not every algorithm serves every direction
                pass
    return "-".join(results)
"""


def start(program, folder, *, cache=None, package=ROOT, **variables):
    """Start Python on the text `program`; `folder` has KERNELS as kernels_of_test.py, and the cache unless another is given."""
    module = Path(folder) / "kernels_of_test.py"
    if not module.exists():
        module.write_text(KERNELS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (folder, package, ROOT / "tests")))
    environment["FASTCONV_CACHE_DIR"] = str(cache or Path(folder) / "cache")
    environment |= variables
    environment = {name: str(value) for name, value in environment.items() if value is not None}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=300):
    """(what it printed, what it wrote to stderr); it must end by itself with exit status 0."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    return out.strip(), err


def run(program, folder, *, timeout=300, **options):
    return finish(start(program, folder, **options), timeout)


def entries(cache):
    """The files of compiled kernels under the folder `cache`."""
    return sorted(file for file in Path(cache).rglob("*") if file.is_file())
