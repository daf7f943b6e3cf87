"""The transforms of Winograd's F(m x m, r x r) as functions of their own, for m + r - 1 = 6: of input, filter and output, and
those of the weight gradient, which are the transposes of the last two.

Two of each that touches images, one for tiles that lie whole in them and one for their edge, where only some rows, columns and
lanes exist.
"""

import functools
from dataclasses import dataclass

import numpy as np

from fastconv.kernels.tile import activate, compiled_address
from fastconv.kernels.winograd_matrices import input_steps, matrices
from fastconv.kernels.winograd_transform import both_ways, floats

__all__ = ["FilterMove", "GradientMove", "InputMove", "N", "OutputMove", "SumMove", "move_address", "move_addresses", "outputs"]

N = 6  # inputs of a tile along one axis


def outputs(size):
    """m: outputs of a tile along one axis for filters of `size` taps."""
    return N + 1 - size


@dataclass(frozen=True)
class InputMove:
    """V <- BT x B for one tile and one vector of channels; steps: row and pixel of x, element of V.

    At an edge `limits` holds the first and last row and column that exist, 8 bits each, and `tail` the lanes.
    """

    itemsize: int
    lanes: int
    edge: bool

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_input{'_edge' * self.edge}"

    def write(self, v, x, _, out, __, block, limits, tail):
        row, pixel, element = (v.integer(block, i) for i in range(3))
        lanes, (i0, i1, j0, j1) = v.first_lanes(tail), v.bytes_in(limits, 4)

        def load(i, j):
            mask = v.if_inside(lanes, (i, i0, i1), (j, j0, j1)) if self.edge else None
            return v.load(v.at(x, (i, row), (j, pixel)), mask)

        columns = [[load(i, j) for i in range(N)] for j in range(N)]
        for (i, j), value in both_ways(v, [floats(step) for step in input_steps(4)], columns).items():  # the same for every r
            v.store(value, v.at(out, (i * N + j, element)))


@dataclass(frozen=True)
class FilterMove:
    """U <- G w GT for one input channel and one vector of filters; steps: tap of w, element of U; `tail` lanes exist."""

    itemsize: int
    lanes: int
    size: int

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_filter{self.size}"

    def write(self, v, w, _, out, __, block, ___, tail):
        (tap, element), lanes, size = (v.integer(block, i) for i in range(2)), v.first_lanes(tail), self.size
        columns = [[v.load(v.at(w, (i * size + j, tap)), lanes) for i in range(size)] for j in range(size)]
        for (i, j), value in both_ways(v, [floats(matrices(outputs(size), size)[1])], columns).items():
            v.store(value, v.at(out, (i * N + j, element)))


@dataclass(frozen=True)
class OutputMove:
    """y <- activation(AT m A + bias) for one tile and one vector of channels; steps: element of M, row, pixel of y, activation.

    At an edge `limits` holds the rows and columns that exist, 8 bits each, and `tail` the lanes.
    """

    itemsize: int
    lanes: int
    size: int
    edge: bool

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_output{self.size}{'_edge' * self.edge}"

    def write(self, v, products, _, y, bias, block, limits, tail):
        element, row, pixel, code = (v.integer(block, i) for i in range(4))
        lanes, (rows, cols) = v.first_lanes(tail), v.bytes_in(limits, 2)
        offset = v.load(bias, lanes if self.edge else None)
        columns = [[v.load(v.at(products, (i * N + j, element))) for i in range(N)] for j in range(N)]
        for (i, j), value in both_ways(v, [floats(matrices(outputs(self.size), self.size)[0])], columns).items():
            register = v.variable(v.builder.fadd(value, offset))
            activate(v, code, [register])
            inside = v.if_inside(lanes, (i, v.index(0), rows), (j, v.index(0), cols)) if self.edge else None
            v.store(v.builder.load(register), v.at(y, (i, row), (j, pixel)), inside)


@dataclass(frozen=True)
class GradientMove:
    """A dy AT for one tile and one vector of filters; steps: row and pixel of dy, element of the result.

    At an edge `limits` holds the rows and columns that exist, 8 bits each, and `tail` the lanes.
    """

    itemsize: int
    lanes: int
    size: int
    edge: bool

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_gradient{self.size}{'_edge' * self.edge}"

    def write(self, v, dy, _, out, __, block, limits, tail):
        row, pixel, element = (v.integer(block, i) for i in range(3))
        lanes, (rows, cols), m = v.first_lanes(tail), v.bytes_in(limits, 2), outputs(self.size)

        def load(i, j):
            mask = v.if_inside(lanes, (i, v.index(0), rows), (j, v.index(0), cols)) if self.edge else None
            return v.load(v.at(dy, (i, row), (j, pixel)), mask)

        columns = [[load(i, j) for i in range(m)] for j in range(m)]
        for (i, j), value in both_ways(v, [turned(matrices(m, self.size)[0])], columns).items():
            v.store(value, v.at(out, (i * N + j, element)))


@dataclass(frozen=True)
class SumMove:
    """dw <- GT dU G for one input channel and one vector of filters, or dw <- dw + GT dU G (`more`); `tail` lanes exist.

    Steps: element of dU, tap of dw.
    """

    itemsize: int
    lanes: int
    size: int
    more: bool

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_sum{self.size}{'_more' * self.more}"

    def write(self, v, sums, _, dw, __, block, ___, tail):
        (element, tap), lanes, size = (v.integer(block, i) for i in range(2)), v.first_lanes(tail), self.size
        columns = [[v.load(v.at(sums, (i * N + j, element))) for i in range(N)] for j in range(N)]
        for (i, j), value in both_ways(v, [turned(matrices(outputs(size), size)[1])], columns).items():
            place = v.at(dw, (i * size + j, tap))
            v.store(v.builder.fadd(v.load(place, lanes), value) if self.more else value, place, lanes)


def turned(matrix):
    return [list(column) for column in zip(*floats(matrix), strict=True)]


@functools.cache
def move_address(move):
    """Address of a compiled transform."""
    return compiled_address(move.name, move.write, move.itemsize, move.lanes)


def move_addresses(*moves):
    return np.array([move_address(move) for move in moves])
