"""Compilation: its time is counted once and whatever happens, and indices are checked when they are asked to be."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import TypingError, njit, prange
from numba.extending import register_jitable

from fastconv.machine import compilation, compile_seconds, folder, kernel, linking
from fastconv.machine.kernel import Kernel
from lab import run


@pytest.fixture(autouse=True)
def private_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "AT_IMPORT", folder.stamps())
    folder.choice.cache_clear()
    yield
    folder.choice.cache_clear()


def add_one(x, y):
    for i in range(len(x)):
        y[i] = x[i] + 1


def wrong(x, y):
    y[0] = x.no_such_thing


def fresh(py_func=add_one):
    return Kernel(py_func, False, ())


def seconds_of(call, *args):
    """(seconds of the clock on the wall, seconds of compilation) of one call."""
    started, compiled = time.perf_counter(), compile_seconds()
    call(*args)
    return time.perf_counter() - started, compile_seconds() - compiled


def arguments():
    return np.arange(3.0), np.zeros(3)


def test_compiling_is_counted_and_loading_is_not():
    wall, compiled = seconds_of(fresh(), *arguments())
    assert 0 < compiled <= wall
    kernel = fresh()
    assert seconds_of(kernel, *arguments())[1] == 0
    assert seconds_of(kernel, *arguments())[1] == 0


def test_a_kernel_compiled_inside_another_is_counted_once():
    inner = fresh().serial

    @kernel(parallel=False)
    def outer(x, y):
        inner(x, y)
        inner(y, y)

    x, y = arguments()
    wall, compiled = seconds_of(outer, x, y)
    assert 0 < compiled <= wall
    assert y.tolist() == [2, 3, 4]


def test_a_compilation_that_fails_leaves_the_clock_right():
    with pytest.raises(TypingError):
        fresh(wrong)(*arguments())
    assert compilation.COMPILATION.depth == 0
    wall, compiled = seconds_of(fresh(), *arguments())
    assert 0 < compiled <= wall
    assert seconds_of(fresh(), *arguments())[1] == 0


def test_an_argument_that_must_be_a_literal_leaves_the_clock_right():
    """Numba then breaks a compilation off and starts another."""
    from numba import literally

    @kernel(parallel=False)
    def fill(y, value):
        for i in range(len(y)):
            y[i] = literally(value)

    y = np.zeros(3)
    wall, compiled = seconds_of(fill, y, 3)
    assert y.tolist() == [3, 3, 3]
    assert 0 < compiled <= wall
    assert compilation.COMPILATION.depth == 0


def test_two_threads_that_compile_at_once_are_counted_once():
    def work(dtype):
        x, y = np.arange(3, dtype=dtype), np.zeros(3, dtype)
        one(x, y)
        two(x, y)
        return y.tolist()

    one, two = fresh(), fresh(add_two_of_its_own())
    started, compiled = time.perf_counter(), compile_seconds()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(work, ["float32", "float64", "float32", "int32"]))
    assert results == [[2, 3, 4]] * 4
    assert 0 < compile_seconds() - compiled <= time.perf_counter() - started
    assert len(one.twins) == len(two.twins) == 1


def add_two_of_its_own():
    def add_two(x, y):
        for i in range(len(x)):
            y[i] = x[i] + 2

    return add_two


def test_numbers_of_numba_itself_go_on_as_they_were():
    from numba.core.bytecode import FunctionIdentity

    numbers = FunctionIdentity._unique_ids
    fresh()(*arguments())
    assert FunctionIdentity._unique_ids is numbers


def test_what_is_not_a_kernel_is_not_counted():
    import numba

    fresh()(*arguments())
    assert seconds_of(numba.njit(add_one), *arguments())[1] == 0


@pytest.fixture
def translated(monkeypatch):
    """The names of what becomes machine code from now on."""
    from numba.core.codegen import JITCodeLibrary

    fresh()(*arguments())  # and what Numba itself needs for the first kernel
    names, translate = [], JITCodeLibrary._finalize_specific

    def noted(library):
        names.append(library.name)
        translate(library)

    monkeypatch.setattr(JITCodeLibrary, "_finalize_specific", noted)
    return names


def refuse_three(x):
    if x == 3:
        raise ValueError("not", x)
    return x + 1


def calls_in_parallel(part):
    """A kernel that calls `part` for every number."""
    called = register_jitable(part)

    def all_of_them(x, y):
        for i in prange(len(x)):
            y[i] = called(x[i])

    all_of_them.__name__ = f"all_of_them_by_{part.__name__}"
    return Kernel(all_of_them, True, ())


@pytest.fixture
def part(monkeypatch):
    """A function of the package that kernels call."""
    monkeypatch.setattr(refuse_three, "__module__", "fastconv.kernels")
    return refuse_three


def test_a_kernel_becomes_machine_code_once_with_all_that_it_calls(translated, part):
    x, y = arguments()
    compiled = calls_in_parallel(part)
    compiled(x, y)
    assert y.tolist() == [1, 2, 3]
    assert len(translated) == 1 and "all_of_them" in translated[0]


def test_functions_of_others_become_machine_code_of_their_own(translated):
    helper = njit(lambda x: x + 1)

    def all_of_them(x, y):
        for i in prange(len(x)):
            y[i] = helper(x[i])

    x, y = arguments()
    Kernel(all_of_them, True, ())(x, y)
    assert y.tolist() == [1, 2, 3] and helper(2.0) == 3
    assert len(translated) == 2


def test_a_part_may_raise_an_error_that_tells_a_number(part):
    called = register_jitable(part)

    def each(x, y):
        for i in range(len(x)):
            y[i] = called(x[i])

    each.__name__ = "each_but_three"
    for _ in ("compiled", "loaded"):
        kernel, (x, y) = Kernel(each, False, ()), arguments()
        kernel(x, y)
        assert y.tolist() == [1, 2, 3]
        with pytest.raises(ValueError, match="3") as caught:
            kernel(np.arange(4.0), np.zeros(4))
        assert caught.value.args == ("not", 3)


def test_what_a_failed_compilation_leaves_behind_serves_the_next(part):
    from numba.core.registry import cpu_target

    called = register_jitable(part)

    def fails(x, y):
        y[0] = called(x[0])
        y[1] = x.no_such_thing

    def works(x, y):
        y[0] = called(x[0])

    fails.__name__, works.__name__ = "fails_behind_a_part", "works_with_a_part"
    with pytest.raises(TypingError):
        Kernel(fails, False, ())(*arguments())
    codegen = cpu_target.target_context.codegen()
    assert compilation.COMPILATION.depth == 0 and not {"_library_class", "set_env"} & {*vars(codegen)}
    with pytest.raises(ValueError, match="3") as caught:
        Kernel(works, False, ())(np.full(1, 3.0), np.zeros(1))
    assert caught.value.args == ("not", 3)


def test_what_python_may_call_is_no_part(part, monkeypatch):
    named, lost = njit(part), njit(lambda x: x)
    lost.py_func.__module__ = None
    assert linking.is_part(named) and not linking.is_part(lost) and not linking.is_part(njit(add_one))
    monkeypatch.setattr(sys.modules[part.__module__], part.__name__, named, raising=False)
    assert not linking.is_part(named)


def test_a_kernel_from_the_cache_inside_another_can_be_called_itself(part):
    def outer_of(inner):
        called = register_jitable(by_way_of(inner))

        def outer(x, y):
            called(x, y)

        outer.__name__ = "outer_by_way"
        return Kernel(outer, False, ())

    def by_way_of(inner):
        def way(x, y):
            inner(x, y)

        way.__module__ = part.__module__
        return way

    fresh()(*arguments())
    inner, (x, y) = fresh().serial, arguments()
    outer_of(inner)(x, y)
    assert y.tolist() == [1, 2, 3] and sum(inner.stats.cache_hits.values()) == 1
    y[:] = 0
    inner(x, y)
    assert y.tolist() == [1, 2, 3]


OUT_OF_RANGE = """
import numpy as np
from numba import prange
from fastconv.machine import kernel

