"""What processor this is: its name, vector width, registers and caches.  Asked once, from LLVM and the operating system."""

import functools
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fastconv.machine.warning import is_set_to

__all__ = ["Cpu", "cpu"]

SYSFS = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")
USUAL_CACHES = {"L1": 32 << 10, "L2": 512 << 10, "L3": 8 << 20}  # bytes, where the system does not tell
UNITS = {"": 0, "K": 10, "M": 20, "G": 30}
SLOW_AVX = ("corei7-avx", "core-avx-i", "sandybridge", "ivybridge")  # where Numba leaves AVX out unless told otherwise

# CPUs that begin one multiply-add of full vectors in a cycle, since a vector goes twice through a unit of half its width or only
# one unit is as wide; all others that have the instruction begin two at least [uops.info]
ONE_A_CYCLE = {64: ("znver4", "cannonlake", "icelake-client", "tigerlake", "rocketlake"), 32: ("znver1",)}

# denormal numbers count as zero inside kernels unless this says "keep"; read once, since it is in the compiled code
KEEP_DENORMALS = is_set_to("FASTCONV_DENORMALS", "keep", "zero")


@dataclass(frozen=True)
class Cpu:
    """The processor that kernels are compiled for."""

    brand: str
    llvm_name: str
    features: str  # as given to LLVM; decides what code may be generated
    vector_bytes: int  # 64: AVX-512, 32: AVX, 16: SSE or NEON
    registers: int  # vector registers: 16 for SSE and AVX, 32 for AVX-512 and NEON
    has_fma: bool
    multiply_adds: int  # of whole vectors, that a core begins in a cycle: 1 or 2
    l1: int  # data caches in bytes, of one core (l3: shared)
    l2: int
    l3: int


@functools.cache
def cpu():
    """The `Cpu` of this process; NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX are obeyed, as Numba does."""
    name, features = target()
    vector_bytes, registers, has_fma = probe_vectors(name, features)
    caches = cache_sizes()
    begun = multiply_adds(name, vector_bytes, has_fma, features)
    return Cpu(brand(), name, features, vector_bytes, registers, has_fma, begun, caches["L1"], caches["L2"], caches["L3"])


def target():
    """(name, features) that Numba hands to LLVM.  A name alone, except "generic", keeps the features of this CPU."""
    import llvmlite.binding as llvm

    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        features = "" if str(name).lower() == "generic" else host_features(name or llvm.get_host_cpu_name())
    return name or llvm.get_host_cpu_name(), features


def host_features(name):
    """What the CPU can do, in LLVM's words, less what Numba leaves out."""
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell on every platform
        return ""
    given = os.environ.get("NUMBA_ENABLE_AVX")
    if given == "0" or (given is None and name in SLOW_AVX):
        features.update((feature, False) for feature in features if feature.startswith("avx"))
    return features.flatten()


def probe_vectors(name, features):
    """(bytes of a register, registers, fused multiply-add?), read off the code that LLVM writes for a * b + c on 16 floats."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = """
        define <16 x float> @probe(<16 x float> %a, <16 x float> %b, <16 x float> %c) {
          %r = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %c)
          ret <16 x float> %r
        }
        declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)"""
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=name, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(text))
    width = 64 if "%zmm" in assembly else 32 if "%ymm" in assembly else 16
    few = width < 64 and ("%xmm" in assembly or "%ymm" in assembly)
    return width, 16 if few else 32, "vfmadd" in assembly or "fmla" in assembly


def multiply_adds(name, vector_bytes, has_fma, features=""):
    """`Cpu.multiply_adds` of a CPU that LLVM calls so; one with units for matrices is a server, whatever a virtual machine calls
    it, and none of those that begin one."""
    begins_one = name in ONE_A_CYCLE.get(vector_bytes, ()) and "+amx-tile" not in features
    return 1 if not has_fma or begins_one else 2


def brand():
    """The name on the box."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        found = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(errors="replace"), re.MULTILINE)
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
        found = re.fullmatch(r"(\d+)([KMG]?)", size)
        if kind != "Instruction" and found:
            sizes[f"L{level}"] = int(found[1]) << UNITS[found[2]]
    return sizes
