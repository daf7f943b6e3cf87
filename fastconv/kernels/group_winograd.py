"""Winograd's F(4, r) along the rows of groups of images as lanes: four neighbouring results of a filter r wide at a time.

Three steps: the rows of the image are transformed (V), each of the n = r + 3 elements is a matrix product over the rows of taps
and the channels with the transformed filters (U), and the products (M) are transformed back, with what follows in the window.
Down the image the sum is the direct one: a row of V serves as many rows of results as the filter has rows of taps, so that
transforms cost little beside the products even where channels are few, and n / 4r of the multiplications are left: 2/5 for r = 5.

U lies as [element, tap row, channel, output], V as [element, window, row, channel, image], so that both are read in one run, and
M as [row, element, window, output, image].
"""

from dataclasses import dataclass

from fastconv.kernels.group_sizes import WIDE, elements_of
from fastconv.kernels.group_tile import FINISH_STEPS, TURN_STEPS, finish
from fastconv.kernels.runs import over_channels
from fastconv.kernels.tile import add_outer_product
from fastconv.kernels.winograd_matrices import input_steps, matrices, output_steps
from fastconv.kernels.winograd_transform import floats, one_way, some_rows

__all__ = ["WINDOW_STEPS", "FilterTransform", "InputTransform", "OutputTransform", "Products"]

# what the tiles of one layer and so many windows read: how many windows, elements, channels and outputs there are, and terms k of
# a product; from pixel to pixel of the input; from window to window of it, of V, of the output and the marks; from element to
# element of U, V and M; `high` rows of results one after the other, and how far it is to the next in V and M; what `finish` reads
WINDOW_STEPS = (
    "windows", "elements", "channels", "outputs", "k", "b_s", "b_next", "v_window", "c_next", "base_next", "u_next", "v_next",
    "m_next", "high", "v_down", "m_row", *FINISH_STEPS,
)  # fmt: skip


@dataclass(frozen=True)
class FilterTransform:
    """U <- G w for a row of taps, all channels and outputs: `numbers` of them, a_row from tap to tap, c_row between elements."""

    lanes: int
    size: int  # of the filter's rows

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_filter"

    def write(self, v, w, _b, u, _d, block, _count, _mark):
        step, g = v.integers(block, TURN_STEPS), floats(matrices(WIDE, self.size)[1])

        def one(places):
            for at, mask in places:
                taps = [v.load(v.at(w, at, (s, step["a_row"])), mask) for s in range(self.size)]
                for e, value in enumerate(some_rows(v, [g], range(len(g)), taps.__getitem__)):
                    v.store(value, v.at(u, at, (e, step["c_row"])), mask)

        over_channels(v, step["numbers"], 1, one)


@dataclass(frozen=True)
class InputTransform:
    """V <- BT x for each window and channel of a row."""

    lanes: int
    size: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_input"

    def write(self, v, _a, x, out, _d, block, _base, _mark):
        n = elements_of(self.size)
        step, bt = v.integers(block, WINDOW_STEPS), [floats(steps) for steps in input_steps(n)]
        pixel, element = v.multiples(step["b_s"], n), v.multiples(step["v_next"], n)
        with v.loop(step["windows"]) as window:
            start, target = v.at(x, (window, step["b_next"])), v.at(out, (window, step["v_window"]))
            with v.loop(step["channels"]) as channel:
                v.keep_rolled()
                here, to = v.at(start, (channel, self.lanes)), v.at(target, (channel, self.lanes))
                for e, value in one_way(v, bt, here, lambda p, j: v.at(p, pixel[j])):
                    v.store(value, v.at(to, element[e]))


@dataclass(frozen=True)
class Products:
    """M = U V, element by element: `parts` times `rows` outputs, of `wide` windows in `high` rows."""

    lanes: int
    rows: int
    high: int
    wide: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_products_{self.rows}x{self.high}x{self.wide}"

    def write(self, v, u, values, products, _d, block, parts, _mark):
        step, rows = v.integers(block, WINDOW_STEPS), self.rows
        cols = [(r, n) for r in range(self.high) for n in range(self.wide)]
        of_v, of_m = v.multiples(step["v_window"], self.wide), v.multiples(v.add((step["outputs"], self.lanes)), self.wide)
        with v.loop(step["elements"]) as e, v.loop(v.builder.udiv(step["high"], v.index(self.high))) as row:
            down, below = v.add((e, step["v_next"]), (row, step["v_down"])), v.add((e, step["m_next"]), (row, step["m_row"]))
            u_e, m_e = v.at(u, (e, step["u_next"])), v.at(products, below)
            v_e = [v.at(values, down, (r, step["v_down"])) for r in range(self.high)]
            with v.loop(parts) as part:
                sums = {(m, n): v.variable(v.constant(0.0)) for m in range(rows) for n in range(len(cols))}
                u_part = v.at(u_e, (part, rows))
                with v.loop(step["k"]) as k:
                    v.keep_rolled()
                    u_k, v_k = v.at(u_part, (k, step["outputs"])), [v.at(place, (k, self.lanes)) for place in v_e]

                    def weight(m, u_k=u_k):
                        return v.splat(v.builder.load(v.at(u_k, m)))

                    def value(n, v_k=v_k):
                        return v.load(v.at(v_k[cols[n][0]], of_v[cols[n][1]]))

                    add_outer_product(v, sums, rows, len(cols), weight, value)
                target = v.at(m_e, (part, rows * self.lanes))
                for (m, n), total in sums.items():
                    place = v.at(target, (cols[n][0], step["m_row"]), of_m[cols[n][1]], m * self.lanes)
                    v.store(v.builder.load(total), place)


@dataclass(frozen=True)
class OutputTransform:
    """AT M for each window and output, then what every tile does with a window; of two rows where they are pooled."""

    lanes: int
    size: int
    pooled: bool

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_output{'_pooled' * self.pooled}"

    def write(self, v, _a, products, y, bias, block, base, mark):
        step, at = v.integers(block, WINDOW_STEPS), [floats(steps) for steps in output_steps(WIDE, self.size)]
        element, each, rows = v.multiples(step["m_next"], elements_of(self.size)), 1 + self.pooled, range(WIDE)
        places = [(r, s) for r in range(each) for s in range(each)]
        with v.loop(step["windows"]) as window, v.loop(step["outputs"]) as m:
            start = v.at(products, (v.add((window, step["outputs"]), m), self.lanes))
            here, number = v.at(y, (window, step["c_next"]), (m, step["c_m"])), v.add(base, (window, step["base_next"]))
            starts = [v.at(start, (r, step["m_row"])) for r in range(each)]
            found = [some_rows(v, at, rows, lambda e, p=p: v.load(v.at(p, element[e]))) for p in starts]
            for q in range(0, WIDE, each):  # windows of a maximum, or pixels
                results = [row[q + s] for row in found for s in range(each)]
                place, first = v.at(here, (q // each, step["c_s"])), v.add(number, (q, step["base_s"]))
                finish(v, [results], places, self.pooled, place, v.at(bias, m), step, first, mark)
