"""The part of a chain's tables that Winograd's F(4, r) fills: some windows of a row, some rows of the image at a time."""

from fastconv.kernels.blocks import balanced
from fastconv.kernels.chain_layout import results_of
from fastconv.kernels.chain_writer import FILTERS, starts, weights_slot, window_steps
from fastconv.kernels.group_sizes import (
    MOST_WINDOWS,
    WIDE,
    bands,
    elements_of,
    filter_numbers,
    rows_read,
    steps_of_values,
    transformed_row,
    windows_at_once,
)
from fastconv.kernels.group_tile import TURN_STEPS, address_of
from fastconv.kernels.group_winograd import WINDOW_STEPS, FilterTransform, InputTransform, OutputTransform, Products
from fastconv.kernels.tile import most_rows

__all__ = ["winograd_calls"]


def winograd_calls(writer, network, i, filters):
    """Some rows of the image are transformed; then, for a row of results or two at a time: multiply, transform back."""
    geo = network.blocks[i].geometry
    at = filters.take(filter_numbers(geo))
    transform_filters(writer, geo, i, network.lanes, at)
    parts = windows_at_once(results_of(network.blocks[i])[1])
    for first, windows in zip(starts(parts), parts, strict=True):
        Part(writer, network, i, first, windows).write(at)


class Part:
    """The calls for some windows of each row."""

    def __init__(self, writer, network, i, first, windows):
        self.writer, self.network, self.slot = writer, network, weights_slot(i)
        self.block, self.source, self.target = network.blocks[i], network.places[i], network.places[i + 1]
        self.first, self.windows, self.across = first, windows, results_of(self.block)[1]
        self.mark, self.lanes, self.geo = network.marks[i], network.lanes, self.block.geometry
        self.high = 1 + self.block.pooled  # rows that are one row of results
        self.shared, self.down, self.along = window_steps(network, i, self.high)
        self.bands = bands(self.geo, self.block.out[0], self.across, self.high, self.lanes)
        self.elements, self.v_row = elements_of(self.geo.kw), self.geo.c * self.lanes
        self.v_window, self.v_next = steps_of_values(self.geo, max(self.bands) * self.high, windows, self.lanes)
        self.m_next = transformed_row(self.geo.o, windows, self.lanes)
        self.runs = list(self.side_by_side())

    def side_by_side(self):
        """(first of them, their place in units of `along`, what the tiles are told) of windows that begin one behind the other;
        the last of a row may begin inside the one before."""
        whole = min(self.first + self.windows, self.across // WIDE) - self.first
        if whole:
            yield 0, self.first * WIDE // self.high, self.steps(whole)
        if whole < self.windows:
            yield whole, (self.across - WIDE) // self.high, self.steps(1)

    def steps(self, windows):
        """What the tiles are told for so many windows."""
        geo, each = self.geo, WIDE // self.high
        return self.writer.block(
            WINDOW_STEPS, **self.shared, k=geo.kh * geo.c, windows=windows, elements=self.elements, channels=geo.c, outputs=geo.o,
            b_next=each * self.along["b"], c_next=each * self.along["c"], base_next=each * self.along["base"],
            u_next=geo.kh * geo.c * geo.o, v_next=self.v_next, v_window=self.v_window, v_down=geo.sh * self.v_row,
            m_next=self.m_next, m_row=self.elements * self.m_next, high=self.high,
        )  # fmt: skip

    def write(self, filters):
        """Band after band; `filters`: where the transformed ones lie."""
        for top, rows in zip(starts(self.bands), self.bands, strict=True):
            first = len(self.writer.calls)
            self.transform(top)
            self.writer.stage(first, rows_read(self.geo, rows * self.high))
            first = len(self.writer.calls)
            self.multiply(filters)
            self.transform_back(top)
            self.writer.stage(first, rows)

    def transform(self, top):
        """V, row by row of the image."""
        tile, row = address_of(InputTransform(self.lanes, self.geo.kw)), self.source.cols * self.source.channels * self.lanes
        for window, place, steps in self.runs:
            self.writer.call(
                tile=tile, b=self.source.at + top * self.down["b_step"] + place * self.along["b"], b_step=row,
                c_room=1, c=self.network.values + window * self.v_window, c_step=self.v_row, steps=steps,
            )  # fmt: skip

    def multiply(self, filters):
        """M, row by row of the results."""
        together = self.high if self.windows * self.high <= MOST_WINDOWS else 1
        _, _, steps = self.runs[0]
        for m, count, rows in heights(self.geo.o, most_rows()[self.windows * together]):
            self.writer.call(
                tile=address_of(Products(self.lanes, rows, together, self.windows)), a_slot=FILTERS, a=filters + m,
                b_room=1, b=self.network.values, b_step=self.high * self.geo.sh * self.v_row,
                c_room=1, c=self.network.products + m * self.lanes, steps=steps, base=count,
            )  # fmt: skip

    def transform_back(self, top):
        """Results, marks."""
        tile, down = address_of(OutputTransform(self.lanes, self.geo.kw, self.block.pooled)), self.down
        for window, place, steps in self.runs:
            to = place * self.along["c"]
            self.writer.call(
                tile=tile, b_room=1, b=self.network.products + window * self.geo.o * self.lanes,
                c=self.target.at + self.target.start * self.lanes + to + top * down["c_step"], c_step=down["c_step"],
                d_slot=self.slot + 1, steps=steps,
                base=place * self.along["base"] + top * down["base_step"], base_step=down["base_step"],
                mark=self.mark + to + top * down["mark_step"], mark_step=down["mark_step"],
            )  # fmt: skip


def heights(count, most):
    """(first, number of parts, rows of each) of outputs in balanced parts, the taller ones first."""
    parts, first, found = balanced(count, most), 0, []
    for rows in sorted({*parts}, reverse=True):
        found.append((first, parts.count(rows), rows))
        first += rows * parts.count(rows)
    return found


def transform_filters(writer, geo, i, lanes, at):
    """Winograd's filters, a row of taps after the other."""
    tile, each = address_of(FilterTransform(lanes, geo.kw)), geo.c * geo.o
    steps = writer.block(TURN_STEPS, numbers=each, a_row=each, c_row=geo.kh * each)
    for row in range(geo.kh):
        writer.do(tile=tile, a_slot=weights_slot(i), a=row * geo.kw * each, c_slot=FILTERS, c=at + row * each, steps=steps)
        writer.task_done()
