"""The weight gradient by Winograd's algorithm: with 3x3 filters a quarter of the multiplications, as in the forward pass.

Forward, y = AT [U * V] A with U = G w GT and V = BT x B.  So dU = sum over all tiles of V * (A dy AT), and dw = GT dU G.  A block
of tiles gives a partial sum, of which there are as many as the shape says.

Two schedules: `by_parts` takes the tiles of a block, and some channels of x and of dy, through all of it while they stay in the
cache; those of x are transformed anew for every panel of dy's channels.  Where panels are narrow that would take longer than the
products: there `by_elements` transforms each tile of x once, for all threads.
"""

import functools

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.blocks import cuts
from fastconv.kernels.padding import as_read
from fastconv.kernels.partial_sums import add_blocks, partial_sums
from fastconv.kernels.phases import image_at_stride_one, join_filters
from fastconv.kernels.sharing import fresh_turns
from fastconv.kernels.vector_ir import lanes_of
from fastconv.kernels.winograd import before, job_of, of_group
from fastconv.kernels.winograd_areas import lattices_of, tiles_of
from fastconv.kernels.winograd_loops import Tools
from fastconv.kernels.winograd_places import room_for_places
from fastconv.kernels.winograd_products import product_table
from fastconv.kernels.winograd_sizes import GAP, filter_panels, shares_tiles, stage_sizes, sum_sizes, tile_blocks
from fastconv.kernels.winograd_tiles import GradientMove, SumMove, move_address
from fastconv.kernels.winograd_weight_loops import COUNTERS, by_elements, by_parts
from fastconv.machine import get_threads

__all__ = ["weight_grad"]


def tools_of(job, panels, tiles, parts, wide, chunk, filters, dtype):
    """`Tools` for `chunk` tiles and `wide` input channels at once."""
    lanes, gap = job.lanes, GAP * job.lanes
    addresses = product_table(panels, dtype.itemsize, tuple(sorted({end - first for first, end in parts})))
    of_moves = [job.x_row, job.x_pixel, chunk * wide + gap]
    for vectors, _ in panels.kinds:
        own = vectors * lanes
        of_moves += [job.y_row, job.y_pixel, chunk * own + gap, wide * own + gap, job.C * filters]
    return Tools(*tiles, panels.rows, addresses, np.array([1, wide], np.int64), 0, np.array(of_moves, np.int64))


@functools.lru_cache(maxsize=256)
def tables(x_shape, y_shape, dilations, before, groups, dtype, size, blocks, shared, threads):
    """(`Job` of the first group, `by_parts` or `by_elements`, tasks or stages, tiles at once, widest part of the input channels,
    `Tools`, threads, shapes of the arrays)."""
    job = job_of(x_shape, y_shape, dilations, groups, lanes_of(dtype.itemsize))
    lattices, images, filters = lattices_of(x_shape, y_shape, dilations, before), x_shape[0], y_shape[3]
    o = filters // groups
    panels = filter_panels(job.C, o, dtype.itemsize)
    tiles, count = tiles_of(lattices, images, size, GradientMove, dtype.itemsize, job.lanes, o % job.lanes > 0)
    shares = list(enumerate(cuts(count, blocks)))
    if shared:
        parts, wide, chunk, shapes = stage_sizes(job.C, panels, -(-count // blocks), dtype.itemsize)
        work = [
            (block, t0, min(t0 + chunk, end), *part, t0 == first, t0 + chunk >= end)
            for block, (first, end) in shares for part in parts for t0 in range(first, end, chunk)
        ]  # fmt: skip
        run, slots = by_elements, threads
    else:
        parts, wide, chunk, scratch = sum_sizes(job.C, panels, count, dtype.itemsize)
        work = [(block, *share, *part, p) for block, share in shares for p in range(len(panels.rows)) for part in parts]
        slots = min(threads, len(work))
        run, shapes = by_parts, ((slots, scratch),)
    tools = tools_of(job, panels, tiles, parts, wide, chunk, filters, dtype)
    return job, run, np.array(work, np.int64), chunk, wide, tools, slots, shapes


def weight_grad(geo, x, dy, dw):
    x, flat = image_at_stride_one(geo, x), geo.at_stride_one
    x, flat = as_read(x, flat)
    whole = dw if geo.at_stride_one is geo else aligned.workspace(flat.w_shape, dw.dtype)
    blocks, shared, o = tile_blocks(flat, x.itemsize), shares_tiles(flat, x.itemsize), flat.o // flat.groups
    parts, dilations = partial_sums(blocks, whole.reshape(-1)), (flat.dh, flat.dw)
    known = x.shape, dy.shape, dilations, before(flat), flat.groups, x.dtype, flat.kh, blocks, shared, get_threads()
    job, *found = tables(*known)
    for group in range(flat.groups):
        of_dw = group * o, flat.o, move_address(SumMove(x.itemsize, job.lanes, flat.kh))
        add_group(x, dy, parts, of_dw, of_group(job, group, o), *found)
    add_blocks(parts, whole.reshape(-1))
    join_filters(geo, whole, dw)


def add_group(x, dy, parts, of_dw, job, run, work, chunk, wide, tools, threads, shapes):
    arrays = [aligned.workspace(shape, x.dtype) for shape in shapes]
    x, dy, places = x.reshape(-1), dy.reshape(-1), room_for_places(threads, chunk)
    if run is by_parts:
        by_parts(x, dy, parts, of_dw, work, chunk, wide, job, tools, places, *arrays, fresh_turns(1, threads))
    else:
        turns = fresh_turns(COUNTERS * len(work), threads)
        by_elements(x, dy, parts, of_dw, work, wide, job, tools, places, *arrays, turns)
