"""What the machine package knows about the computer, on this one and on made-up others; and right results on older CPUs."""

import importlib
import json
import os
import platform
import sys

import pytest

from fastconv import machine
from fastconv.errors import MemoryLimitError
from fastconv.machine import limits
from lab import ROOT, run

cpu = importlib.import_module("fastconv.machine.cpu")  # the package has a function of that name

ON_X86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="these are names of x86 CPUs")
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
GENERIC = {"NUMBA_CPU_NAME": "generic"}


# ---- the processor


@pytest.mark.parametrize(
    "settings",
    [
        {},
        GENERIC,
        HASWELL,
        {"NUMBA_CPU_NAME": "haswell"},
        {"NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_FEATURES": "-avx512f"},
        {"NUMBA_ENABLE_AVX": "0"},
        {"NUMBA_CPU_NAME": "ivybridge"},
    ],
    ids=lambda settings: " ".join(f"{name[6:]}={value}" for name, value in settings.items()) or "native",
)
@ON_X86
def test_the_target_is_that_of_numba(tmp_path, settings):
    program = """
        from fastconv.machine.cpu import cpu, target
        before = target()
        cpu()
        from numba.core.registry import cpu_target
        numbas = cpu_target.target_context.codegen().magic_tuple()[1:]
        print(before == numbas, before, numbas)
    """
    out, _ = run(program, tmp_path, **settings)
    assert out.startswith("True"), out


@ON_X86
@pytest.mark.parametrize(
    "name, wanted",
    [
        ("generic", (16, 16, False)),
        ("nehalem", (16, 16, False)),
        ("ivybridge", (32, 16, False)),
        ("haswell", (32, 16, True)),
        ("skylake-avx512", (64, 32, True)),
    ],
)
def test_vectors_registers_and_multiply_add_of_known_cpus(name, wanted):
    assert cpu.probe_vectors(name, "") == wanted


@pytest.mark.parametrize(
    "name, vector_bytes, has_fma, wanted",
    [
        ("znver5", 64, True, 2),
        ("znver4", 64, True, 1),
        ("znver4", 32, True, 2),
        ("haswell", 32, True, 2),
        ("nehalem", 16, False, 1),
    ],
)
def test_multiply_adds_that_begin_in_a_cycle(name, vector_bytes, has_fma, wanted):
    assert cpu.multiply_adds(name, vector_bytes, has_fma) == wanted


def test_a_server_that_a_virtual_machine_calls_a_desktop_is_told_by_its_features():
    assert cpu.multiply_adds("rocketlake", 64, True, "+avx512f,+amx-tile") == 2
    assert cpu.multiply_adds("rocketlake", 64, True, "+avx512f,-amx-tile") == 1
    assert cpu.multiply_adds("rocketlake", 64, False, "+amx-tile") == 1


def cache_folder(tmp_path, **files):
    for index, (kind, level, size) in files.items():
        folder = tmp_path / "cpu0" / "cache" / index
        folder.mkdir(parents=True)
        for name, text in (("type", kind), ("level", level), ("size", size)):
            if text is not None:
                (folder / name).write_text(f"{text}\n")


def test_cache_sizes_are_read_where_they_are_and_usual_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "SYSFS", tmp_path)
    assert cpu.cache_sizes() == cpu.USUAL_CACHES
    cache_folder(
        tmp_path,
        index0=("Data", "1", "48K"),
        index1=("Instruction", "1", "64K"),
        index2=("Unified", "2", "2M"),
        index3=("Unified", "3", "strange"),
        index4=("Unified", "4", None),
    )
    assert cpu.cache_sizes() == {"L1": 48 << 10, "L2": 2 << 20, "L3": cpu.USUAL_CACHES["L3"]}


