"""One element of y = conv2d(x, w, b), of dw or of dx: which numbers meet, and what each product is.

The arithmetic is done here, in float64, a grid of products for each channel, image or filter.  No kernel is used, so that nothing
has to be compiled and the kernels can be compared with it.
"""

import operator

import numpy as np

from fastconv import functional as F
from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, images
from fastconv.functional.conv import PreparedWeights, activation_code, bias, check_gradient, weights
from fastconv.geometry import ConvGeometry
from fastconv.teaching.explanation import Explanation, Line, Part

__all__ = ["explain"]

AXES = {"NHWC": {"y": "npqo", "dx": "nhwc", "dw": "ijco"}, "NCHW": {"y": "nopq", "dx": "nchw", "dw": "ocij"}}


def explain(
    x,
    w,
    b=None,
    *,
    at,
    of="y",
    dy=None,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    activation=None,
    layout="NHWC",
):
    """Take one element of a convolution, or of one of its gradients, apart into its products.

    Parameters
    ----------
    x, w, b, and the options : as in `conv2d`
    of : "y" (the output), "dw" (gradient of the weights) or "dx" (gradient of the input)
    at : index of the element in that array: (p, q, o) or (n, p, q, o) of y, (i, j, c, o) of dw, (h, w, c) or (n, h, w, c) of dx;
        two numbers where x is (H, W); in the order of `layout`.  The n of a batch of one may be left out, negative numbers count
        from the end.
    dy : gradient with respect to y before its activation, in the shape of y; needed for "dw" and "dx"

    Returns
    -------
    Explanation : `print` shows a page to read; `.value` equals `conv2d(x, w, b, …)[at]` or the gradient's element to rounding;
        `.parts`, `.to_json()`

    Raises
    ------
    OptionError, ShapeError, DTypeError

    >>> step = [[10, 10, 10, 0, 0, 0]] * 6
    >>> print(explain(step, [[1, 0, -1]] * 3, at=(0, 1)).text(width=80, plain=True))
    y[0, 1] = 30
    x 6x6, w 3x3 (height x width)
    y[p, q] = sum over i, j of  x[p + i, q + j] * w[i, j]
    The window: rows 0, 1, 2 and columns 1, 2, 3 of x.
    <BLANKLINE>
      x           w          x * w
      10  10  0   1  0  -1   10  0  0
      10  10  0   1  0  -1   10  0  0
      10  10  0   1  0  -1   10  0  0
    <BLANKLINE>
    10*1 + 10*0 + 0*(-1) + 10*1 + 10*0 + 0*(-1) + 10*1 + 10*0 + 0*(-1) = 30
    """
    x = as_array(x, "x")
    rank, x = x.ndim, images(x, "x", layout)
    w = weights(w, rank, layout)
    w = w.w if type(w) is PreparedWeights else w
    geo = ConvGeometry.of(
        x.shape, w.shape, stride=stride, padding=padding, dilation=dilation, groups=groups, pad_mode=pad_mode, flip=flip
    )
    activation_code(activation)
    axes = axis_names(of, rank, layout)
    place = find_place(at, of, axes, sizes(geo, of))
    if of == "y":
        collected = output_parts(geo, x, w, place)
    else:
        dy = gradient(dy, geo, layout)
        collected = weight_parts(geo, x, dy, place) if of == "dw" else input_parts(geo, dy, w, place)
    added = float(bias(b, geo.o, np.dtype(np.float64))[place["o"]]) if of == "y" and b is not None else None
    return result(geo, of, axes, place, collected, added, activation if of == "y" else None)


def result(geo, of, axes, place, collected, added, activation):
    """The sums, and all of it in one value."""
    parts, rows, columns = collected
    before = sum((part.sum for part in parts), 0.0) + (added or 0.0)
    value = float(getattr(F, activation)(np.float64(before))) if activation else before
    at = tuple(place[letter] for letter in axes)
    return Explanation(of, axes, at, place, value, before, parts, rows, columns, added, activation, geo)


# Which element is meant


def axis_names(of, rank, layout):
    """A letter for each axis of the caller's array."""
    if of not in AXES["NHWC"]:
        raise OptionError(f'of: got {of!r}; needed "y" (output), "dw" (gradient of the weights) or "dx" (gradient of the input)')
    absent = {2: "nco", 3: "" if of == "dw" else "n", 4: ""}[rank]
    return "".join(letter for letter in AXES[layout][of] if letter not in absent)


def sizes(geo, of):
    """How far each letter goes."""
    c = geo.c // geo.groups if of == "dw" else geo.c
    return {"n": geo.n, "h": geo.h, "w": geo.w, "c": c, "p": geo.p, "q": geo.q, "o": geo.o, "i": geo.kh, "j": geo.kw}


