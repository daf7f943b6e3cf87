"""The tables by which `chain` walks a network: which tile works on what.  `chain_layout` says where that lies."""

from dataclasses import dataclass

import numpy as np

from fastconv.kernels.blocks import balanced
from fastconv.kernels.chain_layout import Layout, results_of
from fastconv.kernels.codes import NONE, RELU
from fastconv.kernels.group_sizes import (
    MOST_WINDOWS,
    WIDE,
    even_parts,
    rows_read,
    steps_of_values,
    transformed_row,
    windows_at_once,
    windows_over,
)
from fastconv.kernels.group_tile import GROUP_STEPS, TURN_STEPS, GroupTile, Turn, address_of
from fastconv.kernels.group_winograd import WINDOW_STEPS, FilterTransform, InputTransform, OutputTransform, Products
from fastconv.kernels.tile import most_rows

__all__ = [
    "CALL", "CONSTANTS", "FILTERS", "FLOAT", "ONES", "PARTIAL", "ROWS", "SPACE", "STAGE", "TURNED", "WORK",
    "Tables", "Writer", "array", "forward_tables", "starts", "weights_slot",
]  # fmt: skip

CALL = (
    "tile", "a_slot", "a", "b_room", "b", "b_step", "c_room", "c", "c_step", "d_slot", "d", "steps", "base", "base_step", "mark",
    "mark_step",
)  # fmt: skip  # _step: a row of windows further; _room: 1 for what lies in the room of a thread, not in that of a group
STAGE = ("rows", "first", "end")
WORK = ("tile", "a_slot", "a", "b_slot", "b", "c_slot", "c", "steps", "first", "second")  # what is done once for all images
# slots of addresses: the workspace (or a group's row of it), zeros and ones, memory of a training pass, Winograd's filters;
# then weights, bias and their gradients, four for each block
SPACE, CONSTANTS, PARTIAL, ROWS, TURNED, FILTERS, BLOCKS = range(7)
ONES = 64  # that many zeros come before as many ones
FLOAT = 4  # bytes
PAGE = 4096  # bytes: places that are a multiple of it apart fall on the same few lines of the caches


def starts(parts):
    return [sum(parts[:i]) for i in range(len(parts))]


class Writer:
    """Collects steps, calls and stages, and tasks of work."""

    def __init__(self):
        self.calls, self.stages, self.steps = [], [], []
        self.work, self.tasks = [], [0]

    def block(self, names, **given):
        """Steps of a tile; returns where they begin."""
        at = len(self.steps)
        self.steps += [int(given.get(name, 0)) for name in names]
        return at

    def call(self, **given):
        self.calls.append([given.get(name, 0) for name in CALL])

    def do(self, **given):
        """One step of a task of work."""
        self.work.append([given.get(name, 0) for name in WORK])

    def task_done(self):
        """The next `do` may run at the same time."""
        self.tasks.append(len(self.work))

    def stage(self, first, rows=1):
        """The calls from `first` on, for each of `rows` rows of windows."""
        self.stages.append([rows, first, len(self.calls)])


def array(rows, columns):
    return np.array(rows, np.int64).reshape(-1, columns)


@dataclass(frozen=True, eq=False)
class Tables:
    """What `chain.forward` reads; made once for a network, a batch size and a mode."""

    lanes: int
    groups: int
    entry: np.ndarray  # of an image: its rows, from row to row of it and of the workspace, where the first goes, steps and tile
    leave: (
        np.ndarray
    )  # the same for the result; where a row of all images is gathered first, or -1, and from image to image there
    calls: np.ndarray
    stages: np.ndarray
    work: np.ndarray  # first of all: Winograd's filters
    tasks: np.ndarray
    steps: np.ndarray  # what the tiles read
    space: int  # floats of a row of the workspace
    room: int  # floats of the room of a thread
    filters: int  # floats of Winograd's filters


