"""A small language for vector code: load, store, splat, multiply-add, loop.  The only file that knows `llvmlite.ir`.

Numba compiles loops; LLVM decides by itself which of them become SIMD code, and with how many registers.  Where that choice
decides the speed, a kernel calls an `@intrinsic` whose body writes the vector instructions down with `Vectors`.
"""

import os
from contextlib import contextmanager
from functools import update_wrapper
from itertools import repeat
from typing import NamedTuple

import llvmlite.binding as llvm
import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.machine import KEEP_DENORMALS, cpu

__all__ = [
    "Vectors",
    "count_up",
    "emits",
    "flush_denormals",
    "function_address",
    "lanes_of",
    "pointer_at",
    "restore_denormals",
    "wait_until",
]

BIT, BYTE, I32, I64 = map(ir.IntType, (1, 8, 32, 64))
BYTES, NO = BYTE.as_pointer(), ir.Constant(BIT, 0)
LOOKS = 20_000  # at a counter, some microseconds, before the core is offered to others
YIELD = "sched_yield" if os.name == "posix" else None  # the function of the C library that does so
ELEMENTS = {types.float32: (ir.FloatType(), 4, "f32"), types.float64: (ir.DoubleType(), 8, "f64")}


def lanes_of(itemsize):
    """Numbers of `itemsize` bytes in the widest register of this CPU."""
    return cpu().vector_bytes // itemsize


def masks_are_fast():
    """Whether one instruction stores some lanes of a vector, as with AVX-512.  AMD's cores take dozens of steps for that of AVX2,
    and for bytes and on other CPUs LLVM tests lane after lane."""
    return cpu().vector_bytes == 64


def halves(count):
    """count / 2, count / 4 ... 1"""
    return [count >> i for i in range(1, count.bit_length())]


class Lanes(NamedTuple):
    """The first lanes of a vector."""

    mask: ir.Value
    count: ir.Value  # int64; all lanes from their number on


