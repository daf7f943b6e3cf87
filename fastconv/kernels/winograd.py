"""Winograd's minimal filtering: tiles of 4x4 outputs of 3x3 filters with a quarter of the multiplications, and with as many
points 5x5 outputs of 2x2 filters, 3x3 of 4x4 ones, 2x2 of 5x5 ones.

Three steps: 6x6 blocks of the input are transformed (V), each of their 36 elements is a matrix product over the channels with
the transformed filters (U), and the products (M) are transformed back to outputs.  Two schedules: `by_blocks` takes a few tiles
of the image through all three steps while they stay in the cache; `by_panels` transforms the whole input first and then takes a
panel of filters at a time, whose transformed weights are made just before they are used and need not be stored.

A filter of 7x7 at stride 2 or of 11x11 at stride 4 is one of 4x4 or 3x3 on an image with more channels (`phases`): it takes
three times fewer multiplications, too.  Groups of channels are convolutions of their own.

An image that is not a multiple of the tile ends with smaller ones (`winograd_areas`).  A result is a combination of all inputs
of its tile, 36 of a whole one.  Its error is at most 4 (C KH KW + 1) eps times the sum over the channels of the largest |x| of
the tile times the sum of |w|; with numbers like those of networks not above the same times the largest sum of absolute products
among the results of the tile.  A NaN or an infinity anywhere in the tile, also where a strided filter has no tap, may reach all.
"""

import functools
import math

import numpy as np

from fastconv.kernels import aligned
from fastconv.kernels.activation import finish, in_registers
from fastconv.kernels.padding import as_read, fold, grad_target
from fastconv.kernels.phases import filters_at_stride_one, image_at_stride_one, join_image
from fastconv.kernels.sharing import fresh_turns
from fastconv.kernels.vector_ir import lanes_of
from fastconv.kernels.winograd_areas import lattices_of, row_counts, tiles_of
from fastconv.kernels.winograd_filters import view_of_filters
from fastconv.kernels.winograd_loops import COUNTERS, Tools, by_blocks, by_panels
from fastconv.kernels.winograd_places import COLS, FIRST, ROWS, Job, area_of, room_for_places
from fastconv.kernels.winograd_products import product_table
from fastconv.kernels.winograd_sizes import (
    GAP,
    block_sizes,
    filter_copies,
    filter_panels,
    is_whole_for_one_call,
    packed_size,
    panel_sizes,
    room_for_filters,
    shared_panels,
    widths,
)
from fastconv.kernels.winograd_tiles import FilterMove, OutputMove, PooledMove, move_address
from fastconv.machine import get_threads

__all__ = ["forward", "input_grad"]

RESULTS = (OutputMove, PooledMove)  # by `Job.pooled`


