"""Threads, forks and threading layers: nothing that a program does with them kills it, hangs it or changes a bit."""

import os
import sys

import pytest

import test_threads
from fastconv.machine import threads
from lab import OPERATIONS, run

HAS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# children of the programs below, and what comes of them
CALLS = (
    OPERATIONS
    + """
import os, signal, threading, warnings
from fastconv.errors import FastconvWarning

def start_child(call):
    "A forked child that makes the call: (its process id, where its answer and the number of warnings can be read)."
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(100)  # a child that hangs is a failure, not a wait
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = call(), call()
            ours = [w for w in caught if w.category is FastconvWarning]
            os.write(write, f"{answer[0]} {answer[0] == answer[1]} {len(ours)}".encode())
            os._exit(0)
        except BaseException as error:
            os.write(write, repr(error).encode())
            os._exit(1)
    os.close(write)
    return pid, read

def end(child):
    pid, read = child
    status = os.waitpid(pid, 0)[1]
    return f"{os.read(read, 10_000).decode()} {status}"
"""
)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A folder whose cache has the kernels of `small()`, and their serial twins."""
    folder = tmp_path_factory.mktemp("warm")
    out, _ = run(CALLS + "print(small() == small())\nprint(end(start_child(small)) if hasattr(os, 'fork') else '')", folder)
    assert out.startswith("True")
    return folder


def needs(layer):
    """Skip where Numba does not find the threading layer."""
    from numba.np.ufunc import parallel

    if layer == "tbb":
        try:
            parallel._check_tbb_version_compatible()
        except ImportError:
            pytest.skip("TBB is not installed")
    if layer == "omp":
        pytest.importorskip("numba.np.ufunc.omppool", reason="Numba came without OpenMP", exc_type=ImportError)
        if not sys.platform.startswith("linux"):
            pytest.skip("GNU OpenMP comes with Linux")


LAYERS = ["omp", "workqueue", "tbb"]


# ---- fork


@HAS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_a_child_forked_after_a_parallel_kernel_gives_the_same_bytes(warm, layer):
    needs(layer)
    program = "print(machine.threading_layer(), small(), end(start_child(small)), small())"
    out, _ = run(CALLS + "small()\n" + program, warm, NUMBA_THREADING_LAYER=layer)
    name, before, answer, same, warnings, status, after = out.split()
    assert (name, answer, same, status, after) == (layer, before, "True", "0", before)
    assert int(warnings) == (layer == "omp")


@HAS_FORK
def test_a_child_that_has_to_compile_its_serial_twins(tmp_path):
    """An empty cache: the child must neither load the parallel kernel that its parent has just kept, nor call it."""
    needs("omp")
    program = """
import kernels_of_test as k
print(k.result(k.double), end(start_child(lambda: k.result(k.double))))
"""
    out, _ = run(CALLS + program, tmp_path, NUMBA_THREADING_LAYER="omp")
    assert out == "[0.0, 2.0, 4.0, 6.0, 8.0] [0.0, 2.0, 4.0, 6.0, 8.0] True 1 0"


@pytest.mark.full
@HAS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_every_algorithm_in_a_child(tmp_path, layer):
    needs(layer)
    program = "before = large()\nprint(before, end(start_child(large)))"
    for _ in ("cold", "warm"):
        out, _ = run(CALLS + program, tmp_path, NUMBA_THREADING_LAYER=layer)
        before, answer, same, warnings, status = out.split()
        assert (answer, same, status) == (before, "True", "0")
        assert int(warnings) == (layer == "omp")


@HAS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_forking_before_anything_ran(warm, layer):
    """Parent and children start threads of their own; a grandchild of an OpenMP child is on its own again."""
    needs(layer)
    program = """
children = [start_child(small), start_child(lambda: (small(), end(start_child(small)))[1].replace(" ", "/"))]
answers = [end(child) for child in children]
print(small(), *answers)
"""
    out, _ = run(CALLS + program, warm, NUMBA_THREADING_LAYER=layer)
    parent, child, same, warnings, status, grandchild, *_ = out.split()
    assert (child, same, warnings, status) == (parent, "True", "0", "0")
    assert grandchild == f"{parent}/True/{int(layer == 'omp')}/0"


@HAS_FORK
@pytest.mark.parametrize("first", ["parent", "children"])
def test_a_pool_of_forked_processes(warm, first):
    program = """
