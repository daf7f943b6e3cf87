"""The kernel cache: never stale, never mixed up, and whatever is wrong with it, right results at the price of a compilation."""

import ast
import contextlib
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numba import prange
from numba.extending import register_jitable

from fastconv.errors import FastconvWarning
from fastconv.machine import folder, warning
from fastconv.machine.kernel import Kernel
from lab import OPERATIONS, ROOT, entries, finish, run, start

FIRST_CALLS = """
import kernels_of_test as k
from fastconv import machine
print(k.result(k.triple), k.result(k.triple, "int64"), machine.compile_seconds() > 0)
"""
RIGHT = "[0.0, 3.0, 6.0, 9.0, 12.0] [0, 3, 6, 9, 12]"
AS_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def quiet(monkeypatch):
    """Warnings that were given already are given again, and nothing of the choice of a folder is remembered."""
    monkeypatch.setattr(warning, "SAID", set())
    folder.choice.cache_clear()
    yield
    folder.choice.cache_clear()


@pytest.fixture
def private(quiet, monkeypatch, tmp_path):
    """The cache of this process is an empty folder; an edit since the start of the tests does not matter."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "AT_IMPORT", folder.stamps())
    return tmp_path / "cache"


def add_one(x, y):
    for i in range(len(x)):
        y[i] = x[i] + 1


def fresh(py_func=add_one, parallel=False, fastmath=()):
    """A kernel that has to be compiled or loaded again."""
    return Kernel(py_func, parallel, fastmath)


def result(kernel):
    y = np.zeros(3)
    kernel(np.arange(3.0), y)
    return y.tolist()


def was_loaded(kernel):
    """Did the last use of a fresh kernel find an entry?"""
    (twin,) = kernel.twins.values()
    return sum(twin.stats.cache_hits.values()) == 1


# ---- what an entry belongs to


def name_of_folder():
    return folder.fingerprint.__wrapped__()


@pytest.mark.parametrize("name", ["CPU_NAME", "CPU_FEATURES", "BOUNDSCHECK", "OPT", "ENABLE_AVX", "LOOP_VECTORIZE"])
def test_a_numba_setting_that_changes_code_has_a_folder_of_its_own(name, monkeypatch):
    before = name_of_folder()
    monkeypatch.setenv(f"NUMBA_{name}", "1")
    assert name_of_folder() != before


@pytest.mark.parametrize(
    "name", ["NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_CACHE_DIR", "FASTCONV_THREADS", "OMP_NUM_THREADS"]
)
def test_threads_do_not_change_the_folder(name, monkeypatch):
    before = name_of_folder()
    monkeypatch.setenv(name, "1")
    assert name_of_folder() == before


@pytest.mark.parametrize("package", ["numba", "llvmlite", "numpy"])
def test_another_version_has_a_folder_of_its_own(package, monkeypatch):
    before, version = name_of_folder(), folder.version
    monkeypatch.setattr(folder, "version", lambda name: version(name) + (".1" if name == package else ""))
    assert name_of_folder() != before


def test_another_python_or_cpu_has_a_folder_of_its_own(monkeypatch):
    before = name_of_folder()
    monkeypatch.setattr(sys, "version", sys.version + " again")
    other_python = name_of_folder()
    monkeypatch.setattr(folder, "cpu", lambda: "another")
    assert len({before, other_python, name_of_folder()}) == 3


@pytest.mark.parametrize("file", ["kernels/direct.py", "kernels/codes.py", "machine/kernel.py"])
def test_every_source_that_is_compiled_is_in_the_name_of_the_folder(file, monkeypatch, tmp_path):
    package = copied_package(tmp_path)
    monkeypatch.setattr(folder, "PACKAGE", package)
    monkeypatch.setattr(folder, "AT_IMPORT", folder.stamps())
    before = name_of_folder()
    with (package / file).open("a") as source:
        source.write("\n")
    assert not folder.is_up_to_date()
    assert name_of_folder() != before


def copied_package(target):
    """The Python files of fastconv, to be edited."""
    return Path(shutil.copytree(ROOT / "fastconv", target / "fastconv", ignore=shutil.ignore_patterns("embedded", "__pycache__")))


def test_a_change_in_a_called_file_is_compiled(tmp_path):
    package = copied_package(tmp_path)
    program = """
        import numpy as np
        from fastconv import machine
        from fastconv.kernels.activation import activate_rows
        from fastconv.kernels.codes import ACTIVATIONS
        rows = -np.ones((2, 3))
        activate_rows(rows, ACTIVATIONS["leaky_relu"])
        print(rows.max(), machine.compile_seconds() > 0)
    """
    assert run(program, tmp_path, package=tmp_path)[0] == "-0.01 True"
    assert run(program, tmp_path, package=tmp_path)[0] == "-0.01 False"
    codes = package / "kernels" / "codes.py"
    codes.write_text(codes.read_text().replace("LEAKY_SLOPE = 0.01", "LEAKY_SLOPE = 0.25"))
    assert run(program, tmp_path, package=tmp_path)[0] == "-0.25 True"


def test_a_kernel_outside_the_package_is_compiled_again_when_its_file_changes(tmp_path):
    program = "import kernels_of_test as k; print(k.result(k.triple))"
    assert run(program, tmp_path)[0] == "[0.0, 3.0, 6.0, 9.0, 12.0]"
    module = tmp_path / "kernels_of_test.py"
    module.write_text(module.read_text().replace("x[i] * 3", "x[i] * 5"))
    assert run(program, tmp_path)[0] == "[0.0, 5.0, 10.0, 15.0, 20.0]"


def test_a_kernel_without_a_file_is_not_kept(private):
    space = {"__name__": "notebook"}
    exec("def f(x, y):\n    for i in range(len(x)):\n        y[i] = x[i] + 7", space)
    for _ in range(2):
        kernel = fresh(space["f"])
        assert result(kernel) == [7, 8, 9]
        assert not was_loaded(kernel)
    assert entries(private) == []


def test_nothing_is_kept_or_loaded_once_a_source_has_changed(private, monkeypatch):
    assert result(fresh()) == [1, 2, 3]
    before = entries(private)
    monkeypatch.setattr(folder, "AT_IMPORT", {**folder.AT_IMPORT, Path(__file__): (0, 0)})
    kernel = fresh()
    assert result(kernel) == [1, 2, 3]
    assert not was_loaded(kernel)
    assert entries(private) == before


def test_constants_of_a_closure_make_another_kernel(private):
    def adding(n):
        def add(x, y):
            for i in range(len(x)):
                y[i] = x[i] + n

        return fresh(add)

    assert result(adding(1)) == [1, 2, 3]
    assert result(adding(5)) == [5, 6, 7]
    again = adding(5)
    assert result(again) == [5, 6, 7]
    assert was_loaded(again)
    assert len(entries(private)) == 2


def test_functions_of_one_name_that_two_others_make_are_two_kernels(private):
    def doubling(most):
        def rows(x, y):
            for i in range(len(x)):
                y[i] = x[i] * 2 * most

        return fresh(rows)

    def halving(most):
        def rows(x, y):
            for i in range(len(x)):
                y[i] = x[i] / 2 * most

        return fresh(rows)

    for _ in range(2):
        assert result(doubling(1)) == [0, 2, 4]
        assert result(halving(1)) == [0, 0.5, 1]
    assert len(entries(private)) == 2


def test_functions_in_a_closure_make_another_kernel_that_is_kept_only_under_a_name_of_its_own(private):
    def applying(function, name=None):
        def apply(x, y):
            for i in range(len(x)):
                y[i] = function(x[i])

        apply.__name__ = name or apply.__name__
        return fresh(apply)

    @register_jitable
    def plus_one(x):
        return x + 1

    @register_jitable
    def plus_nine(x):
        return x + 9

    for _ in range(2):
        assert result(applying(plus_one)) == [1, 2, 3]
        assert result(applying(plus_nine)) == [9, 10, 11]
    assert entries(private) == []
    assert result(applying(plus_one, "one")) == [1, 2, 3]
    assert result(applying(plus_nine, "nine")) == [9, 10, 11]
    again = applying(plus_nine, "nine")
    assert result(again) == [9, 10, 11]
    assert was_loaded(again)
    assert len(entries(private)) == 2


def test_twins_flags_and_signatures_have_entries_of_their_own(private):
    kernel = fresh(fastmath=())
    result(kernel)
    kernel(np.arange(3, dtype=np.float32), np.zeros(3, np.float32))
    result(fresh(fastmath=("contract",)))
    both = fresh(plus_one_in_parallel, parallel=True)
    assert result(both.parallel) == result(both.serial) == [1, 2, 3]
    assert len(entries(private)) == 5


def plus_one_in_parallel(x, y):
    for i in prange(len(x)):
        y[i] = x[i] + 1


def context():
    from numba.core.registry import cpu_target

    return cpu_target.target_context


# ---- damage


def damages(content):
    """(what was done, damaged content): cut at many places, and one byte changed at many others."""
    step = max(1, len(content) // 200)
    yield from ((f"cut at {at}", content[:at]) for at in range(0, len(content), step))
    for at in range(0, len(content), step + 1):
        yield f"byte {at}", content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :]
    yield "longer", content + b"\0"
    yield "empty", b""


def test_a_damaged_entry_is_never_loaded(private):
    kernel = fresh()
    result(kernel)
    (file,) = entries(private)
    content, sig = file.read_bytes(), next(iter(kernel.serial.overloads))
    assert kernel.serial._cache.load_overload(sig, context()) is not None
    for what, damaged in damages(content):
        file.write_bytes(damaged)
        assert kernel.serial._cache.load_overload(sig, context()) is None, what
        assert not file.exists(), what


@pytest.mark.parametrize("how", ["cut", "byte", "empty", "folder", "not a pickle", "another pickle"])
def test_a_damaged_entry_is_compiled_again(private, how):
    result(fresh())
    (file,) = entries(private)
    content = file.read_bytes()
    payload = {"not a pickle": b"hello", "another pickle": pickle.dumps((1, 2, 3))}.get(how, b"")
    if how == "folder":
        file.unlink()
        file.mkdir()
    else:
        changed = {"cut": content[:-100], "byte": content[:500] + b"\0" + content[501:], "empty": b""}
        file.write_bytes(changed.get(how, hashlib.sha256(payload).digest() + payload))
    kernel = fresh()
    with pytest.warns(FastconvWarning, match="could not be kept") if how == "folder" else contextlib.nullcontext():
        assert result(kernel) == [1, 2, 3]
    assert not was_loaded(kernel)
    if how == "folder":
        return
    again = fresh()
    assert result(again) == [1, 2, 3]
    assert was_loaded(again)


@pytest.mark.full
def test_every_operation_survives_a_cache_of_damaged_entries(tmp_path):
    program = OPERATIONS + "print(large(), machine.compile_seconds() > 0)"
    right, _ = run(program, tmp_path)[0].split()
    rng = np.random.default_rng(1)
    for round_ in range(2):
        for file in entries(tmp_path / "cache"):
            content = bytearray(file.read_bytes())
            at = int(rng.integers(len(content)))
            file.write_bytes(content[:at] if round_ % 2 else content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert run(program, tmp_path)[0] == f"{right} True"
    assert run(program, tmp_path)[0] == f"{right} False"


# ---- folders that cannot be used, or must not


def one_warning(err, *words):
    lines = [line for line in err.splitlines() if "FastconvWarning" in line]
    assert len(lines) == 1, err
    assert all(word in lines[0] for word in words), lines[0]


@pytest.mark.parametrize("what", ["is below a file", "is open to others", "no home"])
def test_a_folder_that_cannot_be_used_costs_one_warning(tmp_path, what):
    file = tmp_path / "file"
    file.write_text("")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    chosen = {"is below a file": file / "cache", "is open to others": shared, "no home": None}[what]
    home = "/dev/null/nowhere" if what == "no home" else tmp_path
    (tmp_path / "tmp").mkdir()
    environment = {"FASTCONV_CACHE_DIR": chosen, "HOME": home, "TMPDIR": tmp_path / "tmp"}
    out, err = run(FIRST_CALLS, tmp_path, **environment)
    assert out == f"{RIGHT} True"
    one_warning(err, "compiled kernels are kept in")
    assert not entries(shared)
    place = tmp_path / "tmp" if what == "no home" else tmp_path / ".cache" / "fastconv"
    assert len(entries(place)) == 2
    assert run(FIRST_CALLS, tmp_path, **environment)[0] == f"{RIGHT} False"


def test_without_any_folder_everything_works_and_warns_once(tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = tmp_path / "file" / "nowhere"
    no_temporary = f"import tempfile; tempfile.tempdir = {str(nowhere)!r}\n"
    out, err = run(no_temporary + FIRST_CALLS + "machine.info()", tmp_path, FASTCONV_CACHE_DIR=nowhere, HOME=nowhere)
    assert out == f"{RIGHT} True"
    one_warning(err, "cannot be kept", "FASTCONV_CACHE_DIR")


def test_the_warning_points_at_the_users_line_and_as_an_error_it_comes_once(tmp_path):
    (tmp_path / "file").write_text("")
    program = """
        import warnings, kernels_of_test as k
        from fastconv.errors import FastconvWarning
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            k.result(k.triple)
        print(len(caught), caught[0].filename.endswith("kernels_of_test.py"))
        from fastconv.machine import warning
        warning.SAID.clear()
        warnings.simplefilter("error")
        try:
            k.result(k.triple, "int64")
        except FastconvWarning:
            print(k.result(k.triple, "int64"))
    """
    out, _ = run(program, tmp_path, FASTCONV_CACHE_DIR=tmp_path / "file", HOME=tmp_path)
    assert out.splitlines() == ["1 True", "[0, 3, 6, 9, 12]"]


def test_a_full_disk_costs_one_warning_and_leaves_nothing_behind(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
    out, err = run(limit + FIRST_CALLS, tmp_path)
    assert out == f"{RIGHT} True"
    one_warning(err, "could not be kept")
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("step", ["open", "replace", "unlink"])
def test_any_step_of_keeping_may_fail(private, monkeypatch, step):
    def fails(*args, **options):
        raise OSError(28, "No space left on device")

    folder.cache_folder()
    if step == "unlink":  # the way back fails as well
        monkeypatch.setattr(Path, "unlink", fails)
        monkeypatch.setattr(os, "replace", fails)
    else:
        monkeypatch.setattr(os, step, fails)
    with pytest.warns(FastconvWarning, match="No space left") as caught:
        assert result(fresh()) == [1, 2, 3]
        assert result(fresh(fastmath=("contract",))) == [1, 2, 3]
    assert len(caught) == 1


def test_an_entry_that_another_process_has_just_kept_is_no_reason_to_warn(private, monkeypatch):
    """Windows does not replace a file that somebody is reading."""

    def fails(draft, path):
        Path(path).write_bytes(b"by another process")
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", fails)
    assert result(fresh()) == [1, 2, 3]
    assert [file.read_bytes() for file in entries(private)] == [b"by another process"]


def test_an_entry_that_others_can_change_is_not_loaded(private):
    result(fresh())
    (file,) = entries(private)
    file.chmod(0o666)
    kernel = fresh()
    assert result(kernel) == [1, 2, 3]
    assert not was_loaded(kernel)


@pytest.mark.parametrize("what", ["the place", "the folder in it"])
@pytest.mark.parametrize("how", [pytest.param("owner", marks=AS_ROOT), "mode"])
def test_a_folder_of_somebody_else_is_not_used(private, tmp_path, monkeypatch, what, how):
    monkeypatch.setattr(folder, "user_folder", lambda: tmp_path / "home")
    result(fresh())
    (file,) = entries(private)
    target = private if what == "the place" else file.parent
    if how == "owner":
        os.chown(target, 12345, 12345)
    else:
        target.chmod(0o770)
    folder.choice.cache_clear()
    kernel = fresh()
    with pytest.warns(FastconvWarning, match="belongs to another user" if how == "owner" else "chmod 700"):
        assert result(kernel) == [1, 2, 3]
    assert not was_loaded(kernel)
    assert len(entries(tmp_path / "home")) == 1


def test_a_folder_that_can_only_be_read_is_used_if_it_holds_something(private, monkeypatch):
    def fails(**options):
        raise OSError(30, "Read-only file system")

    result(fresh())
    monkeypatch.setattr(folder.tempfile, "TemporaryFile", fails)
    monkeypatch.setattr(folder, "user_folder", folder.chosen_folder)
    monkeypatch.setattr(folder, "temporary_folder", folder.chosen_folder)
    folder.choice.cache_clear()
    kernel = fresh()
    assert result(kernel) == [1, 2, 3]
    assert was_loaded(kernel)
    for file in entries(private):
        file.unlink()
    folder.choice.cache_clear()
    with pytest.warns(FastconvWarning, match="Read-only"):
        assert result(fresh()) == [1, 2, 3]


@AS_ROOT
def test_a_user_reads_what_root_compiled():
    """As in a container: root ran `fastconv warmup`, another user works."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        assert run(FIRST_CALLS, place)[0] == f"{RIGHT} True"
        for path in [place / "cache", *(place / "cache").rglob("*")]:
            path.chmod(0o755)
        program = """
            import os, kernels_of_test as k
            from fastconv.machine import cache_folder, compile_seconds, folder
            k.result(k.triple)  # as root, who can read all modules of Python
            folder.choice.cache_clear()
            os.seteuid(65534)
            print(k.result(k.triple, "int64"), compile_seconds(), cache_folder())
        """
        out, err = run(program, place, HOME="/nonexistent")
        assert out.startswith(f"[0, 3, 6, 9, 12] 0.0 {place / 'cache'}")
    assert "FastconvWarning" not in err


