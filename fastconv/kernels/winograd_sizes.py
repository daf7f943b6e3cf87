"""Winograd's algorithm in numbers: how many tiles a convolution has, how its work is cut, and how large its arrays are.

Nothing here needs Numba, so that a plan can say what a call will cost.  When filters are transformed and how many tiles a block
has changes no bit of a result, and follows the caches.
"""

import functools
import math

from fastconv.kernels.blocks import block_count, cuts, most_blocks
from fastconv.kernels.panels import WIDEST, panels_of
from fastconv.machine import cpu

__all__ = [
    "GAP",
    "E",
    "N",
    "block_sizes",
    "channels_of",
    "filter_copies",
    "filter_panels",
    "held_bytes",
    "is_whole_for_one_call",
    "kept_bytes",
    "lattice_count",
    "outputs",
    "packed_size",
    "panel_sizes",
    "room_for_filters",
    "shared_panels",
    "shares_tiles",
    "stage_sizes",
    "sum_sizes",
    "tile_blocks",
    "tile_count",
    "tile_counts",
    "transformed_bytes",
    "widths",
]

N = 6  # inputs of a whole tile along one axis
E = N * N  # elements of a transformed tile
GAP = 5  # vectors between the elements of transformed tiles: else all 36 may fall on the same lines of the cache
LEAST_TASKS, TASK_TILES = 4, 12  # tasks of a sum over tiles, if each has so many of them
KEPT_FILTERS = 5 << 20  # bytes of U up to which it is kept on any CPU
WHOLE_FILTERS = 4 << 20  # bytes of U up to which it is made once for all blocks of an image
MANY_TILES = 60  # for which that pays up to a third of the last cache
LEAST_HELD = 500_000  # bytes that a core keeps near itself, whatever its second cache
LARGE_L2 = 2 << 20  # bytes of a second cache that stands before a last one far away, as on servers with many cores
OWN_FILTERS = 11 << 20  # bytes of U of all threads, if each makes it for itself
OWN_TILES = 24  # of a thread, for which it does much more than to make U
SUM_BYTES = 600_000  # of the sums dU of a task of a weight gradient
TILE_BYTES = 600_000  # of the transformed tiles beside them
SHARED_SUM_BYTES, SHARED_TILE_BYTES = 16_000_000, 4_000_000  # the same of a stage that all threads share
LEAST_TILES = 32  # transformed at once: the sums are loaded and stored for every few tiles
SHARED_TILES = 24  # of a block, from which on it pays to share them
NARROW = 32  # numbers of a panel for which a tile takes as long to transform as to multiply


def outputs(size):
    """m: outputs of a whole tile along one axis for filters of `size` taps."""
    return N + 1 - size


def along(geo, backward):
    """For both axes, of each part into which a dilation cuts it: (whole tiles of Winograd's algorithm, results left)."""
    m, sizes = outputs(geo.kh), (geo.h, geo.w) if backward else (geo.p, geo.q)
    return [
        [divmod(math.ceil((size - first) / dilation), m) for first in range(min(dilation, size))]
        for size, dilation in zip(sizes, (geo.dh, geo.dw), strict=True)
    ]


def tile_counts(geo, backward):
    """(tiles of all images, numbers of all these transformed tiles in each channel)."""
    axes = along(geo, backward)
    tiles = [sum(whole + (rest > 0) for whole, rest in axis) for axis in axes]
    numbers = [sum(N * whole + (rest + geo.kh - 1 if rest else 0) for whole, rest in axis) for axis in axes]
    return geo.n * math.prod(tiles), geo.n * math.prod(numbers)


def lattice_count(geo, backward):
    """Parts into which a dilation cuts an image."""
    return math.prod(map(len, along(geo, backward)))


def tile_count(geo, backward):
    return tile_counts(geo, backward)[0]


def channels_of(geo, backward):
    """(channels read, channels written) of one group."""
    c, o = (geo.o, geo.c) if backward else (geo.c, geo.o)
    return c // geo.groups, o // geo.groups


def transformed_bytes(geo, itemsize, backward):
    """(bytes of V, bytes of U) of one group."""
    c, o = channels_of(geo, backward)
    each = E * c * itemsize
    return each * tile_count(geo, backward), each * o


