"""How many bytes each algorithm asks for beside input, output and weights, from the shape, the dtype and the CPU alone.

Counted for two cores, so that no choice depends on the number of threads; tables and counters are left out.  Weights
are counted as if none were kept: what a call arranges for itself is part of its workspace.
"""

import math

from fastconv import machine
from fastconv.kernels.blocks import (
    FEW_PIXELS,
    MOST_BLOCKS,
    block_count,
    channel_blocks,
    packs_pixels,
    window_rows,
)
from fastconv.kernels.group_sizes import filter_numbers, transformed_sizes
from fastconv.kernels.panels import arrangement, gradient_panels, panels_of, walked
from fastconv.kernels.winograd_sizes import (
    block_sizes,
    channels_of,
    filter_copies,
    filter_panels,
    is_whole_for_one_call,
    packed_size,
    panel_sizes,
    shared_panels,
    shares_tiles,
    stage_sizes,
    sum_sizes,
    tile_blocks,
    tile_count,
)

__all__ = [
    "batch",
    "batch_sums",
    "channel_sums",
    "depthwise_sums",
    "direct",
    "direct_input_grad",
    "direct_sums",
    "im2col",
    "im2col_input_grad",
    "im2col_sums",
    "tiled",
    "tiled_sums",
    "unlike_zeros",
    "winograd",
    "winograd_sums",
]

THREADS = 2
SLACK = 160  # numbers between the buffers of a group of images, all together


def numbers(shape):
    return math.prod(shape)


def padded(geo, itemsize):
    """The padded copy of the input."""
    return numbers(geo.padded_shape) * itemsize if geo.is_padded else 0


def unlike_zeros(geo, itemsize):
    """The same, only where the padding is not zero."""
    return padded(geo, itemsize) if geo.needs_copy else 0


def weights(geo, itemsize):
    return numbers(geo.w_shape) * itemsize


def partial_sums(blocks, total):
    """`blocks` times `total` bytes; a single block is the result itself."""
    return blocks * total if blocks > 1 else 0


def direct(geo, itemsize):
    return padded(geo, itemsize)


def direct_input_grad(geo, itemsize):
    """With the weights turned."""
    return padded(geo, itemsize) + weights(geo, itemsize)


def direct_sums(geo, itemsize):
    return padded(geo, itemsize) + partial_sums(block_count(geo, itemsize), weights(geo, itemsize))


def windows(geo, itemsize):
    """One block of windows, and the padded copy."""
    return padded(geo, itemsize) + window_rows(geo, itemsize) * geo.q * geo.terms * geo.groups * itemsize


def im2col(geo, itemsize):
    """With the weights by group."""
    return windows(geo, itemsize) + (weights(geo, itemsize) if geo.groups > 1 else 0)


def im2col_input_grad(geo, itemsize):
    """With the weights turned, and zeros for a bias."""
    return windows(geo, itemsize) + weights(geo, itemsize) + geo.terms * geo.groups * itemsize


def im2col_sums(geo, itemsize):
    """With the gradient by group."""
    return im2col(geo, itemsize) + weights(geo, itemsize)


def tiled(backward):
    def size(geo, itemsize):
        packed = arrangement(geo, itemsize, backward, kept=False, threads=THREADS).room(THREADS)
        return unlike_zeros(geo, itemsize) + (numbers(packed) + backward * geo.c) * itemsize

    return size


def tiled_sums(geo, itemsize):
    """Partial sums, and the pixels and gradients where they are packed."""
    copied, geo = unlike_zeros(geo, itemsize), geo.written_out
    if packs_pixels(geo, itemsize):
        pixels, summed = panels_of(geo.c, geo.c, 1, itemsize, packed_rows=geo.n * geo.p * geo.q).packed_size, geo
    else:
        pixels, summed = 0, walked(geo)
    sums = partial_sums(block_count(summed, itemsize), weights(geo, itemsize))
    return copied + sums + (pixels + gradient_panels(geo, itemsize).packed_size + geo.o) * itemsize


