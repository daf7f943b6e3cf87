"""The tables by which `chain` walks a network: which tile works on what.  `chain_layout` says where that lies."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastconv.kernels.blocks import PAGE, balanced
from fastconv.kernels.chain_layout import Layout
from fastconv.kernels.chain_winograd import winograd_calls
from fastconv.kernels.chain_writer import CALL, STAGE, WORK, Writer, array, starts, weights_slot, window_steps
from fastconv.kernels.codes import NONE, RELU
from fastconv.kernels.group_sizes import FLOAT, even_parts
from fastconv.kernels.group_tile import GROUP_STEPS, TURN_STEPS, GroupTile, Turn, address_of
from fastconv.kernels.tile import most_rows

__all__ = ["Tables", "forward_tables"]


class Ahead(NamedTuple):
    """What the kernels read of a forward pass."""

    lanes: int
    entry: np.ndarray  # of an image: its rows, from row to row of it and of the workspace, where the first goes, steps and tile
    # the same for the result; where a row of all images is gathered first, or -1, and from image to image there
    leave: np.ndarray
    calls: np.ndarray
    stages: np.ndarray
    work: np.ndarray  # first of all: Winograd's filters
    steps: np.ndarray  # what the tiles read


@dataclass(frozen=True, eq=False)
class Tables:
    """Of a forward pass; made once for a network, a batch size and a mode."""

    ahead: Ahead
    groups: int
    tasks: np.ndarray  # of the work
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
    ahead = Ahead(
        lanes, np.array(entry, np.int64), np.array(leave, np.int64), array(writer.calls, len(CALL)),
        array(writer.stages, len(STAGE)), array(writer.work, len(WORK)), np.array(writer.steps, np.int64),
    )  # fmt: skip
    tasks = np.array(writer.tasks, np.int64)
    return Tables(ahead, network.groups, tasks, network.layout.size, network.room.size, filters.size)


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