def test_relative_folders_stay_where_they_were(tmp_path):
    program = """
        import os, kernels_of_test as k
        k.result(k.triple)
        os.chdir("/")
        k.result(k.triple, "int64")
    """
    run(program, tmp_path, FASTCONV_CACHE_DIR="here")
    assert len(entries(tmp_path / "here")) == 2


# ---- several processes


def test_symbols_of_two_processes_never_clash(tmp_path):
    """Two processes compile two functions that Numba gives the same number and the same address; a third loads both."""
    module = tmp_path / "kernels_of_test.py"
    module.write_text(same_shape_kernels())
    program = """
        import sys, kernels_of_test as k
        from numba.parfors.parfor import Parfor
        Parfor.__hash__ = lambda self: 7
        for name in {names!r}:
            print(k.result(getattr(k, name)))
    """
    run(program.format(names=["plus"]), tmp_path)
    run(program.format(names=["times"]), tmp_path)
    plus, times = "[1.0, 2.0, 3.0, 4.0, 5.0]", "[0.0, 10.0, 20.0, 30.0, 40.0]"
    assert run(program.format(names=["plus", "times"]), tmp_path)[0].splitlines() == [plus, times]
    assert run(program.format(names=["times", "plus"]), tmp_path)[0].splitlines() == [times, plus]


