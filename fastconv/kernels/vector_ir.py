"""A small language for vector code: load, store, splat, multiply-add, loop.

Numba compiles loops; LLVM decides by itself which of them become SIMD code, and with how many registers.  Where that choice
decides the speed, a kernel calls something whose body writes the vector instructions down with `Vectors`; `intrinsics` makes it
callable.  These two and the few instructions in `atomics` and `denormals` are all that knows `llvmlite.ir`.
"""

from contextlib import contextmanager
from typing import NamedTuple

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils

from fastconv.machine import cpu

__all__ = ["BYTES", "ELEMENTS", "I32", "I64", "Vectors", "lanes_of", "masks_are_fast"]

BIT, BYTE, I32, I64 = map(ir.IntType, (1, 8, 32, 64))
BYTES, NO = BYTE.as_pointer(), ir.Constant(BIT, 0)
FEW = 8  # places that have registers of their own
ELEMENTS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


def lanes_of(itemsize):
    """Numbers of `itemsize` bytes in the widest register of this CPU."""
    return cpu().vector_bytes // itemsize


def masks_are_fast():
    """Whether one instruction stores some lanes of a vector, as with AVX-512.  AMD's cores take dozens of steps for that of AVX2,
    and for bytes and on other CPUs LLVM tests lane after lane."""
    return cpu().vector_bytes == 64