def test_a_brand_that_cannot_be_asked_for_is_the_architecture(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "nothing")
    assert cpu.brand() == (platform.processor() or platform.machine())
    (tmp_path / "cpuinfo").write_bytes(b"processor\t: 0\nmodel name\t: Fast \xff CPU @ 3 GHz\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    assert cpu.brand().startswith("Fast")
    monkeypatch.setattr(sys, "platform", "darwin")  # where `sysctl` is a program, perhaps out of reach
    monkeypatch.setenv("PATH", str(tmp_path))
    assert isinstance(cpu.brand(), str)


def test_info_is_complete_and_plain():
    found = machine.info()
    assert json.loads(json.dumps(found)) == found
    assert {"cpu", "vector_bits", "physical_cores", "threads", "threading_layer", "kernel_cache", "versions"} <= set(found)


# ---- what this process may use


@pytest.fixture
def computer(monkeypatch, tmp_path):
    """A made-up Linux machine: files under tmp_path, 8 logical CPUs that are 4 cores."""
    monkeypatch.setattr(limits, "SYSFS", tmp_path / "cpu")
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for number in range(8):
        write(tmp_path / "cpu" / f"cpu{number}" / "topology" / "thread_siblings_list", f"{number % 4},{number % 4 + 4}")
    return tmp_path


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def cores():
    return limits.physical_cores.__wrapped__()


def test_hyper_threads_are_not_counted(computer):
    assert cores() == 4


def test_the_affinity_mask_counts(computer, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6})
    assert cores() == 2


def test_without_topology_every_logical_cpu_is_a_core(computer, monkeypatch):
    monkeypatch.setattr(limits, "SYSFS", computer / "nothing")
    assert cores() == 8


@pytest.mark.parametrize(
    "quota, wanted",
    [
        ("max 100000", 4),
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("900000 100000", 4),
        ("strange", 4),
        ("", 4),
    ],
)
def test_the_quota_of_a_container_counts(computer, quota, wanted):
    write(computer / "cgroup" / "cpu.max", quota)
    assert cores() == wanted


@pytest.mark.parametrize("quota, wanted", [("-1", 4), ("300000", 3), ("20000", 1)])
def test_the_quota_of_an_older_container_counts(computer, quota, wanted):
    write(computer / "cgroup" / "cpu" / "cpu.cfs_quota_us", quota)
    write(computer / "cgroup" / "cpu" / "cpu.cfs_period_us", "100000")
    assert cores() == wanted


def test_the_narrowest_group_around_this_process_counts(computer):
    write(computer / "own", "0::/user.slice/job")
    write(computer / "cgroup" / "user.slice" / "cpu.max", "200000 100000")
    write(computer / "cgroup" / "user.slice" / "job" / "cpu.max", "max 100000")
    write(computer / "cgroup" / "elsewhere" / "cpu.max", "100000 100000")
    assert cores() == 2


def test_the_narrowest_group_of_version_1_counts(computer):
    write(computer / "own", "5:cpuset:/other\n4:cpuacct,cpu:/docker/ab\n0::/")
    write(computer / "cgroup" / "cpu" / "docker" / "ab" / "cpu.cfs_quota_us", "300000")
    write(computer / "cgroup" / "cpu" / "docker" / "ab" / "cpu.cfs_period_us", "100000")
    assert cores() == 3


def test_there_is_always_one_core(computer, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set())
    assert cores() == 1


def test_cores_without_an_affinity_mask(computer, monkeypatch):
    """macOS and Windows."""
    import psutil

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 8 if logical else 6)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [0, 1, 2], raising=False)
    assert cores() == 3
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    assert cores() == 6


MIB = 1 << 20


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_is_what_the_container_leaves_with_its_copies_of_files(computer, version):
    folder = computer / "cgroup" / ("memory" if version == 1 else "")
    most, used, prefix = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_") if version == 1 else ("memory.max", "memory.current", "")
    )
    write(folder / most, 100 * MIB)
    write(folder / used, 90 * MIB)
    assert limits.free_memory() == 10 * MIB
    write(folder / "memory.stat", f"anon 7\n{prefix}inactive_file {50 * MIB}\n{prefix}active_file {5 * MIB}\n{prefix}other 3")
    assert limits.free_memory() == 65 * MIB
    write(folder / used, 300 * MIB)
    assert limits.free_memory() == 0


