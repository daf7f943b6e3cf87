"""The machine: CPU, threads, and the compilation and caching of kernels.  No other package asks about any of them."""

import os
import sys

from fastconv.machine.compilation import compile_seconds
from fastconv.machine.cpu import KEEP_DENORMALS, Cpu, cpu
from fastconv.machine.folder import cache_folder, version
from fastconv.machine.kernel import Kernel, kernel
from fastconv.machine.limits import free_memory, physical_cores, require_memory
from fastconv.machine.threads import get_threads, set_threads, threading_layer, whole_after_fork
from fastconv.machine.warning import is_set_to

__all__ = [
    "KEEP_DENORMALS",
    "Cpu",
    "Kernel",
    "cache_folder",
    "compile_seconds",
    "cpu",
    "free_memory",
    "get_threads",
    "info",
    "is_set_to",
    "kernel",
    "physical_cores",
    "require_memory",
    "set_threads",
    "threading_layer",
    "whole_after_fork",
]


def info():
    """What fastconv runs on, as a dict: CPU, caches in bytes, cores, threads, threading layer, kernel cache, versions."""
    found = cpu()
    ours = sys.modules[__name__.partition(".")[0]].__version__
    return {
        "cpu": found.brand,
        "llvm_cpu": found.llvm_name,
        "vector_bits": 8 * found.vector_bytes,
        "fma": found.has_fma,
        "caches": {"L1": found.l1, "L2": found.l2, "L3": found.l3},
        "physical_cores": physical_cores(),
        "threads": get_threads(),
        "threading_layer": threading_layer() or os.environ.get("NUMBA_THREADING_LAYER", "chosen at the first call"),
        "free_memory": free_memory(),
        "kernel_cache": str(cache_folder() or "none: each run compiles again"),
        "versions": {"fastconv": ours} | {name: version(name) for name in ("numba", "llvmlite", "numpy", "safetensors", "rich")},
    }
