"""The tables by which `chain` walks a network: what lies where, and which tile works on what.

A group of images (as many as a vector has lanes) owns a row of the workspace; each block of the network (a convolution with the
ReLU and the pooling behind it, or a dense layer) reads one buffer of that row, [row, column, channel, image], and writes the next,
which has room for the padding of its reader.  The gradient of a convolution needs one image at a time, [row, column, channel]:
those buffers are in the scratch of a thread.  All offsets count floats.
"""

from dataclasses import dataclass

import numpy as np

from fastconv.kernels.codes import NONE, RELU
from fastconv.kernels.group_tile import GROUP_STEPS, GroupTile, Window, address_of, winograd_rows
from fastconv.kernels.schedule import balanced
from fastconv.kernels.tile import most_rows
from fastconv.kernels.vector_ir import lanes_of

__all__ = [
    "CALL", "CONSTANTS", "ONES", "SPACE", "STAGE", "Layout", "Network", "Tables", "Writer", "array", "even_parts", "forward_tables",
    "padded_channels", "starts", "vectors_for", "weights_slot",
]  # fmt: skip

CALL = ("tile", "a_slot", "a", "b", "b_step", "c", "c_step", "d_slot", "d", "steps", "base", "base_step")  # _step: a row further
STAGE = ("rows", "first", "end")
SPACE, CONSTANTS = 0, 1  # slots of addresses: a row of the workspace, zeros and ones; then weights and bias of each block
ONES = 64  # that many zeros come before as many ones
ALIGN = 16
WINOGRAD_GAIN = 1.15  # in estimated instructions, below which a 2x2 window is computed directly


