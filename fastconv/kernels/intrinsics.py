"""From a body that writes vector code to what Numba can call: a function with an address, or an intrinsic inside a kernel."""

from functools import update_wrapper
from itertools import repeat

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic, register_jitable

from fastconv.kernels.vector_ir import ELEMENTS, I64, Vectors

__all__ = ["add_function", "array_address", "emits", "function_address", "inlined", "number_at", "pointer_at", "row_of"]


# decorates what a kernel calls for every few thousand cycles: LLVM is to make it a part of the kernel.  As a function of its own
# it would get its tuples of arrays number by number, a hundred of them through memory, and count references to each array:
# some 300 cycles a call.
inlined = register_jitable(forceinline=True)


def add_function(module, name, body, dtype, lanes, more=0):
    """A new function void(a*, b*, c*, d*, int64*, int64, int64, with so many int64 `more`) of a module, which `body` writes.

    It has all registers to itself, and its loops are optimised once, not in every kernel that uses it.
    """
    kinds = [ELEMENTS[dtype].as_pointer()] * 4 + [I64.as_pointer(), I64, I64] + [I64] * more
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.attributes.add("noinline")
    for argument in function.args[:5]:
        argument.add_attribute("noalias")
    inside = ir.IRBuilder(function.append_basic_block("entry"))
    body(Vectors(inside, dtype, lanes), *function.args)
    inside.ret_void()
    return function


def function_address(*described):
    """An intrinsic without arguments: the address of the function that `add_function` makes of the arguments."""

    @intrinsic
    def address(_):
        def codegen(context, builder, signature, arguments):
            function = add_function(builder.module, *described)
            function.linkage = "internal"
            return builder.ptrtoint(function, I64)

        return types.int64(), codegen

    return address


@intrinsic
def pointer_at(_, like, address):
    """A pointer, as `numba.carray` takes it, to numbers of the kind of `like` at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[1], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(like, types.int64), codegen


@intrinsic
def array_address(_, array):
    """Where its numbers begin, an int64."""

    def codegen(context, builder, signature, arguments):
        return builder.ptrtoint(context.make_array(array)(context, builder, arguments[0]).data, I64)

    return types.int64(array), codegen


@intrinsic
def number_at(_, floats, position):
    """The int32 that `Vectors.put_number` wrote in place of a float32."""

    def codegen(context, builder, signature, arguments):
        data = context.make_array(floats)(context, builder, arguments[0]).data
        return Vectors(builder, floats.dtype).number_at(data, arguments[1])

    return types.int64(floats, types.int64), codegen


@intrinsic(prefer_literal=True)
def row_of(_, table, row, columns):
    """A row of a C-contiguous int64 table as a tuple.  `columns`, a literal, is all that it has.

    To unpack the row itself would mean the same; Numba makes an iterator of that, and takes half a second to compile 15 numbers.
    """
    count = literal(columns)
    if count is None or table.dtype != types.int64 or table.layout != "C":
        return None

    def codegen(context, builder, signature, arguments):
        first = builder.mul(arguments[1], I64(count))
        data = context.make_array(table)(context, builder, arguments[0]).data
        found = [builder.load(builder.gep(data, [builder.add(first, I64(n))])) for n in range(count)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.int64, count)(table, types.int64, columns), codegen


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
