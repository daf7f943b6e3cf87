"""The gate between the caller's arrays and the kernels: types, layouts, ranks, `out=`.

Kernels are compiled for one form only: C-contiguous, aligned, native, writable.  What already has it passes without a copy.
"""

import operator
from math import isfinite, prod
from numbers import Real

import numpy as np

from fastconv.errors import DTypeError, OptionError, ShapeError
from fastconv.kernels import aligned
from fastconv.machine import require_memory

__all__ = [
    "as_array", "empty", "freeze", "frozen", "images", "least", "number", "ready", "restore", "result", "result_dtype",
    "same_shape", "sizes_of",
]  # fmt: skip

LAYOUTS = ("NHWC", "NCHW")
PLAIN = (int, str, bool, type(None))  # types of options that are hashable as they are
FLOAT32 = np.dtype(np.float32)
MOST_NUMBERS = 1 << 60  # of an array
WORTH_ASKING = 1 << 28  # bytes of one new array above which the free memory is looked up first


def as_array(a, name):
    """`a` as an ndarray of real numbers.

    Raises DTypeError for complex, object, text, long double and masked arrays.
    """
    if type(a) is np.ndarray and a.dtype is FLOAT32:
        return a
    if isinstance(a, np.ma.MaskedArray):
        raise DTypeError(f"{name}: got a masked array; a mask would be ignored silently: pass {name}.filled(value)")
    try:
        a = np.asarray(a)
    except ValueError as error:
        raise ShapeError(f"{name}: got nested sequences of unequal length; needed a rectangular array") from error
    if a.dtype.kind not in "buif" or a.dtype.itemsize > 8:
        raise DTypeError(
            f"{name}: got dtype {a.dtype}; needed real numbers of at most 64 bits: convert with {name}.astype(numpy.float32)"
        )
    return a


def result_dtype(*arrays):
    """np.result_type(*arrays, float32): float32 stays, small integers give float32, float64 and int64 give float64."""
    for a in arrays:
        if a.dtype is not FLOAT32:
            return np.result_type(*(a.dtype for a in arrays), FLOAT32)
    return FLOAT32


def same_shape(dy, values, name):
    """ShapeError where a gradient has another shape than the values that it is of."""
    if dy.shape != values.shape:
        raise ShapeError(f"dy: got shape {dy.shape}; needed that of {name}, {values.shape}")


class Borrowed:
    """Gives kernels the memory of a read-only array as if it were writable (a read-only array is another type to Numba)."""

    def __init__(self, a):
        self.owner = a
        self.__array_interface__ = {**a.__array_interface__, "data": (a.__array_interface__["data"][0], False)}


def ready(a, dtype):
    """`a` in the one form that kernels take; a copy only where it has another form.  Kernels write nothing but outputs."""
    if a.dtype is dtype and a.flags.carray:
        return a
    if a.size * dtype.itemsize > WORTH_ASKING:
        require_memory(a.size * dtype.itemsize, f"a copy of {a.shape} as {dtype}")
    a = np.require(a, dtype, ["C_CONTIGUOUS", "ALIGNED"])
    return a if a.flags.writeable else np.asarray(Borrowed(a))


def freeze(option):
    """Lists inside an option as tuples, so that plans can be remembered by it."""
    if isinstance(option, (np.ndarray, np.generic)):
        option = option.tolist()
    if isinstance(option, (list, tuple)):
        return tuple(map(freeze, option))
    try:
        hash(option)
    except TypeError:
        raise OptionError(
            f"got {option!r:.80} for one of stride, padding, dilation and the like; needed a number, a name or a tuple"
        ) from None
    return option


def frozen(*options):
    """Options as a list of what can be hashed, so that plans can be remembered by it."""
    return [option if type(option) in PLAIN else freeze(option) for option in options]


def number(value, name, needed="a number", fits=isfinite):
    """`value` as a float if it is a finite number, Python's or NumPy's, for which `fits`, else OptionError.

    >>> number(3, "alpha", "a number above 0", lambda alpha: alpha > 0)
    3.0
    """
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    try:
        sound = isinstance(found, Real) and not isinstance(found, bool) and isfinite(found) and fits(found)
    except OverflowError:  # a whole number that is too large for a float
        sound = False
    if not sound:
        raise OptionError(f"{name}: got {value!r:.80}; needed {needed}")
    return float(found)