def find_place(at, of, axes, limits):
    """`at` as {"p": 1, …} with every letter of `of`; those that the caller's array does not have are 0."""
    shape = tuple(limits[letter] for letter in axes)
    needed = f"({', '.join(axes)}) within {of}, which has shape {shape}"
    try:
        numbers = [operator.index(number) for number in at]
    except TypeError:
        raise OptionError(f"at: got {at!r}; needed whole numbers {needed}") from None
    if len(numbers) == len(axes) - 1 and axes[0] == "n" and limits["n"] == 1:
        numbers = [0, *numbers]
    if len(numbers) != len(axes):
        raise ShapeError(f"at: got {tuple(numbers)}; needed {len(axes)} numbers {needed}")
    for letter, number, limit in zip(axes, numbers, shape, strict=True):
        if not -limit <= number < limit:
            raise ShapeError(f"at: got {letter} = {number}; needed {' to '.join(dict.fromkeys(('0', str(limit - 1))))}, {needed}")
    found = {letter: number % limits[letter] for letter, number in zip(axes, numbers, strict=True)}
    return dict.fromkeys(AXES["NHWC"][of], 0) | found


def gradient(dy, geo, layout):
    """dy as (N, P, Q, O)."""
    if dy is None:
        raise OptionError('dy: needed for of="dw" and of="dx"; numpy.ones of the shape of y explains the gradient of y.sum()')
    dy = images(as_array(dy, "dy"), "dy", layout)
    check_gradient(dy.shape, geo.y_shape)
    return dy


# Which numbers meet


def taps(geo, axis):
    """Rows (columns) of the filter in the order in which they lie on the image."""
    order = np.arange((geo.kh, geo.kw)[axis])
    return order[::-1] if geo.flip else order


def steps(geo, axis):
    """(stride, dilation) of an axis."""
    return ((geo.sh, geo.dh), (geo.sw, geo.dw))[axis]


def shown(geo, axis, positions):
    """What lies at `positions` of the padded axis: (input pixels, is it padding?)."""
    before, size = geo.pads[axis][0], (geo.h, geo.w)[axis]
    source = np.array(geo.sources()[axis], dtype=int)[positions]
    return source, (positions < before) | (positions >= before + size)


def window(geo, axis, at):
    """The pixels that output position `at` reads, and the taps on them."""
    stride, dilation = steps(geo, axis)
    order = taps(geo, axis)
    source, padding = shown(geo, axis, at * stride + np.arange(len(order)) * dilation)
    return Line(source, order, padding)


def meetings(geo, axis, tap):
    """The pixels that lie under filter row (column) `tap`, one for each output position."""
    stride, dilation = steps(geo, axis)
    outputs = np.arange((geo.p, geo.q)[axis])
    source, padding = shown(geo, axis, outputs * stride + int(np.flatnonzero(taps(geo, axis) == tap)[0]) * dilation)
    return Line(source, outputs, padding)


def readers(geo, axis, pixel):
    """The output positions whose window reads `pixel`, and the tap that lies on it there."""
    stride, dilation = steps(geo, axis)
    order = taps(geo, axis)
    positions = np.add.outer(np.arange((geo.p, geo.q)[axis]) * stride, np.arange(len(order)) * dilation)
    source, _ = shown(geo, axis, positions)
    outputs, found = np.nonzero(source == pixel)
    return Line(outputs, order[found], np.zeros(len(outputs), bool))


def grid(plane, rows, columns):
    """`plane` at rows × columns in float64; zero where an index is -1."""
    found = np.zeros((len(rows), len(columns)))
    inside = np.ix_(rows >= 0, columns >= 0)
    found[inside] = plane[np.ix_(rows[rows >= 0], columns[columns >= 0])]
    return found


def part(index, left, right, rows, columns):
    """One `Part` from two planes."""
    a, b = grid(left, rows.left, columns.left), grid(right, rows.right, columns.right)
    padding = np.logical_or.outer(rows.padding, columns.padding)
    for array in (a, b, padding):
        array.flags.writeable = False
    return Part(index, a, b, padding)


def output_parts(geo, x, w, place):
    """y[n,p,q,o]: the window × the filter, for each channel of the filter's group."""
    rows, columns = window(geo, 0, place["p"]), window(geo, 1, place["q"])
    depth = geo.c // geo.groups
    first = place["o"] // (geo.o // geo.groups) * depth
    parts = (part(first + c, x[place["n"], :, :, first + c], w[:, :, c, place["o"]], rows, columns) for c in range(depth))
    return tuple(parts), rows, columns


def weight_parts(geo, x, dy, place):
    """dw[i,j,c,o]: the pixels that the weight lay on × dy there, for each image."""
    rows, columns = meetings(geo, 0, place["i"]), meetings(geo, 1, place["j"])
    channel = place["o"] // (geo.o // geo.groups) * (geo.c // geo.groups) + place["c"]
    parts = (part(n, x[n, :, :, channel], dy[n, :, :, place["o"]], rows, columns) for n in range(geo.n))
    return tuple(parts), rows, columns


def input_parts(geo, dy, w, place):
    """dx[n,h,w,c]: dy of the windows that read the pixel × the weight on it, for each filter of the channel's group."""
    rows, columns = readers(geo, 0, place["h"]), readers(geo, 1, place["w"])
    depth, filters = geo.c // geo.groups, geo.o // geo.groups
    group, channel = divmod(place["c"], depth)
    parts = (
        part(o, dy[place["n"], :, :, o], w[:, :, channel, o], rows, columns)
        for o in range(group * filters, (group + 1) * filters)
    )
    return tuple(parts), rows, columns
