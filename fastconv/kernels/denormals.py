"""Denormal numbers count as zero inside a task: some CPUs compute them a hundred times slower than others."""

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.vector_ir import BYTES, I32, I64
from fastconv.machine import KEEP_DENORMALS

__all__ = ["flush_denormals", "restore_denormals"]

FLUSH = {"x86": 1 << 15 | 1 << 6, "aarch64": 1 << 24}  # results and operands that are denormal count as zero


def family():
    """What `FLUSH` calls this CPU, None for one that it does not know."""
    name = llvm.get_default_triple().partition("-")[0]
    return "x86" if name in ("x86_64", "i686", "i386", "AMD64") else "aarch64" if name in ("aarch64", "arm64") else None


@intrinsic
def flush_denormals(_):
    """Count denormal numbers, which some CPUs compute a hundred times slower, as zero on this thread; returns what was before.

    A task begins with it and gives the answer to `restore_denormals` at its end, so that the caller's thread stays as it was: no
    code between the two can raise (but with NUMBA_BOUNDSCHECK=1, a way to look for faults, a fault leaves it flushing).
    """

    def codegen(context, builder, signature, arguments):
        before = control(builder)
        if before is None:
            return ir.Constant(I64, 0)
        set_control(builder, builder.or_(before, ir.Constant(I64, FLUSH[family()])))
        return before

    return types.int64(), codegen


@intrinsic
def restore_denormals(_, before):
    """The opposite of `flush_denormals`."""

    def codegen(context, builder, signature, arguments):
        if not KEEP_DENORMALS and family():
            set_control(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def control(builder):
    """The control register of floating-point arithmetic as an int64, None where it stays as it is."""
    if KEEP_DENORMALS or family() is None:
        return None
    if family() == "aarch64":
        return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I64, []), "llvm.aarch64.get.fpcr"), [])
    place = cgutils.alloca_once(builder, I32)
    kind = ir.FunctionType(ir.VoidType(), [BYTES])
    store = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr")
    builder.call(store, [builder.bitcast(place, BYTES)])
    return builder.zext(builder.load(place), I64)


def set_control(builder, value):
    if family() == "aarch64":
        kind = ir.FunctionType(ir.VoidType(), [I64])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.set.fpcr"), [value])
        return
    place = cgutils.alloca_once_value(builder, builder.trunc(value, I32))
    builder.store(builder.trunc(value, I32), place)
    kind = ir.FunctionType(ir.VoidType(), [BYTES])
    load = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr")
    builder.call(load, [builder.bitcast(place, BYTES)])