def suffix_of(kind):
    """How LLVM's names say a type: f32, v8i32."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{suffix_of(kind.element)}"
    return {"float": "f32", "double": "f64"}.get(str(kind), str(kind))


def bytes_of(kind):
    """The size of a number of this type."""
    return int(suffix_of(kind)[1:]) // 8


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
        self.kind = ELEMENTS[dtype]
        self.itemsize = bytes_of(self.kind)
        self.lanes = lanes or lanes_of(self.itemsize)
        self.type = ir.VectorType(self.kind, self.lanes)

    def index(self, value):
        """An int as a 64-bit constant; what is a value already stays."""
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def constant(self, value):
        return ir.Constant(self.type, [value] * self.lanes)

    def whole_number(self, value):
        """An int in all lanes, as wide as the elements, to reckon with their bits."""
        return ir.Constant(ir.VectorType(ir.IntType(8 * self.itemsize), self.lanes), [value] * self.lanes)

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

    def kind_at(self, pointer):
        """The type of the vector behind a pointer to numbers, floats or whole ones such as bytes."""
        return ir.VectorType(pointer.type.pointee, self.lanes)

    def load(self, pointer, lanes=None):
        """The vector at any address (LLVM is promised the alignment of one number); lanes left out are zero and not read."""
        kind = self.kind_at(pointer)
        if lanes is None:
            return self.load_as(kind, pointer)
        if isinstance(kind.element, ir.IntType) and not masks_are_fast():
            return self.load_pieces(kind, pointer, lanes.count)
        place, size = self.builder.bitcast(pointer, kind.as_pointer()), ir.Constant(I32, bytes_of(kind.element))
        name, kinds = f"llvm.masked.load.{suffix_of(kind)}.p0", [place.type, I32, lanes.mask.type, kind]
        return self.call_named(name, kind, kinds, place, size, lanes.mask, ir.Constant(kind, None))

    def store(self, value, pointer, lanes=None):
        """A vector, cut down to numbers like those behind the pointer; lanes that are left out are not written."""
        kind = self.kind_at(pointer)
        value = value if value.type == kind else self.builder.trunc(value, kind)
        if lanes is None:
            self.store_as(value, pointer)
        elif masks_are_fast():
            place, size = self.builder.bitcast(pointer, kind.as_pointer()), ir.Constant(I32, bytes_of(kind.element))
            name, kinds = f"llvm.masked.store.{suffix_of(kind)}.p0", [kind, place.type, I32, lanes.mask.type]
            self.call_named(name, ir.VoidType(), kinds, value, place, size, lanes.mask)
        else:
            self.store_pieces(value, pointer, lanes.count)

    def load_as(self, kind, pointer):
        """A value of any type from a place of which only the alignment of one of its numbers is known."""
        value = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        value.align = bytes_of(pointer.type.pointee)
        return value

    def store_as(self, value, pointer):
        """The opposite of `load_as`."""
        self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer())).align = bytes_of(pointer.type.pointee)

    def store_pieces(self, value, pointer, count):
        """The first `count` lanes: a half, a quarter ... of the vector, as the bits of `count` say."""
        many = value.type.count
        with self.builder.if_else(self.builder.icmp_unsigned(">=", count, self.index(many))) as (whole, some):
            with whole:
                self.store_as(value, pointer)
            with some:
                rest, place = self.variable(value), self.variable(pointer)
                for piece in halves(many):
                    with self.if_bit(count, piece):
                        left, here = self.builder.load(rest), self.builder.load(place)
                        self.store_as(self.picked(left, left, range(piece)), here)
                        self.builder.store(self.picked(left, left, [*range(piece, many), *range(piece)]), rest)
                        self.builder.store(self.builder.gep(here, [self.index(piece)]), place)

    def load_pieces(self, kind, pointer, count):
        """The first `count` whole numbers of a vector, zeros behind them, by way of one long integer."""
        bits = kind.element.width
        number = ir.IntType(kind.count * bits)
        found = self.variable(ir.Constant(number, 0))
        with self.builder.if_else(self.builder.icmp_unsigned(">=", count, self.index(kind.count))) as (whole, some):
            with whole:
                self.builder.store(self.load_as(number, pointer), found)
            with some:
                for piece in reversed(halves(kind.count)):  # the last numbers first
                    with self.if_bit(count, piece):
                        place = self.builder.gep(pointer, [self.builder.and_(count, self.index(-2 * piece))])
                        part = self.builder.zext(self.load_as(ir.IntType(piece * bits), place), number)
                        before = self.builder.shl(self.builder.load(found), ir.Constant(number, piece * bits))
                        self.builder.store(self.builder.or_(before, part), found)
        return self.builder.bitcast(self.builder.load(found), kind)

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
        return self.call_named(f"llvm.fma.{suffix_of(self.type)}", self.type, [self.type] * 3, a, b, c)

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

    def prefetch(self, pointer, write=False, near=True):
        """Ask for the cache line of any address, which need not exist, before it is read or written; `near`: for the first cache,
        else for the second one."""
        kinds = [BYTES, I32, I32, I32]  # whether to be written, how near it is to stay, data
        settings = int(write), 3 if near else 2, 1
        line = [self.builder.bitcast(pointer, BYTES), *(ir.Constant(I32, number) for number in settings)]
        self.call_named("llvm.prefetch.p0", ir.VoidType(), kinds, *line)

    def copy(self, source, target, count):
        """`count` numbers to a place that does not overlap."""
        self.call_named(
            "llvm.memcpy.p0.p0.i64", ir.VoidType(), [BYTES, BYTES, I64, BIT], *self.in_bytes(target, source, count), NO
        )

    def in_bytes(self, *values):
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
        return [self.index(0), *[self.unseen(self.add((i, step))) for i in range(1, count)]]

    def places(self, step, count, one_each=False):
        """A function pointer -> the pointers 0, step, 2 * step ... numbers on.

        Up to FEW of them, or `one_each`, are found with a register for each.  More would not leave enough: then with the pointer
        to every eighth and four steps, 1, 3, 5 and 7, since CPUs of the x86 family multiply by 1, 2, 4 or 8 on the way to memory.
        """
        if count <= FEW or one_each:
            across = self.multiples(step, count)
            return lambda pointer: [self.at(pointer, across[i]) for i in range(count)]
        size = self.builder.mul(self.index(step), self.index(self.itemsize))
        odd = {i: self.unseen(self.builder.mul(size, self.index(i))) for i in (1, 3, 5, 7)}

        def further(pointer, i):
            shift = (i & -i).bit_length() - 1
            bytes_on = self.builder.shl(odd[i >> shift], self.index(shift))
            return self.builder.bitcast(self.builder.gep(self.builder.bitcast(pointer, BYTES), [bytes_on]), pointer.type)

        def found(pointer):
            eighths = [self.unseen(pointer)]
            while len(eighths) * 8 < count:
                eighths.append(self.unseen(further(eighths[-1], 8)))
            return [further(eighths[i // 8], i % 8) if i % 8 else eighths[i // 8] for i in range(count)]

        return found

    def unseen(self, value):
        """The same int64 or pointer, of which LLVM does not see where it came from: what is found from it is found anew."""
        return self.builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)

    def grid(self, row, pixel, count):
        """A function (pointer, i, j) -> pointer to row i and column j of `count` columns.

        `row` and `pixel`: how far it is to the next row and column; `row` may be a pair to be multiplied.
        """
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
