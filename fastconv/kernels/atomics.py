"""Counters that several threads count up at once, and wait for."""

import os

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.kernels.vector_ir import I32, I64

__all__ = ["count_up", "wait_until"]

LOOKS = 20_000  # at a counter, some microseconds, before the core is offered to others
YIELD = "sched_yield" if os.name == "posix" else None  # the function of the C library that does so


def counter_at(context, builder, kind, array, position):
    """Pointer to a number of an int64 array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [position])


@intrinsic
def count_up(_, counters, at):
    """0, 1, 2, ...: the counter at `at` before it is counted up; no two threads get the same."""

    def codegen(context, builder, signature, arguments):
        counter = counter_at(context, builder, signature.args[0], *arguments)
        return builder.atomic_rmw("add", counter, ir.Constant(I64, 1), "acq_rel")

    return types.int64(counters, types.int64), codegen


@intrinsic
def wait_until(_, counters, at, count):
    """Returns when the counter at `at` is at least `count`, with all that the threads had written that counted it up.

    After a while the core is offered to others, since the thread that is waited for may need it (not on Windows, which gives no
    such function; there it only looks again).
    """

    def codegen(context, builder, signature, arguments):
        counter = counter_at(context, builder, signature.args[0], *arguments[:2])
        look, pause, end = (builder.append_basic_block(name) for name in ("look", "pause", "end"))
        looks = cgutils.alloca_once_value(builder, ir.Constant(I64, 0))
        builder.branch(look)
        builder.position_at_end(look)
        done = builder.icmp_signed(">=", builder.load_atomic(counter, "acquire", 8), arguments[2])
        builder.cbranch(done, end, pause)
        builder.position_at_end(pause)
        many = builder.add(builder.load(looks), ir.Constant(I64, 1))
        builder.store(many, looks)
        if YIELD:
            with builder.if_then(builder.icmp_signed(">", many, ir.Constant(I64, LOOKS)), likely=False):
                builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), YIELD), [])
        builder.branch(look)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(counters, types.int64, types.int64), codegen