def least(value, name):
    """A `number` of at least 0."""
    return number(value, name, "a number of at least 0", lambda given: given >= 0)


def check_layout(layout):
    if layout not in LAYOUTS:
        raise OptionError(f'layout: got {layout!r}; needed "NHWC" (N, H, W, C) or "NCHW" (N, C, H, W)')


def images(a, name, layout):
    """Images of any accepted rank as an (N, H, W, C) view: (H, W), one (H, W, C) or (C, H, W), or a batch."""
    if a.ndim == 4 and layout == "NHWC":
        return a
    check_layout(layout)
    if a.ndim == 2:
        return a[None, :, :, None]
    if a.ndim == 3:
        a = a[None]
    if a.ndim != 4:
        raise ShapeError(
            f"{name}: got {a.ndim} axes, shape {a.shape}; needed (H, W), one image of 3 axes, or a batch of 4: {layout}"
        )
    return a.transpose(0, 2, 3, 1) if layout == "NCHW" else a


def sizes_of(shape, name):
    """A shape that an array can have, as a tuple of ints."""
    if isinstance(shape, np.ndarray) and shape.ndim != 1:
        raise ShapeError(f"{name}: got an array of shape {shape.shape}; needed that shape itself: pass array.shape")
    if not isinstance(shape, (tuple, list)):
        raise ShapeError(f"{name}: got {shape!r}; needed the shape of an array, a tuple of 2, 3 or 4 sizes")
    try:
        shape = tuple(map(operator.index, shape))
    except TypeError:
        raise ShapeError(f"{name}: got {tuple(shape)}; needed whole numbers") from None
    if min(shape, default=0) < 0:
        raise ShapeError(f"{name}: got {shape}; a size cannot be negative")
    if prod(shape) > MOST_NUMBERS:
        raise ShapeError(f"{name}: got {shape}; needed no more numbers than memory can have, {MOST_NUMBERS:,}")
    return shape


def image_shape(shape, name, layout):
    """The same for a shape."""
    shape = sizes_of(shape, name)
    if len(shape) == 4 and layout == "NHWC":
        return shape
    return images(np.broadcast_to(np.float32(0), shape), name, layout).shape


def restore(y, rank, layout):
    """An (N, H, W, C) result in the rank and layout of the input, C-contiguous."""
    if rank == 4 and layout == "NHWC":
        return y
    if rank == 2:
        return y[0, :, :, 0]
    if layout == "NCHW":
        y = np.ascontiguousarray(y.transpose(0, 3, 1, 2))
    return y[0] if rank == 3 else y


def empty(shape, dtype, what="the result"):
    """A new array, a view on whole cache lines of one a little larger; MemoryLimitError before what cannot succeed."""
    needed = dtype.itemsize
    for n in shape:
        needed *= n
    if needed > WORTH_ASKING:
        require_memory(needed, f"{what} {tuple(shape)}, {dtype},")
    return aligned.empty(tuple(shape), dtype)


def result(out, shape, dtype, plain, *inputs):
    """(array for a kernel to fill, array to copy it to or None) for an NHWC result of `shape`.

    `out` itself is filled where it has the kernel's form (`plain`: no other layout or rank) and shares no memory with the inputs.
    """
    if out is None:
        return empty(shape, dtype), None
    fits = plain and isinstance(out, np.ndarray) and out.shape == tuple(shape) and out.dtype == dtype and out.flags.carray
    if fits and not any(isinstance(a, np.ndarray) and np.may_share_memory(out, a) for a in inputs):
        return out, None
    return empty(shape, dtype), out


def deliver(y, out, rank, layout):
    """The caller's array: `y` in his rank and layout, copied into `out` where it could not be filled directly."""
    y = restore(y, rank, layout)
    if out is None:
        return y
    np.copyto(filled(out, y.shape, y.dtype), y)
    return out


def filled(out, shape, dtype):
    """`out`, an array of the caller that a result will fill; DTypeError or ShapeError where it cannot."""
    if not isinstance(out, np.ndarray):
        raise DTypeError(f"out: got {type(out).__name__}; needed an ndarray of shape {shape} and dtype {dtype}")
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        raise ShapeError(
            f"out: got shape {out.shape}, {out.dtype}{'' if out.flags.writeable else ', read-only'}; needed a writable array of "
            f"shape {shape}, {dtype}: numpy.empty({shape}, numpy.{dtype})"
        )
    return out
