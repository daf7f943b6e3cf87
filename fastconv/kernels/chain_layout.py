"""Where everything lies by which `chain` walks a network.

A group of images (as many as a vector has lanes) owns a row of the workspace; each block of the network (a convolution with
the ReLU and the pooling behind it, or a dense layer) reads one buffer of that row, [row, column, channel, image], and writes the
next, which has room for the padding of its reader.  The gradient of a convolution needs one image at a
time, [row, column, channel]: those buffers lie in the room of a thread.  There, too, lies what Winograd's algorithm transforms,
one layer after the other: on the way forward, in the very place that the way back takes.  All offsets count floats.
"""

from dataclasses import dataclass

from fastconv.kernels.group_sizes import has_windows, is_faster, transformed_sizes
from fastconv.kernels.vector_ir import lanes_of

__all__ = ["Layout", "Network", "padded_channels", "results_of", "vectors_for"]

ALIGN = 16


def room(size):
    return -(-size // ALIGN) * ALIGN


def vectors_for(count, lanes):
    """`count` numbers as vectors: full ones, then the narrowest that holds the rest."""
    pieces = [lanes] * (count // lanes)
    if rest := count % lanes:
        pieces.append(1 << (rest - 1).bit_length())
    return tuple(pieces)


def padded_channels(channels, lanes):
    """Channels of a pixel in the layout of one image: a multiple of its widest vector, so that few vectors cross a cache line."""
    widest = max(vectors_for(channels, lanes))
    return -(-channels // widest) * widest


class Layout:
    """Hands out places in a row of memory."""

    def __init__(self, size=0):
        self.size = size

    def take(self, size):
        at, self.size = self.size, self.size + room(size + ALIGN)  # slack: a vector may read past the end of a buffer
        return at


def results_of(block):
    """(rows, columns) that a convolution computes: those of all windows of the maximum behind it."""
    rows, cols, _ = block.out
    return (2 * rows, 2 * cols) if block.pooled else (rows, cols)


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
        self.blocks, self.batch, self.training = blocks, batch, training
        self.lanes = lanes_of(4)
        self.groups = -(-batch // self.lanes)
        self.layout = Layout()
        geo = blocks[0].geometry
        shapes = [(geo.h, geo.w, geo.c), *(block.out for block in blocks)]
        fits = is_faster if len(blocks) > 1 else has_windows  # of a single convolution its own plan has decided
        self.fast = [winograd and fits(block.geometry, results_of(block)[1]) for block in blocks]
        self.places = [self.place(i, shape) for i, shape in enumerate(shapes)]
        self.marks = [training and self.layout.take(self.results(block) * self.lanes) for block in blocks]
        self.room = Layout()  # of a thread
        self.image = training and self.room.take(self.image_size(0))
        self.behind_image = self.room.size  # from here on a training pass comes back over what it took on the way forward
        fast = [block for block, is_fast in zip(blocks, self.fast, strict=True) if is_fast]
        sizes = [
            transformed_sizes(block.geometry, block.out[0], results_of(block)[1], 1 + block.pooled, self.lanes) for block in fast
        ]
        self.values = self.room.take(max((values for values, _ in sizes), default=0))
        self.products = self.room.take(max((products for _, products in sizes), default=0))

    def place(self, i, shape):
        """Where the input of block i lies, or the result."""
        rows, cols, channels = shape
        if i < len(self.blocks) and self.blocks[i].geometry:
            (top, bottom), (left, right) = self.blocks[i].geometry.pads
            rows, cols = rows + top + bottom, cols + left + right
        else:
            top = left = 0
        return Place(self.layout.take(rows * cols * channels * self.lanes), rows, cols, channels, top, left)

    @staticmethod
    def results(block):
        """Numbers of one image that a convolution marks."""
        return block.geometry is not None and block.out[0] * block.out[1] * block.out[2]

    def pixel(self, i):
        """Numbers from pixel to pixel in the layout of one image of the input of block i; the first has no gradient."""
        channels = self.places[i].channels
        return padded_channels(channels, self.lanes) if i else channels

    def image_size(self, i):
        """Numbers of the input of block i in the layout of one image, whole vectors."""
        place = self.places[i]
        return -(-(place.rows * place.cols * self.pixel(i) + 2 * self.lanes) // self.lanes) * self.lanes

    @property
    def convolutions(self):
        """How many blocks are; the others, behind them, are dense."""
        return sum(block.geometry is not None for block in self.blocks)

    @property
    def dense_inputs(self):
        """(where those of the first dense layer begin, numbers up to the end of those of the last) in a row of the workspace."""
        first = self.places[self.convolutions].at
        return first, self.places[-1].at - first
