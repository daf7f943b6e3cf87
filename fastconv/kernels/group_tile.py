"""Register tiles for chains of small layers: a group of images is the lanes of every vector.

A value lies as [row, column, channel, image].  One tile computes a few channels of one pooling window, or of a few neighbouring
pixels: its sums, bias, maximum and ReLU never leave the registers.

    c[m, n] = sum over i, k of  a[m*a_m + i*a_i + k*a_k] * b[i*b_i + k*b_k + column n]  (+ bias d[m])

Of each result the gradient needs to know where in the input its window begins, -1 where ReLU has closed: its mark, a whole
number, stored `mark` floats behind the result.
"""

import functools
from dataclasses import dataclass

from fastconv.kernels.codes import RELU
from fastconv.kernels.tile import add_outer_product, compiled_address
from fastconv.kernels.transpose import turn_block, turn_square
from fastconv.kernels.vector_ir import Vectors

__all__ = [
    "ENTRY", "FINISH_STEPS", "GROUP_STEPS", "LIST_STEPS", "LIVE_STEPS", "MASK", "TURN_STEPS", "Add", "GroupTile", "Live",
    "Spread", "Taps", "Turn", "address_of", "finish",
]  # fmt: skip

FINISH_STEPS = ("c_m", "c_r", "c_s", "after", "marked", "mark_r", "base_r", "base_s")
GROUP_STEPS = ("a_m", "a_i", "a_k", "b_i", "b_k", "b_r", "b_s", "i", "k", *FINISH_STEPS)
MASK = -1  # `after`: keep the result where d is positive