def test_without_a_container_free_memory_is_that_of_the_machine(computer):
    import psutil

    assert 0.5 < limits.free_memory() / psutil.virtual_memory().available < 2
    write(computer / "cgroup" / "memory.max", "max")
    write(computer / "cgroup" / "memory.current", 5)
    assert limits.free_memory() > MIB


def test_what_cannot_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(limits, "free_memory", lambda: 3 << 30)
    limits.require_memory(3 << 30, "y")
    with pytest.raises(MemoryLimitError, match=r"y needs 4\.5 GiB, 3\.0 GiB are free; use a smaller batch"):
        limits.require_memory(9 << 29, "y")


# ---- results on older CPUs

SMOKE = """
import numpy as np
import fastconv as fc
import oracle
from fastconv import machine

rng = np.random.default_rng(7)
x, w, b, dy = (rng.standard_normal(s).astype("float32") for s in ((2, 9, 8, 3), (3, 3, 3, 5), (5,), (2, 9, 8, 5)))

def check(direction, function, exact, arrays, terms, *shape):
    plan = fc.plan(x.shape, w.shape, padding="same", direction=direction)
    error = abs(function(*arrays, *shape, padding="same") - exact(*arrays, *shape, padding="same"))
    size = exact(*map(abs, arrays), *shape, padding="same")
    assert (error <= plan.route.growth * terms * 2.0**-23 * size).all(), plan

check("forward", fc.conv2d, oracle.conv2d, (x, w, b), 28)
check("input_grad", fc.conv2d_input_grad, oracle.conv2d_input_grad, (dy, w), 46, x.shape)
check("weight_grad", fc.conv2d_weight_grad, oracle.conv2d_weight_grad, (dy, x), 145, w.shape)
y = fc.max_pool2d(x, 2)
assert np.array_equal(y, oracle.max_pool2d(x, 2)[0])
assert np.array_equal(fc.max_pool2d_grad(y, x, 2), oracle.max_pool2d_grad(y, x, 2))
print(machine.cpu().llvm_name, machine.cpu().vector_bytes)
"""


@ON_X86
@pytest.mark.parametrize("settings, wanted", [(GENERIC, "generic 16"), (HASWELL, "haswell 32")], ids=["generic", "haswell"])
def test_operations_on_an_older_cpu(tmp_path, settings, wanted):
    assert run(SMOKE, tmp_path, **settings)[0] == wanted


@ON_X86
@pytest.mark.full
@pytest.mark.parametrize("settings", [GENERIC, HASWELL], ids=["generic", "haswell"])
@pytest.mark.parametrize(
    "file",
    [
        "test_conv2d",
        "test_pool",
        "test_transpose",
        "test_dense_norm",
        "test_chains",
        "test_chain_steps",
        "test_pooled",
        "test_tile_runs",
        "test_threads",
        "test_guards",
        "test_curves",
        "test_random_pytorch",
    ],
)
def test_all_operations_on_an_older_cpu(tmp_path_factory, settings, file):
    assert "passed" in outcome(tmp_path_factory, settings, file)


@ON_X86
@pytest.mark.full
def test_tiles_for_avx2_keep_their_sums_in_registers(tmp_path_factory):
    assert "passed" in outcome(tmp_path_factory, HASWELL, "test_registers")


def outcome(tmp_path_factory, settings, file):
    """What pytest prints for a file of tests under these settings."""
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(ROOT / "tests" / f"{file}.py")]
    program = f"import pytest, sys\nsys.exit(pytest.main({arguments}))"
    cache = tmp_path_factory.getbasetemp() / f"cache of {settings['NUMBA_CPU_NAME']}"
    out, _ = run(program, tmp_path_factory.mktemp("work"), cache=cache, timeout=800, **settings)
    return out