def same_shape_kernels():
    head = "import numpy as np\nfrom numba import prange\nfrom fastconv.machine import kernel\n"
    body = "@kernel()\ndef {}(x, y):\n    for i in prange(len(x)):\n        y[i] = {}\n"
    tail = "def result(kernel):\n    y = np.zeros(5)\n    kernel(np.arange(5.0), y)\n    return y.tolist()\n"
    return head + body.format("plus", "x[i] + 1") + body.format("times", "x[i] * 10") + tail


@pytest.mark.full
@pytest.mark.parametrize("round_", range(5))
def test_processes_that_compile_at_once_on_an_empty_cache(tmp_path, round_):
    """Four of them, the same and different signatures, all starting together; then again on the warm cache."""
    program = """
import os, sys, time, kernels_of_test as k
k.double.parallel  # Numba is imported
open(f"ready{number}", "w").close()
while len([file for file in os.listdir(".") if file.startswith("ready")]) < 4:
    time.sleep(0.001)
for dtype in dtypes:
    print([dtype, k.result(k.double, dtype), k.result(k.triple, dtype)])
"""
    orders = [["float32", "float64", "int64"], ["int64", "float64", "float32"], ["float64", "float32"], ["float32", "int32"]]
    for _ in ("cold", "warm"):
        for file in tmp_path.glob("ready*"):
            file.unlink()
        together = [start(f"number, dtypes = {i}, {dtypes}\n{program}", tmp_path) for i, dtypes in enumerate(orders)]
        for dtypes, (out, _) in zip(orders, map(finish, together), strict=True):
            lines = [ast.literal_eval(line) for line in out.splitlines()]
            assert lines == [[dtype, [0, 2, 4, 6, 8], [0, 3, 6, 9, 12]] for dtype in dtypes]
    assert len(entries(tmp_path / "cache")) == 8


def test_file_names_stay_short_for_kernels_of_any_name():
    from numba.core.registry import cpu_target

    from fastconv.machine.cache import KernelCache

    def kernel():
        return 1

    kernel.__name__ = "d" * 400
    path = KernelCache(kernel, parallel=False, fastmath=[]).path("()", cpu_target.target_context)
    assert len(path.name) < 200