@dataclass(frozen=True)
class GroupTile:
    """`rows` channels of a 2x2 pooling window (4 columns), or of `cols` pixels b_s apart."""

    lanes: int
    rows: int
    cols: int
    pooled: bool

    @property
    def name(self):
        return f"group_{self.lanes}lanes_{self.rows}x{self.cols}{'_pooled' * self.pooled}"

    def write(self, v, a, b, c, d, block, base, mark):
        step = v.integers(block, GROUP_STEPS)
        places = [(n // 2, n % 2) if self.pooled else (0, n) for n in range(self.cols)]
        starts = [v.at(b, (r, step["b_r"]), (s, step["b_s"])) for r, s in places]
        sums = {(m, n): v.variable(v.constant(0.0)) for m in range(self.rows) for n in range(self.cols)}
        rows_of = v.places(step["a_m"], self.rows)
        with v.loop(step["i"]) as i:
            a_i = v.at(a, (i, step["a_i"]))
            b_i = [v.at(start, (i, step["b_i"])) for start in starts]
            with v.loop(step["k"]) as k:
                v.keep_rolled()
                weights = rows_of(v.at(a_i, (k, step["a_k"])))

                def weight(m):
                    return v.splat(v.builder.load(weights[m]))

                def value(n):
                    return v.load(v.at(b_i[n], (k, step["b_k"])))

                add_outer_product(v, sums, self.rows, self.cols, weight, value)
        results = [[v.builder.load(sums[m, n]) for n in range(self.cols)] for m in range(self.rows)]
        finish(v, results, places, self.pooled, c, d, step, base, mark)


def finish(v, results, places, pooled, c, d, step, base, mark_at):
    """Maximum of the window, bias, ReLU or mask; store the value, and the number of its window where there is room for it."""
    marks = [v.numbers(v.add(base, (r, step["base_r"]), (s, step["base_s"]))) for r, s in places]
    windows = [((0, 0), range(len(places)))] if pooled else [(place, [n]) for n, place in enumerate(places)]
    masked = v.builder.icmp_signed("==", step["after"], v.index(MASK))
    for m, row in enumerate(results):
        for (r, s), members in windows:
            best, mark = row[members[0]], marks[members[0]]
            for other in members[1:]:
                better = v.larger_or_nan(row[other], best)
                best, mark = v.builder.select(better, row[other], best), v.builder.select(better, marks[other], mark)
            offset = v.add((m, step["c_m"]), (s, step["c_s"]))
            behind = v.add(offset, (r, step["c_r"]))
            value, live = v.variable(best), v.variable(mark)
            with v.builder.if_else(masked) as (mask, plain):
                with mask:
                    kept = v.where_positive(v.load(v.at(d, behind)), best, v.constant(0.0))
                    v.builder.store(kept, value)
                with plain:
                    v.builder.store(v.builder.fadd(best, v.splat(v.builder.load(v.at(d, m)))), value)
            with v.only_if(step["after"], RELU):
                total = v.builder.load(value)
                v.builder.store(v.where_positive(total, mark, v.numbers(v.index(-1))), live)
                v.builder.store(v.where_negative(total, v.constant(0.0)), value)
            v.store(v.builder.load(value), v.at(c, behind))
            with v.only_if_not(step["marked"], 0):
                v.store(v.as_floats(v.builder.load(live)), v.at(c, mark_at, offset, (r, step["mark_r"])))


# an entry of a list is an offset, a whole number, and the gradient behind it: two numbers that are stored side by side go to the
# cache at once, in two lists they would go one after the other
ENTRY = 2
LIST_STEPS = ("x_row", "w_row")
LIVE_STEPS = ("rows", "columns", "g_row", "g_column")


@dataclass(frozen=True)
class Live:
    """The list of one image and filter: the marks that are not -1, each with its gradient; `count_at` is where its length goes.

    All are written, one over the other where the mark is -1, so that nothing depends on a guess.
    """

    name = "list_live"

    def write(self, v, marks, g, gradients, offsets, block, count_at, _):
        step, count, seen = v.integers(block, LIVE_STEPS), v.variable(v.index(0)), v.variable(v.index(0))
        with v.loop(step["rows"]) as row:
            start, first = v.at(g, (row, step["g_row"])), v.builder.load(seen)
            v.builder.store(v.add(first, step["columns"]), seen)

            def one(column):
                mark, length = v.number_at(marks, v.add(first, column)), v.builder.load(count)
                v.put_number(mark, offsets, v.add((length, ENTRY)))
                v.builder.store(v.builder.load(v.at(start, (column, step["g_column"]))), v.at(gradients, (length, ENTRY)))
                v.builder.store(v.add(length, v.one_if_positive(mark)), count)

            fours = v.builder.udiv(step["columns"], v.index(4))
            with v.loop(fours) as four:
                v.keep_rolled()
                for k in range(4):
                    one(v.add((four, 4), k))
            with v.loop(v.builder.sub(step["columns"], v.add((fours, 4)))) as column:
                v.keep_rolled()
                one(v.add((fours, 4), column))
        v.put_number(v.builder.load(count), offsets, count_at)


@dataclass(frozen=True)
class Taps:
    """Weight gradient of one filter from a list of (offset, gradient): dw[h, r] += gradient * x[offset + h*x_row + r].

    The sums of `rows` rows of taps stay in registers; r runs over `pieces`, (offset, lanes) of vectors.
    """

    rows: int
    pieces: tuple

    @property
    def name(self):
        return f"list_taps_{self.rows}x{shown(self.pieces)}"

    def write(self, v, x, gradients, dw, offsets, block, count, bias_at):
        step = v.integers(block, LIST_STEPS)
        vectors = [(Vectors(v.builder, v.dtype, lanes), at) for at, lanes in self.pieces]
        sums = [[(w, at, w.variable(w.constant(0.0))) for w, at in vectors] for _ in range(self.rows)]
        bias = v.variable(v.element(0.0))
        with v.loop(count) as entry:
            v.keep_rolled()
            gradient = v.builder.load(v.at(gradients, (entry, ENTRY)))
            v.builder.store(v.builder.fadd(v.builder.load(bias), gradient), bias)
            start, splats = v.at(x, v.number_at(offsets, v.add((entry, ENTRY)))), {w.lanes: w.splat(gradient) for w, _ in vectors}
            for h, row in enumerate(sums):
                for w, at, register in row:
                    value = w.load(w.at(start, (h, step["x_row"]), at))
                    w.builder.store(w.multiply_add(splats[w.lanes], value, w.builder.load(register)), register)
        for h, row in enumerate(sums):
            for w, at, register in row:
                place = w.at(dw, (h, step["w_row"]), at)
                w.store(w.builder.fadd(w.load(place), w.builder.load(register)), place)
        place = v.at(dw, bias_at)
        v.builder.store(v.builder.fadd(v.builder.load(place), v.builder.load(bias)), place)


@dataclass(frozen=True)
class Spread:
    """Input gradient of one filter from a list: dx[offset + h*x_row + r] += gradient * w[h, r].

    The weights of `rows` rows of taps stay in registers.  The vectors of `pieces` are cut alike for every entry of the list, so
    that a load finds what an earlier entry has just stored; but neighbours in the list overlap, and to wait for a store takes a
    while: the list is gone through from its beginning and from its middle by turns.
    """

    rows: int
    pieces: tuple

    @property
    def name(self):
        return f"list_spread_{self.rows}x{shown(self.pieces)}"

    def write(self, v, weights, gradients, dx, offsets, block, count, _):
        step, vectors = v.integers(block, LIST_STEPS), [(Vectors(v.builder, v.dtype, lanes), at) for at, lanes in self.pieces]
        taps = [(h, at, w) for h in range(self.rows) for w, at in vectors]
        kept = [w.load(w.at(weights, (h, step["w_row"]), at)) for h, at, w in taps]

        def add(entry):
            gradient = v.builder.load(v.at(gradients, (entry, ENTRY)))
            start = v.at(dx, v.number_at(offsets, v.add((entry, ENTRY))))
            splats = {w.lanes: w.splat(gradient) for w, _ in vectors}
            for (h, at, w), weight in zip(taps, kept, strict=True):
                place = w.at(start, (h, step["x_row"]), at)
                w.store(w.multiply_add(splats[w.lanes], weight, w.load(place)), place)

        half = v.builder.udiv(count, v.index(2))
        with v.loop(half) as entry:
            v.keep_rolled()
            add(entry)
            add(v.add(entry, half))
        with v.loop(v.builder.sub(count, v.add((half, 2)))):  # one more or none
            add(v.add((half, 2)))


def shown(pieces):
    """Pieces as part of a name."""
    return "_".join(f"{at}v{lanes}" for at, lanes in pieces)


TURN_STEPS = ("numbers", "a_row", "c_row", "wide")


@dataclass(frozen=True)
class Turn:
    """A strip of a matrix on its side, c[j, i] = a[i, j].

    Inwards a row of `numbers` for each of `count` images becomes columns, `wide` of them, zero where there is no image; outwards
    columns become rows, in each of which `wide` numbers are written.
    """

    lanes: int
    inwards: bool

    @property
    def name(self):
        return f"turn_{self.lanes}lanes_{'in' if self.inwards else 'out'}"

    def write(self, v, a, b, c, d, block, count, _):
        step, lanes = v.integers(block, TURN_STEPS), v.index(self.lanes)
        is_whole = v.builder.icmp_signed("==", count, lanes)
        if self.inwards:
            is_whole = v.builder.and_(is_whole, v.builder.icmp_signed(">=", step["wide"], lanes))
        squares = v.builder.select(is_whole, v.builder.udiv(step["numbers"], lanes), v.index(0))
        strips = v.builder.udiv(v.add(step["numbers"], self.lanes - 1), lanes)
        with v.loop(squares) as strip:
            source, target = self.places(v, a, c, step, v.add((strip, self.lanes)))
            turn_square(v, source, step["a_row"], target, step["c_row"])
        with v.loop(v.builder.sub(strips, squares)) as more:
            done = v.add((v.add(squares, more), self.lanes))
            left, wide = v.builder.sub(step["numbers"], done), v.builder.sub(step["wide"], done)
            rows, columns, width = (count, left, step["wide"]) if self.inwards else (left, count, wide)
            source, target = self.places(v, a, c, step, done)
            turn_block(v, source, step["a_row"], rows, columns, target, step["c_row"], width)

    def places(self, v, a, c, step, done):
        """Where the strip behind `done` numbers lies, and where it goes."""
        if self.inwards:
            return v.at(a, done), v.at(c, (done, step["c_row"]))
        return v.at(a, (done, step["a_row"])), v.at(c, done)


@dataclass(frozen=True)
class Add:
    """a[k] <- a[k] + a[k + a_row] + a[k + 2*a_row] ..., in this order, for `numbers` k (whole vectors) and `count` terms."""

    lanes: int

    @property
    def name(self):
        return f"add_{self.lanes}lanes"

    def write(self, v, a, b, c, d, block, count, _):
        step = v.integers(block, TURN_STEPS)
        with v.loop(v.builder.udiv(step["numbers"], v.index(self.lanes))) as k:
            place = v.at(a, (k, self.lanes))
            total = v.variable(v.load(place))
            with v.loop(v.builder.sub(count, v.index(1))) as term:
                v.keep_rolled()
                more = v.load(v.at(place, (v.add(term, 1), step["a_row"])))
                v.builder.store(v.builder.fadd(v.builder.load(total), more), total)
            v.store(v.builder.load(total), place)


@functools.cache
def address_of(tile):
    """Address of a compiled float32 tile of this file."""
    return compiled_address(tile.name, tile.write, 4, getattr(tile, "lanes", None))