def job_of(x_shape, y_shape, dilations, groups, lanes, pooled=False):
    """The `Job` of the first group."""
    (_, h, w, c), (_, p, q, o), (dh, dw) = x_shape, y_shape, dilations
    return Job(0, h * w * c, dh * w * c, dw * c, 0, p * q * o, dh * q * o, dw * o, c // groups, lanes, int(pooled))


def of_group(job, group, o):
    """The same of another group, which has `o` results for each pixel."""
    return job._replace(x_at=group * job.C, y_at=group * o)


def tools_of(job, panels, dtype, size, tiles, cut, tap, depth, code):
    """`Tools` for the tiles cut as they are, and U for `depth` input channels at once, whose filters lie `tap` numbers apart
    before."""
    wide, _ = widths(depth, panels)
    most_tiles = max(end - first for first, end in cut)
    addresses = product_table(panels, dtype.itemsize, row_counts(cut, tiles[1]))
    gap = GAP * job.lanes
    move_steps = [job.x_row, job.x_pixel, most_tiles * wide + gap]
    for vectors, _ in panels.kinds:
        own = vectors * job.lanes
        move_steps += [most_tiles * own + gap, job.y_row, job.y_pixel, code, tap, depth * own + gap]
    filters = move_address(FilterMove(dtype.itemsize, job.lanes, size))
    return Tools(*tiles, panels.rows, addresses, np.array([wide, 1], np.int64), filters, np.array(move_steps, np.int64))


def block_tables(job, lattices, images, o, dtype, size, code, threads):
    """((first tile, end) of the blocks, tiles of the largest, `Tools`, shape of scratch, copies of U, numbers of one in a group)
    for `by_blocks`."""
    panels = filter_panels(job.C, o, dtype.itemsize)
    tiles, count = tiles_of(lattices, images, size, RESULTS[job.pooled], dtype.itemsize, job.lanes, o % job.lanes > 0)
    cut, room = block_sizes(job.C, panels, count, size, dtype.itemsize, threads)
    tap, _ = room_for_filters(panels, size)
    tools = tools_of(job, panels, dtype, size, tiles, cut, tap, job.C, code)
    most = max(end - first for first, end in cut)
    copies = filter_copies(panels, count, dtype.itemsize, room[0])
    return np.array(in_place(cut, tiles[0], images)), most, tools, room, copies, packed_size(panels)


def in_place(cut, areas, images):
    """Blocks in the order in which they lie in the images, so that a thread reads and writes the same part of these in all areas:
    what another core has written takes longer to fetch."""

    def place(block):
        middle = sum(block) // 2
        area = areas[area_of(middle, areas)]
        return (middle - area[FIRST]) / (images * area[ROWS] * area[COLS])

    return sorted(cut, key=place)


def panel_tables(job, lattices, images, o, dtype, size, code, threads):
    """(number of tiles, input channels at once, `Tools`, size of V, shape of scratch) for `by_panels`."""
    panels = shared_panels(job.C, o, dtype.itemsize, threads)
    tiles, count = tiles_of(lattices, images, size, RESULTS[job.pooled], dtype.itemsize, job.lanes, o % job.lanes > 0)
    chunk, tap, v_size, room = panel_sizes(job.C, panels, count, size, dtype.itemsize, threads)
    tools = tools_of(job, panels, dtype, size, tiles, [(0, count)], tap, chunk, code)
    return count, chunk, tools, v_size, room


@functools.lru_cache(maxsize=1024)
def launches(x_shape, y_shape, dtype, size, code, dilations, before, groups, whole, exchanged, pooled, threads):
    """([(where U of the group begins, where its filters are in w, where its bias begins, `Job`), ...], tables): what the kernel
    is called with."""
    job, o = job_of(x_shape, y_shape, dilations, groups, lanes_of(dtype.itemsize), pooled), y_shape[3] // groups
    lattices = lattices_of(x_shape, y_shape, dilations, before, pooled)
    tables = (block_tables if whole else panel_tables)(job, lattices, x_shape[0], o, dtype, size, code, threads)
    w_shape = (size, size, o, x_shape[3]) if exchanged else (size, size, x_shape[3] // groups, y_shape[3])
    each = tables[-1] if whole else 0
    calls = [(g * each, view_of_filters(w_shape, g, groups, exchanged), g * o, of_group(job, g, o)) for g in range(groups)]
    return calls, tables


def convolve(x, w, size, bias, activation, y, dilations, before, groups, whole, exchanged=False, pooled=False):
    """Stride 1: y (N, P, Q, O) from x with `before` = (top, left) zeros before it and as many after it as y needs; from U that is
    kept, or from filters of which U is made `whole` first or not."""
    code, dtype = in_registers(activation), x.dtype
    known = x.shape, y.shape, dtype, size, code, dilations, before, groups, whole, exchanged, pooled, get_threads()
    calls, tables = launches(*known)
    run, kept = convolve_blocks if whole else convolve_panels, w.ndim == 1
    u, taps = aligned.workspace(math.prod(tables[-2:]), dtype) if whole and not kept else None, 0 if kept else size * size
    x, w, flat = x.reshape(-1), w.reshape(-1), y.reshape(-1)
    for u_at, of_w, bias_at, job in calls:
        run(x, w, of_w, taps, w if kept else u, u_at if kept else 0, bias, bias_at, flat, job, tables)
    finish(y, activation)


def convolve_blocks(x, w, of_w, taps, u, u_at, bias, bias_at, y, job, tables):
    cuts, most, tools, room, copies, numbers = tables
    scratch, turns = aligned.workspace(room, x.dtype), fresh_turns(COUNTERS, room[0])
    places = room_for_places(room[0], most)
    own = numbers if taps and copies > 1 else 0
    by_blocks(x, w, of_w, taps, u, u_at, own, bias, bias_at, y, cuts, job, tools, places, scratch, turns)


def convolve_panels(x, w, of_w, taps, _u, _u_at, bias, bias_at, y, job, tables):
    count, chunk, tools, v_size, room = tables
    v, scratch = aligned.workspace(v_size, x.dtype), aligned.workspace(room, x.dtype)
    threads = max(len(scratch), min(get_threads(), count))
    turns = fresh_turns(COUNTERS, threads)
    places = room_for_places(threads, count)
    by_panels(x, w, of_w, taps, bias, bias_at, y, count, chunk, job, tools, places, v, scratch, turns)


def before(geo):
    return geo.pads[0][0], geo.pads[1][0]


def forward(geo, x, w, b, activation, y):
    """y (N, P, Q, O); or (N, P / 2, Q / 2, O), the largest of each 2x2 results, which then never leave the cache."""
    flat, pooled = geo.at_stride_one, (2 * y.shape[1], 2 * y.shape[2]) == (geo.p, geo.q)
    whole = w.ndim == 1 or is_whole_for_one_call(flat, x.itemsize, False, get_threads())
    w = w if w.ndim == 1 else filters_at_stride_one(geo, w)
    x, flat = as_read(image_at_stride_one(geo, x), flat)
    convolve(x, w, flat.kh, b, activation, y, (flat.dh, flat.dw), before(flat), flat.groups, whole, pooled=pooled)


def input_grad(geo, dy, w, dx):
    w, target = w if w.ndim == 1 else filters_at_stride_one(geo, w), grad_target(dx, geo)
    if geo.at_stride_one is geo:
        dense_input_grad(geo.written_out, dy, w, target)
    else:
        phases = aligned.workspace(geo.at_stride_one.x_shape, dx.dtype)
        dense_input_grad(geo.at_stride_one, dy, w, phases)
        join_image(geo, phases, target)
    fold(target, geo, dx)


def dense_input_grad(geo, dy, w, dx):
    """At stride 1 and with zeros for padding."""
    top, left = before(geo)
    reach, bias = geo.kh - 1, np.zeros(geo.c, dy.dtype)
    pads = reach * geo.dh - top, reach * geo.dw - left
    whole = w.ndim == 1 or is_whole_for_one_call(geo, dy.itemsize, True, get_threads())
    convolve(dy, w, geo.kh, bias, 0, dx, (geo.dh, geo.dw), pads, geo.groups, whole, exchanged=True)