class Vectors:
    """Writes instructions on vectors of one element type at the end of the block that `builder` is in."""

    def __init__(self, builder, dtype, lanes=None):
        self.builder = builder
        self.dtype = dtype
        self.kind, self.itemsize, suffix = ELEMENTS[dtype]
        self.lanes = lanes or lanes_of(self.itemsize)
        self.type = ir.VectorType(self.kind, self.lanes)
        self.suffix = f"v{self.lanes}{suffix}"

    def index(self, value):
        """An int as a 64-bit constant; what is a value already stays."""
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def constant(self, value):
        return ir.Constant(self.type, [value] * self.lanes)

    def element(self, value):
        """One number of the element type."""
        return ir.Constant(self.kind, value)

    def add(self, *terms):
        """The sum of the terms: each a value, an int, or a pair to be multiplied."""
        total = self.index(0)
        for term in terms:
            step = self.builder.mul(*map(self.index, term)) if isinstance(term, tuple) else self.index(term)
            total = self.builder.add(total, step)
        return total

    def at(self, pointer, *terms):
        """pointer + the sum of the terms, in elements."""
        return self.builder.gep(pointer, [self.add(*terms)])

    def load(self, pointer, lanes=None):
        """A vector from any address (LLVM is promised the alignment of one number); lanes left out are zero and not read."""
        pointer = self.builder.bitcast(pointer, self.type.as_pointer())
        if lanes is not None:
            kinds, name = [pointer.type, I32, lanes.mask.type, self.type], f"llvm.masked.load.{self.suffix}.p0"
            return self.call_named(
                name, self.type, kinds, pointer, ir.Constant(I32, self.itemsize), lanes.mask, self.constant(0.0)
            )
        value = self.builder.load(pointer)
        value.align = self.itemsize
        return value

    def store(self, value, pointer, lanes=None):
        """Lanes that are left out are not written."""
        if lanes is None:
            self.builder.store(value, self.builder.bitcast(pointer, self.type.as_pointer())).align = self.itemsize
        elif masks_are_fast():
            pointer = self.builder.bitcast(pointer, self.type.as_pointer())
            kinds, name = [self.type, pointer.type, I32, lanes.mask.type], f"llvm.masked.store.{self.suffix}.p0"
            self.call_named(name, ir.VoidType(), kinds, value, pointer, ir.Constant(I32, self.itemsize), lanes.mask)
        else:
            self.store_pieces(value, pointer, lanes.count, self.itemsize)

    def store_pieces(self, value, pointer, count, size):
        """The first `count` lanes: a half, a quarter ... of the vector, as the bits of `count` say."""
        many, kind = value.type.count, value.type
        with self.builder.if_else(self.builder.icmp_unsigned(">=", count, self.index(many))) as (whole, some):
            with whole:
                self.builder.store(value, self.builder.bitcast(pointer, kind.as_pointer())).align = size
            with some:
                rest, place = self.variable(value), self.variable(pointer)
                for piece in halves(many):
                    with self.if_bit(count, piece):
                        left, here = self.builder.load(rest), self.builder.load(place)
                        part = self.picked(left, left, range(piece))
                        self.builder.store(part, self.builder.bitcast(here, part.type.as_pointer())).align = size
                        self.builder.store(self.picked(left, left, [*range(piece, many), *range(piece)]), rest)
                        self.builder.store(self.builder.gep(here, [self.index(piece)]), place)

    def load_pieces(self, pointer, count, kind):
        """The first `count` whole numbers of a vector of `kind`, zeros behind them, by way of one long integer."""
        bits = kind.element.width
        number = ir.IntType(kind.count * bits)
        found = self.variable(ir.Constant(number, 0))
        with self.builder.if_else(self.builder.icmp_unsigned(">=", count, self.index(kind.count))) as (whole, some):
            with whole:
                self.builder.store(self.aligned_load(pointer, number, bits), found)
            with some:
                for piece in reversed(halves(kind.count)):  # the last numbers first
                    with self.if_bit(count, piece):
                        place = self.builder.gep(pointer, [self.builder.and_(count, self.index(-2 * piece))])
                        part = self.builder.zext(self.aligned_load(place, ir.IntType(piece * bits), bits), number)
                        before = self.builder.shl(self.builder.load(found), ir.Constant(number, piece * bits))
                        self.builder.store(self.builder.or_(before, part), found)
        return self.builder.bitcast(self.builder.load(found), kind)

    def aligned_load(self, pointer, kind, bits):
        """A value of `kind` from an address of which only the alignment of one number is known."""
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = bits // 8
        return value

    def if_bit(self, count, bit):
        """`with if_bit(count, bit)`: what is inside runs where the int64 has this bit."""
        return self.builder.if_then(self.builder.icmp_unsigned("!=", self.builder.and_(count, self.index(bit)), self.index(0)))

    def picked(self, one, other, numbers):
        """The lanes of two vectors with these numbers, those of the second behind those of the first."""
        numbers = list(numbers)
        return self.builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(numbers)), numbers))

    def within(self, count):
        """`count`, or 0 where it is negative."""
        return self.builder.select(self.builder.icmp_signed("<", count, self.index(0)), self.index(0), count)

    def first_lanes(self, count):
        """`Lanes` of an int64."""
        numbers = ir.VectorType(I32, self.lanes)
        limit = self.splat(self.builder.trunc(count, I32), numbers)
        return Lanes(self.builder.icmp_unsigned("<", ir.Constant(numbers, list(range(self.lanes))), limit), count)

    def bytes_in(self, value, count):
        """The lowest `count` bytes of an int64, each as an int64."""
        return [self.builder.and_(self.builder.lshr(value, self.index(8 * i)), self.index(255)) for i in range(count)]

    def if_inside(self, lanes, *limits):
        """`lanes` where all (number, first, end) hold first <= number < end, else none."""
        flag = ir.Constant(BIT, 1)
        for number, first, end in limits:
            after = self.builder.icmp_signed(">=", self.index(number), first)
            before = self.builder.icmp_signed("<", self.index(number), end)
            flag = self.builder.and_(flag, self.builder.and_(after, before))
        mask = self.builder.and_(lanes.mask, self.splat(flag, lanes.mask.type))
        return Lanes(mask, self.builder.select(flag, lanes.count, self.index(0)))

    def exchanged(self, low, high, step):
        """Both vectors after the upper `step` lanes of every 2 * step of `low` changed places with the lower ones of `high`."""
        first = [k if not k & step else self.lanes + k - step for k in range(self.lanes)]
        second = [k + step if not k & step else self.lanes + k for k in range(self.lanes)]
        return tuple(self.picked(low, high, picks) for picks in (first, second))

    def turned(self, vectors):
        """A square of lanes x lanes numbers on its side."""
        vectors, step = list(vectors), self.lanes // 2
        while step:  # exchange the off-diagonal step x step blocks
            for i in range(self.lanes):
                if not i & step:
                    vectors[i], vectors[i + step] = self.exchanged(vectors[i], vectors[i + step], step)
            step //= 2
        return vectors

    def call_named(self, name, result, kinds, *values):
        declared = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, kinds), name)
        return self.builder.call(declared, values)

    def splat(self, scalar, kind=None):
        """One number in all lanes; LLVM folds it into the operand of a multiply-add where the CPU can."""
        undefined = ir.Constant(kind or self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes))

    def multiply_add(self, a, b, c):
        """a * b + c, rounded once where the CPU has the instruction, twice where a library function would replace it."""
        if not cpu().has_fma:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self.call_named(f"llvm.fma.{self.suffix}", self.type, [self.type] * 3, a, b, c)

    def variable(self, value):
        """A register that changes in loops (LLVM keeps it out of memory)."""
        return cgutils.alloca_once_value(self.builder, value)

    def where_negative(self, value, replacement):
        """`replacement` in the lanes where value < 0; NaN is not."""
        return self.builder.select(self.builder.fcmp_ordered("<", value, self.constant(0.0)), replacement, value)

    def where_positive(self, value, kept, replacement):
        """`kept` in the lanes where value > 0 or NaN, else `replacement`."""
        return self.builder.select(self.builder.fcmp_unordered(">", value, self.constant(0.0)), kept, replacement)

    def larger_or_nan(self, value, other):
        """The lanes where value > other, or value is the first NaN of the two."""
        larger = self.builder.fcmp_unordered(">", value, other)
        return self.builder.and_(larger, self.builder.fcmp_ordered("==", other, other))

    def numbers(self, value):
        """An int64 as 32-bit whole numbers in all lanes."""
        return self.splat(self.builder.trunc(value, I32), ir.VectorType(I32, self.lanes))

    def as_floats(self, numbers):
        """The bits of 32-bit whole numbers as a vector of float32, to be stored among them."""
        return self.builder.bitcast(numbers, self.type)

    def number_at(self, pointer, position):
        """The 32-bit whole number that `as_floats` stored, as an int64."""
        numbers = self.builder.bitcast(pointer, I32.as_pointer())
        return self.builder.sext(self.builder.load(self.builder.gep(numbers, [position])), I64)

    def put_number(self, value, pointer, position):
        """Store an int64 as `number_at` reads it."""
        numbers = self.builder.bitcast(pointer, I32.as_pointer())
        self.builder.store(self.builder.trunc(value, I32), self.builder.gep(numbers, [position]))

    def one_if_positive(self, value):
        """1 where the int64 is 0 or more, else 0."""
        return self.builder.zext(self.builder.icmp_signed(">=", value, self.index(0)), I64)

    def prefetch(self, pointer):
        """Ask for the cache line of any address, which need not exist, before it is read."""
        kinds = [BYTES, I32, I32, I32]  # to be read, to stay in every cache, data
        line = [self.builder.bitcast(pointer, BYTES), *(ir.Constant(I32, number) for number in (0, 3, 1))]
        self.call_named("llvm.prefetch.p0", ir.VoidType(), kinds, *line)

    def copy(self, source, target, count):
        """`count` numbers to a place that does not overlap."""
        self.call_named(
            "llvm.memcpy.p0.p0.i64", ir.VoidType(), [BYTES, BYTES, I64, BIT], *self.bytes_of(target, source, count), NO
        )

    def clear(self, target, count):
        """`count` zeros."""
        target, size = self.bytes_of(target, count)
        self.call_named("llvm.memset.p0.i64", ir.VoidType(), [BYTES, BYTE, I64, BIT], target, ir.Constant(BYTE, 0), size, NO)

    def bytes_of(self, *values):
        """Pointers as pointers to bytes, the count behind them in bytes."""
        *pointers, count = values
        return *(self.builder.bitcast(p, BYTES) for p in pointers), self.builder.mul(count, self.index(self.itemsize))

    def keep_rolled(self):
        """Forbids LLVM to unroll the loop around: its remainder loop would run as often as the loop itself."""
        nothing = self.builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], True)
        nothing.attributes.add("convergent")

    def multiples(self, step, count):
        """0, step, 2 * step ... of an int64, each in a register.  LLVM does not see that they belong together: it would find the
        second place from the first, the third from the second, in every turn of a loop, one addition waiting for another."""
        kind = ir.FunctionType(I64, [I64])
        rest = [self.builder.asm(kind, "", "=r,0", [self.add((i, step))], False) for i in range(1, count)]
        return [self.index(0), *rest]

    def grid(self, row, pixel, count):
        """A function (pointer, i, j) -> pointer to row i and column j, for `count` columns; `row`: their distance, as a term."""
        down, across = self.add(row), self.multiples(pixel, count)
        return lambda pointer, i, j: self.at(self.at(pointer, (i, down)), across[j])

    def read_anew(self, pointer):
        """The same pointer; LLVM does not see that, and cannot keep in registers what it has read there before."""
        kind = ir.FunctionType(pointer.type, [pointer.type])
        return self.builder.asm(kind, "", "=r,0,~{memory}", [pointer], True)

    def room(self, count):
        """A pointer to so many vectors on the stack."""
        return self.builder.bitcast(cgutils.alloca_once(self.builder, self.type, count), self.kind.as_pointer())

    def pointer(self, address):
        """An int64 as a pointer to numbers of the element type."""
        return self.builder.inttoptr(address, self.kind.as_pointer())

    def call(self, address, *arguments):
        """Call the function at `address` (an int64), which returns nothing."""
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        self.builder.call(self.builder.inttoptr(address, kind.as_pointer()), arguments)

    def integer(self, pointer, position):
        """The int64 at `position` behind a pointer to int64."""
        return self.builder.load(self.builder.gep(pointer, [self.index(position)]))

    def integers(self, pointer, names):
        """{name: int64} of the numbers behind a pointer, in the order of the names."""
        return {name: self.integer(pointer, i) for i, name in enumerate(names)}

    def either(self, flag):
        """`with either(flag) as (then, otherwise)`: two blocks, the first where the int64 is not 0."""
        return self.builder.if_else(self.builder.icmp_signed("!=", flag, self.index(0)))

    def only_if(self, value, known):
        """`with only_if(value, known)`: what is inside runs where the int64 equals the number."""
        return self.builder.if_then(self.builder.icmp_signed("==", value, self.index(known)))

    def store_whole(self, numbers, pointer, lanes=None):
        """32-bit whole numbers as those that the pointer points to, such as bytes; lanes that are left out are not written."""
        kind = ir.VectorType(pointer.type.pointee, self.lanes)
        if kind != numbers.type:
            numbers = self.builder.trunc(numbers, kind)
        size = kind.element.width // 8
        if lanes is None:
            self.builder.store(numbers, self.builder.bitcast(pointer, kind.as_pointer())).align = size
        elif masks_are_fast():
            pointer = self.builder.bitcast(pointer, kind.as_pointer())
            name = f"llvm.masked.store.v{self.lanes}i{kind.element.width}.p0"
            kinds = [kind, pointer.type, I32, lanes.mask.type]
            self.call_named(name, ir.VoidType(), kinds, numbers, pointer, ir.Constant(I32, size), lanes.mask)
        else:
            self.store_pieces(numbers, pointer, lanes.count, size)

    def whole(self, pointer, lanes=None):
        """A vector of the whole numbers, such as bytes, behind a pointer; lanes that are left out are 0 and not read."""
        element = pointer.type.pointee
        kind, size = ir.VectorType(element, self.lanes), element.width // 8
        if lanes is not None and not masks_are_fast():
            return self.load_pieces(pointer, lanes.count, kind)
        pointer = self.builder.bitcast(pointer, kind.as_pointer())
        if lanes is not None:
            mask = lanes.mask
            name, nothing = f"llvm.masked.load.v{self.lanes}i{element.width}.p0", ir.Constant(kind, [0] * self.lanes)
            kinds = [pointer.type, I32, mask.type, kind]
            return self.call_named(name, kind, kinds, pointer, ir.Constant(I32, size), mask, nothing)
        found = self.builder.load(pointer)
        found.align = size
        return found

    def equal_whole(self, numbers, number):
        """The lanes where whole numbers equal an int64."""
        kind = numbers.type
        return self.builder.icmp_signed("==", numbers, self.splat(self.builder.trunc(number, kind.element), kind))

    def if_smaller(self, value, limit):
        """`with if_smaller(value, limit)`: what is inside runs where value < limit."""
        return self.builder.if_then(self.builder.icmp_signed("<", value, limit))

    def only_if_not(self, value, known):
        """The opposite of `only_if`."""
        return self.builder.if_then(self.builder.icmp_signed("!=", value, self.index(known)))

    @contextmanager
    def loop(self, count):
        """`with loop(count) as i`: the instructions inside, for i = 0 ... count - 1."""
        with cgutils.for_range(self.builder, self.index(count)) as loop:
            yield loop.index