def room(size):
    return -(-size // ALIGN) * ALIGN


def vectors_for(count, lanes):
    """`count` numbers as vectors: full ones, then the narrowest that holds the rest."""
    pieces = [lanes] * (count // lanes)
    if rest := count % lanes:
        pieces.append(1 << (rest - 1).bit_length())
    return tuple(pieces)


def padded_channels(channels, lanes):
    """Channels of a pixel in the layout of one image, where a gradient is spread over it."""
    return sum(vectors_for(channels, lanes))


class Layout:
    """Hands out places in a row of memory."""

    def __init__(self):
        self.size = 0

    def take(self, size):
        at, self.size = self.size, self.size + room(size + ALIGN)  # slack: a vector may read past the end of a buffer
        return at


def even_parts(count, most):
    """Balanced parts of `count`; all of one size where that costs no more than half of `most`, to compile one tile only."""
    for parts in range(-(-count // most), 2 * (-(-count // most)) + 1):
        if count % parts == 0:
            return [count // parts] * parts
    return balanced(count, most)


def starts(parts):
    return [sum(parts[:i]) for i in range(len(parts))]


def by_winograd(block, allowed):
    """Whether a pooled window is computed by F(2x2, k x k): an estimate of the instructions."""
    geo = block.geometry
    if not (allowed and block.pooled and geo.kh == geo.kw in (3, 5) and geo.sh == geo.sw == 1):
        return False
    elements = (geo.kh + 1) ** 2
    fast = elements * geo.c * geo.o + 5 * elements * geo.c + 2 * elements * geo.o
    return WINOGRAD_GAIN * fast < 4 * geo.kh * geo.kw * geo.c * geo.o


@dataclass(frozen=True)
class Place:
    """A buffer for the values between two blocks, with the zeros around them that the second one wants."""

    at: int
    rows: int
    cols: int
    channels: int
    top: int
    left: int

    @property
    def size(self):
        return self.rows * self.cols * self.channels

    @property
    def start(self):
        """The first value, in numbers of one image."""
        return (self.top * self.cols + self.left) * self.channels


class Network:
    """A chain of blocks with the place of every buffer in a row of the workspace.

    A block has `geometry` (None for a dense layer), `pooled`, `relu`, `units` and `out`, (rows, columns, channels).
    """

    def __init__(self, blocks, batch, training, winograd):
        self.blocks, self.batch, self.training, self.winograd = blocks, batch, training, winograd
        self.lanes = lanes_of(4)
        self.groups = -(-batch // self.lanes)
        self.layout = Layout()
        geo = blocks[0].geometry
        shapes = [(geo.h, geo.w, geo.c), *(block.out for block in blocks)]
        readers = [block.geometry for block in blocks] + [None]
        self.places = [self.place(*both) for both in zip(shapes, readers, strict=True)]
        self.index = self.layout.size if training else 0  # the numbers of windows lie as the values do, this far behind them
        self.layout.size += self.index
        widest = max(((block.geometry.kh + 1) ** 2 * block.geometry.c for block in blocks if self.fast(block)), default=0)
        self.values = self.layout.take(widest * self.lanes)

    def place(self, shape, reader):
        (rows, cols, channels), (top, bottom), (left, right) = shape, *(reader.pads if reader else ((0, 0), (0, 0)))
        rows, cols = rows + top + bottom, cols + left + right
        return Place(self.layout.take(rows * cols * channels * self.lanes), rows, cols, channels, top, left)

    def fast(self, block):
        return block.geometry is not None and by_winograd(block, self.winograd)

    def pixel(self, i):
        """Numbers from pixel to pixel in the layout of one image of the input of block i; the first has no gradient."""
        channels = self.places[i].channels
        return padded_channels(channels, self.lanes) if i else channels


class Writer:
    """Collects steps, calls and stages."""

    def __init__(self):
        self.calls, self.stages, self.steps = [], [], []

    def block(self, names, **given):
        """Steps of a tile; returns where they begin."""
        at = len(self.steps)
        self.steps += [int(given.get(name, 0)) for name in names]
        return at

    def call(self, **given):
        self.calls.append([given.get(name, 0) for name in CALL])

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
    entry: np.ndarray  # of an image that enters: rows, numbers in a row, where the first goes, from row to row
    leave: int  # where the result lies, [number, image]
    calls: np.ndarray
    stages: np.ndarray
    steps: np.ndarray  # what the tiles read
    space: int  # floats of a row of the workspace
    filters: tuple  # ((block, outputs of a tile, floats of U), ...) of Winograd's convolutions


def forward_tables(network):
    """The `Tables` of a `Network`."""
    writer, filters = Writer(), []
    for i, block in enumerate(network.blocks):
        if block.geometry is None:
            dense_calls(writer, network, i)
        elif network.fast(block):
            filters.append(winograd_calls(writer, network, i))
        else:
            direct_calls(writer, network, i)
    geo, place, lanes = network.blocks[0].geometry, network.places[0], network.lanes
    entry = (geo.h, geo.w * geo.c, place.at + place.start * lanes, place.cols * place.channels * lanes)
    return Tables(
        lanes, network.groups, np.array(entry, np.int64), network.places[-1].at, array(writer.calls, len(CALL)),
        array(writer.stages, len(STAGE)), np.array(writer.steps, np.int64), network.layout.size, tuple(filters),
    )  # fmt: skip


def weights_slot(i):
    return 2 + 2 * i


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


def window_steps(network, i):
    """(what all ways of convolving tell their tiles, their calls, and how far it is from window to window)."""
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, pixel, each = block.geometry, network.pixel(i), 2 if block.pooled else 1
    row, step = source.cols * source.channels * lanes, source.channels * lanes
    shared = {
        "b_r": geo.sh * row,
        "b_s": geo.sw * step,
        "c_m": lanes,
        "c_n": target.channels * lanes,
        "after": RELU if block.relu else NONE,
        "index": network.index,
        "base_r": geo.sh * source.cols * pixel,
        "base_s": geo.sw * pixel,
    }
    down = {
        "b_step": each * geo.sh * row,
        "c_step": target.cols * target.channels * lanes,
        "base_step": each * geo.sh * source.cols * pixel,
    }
    return shared, down, {"b": each * geo.sw * step, "c": target.channels * lanes, "base": each * geo.sw * pixel}


def direct_calls(writer, network, i):
    """A convolution, window by window or a few neighbouring pixels at a time."""
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, (shared, down, along) = block.geometry, window_steps(network, i)
    row, run, slot = source.cols * source.channels * lanes, geo.kw * geo.c, weights_slot(i)
    steps = writer.block(
        GROUP_STEPS, **shared, a_m=1, a_i=run * geo.o, a_k=geo.o, b_i=row, b_k=lanes, i=geo.kh, k=run
    )  # fmt: skip
    first, parts = len(writer.calls), even_parts(geo.o, most_rows()[4])
    columns = [4] * block.out[1] if block.pooled else even_parts(block.out[1], 4)
    positions = range(block.out[1]) if block.pooled else starts(columns)
    for m, rows in zip(starts(parts), parts, strict=True):
        for q, cols in zip(positions, columns, strict=True):
            writer.call(
                tile=address_of(GroupTile(lanes, rows, cols, block.pooled)), a_slot=slot, a=m, b=source.at + q * along["b"],
                c=target.at + target.start * lanes + q * along["c"] + m * lanes, d_slot=slot + 1, d=m, steps=steps,
                base=q * along["base"], **down,
            )  # fmt: skip
    writer.stage(first, block.out[0])


def winograd_calls(writer, network, i):
    """A pooled convolution: transform a window of the input, then take all its outputs; returns what `Tables.filters` wants."""
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, (shared, down, along) = block.geometry, window_steps(network, i)
    steps, slot, elements = writer.block(GROUP_STEPS, **shared, k=geo.c), weights_slot(i), (geo.kh + 1) ** 2
    first, parts = len(writer.calls), even_parts(geo.o, winograd_rows())
    for q in range(block.out[1]):
        b, c = source.at + q * along["b"], target.at + target.start * lanes + q * along["c"]
        writer.call(tile=address_of(Window(lanes, geo.kh)), b=b, b_step=down["b_step"], c=network.values, steps=steps)
        for m, rows in zip(starts(parts), parts, strict=True):
            writer.call(
                tile=address_of(Window(lanes, geo.kh, rows)), a_slot=slot, a=m * elements * geo.c, b=network.values,
                c=c + m * lanes, d_slot=slot + 1, d=m, steps=steps, base=q * along["base"], **{**down, "b_step": 0},
            )  # fmt: skip
    writer.stage(first, block.out[0])
    return i, tuple(parts), elements * geo.c * geo.o
