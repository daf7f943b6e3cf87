"""How work is cut into blocks: sums by the shape and the CPU alone, so that neither threads nor luck change a bit of them."""

import math

from fastconv.machine import cpu

__all__ = [
    "FEW_CHANNELS",
    "FEW_PIXELS",
    "LEAST_PIXELS",
    "MOST_BLOCKS",
    "PAGE",
    "SUM_ROWS",
    "balanced",
    "block_count",
    "channel_blocks",
    "cuts",
    "most_blocks",
    "packs_gradient",
    "packs_pixels",
    "window_rows",
]

MOST_BLOCKS = 16
LEAST_PIXELS = 512  # of a block
FEW_PIXELS = 256  # the same where the sums of a block are small
LEAST_WEIGHTS, MOST_CHANNEL_BLOCKS = 1 << 16, 64  # of a block of input channels; blocks
FEW_CHANNELS = 12  # fewer leave registers free in a tile of a weight gradient
SUM_ROWS = 2048  # of a sum over rows
MOST_BYTES = 2 << 20  # of all partial sums together: adding them up takes time, too
MANY_TERMS, MANY_CHANNELS = 2048, 256  # of a filter; of a filter of one tap
FEW_TERMS = 2048  # pixels of a sum, so few that their copy stays in the cache
PAGE = 4096  # bytes: places that are a multiple of it apart fall on the same few lines of the caches
ROOM = 1 << 20  # bytes of a second cache that has room (`has_room`)
ROOMY_BYTES, ROOMY_FILTERS = 1536, 176  # of a pixel, and of a layer, from which on its copy is worth while there
WINDOW_BYTES = 4 << 20  # of one block of im2col windows, at least one output row


def balanced(count, most):
    """`count` as parts of nearly equal size, none above `most`."""
    parts = -(-count // most)
    return [count // parts + (i < count % parts) for i in range(parts)]


def cuts(total, parts):
    """0 ... total in `parts` pieces of nearly equal size: [(first, end), ...]."""
    return [(total * i // parts, total * (i + 1) // parts) for i in range(parts)]


def block_count(geo, itemsize, least=LEAST_PIXELS):
    """Partial sums of a weight gradient: up to 16, fewer for less than `least` pixels in each or for large filters."""
    return max(1, min(MOST_BLOCKS, geo.n * geo.p, geo.n * geo.p * geo.q // least, most_blocks(geo, itemsize)))


def most_blocks(geo, itemsize):
    """Partial sums that MOST_BYTES hold."""
    return MOST_BYTES // (math.prod(geo.w_shape) * itemsize)


def channel_blocks(geo, itemsize):
    """Partial sums of a 1x1 convolution of few pixels: one for every LEAST_WEIGHTS, as many as MOST_BYTES hold."""
    sums = geo.n * geo.p * geo.q * geo.o * itemsize
    return max(1, min(MOST_CHANNEL_BLOCKS, geo.c, geo.c * geo.o // LEAST_WEIGHTS, MOST_BYTES // max(1, sums)))


def has_room():
    """Whether the second cache is so large that pixels read where they lie stay in it, though they fall on few of its lines."""
    return cpu().l2 >= ROOM


def packs_pixels(geo, itemsize):
    """Whether a weight gradient is one product of matrices, large enough to copy x: steps from pixel to pixel that are a multiple
    of a large power of two would put all pixels on the same lines of the cache."""
    plain = geo.kh == geo.kw == geo.groups == 1 and not geo.is_padded
    channels, filters = (ROOMY_BYTES, ROOMY_FILTERS) if has_room() else (512, 96)
    return plain and geo.c * itemsize >= channels and geo.o >= filters and geo.n * geo.p * geo.q >= 32


def packs_gradient(geo, itemsize):
    """Whether a weight gradient arranges dy in panels: it is read once for every few terms of a filter, in rows that lie far
    apart and may fall on the same few lines of the cache."""
    if packs_pixels(geo, itemsize):
        is_kept = not has_room() and geo.n * geo.p * geo.q <= FEW_TERMS
        return geo.c >= MANY_CHANNELS and (is_kept or geo.o * itemsize % PAGE == 0)
    return geo.terms >= MANY_TERMS and geo.o * itemsize >= 512


def window_rows(geo, itemsize):
    """Output rows whose im2col windows fit WINDOW_BYTES; at least one."""
    return max(1, min(geo.n * geo.p, WINDOW_BYTES // (geo.q * geo.terms * geo.groups * itemsize)))