def held_bytes():
    """Of Winograd's V and M of the tiles of one block, and of its U made and used at once by `by_panels`: what the second cache
    holds beside the numbers that stream through."""
    return max(LEAST_HELD, min(cpu().l2, LARGE_L2) // 2)


def kept_bytes():
    """Of U of a group, if it is to be kept: larger ones take longer to fetch than to make, from a last cache that is far or small
    sooner."""
    return KEPT_FILTERS if cpu().l2 >= LARGE_L2 else max(KEPT_FILTERS, cpu().l3 // 3)


@functools.lru_cache(maxsize=1024)
def are_filters_whole(geo, itemsize, backward):
    """Whether U is made before anything else: where it is small, or the tiles are many; else it is made where it is used."""
    _, filters = transformed_bytes(geo, itemsize, backward)
    return filters <= WHOLE_FILTERS or (tile_count(geo, backward) >= MANY_TILES and filters <= cpu().l3 // 3)


def is_last_cache_spared(geo, filters, backward):
    """Whether U of so many bytes should be made where it is used, since the last cache is far and the second one holds the
    products of all tiles with a panel of filters: these then read V once for each panel, instead of U once for each block."""
    panel = WIDEST[cpu().registers] * cpu().vector_bytes
    return cpu().l2 >= LARGE_L2 and filters > WHOLE_FILTERS and E * tile_count(geo, backward) * panel <= LARGE_L2


@functools.lru_cache(maxsize=1024)
def is_whole_for_one_call(geo, itemsize, backward, threads):
    """The same for one call only: all threads fetch what they do not make where it is used from each other, U or V, so that it
    had better be the smaller one; but each thread needs a panel then."""
    tiles, filters = transformed_bytes(geo, itemsize, backward)
    if not are_filters_whole(geo, itemsize, backward) or is_last_cache_spared(geo, filters, backward):
        return False
    panels = shared_panels(*channels_of(geo, backward), itemsize, threads).rows
    return 5 * tiles > 4 * filters or (tiles > 0 and len(panels) < threads)


def filter_copies(panels, tiles, itemsize, threads):
    """How many threads make U for themselves, 1 if all share it: what another core has written takes longer to fetch than to
    make where it is small and the thread has much else to do."""
    size = threads * packed_size(panels) * itemsize
    return threads if size <= min(OWN_FILTERS, cpu().l3 // 3) and tiles >= OWN_TILES * threads else 1


def tile_blocks(geo, itemsize):
    """Partial sums of a weight gradient: some more where there are few filters, so that every core has tasks (`by_parts`)."""
    panels = len(filter_panels(geo.c // geo.groups, geo.o // geo.groups, itemsize).rows)
    tiles = tile_count(geo, False)
    wanted = min(-(-LEAST_TASKS // panels), tiles // TASK_TILES, most_blocks(geo, itemsize))
    return max(1, min(tiles, max(block_count(geo, itemsize), wanted)))


@functools.lru_cache(maxsize=1024)
def filter_panels(c, o, itemsize):
    return panels_of(c, o, 1, itemsize, packed_rows=c, lanes=cpu().vector_bytes // itemsize)


@functools.lru_cache(maxsize=1024)
def shared_panels(c, o, itemsize, threads):
    """Panels that `threads` can share evenly, narrower ones if need be: weights that are not kept may be cut as we like."""
    lanes = cpu().vector_bytes // itemsize
    for widest in (4, 3, 2):
        panels = panels_of(c, o, 1, itemsize, packed_rows=c, lanes=lanes, widest=min(widest, WIDEST[cpu().registers]))
        if len(panels.rows) % threads == 0 or len(panels.rows) >= 4 * threads:
            return panels
    return filter_panels(c, o, itemsize)


def packed_size(panels):
    """Numbers of U."""
    return E * (panels.packed_size + len(panels.rows) * GAP * panels.lanes)


def room_for_filters(panels, size):
    """(numbers from tap to tap, numbers in all) where the filters of `lanes` channels of a panel lie before they are made U."""
    tap = panels.lanes * int(panels.rows[:, 5].max()) + GAP * panels.lanes
    return tap, size * size * tap


def widths(channels, panels):
    """(input channels as whole vectors, numbers in a row of the widest panel)"""
    return in_vectors(channels, panels.lanes), int(panels.rows[:, 5].max())


def in_vectors(channels, lanes):
    """The numbers of so many channels as whole vectors."""
    return -(-channels // lanes) * lanes


def block_sizes(channels, panels, count, size, itemsize, threads):
    """([(first, end) tile of each block, ...], shape of the scratch) for `by_blocks`.

    Blocks fit `held_bytes`, equally many for each thread.
    """
    each, (_, room) = sum(widths(channels, panels)), room_for_filters(panels, size)
    blocks = -(-count * E * each * itemsize // held_bytes())
    cut = cuts(count, min(count, -(-blocks // threads) * threads))
    most = max(end - first for first, end in cut)
    return cut, (min(threads, len(cut)), max(room, E * (most * each + 2 * GAP * panels.lanes)))


def panel_sizes(channels, panels, count, size, itemsize, threads):
    """(input channels at once, numbers from tap to tap of their filters, size of V, shape of the scratch) for `by_panels`, whose
    V lies so many channels after another."""
    (_, row), lanes, gap = widths(channels, panels), panels.lanes, GAP * panels.lanes
    most = max(lanes, held_bytes() // (E * row * itemsize) // lanes * lanes)
    chunk = min(channels, in_vectors(-(-channels // -(-channels // most)), lanes))
    tap = chunk * row + gap
    room = E * (count * row + gap) + (E + size * size) * tap
    values = -(-channels // chunk) * E * (count * in_vectors(chunk, lanes) + gap)
    return chunk, tap, values, (min(threads, len(panels.rows)), room)


def sum_sizes(channels, panels, count, itemsize):
    """([(first, end) of input channels at once, ...], these as whole vectors at most, tiles at once, numbers of scratch) of a
    task of a weight gradient."""
    row, lanes = int(panels.rows[:, 5].max()), panels.lanes
    parts = channel_parts(channels, lanes, SUM_BYTES // (E * row * itemsize))
    wide = in_vectors(max(end - first for first, end in parts), lanes)
    chunk = min(count, max(LEAST_TILES, TILE_BYTES // (E * (wide + row) * itemsize)))
    return parts, wide, chunk, E * (chunk * (wide + row) + wide * row + 3 * GAP * lanes)


@functools.lru_cache(maxsize=1024)
def shares_tiles(geo, itemsize):
    """Whether all threads share the transformed tiles of a block of a weight gradient: where these would be made for many narrow
    panels, and are not so few that to write down dU and to read it again takes longer."""
    panels, tiles = filter_panels(geo.c // geo.groups, geo.o // geo.groups, itemsize), tile_count(geo, False)
    narrow = panels.lanes * WIDEST[cpu().registers] <= NARROW
    return narrow and len(panels.rows) > 1 and tiles >= SHARED_TILES * tile_blocks(geo, itemsize)


def stage_sizes(channels, panels, count, itemsize):
    """([(first, end) of input channels at once, ...], these as whole vectors at most, tiles at once, numbers of V, of A dy AT and
    of dU) of a stage that all threads share; a block has up to `count` tiles."""
    row, number, gap = int(panels.rows[:, 5].max()), len(panels.rows), GAP * panels.lanes
    parts = channel_parts(channels, panels.lanes, SHARED_SUM_BYTES // (E * row * number * itemsize))
    wide = in_vectors(max(end - first for first, end in parts), panels.lanes)
    chunk = min(count, max(LEAST_TILES, SHARED_TILE_BYTES // (E * (wide + row * number) * itemsize)))
    sizes = E * (chunk * wide + gap), number * E * (chunk * row + gap), number * E * (wide * row + gap)
    return parts, wide, chunk, sizes


def channel_parts(channels, lanes, most):
    """[(first, end), ...] of about `most` channels each, in whole vectors."""
    most = max(lanes, most // lanes * lanes)
    return [(first * lanes, min(channels, end * lanes)) for first, end in cuts(-(-channels // lanes), -(-channels // most))]