def forward_tables(network):
    """The `Tables` of a `Network`."""
    writer, filters, lanes = Writer(), Layout(), network.lanes
    for i, block in enumerate(network.blocks):
        if block.geometry is None:
            dense_calls(writer, network, i)
        elif network.fast[i]:
            winograd_calls(writer, network, i, filters)
        else:
            direct_calls(writer, network, i)
    geo, place, last = network.blocks[0].geometry, network.places[0], network.places[-1]
    wide, row = geo.w * geo.c, place.cols * place.channels * lanes
    into = writer.block(TURN_STEPS, numbers=wide, a_row=geo.h * wide, c_row=lanes, wide=lanes)
    rows, cols, channels = network.blocks[-1].out
    units, gather, c_row = rows * cols * channels, -1, rows * cols * channels
    crowded = units * FLOAT % PAGE == 0
    high, numbers = (rows, cols * channels) if crowded or cols < last.cols else (1, units)
    if crowded:
        c_row = numbers + lanes
        gather = network.layout.take(lanes * c_row)
    out = writer.block(TURN_STEPS, numbers=numbers, a_row=lanes, c_row=c_row, wide=numbers)
    entry = (geo.h, wide, row, place.at + place.start * lanes, into, address_of(Turn(lanes, inwards=True)))
    leave = (high, last.cols * channels * lanes, numbers, last.at, out, address_of(Turn(lanes, inwards=False)), gather, c_row)
    return Tables(
        lanes, network.groups, np.array(entry, np.int64), np.array(leave, np.int64), array(writer.calls, len(CALL)),
        array(writer.stages, len(STAGE)), array(writer.work, len(WORK)), np.array(writer.tasks, np.int64),
        np.array(writer.steps, np.int64), network.layout.size, network.room.size, filters.size,
    )  # fmt: skip


def weights_slot(i):
    """Weights, then bias, gradient of the weights, gradient of the bias."""
    return BLOCKS + 4 * i


def dense_calls(writer, network, i):
    """y[m] = sum over k of w[k, m] x[k], with images as lanes."""
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    after = RELU if block.relu else NONE
    steps = writer.block(GROUP_STEPS, a_m=1, a_k=block.units, b_k=lanes, c_m=lanes, i=1, k=source.size, after=after)
    first, parts = len(writer.calls), even_parts(block.units, most_rows()[1])
    for m, rows in zip(starts(parts), parts, strict=True):
        tile = address_of(GroupTile(lanes, rows, 1, pooled=False))
        slot = weights_slot(i)
        writer.call(tile=tile, a_slot=slot, a=m, b=source.at, c=target.at + m * lanes, d_slot=slot + 1, d=m, steps=steps)
    writer.stage(first)


def window_steps(network, i, each):
    """(what all ways of convolving tell their tiles, their calls, and how far it is from window to window).

    A window has `each` rows of outputs; with `each` = 1 it may be any number of pixels wide.
    """
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, pixel, results = block.geometry, network.pixel(i), 1 if block.pooled else each
    row, step = source.cols * source.channels * lanes, source.channels * lanes
    c_row, c_step = target.cols * target.channels * lanes, target.channels * lanes
    mark_row = block.out[1] * c_step
    shared = {
        "b_r": geo.sh * row,
        "b_s": geo.sw * step,
        "c_m": lanes,
        "c_r": c_row,
        "c_s": c_step,
        "after": RELU if block.relu else NONE,
        "marked": int(network.training),
        "mark_r": mark_row,
        "base_r": geo.sh * source.cols * pixel,
        "base_s": geo.sw * pixel,
    }
    down = {
        "b_step": each * geo.sh * row,
        "c_step": results * c_row,
        "base_step": each * geo.sh * source.cols * pixel,
        "mark_step": results * mark_row,
    }
    return shared, down, {"b": each * geo.sw * step, "c": results * c_step, "base": each * geo.sw * pixel}


def direct_calls(writer, network, i):
    """A convolution, window by window or a few neighbouring pixels at a time."""
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, (shared, down, along) = block.geometry, window_steps(network, i, 2 if block.pooled else 1)
    row, run, slot = source.cols * source.channels * lanes, geo.kw * geo.c, weights_slot(i)
    steps = writer.block(
        GROUP_STEPS, **shared, a_m=1, a_i=run * geo.o, a_k=geo.o, b_i=row, b_k=lanes, i=geo.kh, k=run
    )  # fmt: skip
    first, parts = len(writer.calls), balanced(geo.o, most_rows()[4])
    columns = [4] * block.out[1] if block.pooled else balanced(block.out[1], 4)
    positions = range(block.out[1]) if block.pooled else starts(columns)
    for m, rows in zip(starts(parts), parts, strict=True):
        for q, cols in zip(positions, columns, strict=True):
            writer.call(
                tile=address_of(GroupTile(lanes, rows, cols, block.pooled)), a_slot=slot, a=m, b=source.at + q * along["b"],
                c=target.at + target.start * lanes + q * along["c"] + m * lanes, d_slot=slot + 1, d=m, steps=steps,
                base=q * along["base"], mark=network.marks[i] + q * along["c"] + m * lanes, **down,
            )  # fmt: skip
    writer.stage(first, block.out[0])