def function_address(name, body, dtype, lanes, more=0):
    """An intrinsic without arguments: the address of a function void(a*, b*, c*, d*, int64*, int64, int64) that `body` writes,
    with so many int64 `more` behind.

    A function of its own has all registers to itself, and its loops are optimised once, not in every kernel that uses it.
    """
    element = ELEMENTS[dtype][0].as_pointer()
    kinds = [element] * 4 + [I64.as_pointer(), I64, I64] + [I64] * more

    @intrinsic
    def address(_):
        def codegen(context, builder, signature, arguments):
            function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            for argument in function.args[:5]:
                argument.add_attribute("noalias")
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            body(Vectors(inside, dtype, lanes), *function.args)
            inside.ret_void()
            return builder.ptrtoint(function, I64)

        return types.int64(), codegen

    return address


def counter_at(context, builder, kind, array, position):
    """Pointer to a number of an int64 array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [position])


@intrinsic
def pointer_at(_, like, address):
    """A pointer, as `numba.carray` takes it, to numbers of the kind of `like` at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[1], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(like, types.int64), codegen


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


FLUSH = {"x86": 1 << 15 | 1 << 6, "aarch64": 1 << 24}  # results and operands that are denormal count as zero


def family():
    """What `FLUSH` calls this CPU, None for one that it does not know."""
    name = llvm.get_default_triple().partition("-")[0]
    return "x86" if name in ("x86_64", "i686", "i386", "AMD64") else "aarch64" if name in ("aarch64", "arm64") else None


