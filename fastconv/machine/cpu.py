"""What this computer is: CPU, vector width, caches, cores, memory.  Asked once, from LLVM and the operating system."""

import functools
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fastconv.errors import MemoryLimitError

__all__ = ["Cpu", "cpu", "free_memory", "physical_cores", "require_memory"]

SYSFS = Path("/sys/devices/system/cpu")
USUAL_CACHES = {"L1": 32 << 10, "L2": 512 << 10, "L3": 8 << 20}  # bytes, where the system does not tell


@dataclass(frozen=True)
class Cpu:
    """The processor that kernels are compiled for."""

    brand: str
    llvm_name: str
    features: str  # as given to LLVM; decides what code may be generated
    vector_bytes: int  # 64: AVX-512, 32: AVX, 16: SSE or NEON
    registers: int  # vector registers: 16 for SSE and AVX, 32 for AVX-512 and NEON
    has_fma: bool
    l1: int  # data caches in bytes, of one core (l3: shared)
    l2: int
    l3: int


@functools.cache
def cpu():
    """The `Cpu` of this process; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES are obeyed, as Numba does."""
    name, features = target()
    vector_bytes, registers, has_fma = probe_vectors(name, features)
    caches = cache_sizes()
    return Cpu(brand(), name, features, vector_bytes, registers, has_fma, caches["L1"], caches["L2"], caches["L3"])


def target():
    """(name, features) that Numba hands to LLVM."""
    import llvmlite.binding as llvm

    name = os.environ.get("NUMBA_CPU_NAME")
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if name is None:
        name = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten() if features is None else features
    return name, features or ""


def probe_vectors(name, features):
    """(bytes of a register, number of registers, fused multiply-add?) read off the assembly that LLVM writes for `a * b + c` on 16 floats."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = """
        define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
          %r = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
          ret <16 x float> %r
        }
        declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)"""
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=name, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(text))
    width = 64 if "%zmm" in assembly else 32 if "%ymm" in assembly else 16
    few = width < 64 and ("%xmm" in assembly or "%ymm" in assembly)
    return width, 16 if few else 32, "vfmadd" in assembly or "fmla" in assembly


def brand():
    """The name on the box."""
    if sys.platform == "darwin":
        return subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout.strip()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def cache_sizes():
    """Bytes of the data caches by level."""
    sizes = dict(USUAL_CACHES)
    for folder in SYSFS.glob("cpu0/cache/index*"):
        try:
            kind, level, size = ((folder / part).read_text().strip() for part in ("type", "level", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size[:-1]) << (10 if size[-1] == "K" else 20)
    return sizes


@functools.cache
def physical_cores():
    """Cores this process may use: affinity mask, without hyper-threads, within the container's CPU quota; at least 1."""
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    cores = {core_of(number) for number in allowed}
    return max(1, min(len(cores), cgroup_quota(len(cores))))


def core_of(number):
    """A name for the core that logical CPU `number` is a thread of."""
    try:
        return (SYSFS / f"cpu{number}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return number


def cgroup_quota(default):
    """Whole CPUs that the container's quota allows (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    root = Path("/sys/fs/cgroup")
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return default
    if quota in ("max", "-1"):
        return default
    return max(1, int(quota) // int(period))


def free_memory():
    """Bytes that can be had without swapping, within the container's limit."""
    import psutil

    free = psutil.virtual_memory().available
    root = Path("/sys/fs/cgroup")
    try:
        free = min(free, int((root / "memory.max").read_text()) - int((root / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no limit, or no cgroup v2
    return free


def require_memory(needed, what):
    """Refuse, before anything is allocated, what cannot fit; `needed` in bytes."""
    free = free_memory()
    if needed > free:
        raise MemoryLimitError(
            f"{what} needs {needed / 2**30:.1f} GiB, {max(free, 0) / 2**30:.1f} GiB are free; use a smaller batch or smaller images"
        )