def winograd_calls(writer, network, i, filters):
    """Rows of the image are transformed first; then, for a row of results or two, a few windows at a time: multiply, transform
    back."""
    block, lanes, at = network.blocks[i], network.lanes, filters.take(filter_numbers(network.blocks[i].geometry))
    rows = Rows(writer, network, i)
    transform_filters(writer, block.geometry, i, lanes, at)
    rows.transform()
    first, done = len(writer.calls), 0
    for windows in windows_at_once(rows.across):
        rows.multiply(at, done, windows)
        rows.transform_back(done, windows)
        done += windows
    writer.stage(first, block.out[0])


def filter_numbers(geo):
    """Of the transformed filters."""
    return (WIDE + geo.kw - 1) * geo.kh * geo.c * geo.o


class Rows:
    """The calls that Winograd's F(4, r) makes for a block."""

    def __init__(self, writer, network, i):
        self.writer, self.network, self.slot = writer, network, weights_slot(i)
        self.block, self.source, self.target = network.blocks[i], network.places[i], network.places[i + 1]
        self.mark, self.lanes, self.geo = network.marks[i], network.lanes, self.block.geometry
        self.high = 1 + self.block.pooled  # rows of results that go together
        self.down, self.across = results_of(self.block)
        self.shared, self.steps_down, self.along = window_steps(network, i, self.high)
        self.elements = WIDE + self.geo.kw - 1
        self.v_row = self.geo.c * self.lanes
        self.v_window, self.v_next = steps_of_values(self.geo, self.down, self.across, self.lanes)

    def steps(self, windows, of_part):
        """What the tiles are told for so many windows of a part."""
        m_next, geo = transformed_row(self.geo.o, of_part, self.lanes), self.geo
        each = WIDE // self.high
        return self.writer.block(
            WINDOW_STEPS, **self.shared, k=geo.kh * geo.c, windows=windows, elements=self.elements, channels=geo.c, outputs=geo.o,
            b_next=each * self.along["b"], c_next=each * self.along["c"], base_next=each * self.along["base"],
            u_next=geo.kh * geo.c * geo.o, v_next=self.v_next, v_window=self.v_window, v_down=geo.sh * self.v_row,
            m_next=m_next, m_row=self.elements * m_next, high=self.high,
        )  # fmt: skip

    def runs(self, first, windows):
        """(first of them, how many, their place in units of `along`) of windows that begin one behind the other; the last of a
        row may begin inside the one before."""
        whole = min(first + windows, self.across // WIDE) - first
        if whole:
            yield first, whole, first * WIDE // self.high
        if whole < windows:
            yield first + whole, 1, (self.across - WIDE) // self.high

    def transform(self):
        """V, row by row of the image."""
        row, windows = self.source.cols * self.source.channels * self.lanes, windows_over(self.across)
        first, tile = len(self.writer.calls), address_of(InputTransform(self.lanes, self.geo.kw))
        for window, count, place in self.runs(0, windows):
            self.writer.call(
                tile=tile, b=self.source.at + place * self.along["b"], b_step=row,
                c_room=1, c=self.network.values + window * self.v_window, c_step=self.v_row, steps=self.steps(count, count),
            )  # fmt: skip
        self.writer.stage(first, rows_read(self.geo, self.down))

    def multiply(self, filters, done, windows):
        """M of the windows behind those that are done."""
        steps, together = self.steps(windows, windows), self.high if windows * self.high <= MOST_WINDOWS else 1
        for m, count, rows in heights(self.geo.o, most_rows()[windows * together]):
            self.writer.call(
                tile=address_of(Products(self.lanes, rows, together, windows)), a_slot=FILTERS, a=filters + m,
                b_room=1, b=self.network.values + done * self.v_window, b_step=self.high * self.geo.sh * self.v_row,
                c_room=1, c=self.network.products + m * self.lanes, steps=steps, base=count,
            )  # fmt: skip

    def transform_back(self, done, windows):
        """Results, marks."""
        tile = address_of(OutputTransform(self.lanes, self.geo.kw, self.block.pooled))
        for window, count, place in self.runs(done, windows):
            to = place * self.along["c"]
            self.writer.call(
                tile=tile, b_room=1, b=self.network.products + (window - done) * self.geo.o * self.lanes,
                c=self.target.at + self.target.start * self.lanes + to, c_step=self.steps_down["c_step"], d_slot=self.slot + 1,
                steps=self.steps(count, windows), base=place * self.along["base"], base_step=self.steps_down["base_step"],
                mark=self.mark + to, mark_step=self.steps_down["mark_step"],
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