import multiprocessing
before = small() if {parent} else ""
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers = pool.starmap(small, [()] * 6)
print(set(answers) == {{small()}}, before in answers or not before)
"""
    out, err = run(CALLS + program.format(parent=first == "parent"), warm)
    assert out == "True True"
    assert err.count("FastconvWarning") <= 2  # once in each process


@HAS_FORK
@pytest.mark.parametrize("layer", LAYERS)
def test_forking_while_another_thread_launches(warm, layer):
    """What a launch leaves half done in a child, nobody there ever ends."""
    needs(layer)
    program = """
busy, big, y = True, np.zeros((8, 64, 64, 8), "float32"), small()
def launch():
    while busy:
        fc.avg_pool2d(big, 2)
others = [threading.Thread(target=launch) for _ in range(2)]
[other.start() for other in others]
answers = {end(start_child(small)) for _ in range(12)}
busy = False
[other.join() for other in others]
print(y, *answers)
"""
    out, _ = run(CALLS + program, warm, NUMBA_THREADING_LAYER=layer)
    before, answer, same, _, status = out.splitlines()[-1].split()  # one answer: all are alike; TBB says a word of its own
    assert (answer, same, status) == (before, "True", "0")


@HAS_FORK
def test_forking_while_another_thread_compiles(tmp_path):
    program = """
import time, kernels_of_test as k
other = threading.Thread(target=lambda: [k.result(k.triple, dtype) for dtype in ("float32", "float64", "int32", "int64")])
k.result(k.triple, "uint8")  # Numba is imported: a fork in the middle of an import is beyond us
other.start()
answers = set()
for _ in range(4):
    answers.add(end(start_child(lambda: k.result(k.triple, "int16"))))
other.join()
print(*answers, sep="; ")
"""
    assert run(CALLS + program, tmp_path)[0] == "[0, 3, 6, 9, 12] True 0 0"


# ---- several callers


@pytest.mark.parametrize("layer", LAYERS)
def test_python_threads_may_call_at_the_same_time(warm, layer):
    needs(layer)
    program = """
from concurrent.futures import ThreadPoolExecutor
alone = small()
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda _: small(), range({calls})))
print(machine.threading_layer(), alone, *set(answers))
"""
    name, alone, *answers = run(CALLS + program.format(calls=2000), warm, NUMBA_THREADING_LAYER=layer)[0].split()
    assert (name, answers) == (layer, [alone])


@pytest.mark.full
@pytest.mark.parametrize("layer", LAYERS)
def test_python_threads_may_call_every_algorithm_at_the_same_time(tmp_path, layer):
    needs(layer)
    program = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    answers = set(pool.map(lambda _: large(), range(400)))
print(large(), *answers)
"""
    alone, *answers = run(CALLS + program, tmp_path, NUMBA_THREADING_LAYER=layer)[0].split()
    assert answers == [alone]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_call_from_inside_a_parallel_loop(warm, layer):
    """The caller's own prange comes back to Python and calls us, from threads that Python did not start."""
    needs(layer)
    program = """
import numba
answers = set()

@numba.njit
def ask(i):
    with numba.objmode():
        answers.add(small())
    return i

@numba.njit(parallel=True)
def loop(n):
    total = 0
    for i in numba.prange(n):
        total += ask(i)
    return total

alone = small()
print(loop(8), alone, *answers)
"""
    total, alone, *answers = run(CALLS + program, warm, NUMBA_THREADING_LAYER=layer)[0].split()
    assert (total, answers) == ("28", [alone])


@pytest.mark.full
@pytest.mark.parametrize("call", test_threads.CALLS)
def test_the_serial_twin_gives_the_same_bytes(call, monkeypatch):
    parallel = test_threads.bytes_of(call)
    monkeypatch.setattr(threads.STATE, "is_free", False)
    monkeypatch.setattr(threads.STATE, "is_checked", True)
    assert test_threads.bytes_of(call) == parallel


