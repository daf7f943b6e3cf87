"""The tables of a chain's backward pass.

Behind a 2x2 maximum and a ReLU at most a quarter of a convolution's output gradients are not zero.  So each image and filter gets
a list of (where the window begins in the input, gradient), from which both gradients follow: a quarter of the multiplications.
Dense layers stay with images as lanes; their weight gradients are summed over all images at the end, whole.
"""

from dataclasses import dataclass

import numpy as np

from fastconv.kernels.chain_tables import (
    CALL, CONSTANTS, ONES, SPACE, STAGE, Layout, Writer, array, even_parts, starts, vectors_for, weights_slot,
)  # fmt: skip
from fastconv.kernels.codes import NONE
from fastconv.kernels.group_tile import GROUP_STEPS, LIST_STEPS, MASK, GroupTile, Spread, Taps, address_of
from fastconv.kernels.schedule import balanced, cuts, panels_of
from fastconv.kernels.tile import STEPS, Tile, most_rows, tile_address
from fastconv.machine import cpu

__all__ = ["BACK", "PASS", "WEIGHT", "BackTables", "backward_tables"]

# of a convolution: sizes; where values and numbers of windows come from, and go to image by image; the gradient of its output;
# that of its input; its sums; its rows in `passes`
BACK = (
    "c", "pixel", "pixels", "x_from", "x", "x_image",
    "o", "p", "q", "marks", "index_from", "index", "index_image", "index_start", "index_row",
    "g", "g_image", "g_start", "g_row", "g_pixel",
    "dx", "dx_size", "partial", "filter", "turned", "turn", "first", "middle", "end",
)  # fmt: skip
PASS = ("tile", "pixels", "weights", "bias", "steps")
WEIGHT = ("tile", "a_slot", "a", "b", "c_slot", "c", "steps", "tail", "row")
MOST_BLOCKS = 16  # partial sums


@dataclass(frozen=True, eq=False)
class BackTables:
    """What `chain.backward` and `chain.collect` read."""

    calls: np.ndarray  # gradients of the inputs of dense layers
    stages: np.ndarray
    turns: np.ndarray  # (numbers, where they lie, first of them in `rows`) behind each stage: dense gradients as rows
    enter: np.ndarray  # (numbers, where they go, first of them in `rows`) of the gradient that comes in; none without dense layers
    top: np.ndarray  # (numbers, where they lie, where they go in scratch) of the gradient that reaches the last convolution
    convs: np.ndarray  # BACK for each convolution
    passes: np.ndarray
    image: np.ndarray  # of an image of the input: rows, numbers in a row, where the first goes, from row to row
    weights: np.ndarray  # calls for the weight gradients of dense layers
    steps: np.ndarray
    lists: np.ndarray  # where the offsets and the gradients of one filter lie in scratch
    cuts: np.ndarray  # first group of each partial sum
    scratch: int  # floats of a thread
    partial: int  # floats of a partial sum
    turned: int  # floats of the weights as the input gradients read them
    rows: int  # floats of the gradients of all dense layers, a row an image
    sums: tuple  # (block, where its partial sum begins, from filter to filter, row to row, pixel to pixel) of the convolutions
    turning: tuple  # (block, where its turned weights begin, from filter to filter, from pixel to pixel)


def backward_tables(network):
    """The `BackTables` of a `Network`; takes the room that they need in its rows."""
    writer, scratch, rows = Writer(), Layout(), Layout()
    convolutions = sum(block.geometry is not None for block in network.blocks)
    gradients = dense_gradients(network, convolutions, rows)
    turns = [input_gradient(writer, network, i, gradients) for i in range(len(network.blocks) - 1, convolutions - 1, -1)]
    weights = [call for i in range(convolutions, len(network.blocks)) for call in weight_calls(writer, network, i, gradients)]
    enter = (*gradients[-1],) if convolutions < len(network.blocks) else (0, 0, 0)
    size = network.places[convolutions].size
    top = (size, gradients[0][1], scratch.take(size * network.lanes)) if enter[0] else (0, 0, 0)
    builder = Convolutions(writer, network, scratch)
    for i in range(convolutions):
        builder.add(i, top[2] if enter[0] else None, last=i == convolutions - 1)
    longest = max(np.prod(block.out[:2]) for block in network.blocks[:convolutions])
    lists = (scratch.take(longest), scratch.take(longest))
    blocks = min(MOST_BLOCKS, network.groups)
    return BackTables(
        array(writer.calls, len(CALL)), array(writer.stages, len(STAGE)), array(turns, 3), np.array(enter, np.int64),
        np.array(top, np.int64), array(builder.rows, len(BACK)), array(builder.passes, len(PASS)),
        np.array(builder.image, np.int64), array(weights, len(WEIGHT)), np.array(writer.steps, np.int64),
        np.array(lists, np.int64), np.array([0, *(end for _, end in cuts(network.groups, blocks))], np.int64), scratch.size,
        builder.partial.size, builder.turned.size, rows.size, tuple(builder.sums), tuple(builder.turning),
    )  # fmt: skip


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
    lanes, block, convolutions = network.lanes, network.blocks[i], len(network.blocks) - len(gradients) + 1
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
    return (inputs, dx, rows) if i > convolutions else (0, 0, 0)