@intrinsic
def flush_denormals(_):
    """Count denormal numbers, which some CPUs compute a hundred times slower, as zero on this thread; returns what was before.

    A task begins with it and gives the answer to `restore_denormals` at its end, so that the caller's thread stays as it was: no
    code between the two can raise.
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


def literal(value):
    """The number of a literal argument, or None where Numba has not seen yet that it must be one."""
    return value.literal_value if isinstance(value, types.IntegerLiteral) else None


def emits(*literals):
    """Decorate body(v, pointers and values ...): an intrinsic that works on float32 or float64 arrays and returns nothing.

    Arrays arrive as pointers to their first element; the arguments named in `literals` must be literal ints and arrive as ints.
    """

    def decorate(body):
        names = body.__code__.co_varnames[1 : body.__code__.co_argcount]

        def emitted(_, *kinds):
            known = [literal(kind) if name in literals else None for name, kind in zip(names, kinds, strict=True)]
            if any(name in literals and value is None for name, value in zip(names, known, strict=True)):
                return None
            dtype = next(kind.dtype for kind in kinds if isinstance(kind, types.Array))

            def codegen(context, builder, signature, values):
                body(Vectors(builder, dtype), *map(argument, repeat(context), repeat(builder), signature.args, values, known))
                return context.get_dummy_value()

            return types.void(*kinds), codegen

        return intrinsic(prefer_literal=True)(update_wrapper(emitted, body, assigned=("__name__", "__doc__", "__module__")))

    return decorate


def argument(context, builder, kind, value, known):
    """What the body of an intrinsic gets: the literal, a pointer to the data, or the value."""
    if known is not None:
        return known
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    return value
