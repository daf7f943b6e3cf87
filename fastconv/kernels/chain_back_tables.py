"""The tables of a chain's backward pass.

Behind a 2x2 maximum and a ReLU at most a quarter of a convolution's output gradients are not zero.  So each image and filter gets
a list of (where the window begins in the input, gradient), from which both gradients follow: a quarter of the multiplications.
Dense layers stay with images as lanes; their weight gradients are summed over all images at the end, whole.
"""

from typing import NamedTuple

import numpy as np

from fastconv.kernels.blocks import balanced, cuts
from fastconv.kernels.chain_layout import Layout, vectors_for
from fastconv.kernels.chain_writer import (
    CALL,
    CONSTANTS,
    KEPT,
    ONES,
    PARTIAL,
    ROWS,
    SPACE,
    STAGE,
    TURNED,
    WORK,
    Writer,
    array,
    starts,
    weights_slot,
)  # fmt: skip
from fastconv.kernels.codes import NONE
from fastconv.kernels.group_sizes import even_parts
from fastconv.kernels.group_tile import (
    ENTRY,
    GROUP_STEPS,
    LIST_STEPS,
    LIVE_STEPS,
    MASK,
    TURN_STEPS,
    Add,
    GroupTile,
    Live,
    Spread,
    Taps,
    Turn,
    address_of,
)
from fastconv.kernels.panels import panels_of
from fastconv.kernels.tile import STEPS, Tile, most_rows, tile_address
from fastconv.machine import cpu

__all__ = ["BACK", "PASS", "BackTables", "backward_tables"]

# of a convolution: sizes; where values and numbers of windows come from, and go to image by image; the gradient of its output;
# that of its input; its sums; its rows in `passes`
BACK = (
    "c", "pixel", "pixels", "x_from", "x", "x_image", "turn_x",
    "o", "windows", "marks_from", "marks", "marks_image", "turn_marks", "live", "list",
    "g", "g_image", "g_start",
    "dx", "dx_size", "partial", "filter", "turned", "turn", "first", "middle", "end",
)  # fmt: skip
PASS = ("tile", "pixels", "weights", "bias", "steps")
MOST_BLOCKS = 16  # partial sums
TILES_OF_TASK = 4  # of a dense layer's weight gradient: to take a task from others takes a third of the time of a tile


class BackTables(NamedTuple):
    """What `chain.backward` reads."""

    calls: np.ndarray  # gradients of the inputs of dense layers
    stages: np.ndarray
    turns: np.ndarray  # (where they lie, steps, numbers, first of them in `rows`) behind each stage: dense gradients as rows
    enter: np.ndarray  # the gradient that comes in: numbers (0 without dense layers), where it goes, steps, then as in `turns`
    top: np.ndarray  # the gradient that reaches the last convolution: where it lies, steps, where it goes in the room
    tiles: np.ndarray  # those that turn in and out, and that which makes lists
    convs: np.ndarray  # BACK for each convolution
    passes: np.ndarray
    image: np.ndarray  # of an image of the input: rows, numbers in a row, where the first goes, from row to row
    first: np.ndarray  # work, and its tasks, before all else: weights turned for the input gradients
    first_tasks: np.ndarray
    last: np.ndarray  # and after it: partial sums added, weight gradients of dense layers
    last_tasks: np.ndarray
    steps: np.ndarray
    lists: np.ndarray  # where the lists lie in the room, and in each the number of its entries
    keep: np.ndarray  # inputs of dense layers, kept for the gradients of their weights: where they lie, how many numbers
    cuts: np.ndarray  # first group of each partial sum
    room: int  # floats of the room of a thread
    partial: int  # floats of a partial sum
    turned: int  # floats of the turned weights
    rows: int  # floats of the gradients of all dense layers, a row an image