@kernel()
def read(x, at, y):
    for i in prange(len(y)):
        y[i] = x[at]

@kernel(parallel=False)
def read_alone(x, at, y):
    for i in range(len(y)):
        y[i] = x[at]
"""


def test_an_index_out_of_range_is_caught_also_beside_a_warm_unchecked_cache(tmp_path):
    (tmp_path / "canary.py").write_text(OUT_OF_RANGE)
    program = """
        import numpy as np, canary
        y = np.zeros(3)
        canary.read(np.arange(4.0), {at}, y)
        print(y.tolist())
        try:
            canary.read(np.arange(4.0), 10, y)
            print("not caught")
        except IndexError:
            print("caught")
    """
    assert run(program.format(at=2), tmp_path)[0].splitlines()[0] == "[2.0, 2.0, 2.0]"
    for _ in ("cold", "warm"):
        out, _ = run(program.format(at=2), tmp_path, NUMBA_BOUNDSCHECK="1")
        assert out.splitlines() == ["[2.0, 2.0, 2.0]", "caught"]
    assert run(program.format(at=2), tmp_path)[0].splitlines()[1] == "not caught"


def test_checking_indices_may_be_switched_on_inside_python(tmp_path):
    (tmp_path / "canary.py").write_text(OUT_OF_RANGE)
    program = """
        import numba, numpy as np, canary
        {switch}
        for read in (canary.read, canary.read_alone):
            try:
                read(np.arange(4.0), 10, np.zeros(3))
                print("not caught")
            except IndexError:
                print("caught")
    """
    assert run(program.format(switch=""), tmp_path)[0].splitlines() == ["not caught"] * 2
    assert run(program.format(switch="numba.config.BOUNDSCHECK = 1"), tmp_path)[0].splitlines() == ["caught"] * 2


def test_without_compilation_kernels_are_plain_python(tmp_path):
    program = """
        import kernels_of_test as k
        from fastconv import machine
        print(k.result(k.double), k.result(k.triple), machine.compile_seconds())
    """
    assert run(program, tmp_path, NUMBA_DISABLE_JIT="1")[0] == "[0.0, 2.0, 4.0, 6.0, 8.0] [0.0, 3.0, 6.0, 9.0, 12.0] 0.0"