# ---- numbers of threads


def test_the_callers_own_mask_of_threads_is_his_business(warm):
    program = """
import numba, kernels_of_test as k
seen = []
machine.set_threads(2)
for mine in (1, 2):
    numba.set_num_threads(mine)
    small()
    seen.append(numba.get_num_threads())
try:
    k.double("not", "arrays")
except Exception:
    seen.append(numba.get_num_threads())
machine.set_threads(1)
small()
seen.append(numba.get_num_threads())
machine.set_threads(2)
k.double.alone(np.ones(3), np.ones(3))
machine.set_threads(1)
seen.append(numba.get_num_threads())
other = threading.Thread(target=lambda: seen.extend([machine.get_threads(), numba.get_num_threads()]))
other.start(); other.join()
print(seen)
"""
    assert run(CALLS + program, warm, NUMBA_NUM_THREADS="2")[0] == "[1, 2, 2, 2, 2, 1, 2]"


def test_numba_may_be_given_fewer_threads_after_we_were_asked(warm):
    program = """
before = machine.get_threads(), fc.set_threads(2), machine.get_threads()
os.environ["NUMBA_NUM_THREADS"] = "1"
small()
print(before, machine.get_threads())
"""
    assert run(CALLS + program, warm, NUMBA_NUM_THREADS="2", FASTCONV_THREADS="1")[0] == "(1, None, 2) 1"


@pytest.mark.parametrize(
    "given, needed", [("0", "from 1 to 4"), ("5", "from 1 to 4"), ("two", "from 1 to 4"), ("-1", "from 1 to 4")]
)
def test_a_wrong_fastconv_threads_is_refused(given, needed, monkeypatch):
    monkeypatch.setattr(threads, "most_threads", lambda: 4)
    monkeypatch.setenv("FASTCONV_THREADS", given)
    with pytest.raises(ValueError, match=f"FASTCONV_THREADS: got '{given}'.*{needed}.*unset"):
        threads.default_threads()


@pytest.mark.parametrize("given, wanted", [("", 3), ("1", 1), ("4", 4)])
def test_fastconv_threads_is_the_default(given, wanted, monkeypatch):
    monkeypatch.setattr(threads, "most_threads", lambda: 4)
    monkeypatch.setattr(threads, "physical_cores", lambda: 3)
    monkeypatch.setenv("FASTCONV_THREADS", given)
    assert threads.default_threads() == wanted


def test_set_threads_takes_whole_numbers_of_any_kind_and_says_what_it_needs(monkeypatch):
    import numpy as np

    monkeypatch.setattr(threads, "most_threads", lambda: 4)
    monkeypatch.setattr(threads.STATE, "wanted", 1)
    threads.set_threads(np.int64(3))
    assert threads.get_threads() == 3
    for wrong in (0, 5, 2.0, "2", True, None):
        with pytest.raises(ValueError, match=r"threads: got .*from 1 to 4.*NUMBA_NUM_THREADS"):
            threads.set_threads(wrong)
    assert threads.get_threads() == 3


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "7"}], ids=["nothing set", "spins set"])
def test_the_environment_is_as_it_was(warm, given):
    """Waiting threads are told to spin for a short time, through a variable that nobody else gets to see."""
    program = """
before = dict(os.environ)
small()
print(dict(os.environ) == before)
"""
    assert run(CALLS + program, warm, **given)[0] == "True"


@pytest.mark.parametrize("name", ["tbb", "no such layer"])
def test_a_layer_that_is_not_there_is_named(warm, name):
    if name == "tbb":
        try:
            needs("tbb")
        except pytest.skip.Exception:
            pass
        else:
            pytest.skip("TBB is installed")
    program = "\ntry:\n    small()\nexcept fc.OptionError as error:\n    print(error)"
    out, _ = run(CALLS + program, warm, NUMBA_THREADING_LAYER=name)
    assert out.startswith(f"NUMBA_THREADING_LAYER: got '{name}' (")
    assert out.endswith("or unset the variable")