def backward_tables(network):
    """The `BackTables` of a `Network`; takes the room that they need in its rows."""
    writer, space, rows, lanes = Writer(), Layout(network.behind_image), Layout(), network.lanes
    convolutions = network.convolutions
    gradients = dense_gradients(network, convolutions, rows)
    turns = [input_gradient(writer, network, i, gradients) for i in range(len(network.blocks) - 1, convolutions - 1, -1)]
    enter, top = (0,) * 7, (0,) * 3
    if turns:
        units, at, _ = gradients[-1]
        into = writer.block(TURN_STEPS, numbers=units, a_row=units, c_row=lanes, wide=lanes)
        enter = (units, at, into, *turned_to_rows(writer, lanes, *gradients[-1]))
        size, at, _ = gradients[0]
        top = (at, turned_to_rows(writer, lanes, size, at, 0)[1], space.take(size * lanes))
    builder = Convolutions(writer, network, space)
    for i in range(convolutions):
        builder.add(i, top[2] if turns else None, last=i == convolutions - 1)
    first, first_tasks = writer.work, writer.tasks
    writer.work, writer.tasks = [], [0]
    blocks = min(MOST_BLOCKS, network.groups)
    for i in range(convolutions):
        builder.collect(i, blocks)
    for i in range(convolutions, len(network.blocks)):
        weight_gradient(writer, network, i, gradients)
    lists = (space.take(max(builder.lists)), ENTRY * builder.longest)
    tiles = [Turn(lanes, inwards=True), Turn(lanes, inwards=False), Live()]
    return BackTables(
        calls=array(writer.calls, len(CALL)), stages=array(writer.stages, len(STAGE)), turns=array(turns, 4), enter=ints(enter),
        top=ints(top), tiles=ints(map(address_of, tiles)), convs=array(builder.rows, len(BACK)),
        passes=array(builder.passes, len(PASS)), image=ints(builder.image), first=array(first, len(WORK)),
        first_tasks=ints(first_tasks), last=array(writer.work, len(WORK)), last_tasks=ints(writer.tasks),
        steps=ints(writer.steps), lists=ints(lists), keep=ints(network.dense_inputs),
        cuts=ints([0, *(end for _, end in cuts(network.groups, blocks))]),
        room=max(space.size, network.room.size), partial=builder.partial.size, turned=builder.turned.size, rows=rows.size,
    )  # fmt: skip


def ints(values):
    return np.array(list(values), np.int64)


def turned_to_rows(writer, lanes, numbers, at, rows):
    """A row of `BackTables.turns`."""
    return at, writer.block(TURN_STEPS, numbers=numbers, a_row=lanes, c_row=numbers, wide=numbers), numbers, rows


def dense_gradients(network, first, rows):
    """(numbers, where they lie with images as lanes, where as rows) for the input of the first dense block and every output."""
    images = network.groups * network.lanes
    found = []
    for place in network.places[first:]:
        in_rows = rows.take(images * place.size) if found else 0
        found.append((place.size, network.layout.take(place.size * network.lanes), in_rows))
    return found


def input_gradient(writer, network, i, gradients):
    """dx[k] = sum over m of w[k, m] dy[m], where ReLU was open; returns what is turned to rows then (nothing for the lowest)."""
    lanes, block, convolutions = network.lanes, network.blocks[i], network.convolutions
    (inputs, dx, rows), (units, dy, _) = gradients[i - convolutions], gradients[i - convolutions + 1]
    below = network.blocks[i - 1]
    masked = below.geometry is None and below.relu
    steps = writer.block(
        GROUP_STEPS, a_m=units, a_k=1, b_k=lanes, c_m=lanes, i=1, k=units, after=MASK if masked else NONE
    )  # fmt: skip
    first, parts = len(writer.calls), even_parts(inputs, most_rows()[1])
    for k, height in zip(starts(parts), parts, strict=True):
        behind = {"d_slot": SPACE, "d": network.places[i].at + k * lanes} if masked else {"d_slot": CONSTANTS}
        tile = address_of(GroupTile(lanes, height, 1, pooled=False))
        writer.call(tile=tile, a_slot=weights_slot(i), a=k * block.units, b=dy, c=dx + k * lanes, steps=steps, **behind)
    writer.stage(first)
    return turned_to_rows(writer, lanes, inputs, dx, rows) if i > convolutions else (0, 0, 0, 0)


def weight_gradient(writer, network, i, gradients):
    """dw[k, m] = sum over all images of x[k] dy[m], and db with ones for x: tiles of rows k, columns m, each summed whole."""
    lanes, (start, kept) = network.lanes, network.dense_inputs
    units, _, rows = gradients[i - network.convolutions + 1]
    panels, source, slot = panels_of(1, units, 1, 4), network.places[i], weights_slot(i)
    shared = {"a_k": 1, "b_j": lanes, "b_k": 1, "i": 1, "j": network.groups, "k": lanes}
    of_w = writer.block(STEPS, **shared, a_m=lanes, a_j=kept, c_m=units)
    of_b = writer.block(STEPS, **shared)
    for _, _, first, kind, tail, row, _ in panels.rows.tolist():
        vectors, masked = panels.kinds[kind]
        parts = balanced(source.size, most_rows()[vectors])
        shape = {"b_slot": ROWS, "b": rows + first, "first": tail, "second": row}
        for n, (k, height) in enumerate(zip(starts(parts), parts, strict=True), start=1):
            tile, a = tile_address(Tile(4, panels.lanes, height, vectors, masked)), source.at - start + k * lanes
            writer.do(tile=tile, a_slot=KEPT, a=a, c_slot=slot + 2, c=k * units + first, steps=of_w, **shape)
            if n % TILES_OF_TASK == 0:
                writer.task_done()
        tile = tile_address(Tile(4, panels.lanes, 1, vectors, masked))
        writer.do(tile=tile, a_slot=CONSTANTS, a=ONES, c_slot=slot + 3, c=first, steps=of_b, **shape)
        writer.task_done()


