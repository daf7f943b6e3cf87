"""The transforms of Winograd's F(m x m, r x r) as functions of their own, for m + r - 1 = 6: of input, filter and output, and
those of the weight gradient, which are the transposes of the last two.

Those of the input come in two kinds: for tiles that lie whole in the image, and for its edge, where only some rows, columns and
lanes exist; those of results, for all lanes or for some.  Each is also made for the smaller tiles with which an image ends: these
are multiplied at some of the points only, so that the same transformed filters serve them.
"""

import functools
import itertools
from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar

from fastconv.kernels.tile import activate, compiled_address
from fastconv.kernels.winograd_matrices import input_steps, matrices
from fastconv.kernels.winograd_sizes import N, outputs
from fastconv.kernels.winograd_transform import both_ways, floats, store_both_ways

__all__ = [
    "FilterMove",
    "GradientMove",
    "InputMove",
    "OutputMove",
    "PooledMove",
    "SumMove",
    "elements",
    "move_address",
]

NEW_COLUMNS = 4  # columns of the input that the next whole tile reads and this one does not, with 3x3 filters


def elements(inputs):
    """Which elements of a whole transformed tile one with fewer inputs has, along one axis: the last belongs to infinity."""
    return [*range(inputs - 1), N - 1]


def transformed_grid(v, element, rows=N, cols=N):
    """`Vectors.grid` of the elements, `element` numbers apart, of a transformed tile with so many inputs."""
    at = v.grid((N, element), element, N)
    return lambda pointer, i, j: at(pointer, elements(rows)[i], elements(cols)[j])


def ask_for_next(v, place, pointer, rows, cols, pixel, write=False):
    """The caches are to fetch the `cols` columns behind those at `pointer`, which the next tile reads or writes: the CPU does not
    guess them, since the places that a tile touches are too many, and too far apart."""
    for i, j in itertools.product(range(rows), range(cols)):
        v.prefetch(v.at(place(pointer, i, j), (cols, pixel)), write)


@dataclass(frozen=True)
class InputMove:
    """V <- BT x B for one tile of `rows` x `cols` inputs and one vector of channels; steps: row and pixel of x, element of V.

    At an edge `limits` holds the first and last row and column that exist, 8 bits each, and `tail` the lanes.
    """

    itemsize: int
    lanes: int
    edge: bool
    rows: int
    cols: int

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_input{self.rows}x{self.cols}{'_edge' * self.edge}"

    def write(self, v, x, _, out, __, block, limits, tail):
        row, pixel, element = (v.integer(block, i) for i in range(3))
        if self.edge:
            x, row, pixel = self.inside(v, x, row, pixel, v.first_lanes(tail), v.bytes_in(limits, 4))
        place, target = v.grid(row, pixel, self.cols), transformed_grid(v, element, self.rows, self.cols)
        if not self.edge:
            ask_for_next(v, place, v.at(x, (self.cols - NEW_COLUMNS, pixel)), self.rows, NEW_COLUMNS, pixel)
        down, along = ([floats(step) for step in input_steps(inputs, N)] for inputs in (self.rows, self.cols))
        store_both_ways(v, down, along, x, place, out, target)

    def inside(self, v, x, row, pixel, lanes, limits):
        """(pointer to a tile with zeros for what does not exist, its row, its pixel)"""
        (i0, i1, j0, j1), room = limits, v.room(self.rows * self.cols)
        for i, j in itertools.product(range(self.rows), range(self.cols)):
            mask = v.if_inside(lanes, (i, i0, i1), (j, j0, j1))
            v.store(v.load(v.at(x, (i, row), (j, pixel)), mask), v.at(room, (i * self.cols + j) * self.lanes))
        return room, v.index(self.cols * self.lanes), v.index(self.lanes)


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
        g = [floats(matrices(outputs(size), size)[1])]
        place, target = v.grid((size, tap), tap, size), transformed_grid(v, element)
        store_both_ways(v, g, g, w, place, out, target, lanes)


