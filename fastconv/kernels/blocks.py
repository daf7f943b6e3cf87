"""How work is cut into blocks: sums by the shape alone, so that neither threads nor luck change a bit of them.

What changes no bit, such as when Winograd's filters are transformed, follows the caches, too.
"""

import functools
import math

from fastconv.machine import cpu

__all__ = [
    "FEW_CHANNELS",
    "FEW_PIXELS",
    "LEAST_PIXELS",
    "SUM_ROWS",
    "WHOLE_FILTERS",
    "WIDEST",
    "are_filters_whole",
    "block_count",
    "channel_blocks",
    "held_bytes",
    "is_whole_for_one_call",
    "packs_pixels",
    "tile_blocks",
    "tile_counts",
    "transformed_bytes",
    "window_rows",
]

MOST_BLOCKS = 16
LEAST_PIXELS = 512  # of a block
LEAST_TASKS, TASK_TILES = 4, 12  # tasks of a sum over Winograd's tiles, if each has so many of them
FEW_PIXELS = 256  # the same where the sums of a block are small
LEAST_WEIGHTS, MOST_CHANNEL_BLOCKS = 1 << 16, 64  # of a block of input channels; blocks
FEW_CHANNELS = 12  # fewer leave registers free in a tile of a weight gradient
SUM_ROWS = 2048  # of a sum over rows
MOST_BYTES = 2 << 20  # of all partial sums together: adding them up takes time, too
WHOLE_FILTERS = 4 << 20  # bytes of Winograd's filters U up to which they are made once for all blocks of an image
MANY_TILES = 60  # for which that pays up to a third of the last cache
LEAST_HELD = 500_000  # bytes that a core keeps near itself, whatever its second cache
LARGE_L2 = 2 << 20  # bytes of a second cache that stands before a last one far away, as on servers with many cores
FEW_TILES = 1_000_000  # bytes of its V that need not be cut into blocks
WIDEST = {16: 2, 32: 4}  # vectors of a panel of filters, by number of vector registers
WINDOW_BYTES = 4 << 20  # of one block of im2col windows, at least one output row


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


def tile_blocks(geo, itemsize):
    """The same by Winograd's algorithm, where a task is a block and a panel of filters: some more where there are few filters."""
    vectors = -(-geo.o // geo.groups * itemsize // cpu().vector_bytes)
    panels = -(-vectors // WIDEST[cpu().registers])
    wanted = min(-(-LEAST_TASKS // panels), tile_count(geo, False) // TASK_TILES, most_blocks(geo, itemsize))
    return max(block_count(geo, itemsize), wanted)


def along(geo, backward):
    """For both axes, of each of the images into which a dilation cuts it: (whole tiles of Winograd's algorithm, results left)."""
    m, sizes = 7 - geo.kh, (geo.h, geo.w) if backward else (geo.p, geo.q)
    return [
        [divmod(math.ceil((size - first) / dilation), m) for first in range(min(dilation, size))]
        for size, dilation in zip(sizes, (geo.dh, geo.dw), strict=True)
    ]


def tile_counts(geo, backward):
    """(tiles of all images, numbers of all these transformed tiles in each channel, tiles at once, images for a dilation)."""
    axes = along(geo, backward)
    tiles = [[whole + (rest > 0) for whole, rest in axis] for axis in axes]
    numbers = [sum(6 * whole + (rest + geo.kh - 1 if rest else 0) for whole, rest in axis) for axis in axes]
    products = [math.prod(pair) for pair in (map(sum, tiles), numbers, map(max, tiles), map(len, axes))]
    return *(geo.n * count for count in products[:3]), products[3]


def tile_count(geo, backward):
    return tile_counts(geo, backward)[0]


def transformed_bytes(geo, itemsize, backward):
    """(bytes of V, bytes of U) of one group."""
    c, o = (geo.o, geo.c) if backward else (geo.c, geo.o)
    each = 36 * (c // geo.groups) * itemsize
    return each * tile_count(geo, backward), each * (o // geo.groups)


@functools.lru_cache(maxsize=1024)
def are_filters_whole(geo, itemsize, backward):
    """Whether U is made before anything else: where it is small, or the tiles are many; else it is made where it is used."""
    _, filters = transformed_bytes(geo, itemsize, backward)
    return filters <= WHOLE_FILTERS or (tile_count(geo, backward) >= MANY_TILES and filters <= cpu().l3 // 3)


def held_bytes():
    """Of Winograd's V and M of the tiles of one block, and of its U made and used at once by `by_panels`: what the second cache
    holds beside the numbers that stream through."""
    return max(LEAST_HELD, min(cpu().l2, LARGE_L2) // 2)


def is_last_cache_spared(geo, filters, backward):
    """Whether U of so many bytes should be made where it is used, since the last cache is far and the second one holds the
    products of all tiles with a panel of filters: these then read V once for each panel, instead of U once for each block."""
    _, _, tiles, _ = tile_counts(geo, backward)
    panel = WIDEST[cpu().registers] * cpu().vector_bytes
    return cpu().l2 >= LARGE_L2 and filters > WHOLE_FILTERS and 36 * tiles * panel <= LARGE_L2


@functools.lru_cache(maxsize=1024)
def is_whole_for_one_call(geo, itemsize, backward):
    """The same for one call only: where few tiles need U, no thread should wait for all of it, nor fetch it from far away."""
    tiles, filters = transformed_bytes(geo, itemsize, backward)
    if not are_filters_whole(geo, itemsize, backward) or is_last_cache_spared(geo, filters, backward):
        return False
    return tiles > FEW_TILES or 4 * tiles > filters


def packs_pixels(geo, itemsize):
    """Whether a weight gradient is one product of matrices, large enough to copy x: steps from pixel to pixel that are a multiple
    of a large power of two would put all pixels on the same lines of the cache."""
    plain = geo.kh == geo.kw == geo.groups == 1 and not geo.is_padded
    return plain and geo.c * itemsize >= 512 and geo.o >= 96 and geo.n * geo.p * geo.q >= 32


def window_rows(geo, itemsize):
    """Output rows whose im2col windows fit WINDOW_BYTES; at least one."""
    return max(1, min(geo.n * geo.p, WINDOW_BYTES // (geo.q * geo.terms * geo.groups * itemsize)))