class Convolutions:
    """The tables of all convolutions, from the first to the last."""

    def __init__(self, writer, network, space):
        self.writer, self.network, self.space = writer, network, space
        self.rows, self.passes = [], []
        self.partial, self.turned = Layout(), Layout()
        self.image = None
        self.longest = max(network.results(block) // block.out[2] for block in network.blocks)  # entries of a list
        self.list = ENTRY * (self.longest + 1)  # numbers of one
        self.lists = []  # numbers of those of each convolution that are kept at a time

    def add(self, i, top, last):
        """Convolution i; `top` is where the gradient of the last one's output lies in the room (None: in the caller's array)."""
        network, lanes = self.network, self.network.lanes
        block, source, target = network.blocks[i], network.places[i], network.places[i + 1]
        geo, pixel = block.geometry, network.pixel(i)
        x_image = network.image_size(i)
        pieces, w_row = row_pieces(geo, pixel, lanes, first=i == 0)
        filter_size = -(-(geo.kh * w_row + 2) // 16) * 16
        windows = block.out[0] * block.out[1]
        row = dict.fromkeys(BACK, 0)
        c, pixels = (geo.c, source.rows * source.cols) if pixel != geo.c else (source.size, 1)  # as one long pixel
        turn_x = self.writer.block(TURN_STEPS, numbers=c, a_row=lanes, c_row=x_image, wide=pixel if pixels > 1 else c)
        row |= {"c": c, "pixel": pixel, "pixels": pixels, "x_from": source.at, "x_image": x_image, "turn_x": turn_x}
        row |= {"x": self.space.take(x_image * lanes) if i else network.image, "o": geo.o, "windows": windows}
        turn_marks = self.writer.block(
            TURN_STEPS, numbers=windows, a_row=geo.o * lanes, c_row=geo.o * windows, wide=windows
        )  # fmt: skip
        row |= {"marks_from": network.marks[i], "marks_image": geo.o * windows, "turn_marks": turn_marks}
        row |= {"marks": self.space.take(geo.o * windows * lanes)}
        row |= {"partial": self.partial.take(geo.o * filter_size), "filter": filter_size, "first": len(self.passes)}
        if last:
            row |= {"g": -1 if top is None else top, "g_image": target.size}
            g_row, g_column = block.out[1] * geo.o, geo.o
        else:
            g_column = network.pixel(i + 1)
            g_row = target.cols * g_column
            row |= {"g_start": (target.top * target.cols + target.left) * g_column}
        row["live"] = self.writer.block(LIVE_STEPS, rows=block.out[0], columns=block.out[1], g_row=g_row, g_column=g_column)
        self.weight_passes(geo, source.cols * pixel, pieces, w_row, filter_size)
        row["middle"] = len(self.passes)
        self.lists.append((geo.o if i else 1) * self.list)
        if i:
            row["list"] = self.list
            self.spread(i, row, geo, source, pixel, pieces)
        else:
            start = (source.top * source.cols + source.left) * pixel
            self.image = (geo.h, geo.w * geo.c, row["x"] + start, source.cols * pixel)
        row["end"] = len(self.passes)
        if i:
            self.rows[-1][BACK.index("g")] = row["dx"]
        self.rows.append([row[name] for name in BACK])

    def turn_filters(self, i, geo, at, size, pixel):
        """turned[o, tap, c] = w[tap, c, o], each tap with room for `pixel` channels: a task for each tap."""
        lanes, tile = self.network.lanes, address_of(Turn(self.network.lanes, inwards=True))
        parts = [(c, min(lanes, geo.c - c), min(lanes, pixel - c)) for c in range(0, geo.c, lanes)]
        steps = [self.writer.block(TURN_STEPS, numbers=geo.o, a_row=geo.o, c_row=size, wide=wide) for _, _, wide in parts]
        for tap in range(geo.kh * geo.kw):
            for (c, few, _), block in zip(parts, steps, strict=True):
                a, target = (tap * geo.c + c) * geo.o, at + tap * pixel + c
                self.writer.do(tile=tile, a_slot=weights_slot(i), a=a, c_slot=TURNED, c=target, steps=block, first=few)
            self.writer.task_done()

    def collect(self, i, blocks):
        """Partial sums added up, then turned to [tap, c, o]: a task for every few filters."""
        writer, lanes, row = self.writer, self.network.lanes, dict(zip(BACK, self.rows[i], strict=True))
        geo, size, slot = self.network.blocks[i].geometry, row["filter"], weights_slot(i)
        channels, parts = (geo.kw * geo.c, 1) if row["pixel"] == geo.c else (geo.c, geo.kw)
        run = row_pieces(geo, row["pixel"], lanes, first=i == 0)[1]
        inwards, add = address_of(Turn(lanes, inwards=True)), address_of(Add(lanes))
        outwards = address_of(Turn(lanes, inwards=False))
        for o in range(0, geo.o, lanes):
            few, at = min(lanes, geo.o - o), row["partial"] + o * size
            steps = writer.block(TURN_STEPS, numbers=few * size, a_row=self.partial.size)
            writer.do(tile=add, a_slot=PARTIAL, a=at, c_slot=PARTIAL, steps=steps, first=blocks)
            steps = writer.block(TURN_STEPS, numbers=channels, a_row=size, c_row=geo.o, wide=few)
            for h in range(geo.kh):
                for j in range(parts):
                    a, c = at + h * run + j * row["pixel"], (h * parts + j) * channels * geo.o + o
                    writer.do(tile=inwards, a_slot=PARTIAL, a=a, c_slot=slot + 2, c=c, steps=steps, first=few)
            steps = writer.block(TURN_STEPS, numbers=few, a_row=size, c_row=few, wide=few)
            writer.do(tile=outwards, a_slot=PARTIAL, a=at + size - 2, c_slot=slot + 3, c=o, steps=steps, first=1)
            writer.task_done()

    def weight_passes(self, geo, x_row, pieces, w_row, filter_size):
        """The filter's taps in as many passes as their sums need registers."""
        steps = self.writer.block(LIST_STEPS, x_row=x_row, w_row=w_row)
        for first, (row, rows, at, part) in enumerate(passes_over(geo.kh, pieces)):
            bias = filter_size - 2 + (first > 0) - row * w_row - at  # the sum of the gradients is wanted once
            self.passes.append((address_of(Taps(rows, part)), row * x_row + at, row * w_row + at, bias, steps))

    def spread(self, i, row, geo, source, pixel, pieces):
        """The input gradient's part of a row."""
        size, turned, x_row, w_row = row["x_image"], geo.kh * geo.kw * pixel, source.cols * pixel, geo.kw * pixel
        row |= {"dx": self.space.take(size), "dx_size": size, "turned": self.turned.take(geo.o * turned), "turn": turned}
        self.turn_filters(i, geo, row["turned"], turned, pixel)
        steps = self.writer.block(LIST_STEPS, x_row=x_row, w_row=w_row)
        for tap_row, rows, at, part in passes_over(geo.kh, pieces):
            self.passes.append((address_of(Spread(rows, part)), tap_row * x_row + at, tap_row * w_row + at, 0, steps))


def passes_over(kh, pieces):
    """(first row of taps, rows, offset, pieces from there on) of parts whose vectors fit the registers: whole rows if they do."""
    most = cpu().registers - 2
    across = balanced(len(pieces), min(most, len(pieces)))
    down = balanced(kh, max(1, min(kh, most // len(pieces))))
    for row, rows in zip(starts(down), down, strict=True):
        for first, count in zip(starts(across), across, strict=True):
            at = pieces[first][0]
            yield row, rows, at, tuple((place - at, lanes) for place, lanes in pieces[first : first + count])


def row_pieces(geo, pixel, lanes, first):
    """(vectors of a row of taps as (offset, lanes), numbers in the row): pixel by pixel, in the first layer across pixels."""
    if first:
        widths = vectors_for(geo.kw * geo.c, lanes)
        return tuple(zip(starts(widths), widths, strict=True)), sum(widths)
    widths = vectors_for(geo.c, lanes)
    return tuple((j * pixel + at, w) for j in range(geo.kw) for at, w in zip(starts(widths), widths, strict=True)), geo.kw * pixel