def channel_sums(geo, itemsize):
    """Partial sums of blocks of input channels."""
    return partial_sums(channel_blocks(geo, itemsize), numbers(geo.y_shape) * itemsize)


def depthwise_sums(geo, itemsize):
    return unlike_zeros(geo, itemsize) + partial_sums(block_count(geo, itemsize, FEW_PIXELS), weights(geo, itemsize))


def at_stride_one(geo, itemsize):
    """The image and the filters without the stride."""
    flat = geo.at_stride_one
    return 0 if flat is geo else (numbers(flat.x_shape) + numbers(flat.w_shape)) * itemsize


def winograd(backward):
    """Filters U and blocks of tiles, or all tiles and U of a panel; and what is copied before."""

    def size(call, itemsize):
        flat = call.at_stride_one
        geo = flat.written_out
        whole = is_whole_for_one_call(geo if backward else flat, itemsize, backward, THREADS)
        (c, o), tiles = channels_of(geo, backward), tile_count(geo, backward)
        if whole:
            panels = filter_panels(c, o, itemsize)
            _, scratch = block_sizes(c, panels, tiles, geo.kh, itemsize, THREADS)
            own = filter_copies(panels, tiles, itemsize, scratch[0]) * packed_size(panels) + numbers(scratch)
        else:
            _, _, v, scratch = panel_sizes(c, shared_panels(c, o, itemsize, THREADS), tiles, geo.kh, itemsize, THREADS)
            own = v + numbers(scratch)
        return unlike_zeros(call, itemsize) + at_stride_one(call, itemsize) + (own + backward * geo.c) * itemsize

    return size


def winograd_sums(call, itemsize):
    """Partial sums, the copies of what is read, and what a thread of each core works on, or all together."""
    flat = call.at_stride_one
    geo = flat.written_out
    tiles, c, o = tile_count(geo, False), geo.c // geo.groups, geo.o // geo.groups
    panels, blocks = filter_panels(c, o, itemsize), tile_blocks(flat, itemsize)
    if shares_tiles(flat, itemsize):
        *_, shared = stage_sizes(c, panels, -(-tiles // blocks), itemsize)
        own = sum(shared)
    else:
        *_, scratch = sum_sizes(c, panels, tiles, itemsize)
        own = THREADS * scratch
    sums = partial_sums(blocks, weights(flat, itemsize))
    return unlike_zeros(call, itemsize) + at_stride_one(call, itemsize) + sums + own * itemsize


def in_groups(geo, itemsize):
    """(images of a group, groups at once)"""
    lanes = machine.cpu().vector_bytes // itemsize
    return lanes, min(THREADS, -(-geo.n // lanes))


def batch(backward, winograd):
    """What a group of images goes through, for each of two cores; the filters of F(4, r), and turned ones."""

    def size(call, itemsize):
        geo = call.turned if backward else call
        lanes, slots = in_groups(geo, itemsize)
        values = numbers(geo.padded_shape[1:]) + (geo.p + 1) * geo.q * geo.o + lanes
        own, filters = lanes * values, 0
        if winograd:
            own += sum(transformed_sizes(geo, geo.p, geo.q, 1, lanes))
            filters = filter_numbers(geo)
        return (slots * (own + SLACK) + filters + backward * (numbers(geo.w_shape) + geo.o)) * itemsize

    return size


def batch_sums(geo, itemsize):
    """Two groups of images with the sums of every weight, and the partial sums of the blocks."""
    lanes, slots = in_groups(geo, itemsize)
    blocks, sums = min(MOST_BLOCKS, -(-geo.n // lanes)), numbers(geo.w_shape) + lanes
    values = numbers(geo.padded_shape[1:]) + numbers(geo.y_shape[1:]) + sums
    return (slots * lanes * values + blocks * sums) * itemsize