def weight_calls(writer, network, i, gradients):
    """dw[k, m] = sum over all images of x[k] dy[m], and db with ones for x: tiles of rows k, columns m."""
    lanes, block, convolutions = network.lanes, network.blocks[i], len(network.blocks) - len(gradients) + 1
    units, _, rows = gradients[i - convolutions + 1]
    panels, source = panels_of(1, units, 1, 4), network.places[i]
    shared = {"a_k": 1, "b_j": lanes, "b_k": 1, "i": 1, "j": network.groups, "k": lanes}
    of_w = writer.block(STEPS, **shared, a_m=lanes, a_j=network.layout.size, c_m=units)
    of_b = writer.block(STEPS, **shared)
    for _, _, first, kind, tail, row, _ in panels.rows.tolist():
        vectors, masked = panels.kinds[kind]
        parts = balanced(source.size, most_rows()[vectors])
        for k, height in zip(starts(parts), parts, strict=True):
            tile = tile_address(Tile(4, panels.lanes, height, vectors, masked))
            a, c = source.at + k * lanes, k * units + first
            yield tile, SPACE, a, rows + first, weights_slot(i), c, of_w, tail, row
        tile = tile_address(Tile(4, panels.lanes, 1, vectors, masked))
        yield tile, CONSTANTS, ONES, rows + first, weights_slot(i) + 1, first, of_b, tail, row


class Convolutions:
    """The tables of all convolutions, from the first to the last."""

    def __init__(self, writer, network, scratch):
        self.writer, self.network, self.scratch = writer, network, scratch
        self.rows, self.passes, self.sums, self.turning = [], [], [], []
        self.partial, self.turned = Layout(), Layout()
        self.image = None
        self.steps = {}

    def add(self, i, top, last):
        """Convolution i; `top` is where the gradient of the last one's output lies in scratch (None: in the caller's array)."""
        network, lanes = self.network, self.network.lanes
        block, source, target = network.blocks[i], network.places[i], network.places[i + 1]
        geo, pixel = block.geometry, network.pixel(i)
        x_image = -(-(source.rows * source.cols * pixel + 2 * lanes) // lanes) * lanes
        index_image = -(-target.size // lanes) * lanes
        run = vectors_for(geo.kw * pixel, lanes)
        filter_size = -(-(geo.kh * sum(run) + 2) // 16) * 16
        row = dict.fromkeys(BACK, 0)
        row |= {"c": source.channels, "pixel": pixel, "pixels": source.rows * source.cols, "x_from": source.at, "x_image": x_image}
        row |= {"x": self.scratch.take(x_image * (lanes if i else 1)), "o": geo.o, "p": block.out[0], "q": block.out[1]}
        row |= {"marks": target.size, "index_from": target.at + network.index, "index_image": index_image}
        row |= {"index": self.scratch.take(index_image * lanes), "index_start": target.start, "index_row": target.cols * geo.o}
        row |= {"partial": self.partial.take(geo.o * filter_size), "filter": filter_size, "first": len(self.passes)}
        if last:
            row |= {"g": -1 if top is None else top, "g_image": target.size, "g_row": block.out[1] * geo.o, "g_pixel": geo.o}
        else:
            wide = network.pixel(i + 1)
            row |= {"g_start": (target.top * target.cols + target.left) * wide, "g_row": target.cols * wide, "g_pixel": wide}
        self.weight_passes(geo, source.cols * pixel, run, filter_size)
        row["middle"] = len(self.passes)
        if i:
            self.spread(i, row, geo, source, pixel)
        else:
            start = (source.top * source.cols + source.left) * pixel
            self.image = (geo.h, geo.w * geo.c, row["x"] + start, source.cols * pixel)
        row["end"] = len(self.passes)
        self.sums.append((i, row["partial"], filter_size, sum(run), pixel))
        if i:
            self.rows[-1][BACK.index("g")] = row["dx"]
        self.rows.append([row[name] for name in BACK])

    def weight_passes(self, geo, x_row, run, filter_size):
        """The filter's rows in as many passes as their sums need registers."""
        most, at = max(1, (cpu().registers - 2) // len(run)), 0
        steps = self.writer.block(LIST_STEPS, x_row=x_row, w_row=sum(run))
        for height in balanced(geo.kh, min(most, geo.kh)):
            bias = filter_size - 2 + (at > 0) - at * sum(run)  # the sum of the gradients is wanted once
            self.passes.append((address_of(Taps(height, run)), at * x_row, at * sum(run), bias, steps))
            at += height

    def spread(self, i, row, geo, source, pixel):
        """The input gradient's part of a row."""
        pieces = vectors_for(geo.c, self.network.lanes)
        size = row["x_image"]
        turned = geo.kh * geo.kw * pixel
        row |= {"dx": self.scratch.take(size), "dx_size": size, "turned": self.turned.take(geo.o * turned), "turn": turned}
        self.turning.append((i, row["turned"], turned, pixel))
        most, at = max(1, (cpu().registers - 2) // (geo.kw * len(pieces))), 0
        steps = self.writer.block(LIST_STEPS, x_row=source.cols * pixel, w_row=geo.kw * pixel)
        for height in balanced(geo.kh, min(most, geo.kh)):
            tile = address_of(Spread(height, geo.kw, pieces))
            self.passes.append((tile, at * source.cols * pixel, at * geo.kw * pixel, 0, steps))
            at += height
