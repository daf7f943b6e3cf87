"""Results against the oracle, within the accuracy that DESIGN.md promises."""

import itertools

import numpy as np

import oracle
from fastconv.kernels.group_sizes import WIDE

POINTS = 6  # at which Winograd's tiles are multiplied: numbers of a transformed tile along one axis


def assert_within(got, exact, size, terms):
    """Each element within terms * eps of the same sum over absolute values (`size`).

    `terms` counts what was added, per element or for all.  For float64 the oracle rounds as well: eps is twice the unit
    roundoff, so the bound has room for both.
    """
    assert got.shape == exact.shape, f"shape {got.shape}, needed {exact.shape}"
    error, bound = abs(got - exact), terms * np.finfo(got.dtype).eps * size
    wrong = ~(error <= bound)  # a NaN is wrong, too
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{wrong.sum()} of {wrong.size} elements are off, first {at}: {got[at]!r}, needed {exact[at]!r}")


def oracle_call(case, direction, x, w, b, dy):
    """One direction of one convolution by the oracle."""
    if direction == "forward":
        return oracle.conv2d(x, w, b, **case.options)
    if direction == "input_grad":
        return oracle.conv2d_input_grad(dy, w, case.x_shape, **case.options)
    return oracle.conv2d_weight_grad(dy, x, case.w_shape, **case.options)


def assert_accurate(got, case, algorithm, direction, *arrays):
    """A convolution or gradient of x, w, b, dy within growth * terms * eps."""
    exact = oracle_call(case, direction, *arrays)
    size = oracle_call(case, direction, *(abs(a) for a in arrays))
    terms = oracle_call(case, direction, *(np.ones(a.shape) for a in arrays))
    assert_within(got, exact, allowed_size(case, algorithm, direction, size), allowed_terms(case, algorithm, direction, terms))


def tile_sides(case):
    """Outputs of the largest transformed tile along both axes; a filter counts in strides."""
    return tuple(POINTS + 1 - -(-k // s) for k, s in zip(case.k, case.walk.stride, strict=True))


def tiles_along(case, direction, axis, size):
    """[(pixels, those that were transformed together with them), ...]: the tiles of a dilation lie interleaved, those of strided
    gradients begin at the padding."""
    step, dilation, side, at = case.walk.stride[axis], case.walk.dilation[axis], tile_sides(case)[axis], np.arange(size)
    if direction == "input_grad" and step > 1:
        number = (at + case.walk.pad[axis][0]) // step // side
    else:
        number = at // dilation // side + size * (at % dilation)
    return [(together, together) for together in (np.flatnonzero(number == n) for n in np.unique(number))]


def windows_along(axis, size):
    """The same for images as lanes: WIDE results of a row, the last ones of the row together, whichever these are."""
    side = (1, WIDE)[axis]
    windows = [np.arange(start, start + side) for start in (*range(0, size - side, side), size - side)]
    return [(window[window < end[0]], window) for window, end in itertools.pairwise([*windows, [size]])]


def allowed_size(case, algorithm, direction, size):
    """`size`; where results are transformed in tiles (growth above 1), the largest one of the tile: rounding follows that."""
    if getattr(algorithm, direction).growth == 1:
        return size
    if direction == "weight_grad":  # the taps of a filter are one tile
        return np.broadcast_to(size.max(axis=(0, 1), initial=0), size.shape)
    rows, cols = (
        windows_along(axis, size.shape[1 + axis])
        if algorithm.name == "batch_winograd"
        else tiles_along(case, direction, axis, size.shape[1 + axis])
        for axis in (0, 1)
    )
    found, images = size.copy(), range(len(size))
    for (r, tall), (c, wide) in itertools.product(rows, cols):
        found[np.ix_(images, r, c)] = size[np.ix_(images, tall, wide)].max(axis=(1, 2), keepdims=True, initial=0)
    return found


def allowed_terms(case, algorithm, direction, counted):
    """growth * terms.  An algorithm that only multiplies and adds gets no terms for padding, since adding zero does not round;
    one that transforms tiles first is allowed all C * KH * KW + 1; a sum over pixels all of its tiles, whole ones."""
    growth = getattr(algorithm, direction).growth
    if growth == 1:
        return counted
    if direction == "weight_grad":
        (n, p, q, _), (tall, wide) = case.y_shape, tile_sides(case)
        nominal = n * -(-p // tall) * tall * -(-q // wide) * wide
    else:
        nominal = case.k[0] * case.k[1] * (case.c if direction == "forward" else case.o) // case.groups
    return growth * np.maximum(counted, nominal + 1)


def assert_same_bytes(got, wanted):
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    differ = np.ascontiguousarray(got).view(np.uint8) != np.ascontiguousarray(wanted).view(np.uint8)
    assert not differ.any(), f"{differ.sum()} of {differ.size} bytes differ"