@dataclass(frozen=True)
class ResultMove:
    """One tile of `rows` x `cols` results of filters of `size` taps, and one vector of their channels.

    At an `edge` only `tail` lanes exist.
    """

    itemsize: int
    lanes: int
    size: int
    edge: bool
    rows: int
    cols: int
    what: ClassVar[str]

    @property
    def name(self):
        kind = f"{self.what}{self.size}_{self.rows}x{self.cols}{'_edge' * self.edge}"
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_{kind}"

    @property
    def inputs(self):
        return self.rows + self.size - 1, self.cols + self.size - 1

    def back(self):
        """AT down the rows and along the columns."""
        return [floats(matrices(m, self.size)[0]) for m in (self.rows, self.cols)]


class OutputMove(ResultMove):
    """y <- activation(AT m A + bias); steps: element of M, row and pixel of y, activation."""

    what = "output"
    side = 1  # results, in rows and in columns, of which one is kept

    def write(self, v, products, _, y, bias, block, __, tail):
        element, row, pixel, code = (v.integer(block, i) for i in range(4))
        lanes, (down, along) = v.first_lanes(tail) if self.edge else None, self.back()
        offset = v.load(bias, lanes)
        rows, cols = self.rows // self.side, self.cols // self.side
        place, target = transformed_grid(v, element, *self.inputs), v.grid(row, pixel, cols)
        if not self.edge:
            ask_for_next(v, target, y, rows, cols, pixel, write=True)
        results = [values for _, values in sorted(both_ways(v, [down], [along], products, place), key=itemgetter(0))]
        kept = self.kept(v, results)  # all of them before the branches of the first activation
        for i, j in itertools.product(range(rows), range(cols)):
            register = v.variable(v.builder.fadd(kept[i][j], offset))
            activate(v, code, [register])
            v.store(v.builder.load(register), target(y, i, j), lanes)

    def kept(self, v, results):
        return results


class PooledMove(OutputMove):
    """The same with the largest of each 2x2 results behind it: taken before the bias and an activation, which change no order of
    finite numbers."""

    what = "pooled"
    side = 2

    def kept(self, v, results):
        def largest(i, j):
            first, *others = (results[2 * i + k][2 * j + l] for k, l in itertools.product(range(2), range(2)))
            for value in others:
                first = v.builder.select(v.larger_or_nan(value, first), value, first)
            return first

        return [[largest(i, j) for j in range(self.cols // 2)] for i in range(self.rows // 2)]


class GradientMove(ResultMove):
    """A dy AT; steps: row and pixel of dy, element of the result."""

    what = "gradient"

    def write(self, v, dy, _, out, __, block, ___, tail):
        row, pixel, element = (v.integer(block, i) for i in range(3))
        lanes, (down, along) = v.first_lanes(tail) if self.edge else None, map(turned, self.back())
        place, target = v.grid(row, pixel, self.cols), transformed_grid(v, element, *self.inputs)
        if not self.edge:
            ask_for_next(v, place, dy, self.rows, self.cols, pixel)
        store_both_ways(v, [down], [along], dy, place, out, target, lanes)


@dataclass(frozen=True)
class SumMove:
    """dw <- GT dU G for one input channel and one vector of filters; `tail` lanes exist.

    Steps: element of dU, tap of dw.
    """

    itemsize: int
    lanes: int
    size: int

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_sum{self.size}"

    def write(self, v, sums, _, dw, __, block, ___, tail):
        (element, tap), lanes, size = (v.integer(block, i) for i in range(2)), v.first_lanes(tail), self.size
        g = [turned(floats(matrices(outputs(size), size)[1]))]
        place, target = transformed_grid(v, element), v.grid((size, tap), tap, size)
        for i, values in both_ways(v, g, g, sums, place):
            for j, value in enumerate(values):
                v.store(value, target(dw, i, j), lanes)


def turned(matrix):
    return [list(column) for column in zip(*matrix, strict=True)]


@functools.cache
def move_address(move):
    """Address of a compiled transform."""
    return compiled_address(move.name, move.write, move.itemsize, move.lanes)
