"""Winograd's F(2x2, r x r) for groups of images as lanes, a few neighbouring 2x2 windows of outputs at a time.

Three steps: the inputs of the windows are transformed (V), each of the 36 elements (16 with 3x3 filters) is a matrix product over
the channels with the transformed filters (U), and the products (M) are transformed back, with what follows in the window.

U lies as [element, channel, output], V as [element, window, channel, image], M as [element, window, output, image].
"""

from dataclasses import dataclass

from fastconv.kernels.group_tile import GROUP_STEPS, TURN_STEPS, finish
from fastconv.kernels.tile import add_outer_product
from fastconv.kernels.winograd_matrices import input_steps, matrices
from fastconv.kernels.winograd_transform import both_ways, floats, store_both_ways

__all__ = ["WINDOW_STEPS", "FilterTransform", "InputTransform", "OutputTransform", "Products"]

# what the tiles of one layer and so many windows read: i counts elements and k channels; from window to window of the input, the
# output and the marks; from element to element of U, V and M
WINDOW_STEPS = (*GROUP_STEPS, "windows", "outputs", "b_next", "c_next", "base_next", "u_next", "v_next", "m_next")


@dataclass(frozen=True)
class FilterTransform:
    """U <- G w GT for one channel and a vector of outputs, `count` of which exist; steps: from tap to tap, element to element."""

    lanes: int
    size: int  # of the filter

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_filter"

    def write(self, v, w, _b, u, _d, block, count, _mark):
        step, few, g = v.integers(block, TURN_STEPS), v.first_lanes(count), floats(matrices(2, self.size)[1])
        tap, element = step["a_row"], step["c_row"]
        place, to = v.grid((self.size, tap), tap, self.size), v.grid((len(g), element), element, len(g))
        store_both_ways(v, [g], [g], w, place, u, to, few, few)


@dataclass(frozen=True)
class InputTransform:
    """V <- BT x B for each window and channel."""

    lanes: int
    size: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_input"

    def write(self, v, _a, x, out, _d, block, _base, _mark):
        step, bt = v.integers(block, WINDOW_STEPS), [floats(steps) for steps in input_steps(self.size + 1)]
        n = self.size + 1
        place, to = v.grid(step["b_r"], step["b_s"], n), v.grid((n, step["v_next"]), step["v_next"], n)
        with v.loop(step["windows"]) as window:
            start, target = v.at(x, (window, step["b_next"])), v.at(out, (window, v.add((step["k"], self.lanes))))
            with v.loop(step["k"]) as channel:
                v.keep_rolled()
                here = v.at(target, (channel, self.lanes))
                store_both_ways(v, bt, bt, v.at(start, (channel, self.lanes)), place, here, to)


@dataclass(frozen=True)
class Products:
    """M = U V, element by element: `parts` times `rows` outputs, of `cols` windows."""

    lanes: int
    rows: int
    cols: int

    @property
    def name(self):
        return f"group_{self.lanes}lanes_products_{self.rows}x{self.cols}"

    def write(self, v, u, values, products, _d, block, parts, _mark):
        step, rows, cols = v.integers(block, WINDOW_STEPS), self.rows, self.cols
        of_v, of_m = (v.multiples(v.add((step[count], self.lanes)), cols) for count in ("k", "outputs"))  # from window to window
        with v.loop(step["i"]) as e:
            u_e, v_e, m_e = (v.at(p, (e, step[name])) for p, name in ((u, "u_next"), (values, "v_next"), (products, "m_next")))
            with v.loop(parts) as part:
                sums = {(m, n): v.variable(v.constant(0.0)) for m in range(rows) for n in range(cols)}
                with v.loop(step["k"]) as k:
                    v.keep_rolled()
                    u_k, v_k = v.at(u_e, (part, rows), (k, step["outputs"])), v.at(v_e, (k, self.lanes))

                    def weight(m, u_k=u_k):
                        return v.splat(v.builder.load(v.at(u_k, m)))

                    def value(n, v_k=v_k):
                        return v.load(v.at(v_k, of_v[n]))

                    add_outer_product(v, sums, rows, cols, weight, value)
                target = v.at(m_e, (part, rows * self.lanes))
                for (m, n), total in sums.items():
                    v.store(v.builder.load(total), v.at(v.at(target, of_m[n]), m * self.lanes))


@dataclass(frozen=True)
class OutputTransform:
    """AT M A for each window and output, then what every tile does with a window."""

    lanes: int
    size: int
    pooled: bool

    @property
    def name(self):
        return f"group_{self.lanes}lanes_winograd{self.size}_output{'_pooled' * self.pooled}"

    def write(self, v, _a, products, y, bias, block, base, mark):
        step, at, n = v.integers(block, WINDOW_STEPS), floats(matrices(2, self.size)[0]), self.size + 1
        place = v.grid((n, step["m_next"]), step["m_next"], n)
        with v.loop(step["windows"]) as window, v.loop(step["outputs"]) as m:
            start = v.at(products, (v.add((window, step["outputs"]), m), self.lanes))
            results = [value for _, pair in both_ways(v, [at], [at], start, place) for value in pair]
            here, number = v.at(y, (window, step["c_next"]), (m, step["c_m"])), v.add(base, (window, step["base_next"]))
            finish(v, [results], [(0, 0), (0, 1), (1, 0), (1, 1)], self.pooled, here, v.at(bias, m), step, number, mark)
