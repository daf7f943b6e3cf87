"""What each algorithm is expected to cost: half cycles of one core, from the shape, the dtype and the CPU alone.

Rough on purpose: the numbers only have to put the algorithms of one call in the right order.  All "cycles" in this file are
half ones: a core that begins two multiply-adds of whole vectors in a cycle takes one of these for each, a core that begins one
takes two.  Memory, and what is not multiplied, takes as many for both.
"""

import math

from fastconv.kernels.blocks import FEW_CHANNELS
from fastconv.kernels.group_sizes import row_instructions
from fastconv.kernels.winograd_sizes import E, channels_of, filter_panels, lattice_count, shares_tiles, tile_blocks, tile_counts

__all__ = [
    "TURNED",
    "batch",
    "batch_weights",
    "depthwise",
    "direct",
    "im2col",
    "pointwise",
    "tiled",
    "tiled_weights",
    "winograd",
    "winograd_weights",
]

LAUNCH = 20_000  # cycles that all cores lose at one parallel loop
PACKED = 10  # cycles to read one vector of weights and to write it in another order
TURNED = 32  # the same where they are turned on their side
READ = {16: 7, 32: 8}  # cycles to read one vector of weights from memory, by registers
# the same beyond that for every doubling of weights that the second cache does not hold: to pack them, to read them
PACKED_FAR, READ_FAR = {16: 2.5, 32: 7}, {16: 0.3, 32: 2.2}
PLAIN = {16: 1, 32: 3}  # times slower: products whose sums are loaded and stored by loops that Numba compiles
LOADED = {16: 1.8, 32: 2.2}  # cycles to load and store the sums of a pixel for such a vector
BEGUN, BEGUN_SUMS = 200_000, 450_000  # cycles more for Winograd before its loops begin, forward and for gradients of weights
MULTIPLIED = {16: 1.15, 32: 1.1}  # cycles of one of its multiply-adds, with so many vector registers
# of its transforms, by taps: an input and an output vector of a tile (whose memory is no faster for longer vectors) ...
MOVED = {16: {2: 560, 3: 400, 4: 360, 5: 240}, 32: {2: 500, 3: 400, 4: 400, 5: 300}}
MADE = {16: {2: 300, 3: 480, 4: 900, 5: 1500}, 32: {2: 450, 3: 650, 4: 900, 5: 1300}}  # ... and a vector of filters
TURNED_FILTERS = {3: 4 / 3, 5: 2}  # times slower: filters for the input's gradient, by taps
SUMMED = {2: (400, 285), 3: (400, 285), 4: (400, 285), 5: (690, 495)}  # the same of a gradient of weights, by taps: x and dy
LATTICE = 1000  # cycles for each lattice of pixels into which a dilation cuts an image: its own areas and shorter products
IN_FLIGHT = 6  # multiply-adds that a core has begun and not ended
SCATTERED = 0.36  # cycles for a byte that Winograd's tiles read from memory or write to it
LENT, LENT_SUMS = 0.25, 0.6  # cycles for a byte of the tiles, and of the sums over them, that one thread writes and others read
# measured beside the other algorithms of a call: for 16 registers on Zen 3 and on Zen 4 with AVX2, for 32 on an Intel Xeon, on
# Zen 4, some on Zen 5
NARROW, MASKED = {16: 1.3, 32: 1}, {16: 1.15, 32: 1}  # times slower: results of one vector, and of a part of one, by registers
# cycles for a byte of results that go to memory, since they fill half of the last cache: row by row, and in the pieces of tiles
WRITTEN, WRITTEN_TILES = 0.15, 0.4
STRIDED = {16: 1.5, 32: 1}  # times slower: groups of images, where neighbouring windows share few pixels
GROUPED = {16: 1.1, 32: 1}  # cycles of a multiply-add of a group of images, with so many vector registers
GROUPED_SUMS = {16: 1.32, 32: 1.15}  # the same for gradients of weights
LATE = 1.25  # cycles that one of these takes at least, where the second cache does not hold them and what they are summed from
EXCHANGED = {16: 2, 32: 4}  # cycles for each exchange of a vector of theirs, with its way from and to memory
FETCHED = 0.5  # cycles for a byte of their values that the second cache does not hold: written and read far away
TALLEST = 30  # vectors of sums of a tile of weight gradients with AVX-512
CUT = 5  # cycles to move a number to or from its place at stride 1
COPIED = 1 / 6  # cycles for a byte that is written and read once


def filters(geo):
    """Length of the innermost loop where it runs along the filters of a group."""
    return geo.o // geo.groups


def inputs(geo):
    """The same along the input channels of a group."""
    return geo.c // geo.groups


def vectors(length, dtype, cpu):
    return -(-length * dtype.itemsize // cpu.vector_bytes)


def multiply_add(cpu):
    """Cycles of one of whole vectors."""
    return 2 / cpu.multiply_adds


def far(each, more, geo, dtype, cpu):
    """Cycles of a vector of weights, `each` if the second cache holds them all."""
    return each + more[cpu.registers] * max(0, math.log2(max(1, math.prod(geo.w_shape)) * dtype.itemsize / max(1, cpu.l2)))


def reading(geo, along, dtype, cpu):
    """Every weight is read once."""
    return far(READ[cpu.registers], READ_FAR, geo, dtype, cpu) * geo.terms * geo.o / along(geo) * vectors(along(geo), dtype, cpu)


def framing(geo, dtype):
    """What the padded copy has beside the image."""
    return COPIED * (math.prod(geo.padded_shape) - math.prod(geo.x_shape)) * dtype.itemsize


def direct(along):
    """For every product a run along the channels: its vectors are loaded and stored, and the loop around them is entered; one row
    of results keeps one core busy.  And the frame of the padded copy."""

    def cost(geo, dtype, cpu):
        products = PLAIN[cpu.registers] * geo.macs / along(geo) * (6 + 3 * multiply_add(cpu) * vectors(along(geo), dtype, cpu))
        products *= 2 if geo.n * geo.p == 1 else 1
        return LAUNCH + reading(geo, along, dtype, cpu) + products + framing(geo, dtype)

    return cost


def im2col(along, turned=0):
    """Four products for each load and store; the windows are written and read; and `turned` cycles for each weight.  And the
    frame of the padded copy."""

    def cost(geo, dtype, cpu):
        windows = geo.n * geo.p * geo.q * geo.terms * geo.groups * dtype.itemsize
        return (
            turned * geo.terms * geo.o
            + 3 * LAUNCH
            + reading(geo, along, dtype, cpu)
            + PLAIN[cpu.registers] * geo.macs / along(geo) * (3 + 2 * multiply_add(cpu) * vectors(along(geo), dtype, cpu))
            + COPIED * windows
            + framing(geo, dtype)
        )

    return cost


def written(geo, backward, dtype, cpu):
    """Bytes of results that go to memory."""
    results = math.prod(geo.x_shape if backward else geo.y_shape) * dtype.itemsize
    return results if results > cpu.l3 // 2 else 0


def tiled(along, packed=PACKED, backward=False):
    """A multiply-add a cycle on whole vectors, fewer where results are one vector wide or end inside one; the weights are packed
    first, vector by vector."""

    def cost(geo, dtype, cpu):
        length, wide = along(geo), vectors(along(geo), dtype, cpu)
        slower = NARROW[cpu.registers] if wide == 1 else 1
        slower *= MASKED[cpu.registers] if length * dtype.itemsize % cpu.vector_bytes else 1
        products, weights = multiply_add(cpu) * geo.macs / length * wide, geo.terms * geo.o // length * wide
        each = far(packed, PACKED_FAR, geo, dtype, cpu)
        return 2 * LAUNCH + slower * products + each * weights + WRITTEN * written(geo, backward, dtype, cpu)

    return cost


def tiled_weights(geo, dtype, cpu):
    """Multiply-adds on whole vectors; few input channels and filters make so few sums that each waits for its last term."""
    together, wide = geo.kw if inputs(geo) < FEW_CHANNELS and geo.groups == 1 else 1, vectors(filters(geo), dtype, cpu)
    rows = inputs(geo) * together
    if together > 1 and cpu.vector_bytes == 64:  # several rows of taps
        rows *= max(1, min(geo.kh, TALLEST // (rows * wide)))
    each = max(multiply_add(cpu) * (NARROW[cpu.registers] if wide == 1 else 1), IN_FLIGHT / (rows * wide))
    return 2 * LAUNCH + each * geo.macs / filters(geo) * wide


def pointwise(geo, dtype, cpu):
    """Weights are read from memory once; the sums of each pixel are loaded and stored for each of them."""
    weights, pixels = geo.c * vectors(geo.o, dtype, cpu), geo.n * geo.p * geo.q
    sums = LOADED[cpu.registers] * multiply_add(cpu) * pixels
    return 2 * LAUNCH + weights * (far(READ[cpu.registers], READ_FAR, geo, dtype, cpu) + sums)


def depthwise(geo, dtype, cpu):
    """Two loads for each multiply-add, on whole vectors of channels."""
    return 2 * LAUNCH + 2 * multiply_add(cpu) * geo.macs / geo.c * vectors(geo.c, dtype, cpu)


def cutting(geo):
    """An image is brought to stride 1, or back."""
    return 0 if geo.at_stride_one is geo else LAUNCH + CUT * math.prod(geo.at_stride_one.x_shape)


def scattering(call, dtype, cpu):
    """Tiles read and write short pieces of several rows: where a strided call, whose image is copied besides, is larger than the
    last cache, memory answers them more slowly than it does whole rows."""
    size = (math.prod(call.x_shape) + math.prod(call.y_shape)) * dtype.itemsize
    return SCATTERED * size if call.at_stride_one is not call and size > cpu.l3 * 3 // 4 else 0


def winograd(backward):
    """36 products of matrices for the outputs of a whole tile; the transforms, and the way from and to stride 1, beside them."""

    def cost(call, dtype, cpu):
        geo = call.at_stride_one.written_out if backward else call.at_stride_one
        (c, o), (tiles, numbers) = channels_of(geo, backward), tile_counts(geo, backward)
        ins, outs = vectors(c, dtype, cpu), vectors(o, dtype, cpu)
        moved, made = MOVED[cpu.registers][geo.kh], MADE[cpu.registers][geo.kh]
        made *= TURNED_FILTERS.get(geo.kh, 1) if backward else 1
        transforms = moved * tiles * (ins + outs) + made * c * outs
        each = MULTIPLIED[cpu.registers] * multiply_add(cpu) * numbers * c * outs + transforms
        each += LATTICE * lattice_count(geo, backward)
        moves = cutting(call) + scattering(call, dtype, cpu) + WRITTEN_TILES * written(call, backward, dtype, cpu)
        return BEGUN + 2 * LAUNCH * geo.groups + geo.groups * each + moves

    return cost


def shared_groups(images, lanes):
    """Groups of images for two cores, whatever the number of threads: the second one waits where there is none for it."""
    return 2 * -(-images // (2 * lanes))


def turning(numbers, lanes, cpu):
    """Cycles until so many numbers of each image of a group lie image by image, or back: a square of lanes x lanes numbers takes
    log2(lanes) exchanges of each vector."""
    return EXCHANGED[cpu.registers] * math.log2(lanes) * numbers


def batch(backward, winograd):
    """Multiply-adds for groups of images, turning what comes and goes, and fetching what the second cache does not hold."""

    def cost(geo, dtype, cpu):
        lanes = cpu.vector_bytes // dtype.itemsize
        c, o, p, q = (geo.o, geo.c, geo.h, geo.w) if backward else (geo.c, geo.o, geo.p, geo.q)
        products = geo.kh * geo.kw * c * o * p * q
        if winograd:
            products = p * row_instructions(geo, c, o, q)
        numbers = geo.h * geo.w * geo.c + geo.p * geo.q * geo.o
        size = numbers * cpu.vector_bytes
        late = FETCHED * max(0, size - cpu.l2)
        rate = GROUPED[cpu.registers] * multiply_add(cpu) * (STRIDED[cpu.registers] if geo.sh * geo.sw > 1 else 1)
        return 2 * LAUNCH + shared_groups(geo.n, lanes) * (rate * products + turning(numbers, lanes, cpu) + late)

    return cost


def batch_weights(geo, dtype, cpu):
    """Multiply-adds for a group of images, and both arrays turned; more where the second cache does not hold them and
    the sums."""
    lanes = cpu.vector_bytes // dtype.itemsize
    held = math.prod(geo.padded_shape[1:]) + geo.p * geo.q * geo.o + geo.kh * geo.kw * geo.c * geo.o
    each = GROUPED_SUMS[cpu.registers] * max(multiply_add(cpu), LATE if held * cpu.vector_bytes > cpu.l2 else 0)
    products = geo.kh * geo.kw * geo.c * geo.o * (geo.p * geo.q + lanes)
    turned = turning(geo.h * geo.w * geo.c + geo.p * geo.q * geo.o, lanes, cpu)
    return LAUNCH + shared_groups(geo.n, lanes) * (each * products + turned)


def winograd_weights(call, dtype, cpu):
    """The same 36 products, the transforms of both operands, once or for every part of the other, and of each partial sum."""
    geo = call.at_stride_one
    c, o, (tiles, numbers) = geo.c // geo.groups, geo.o // geo.groups, tile_counts(geo, False)
    ins, outs = vectors(c, dtype, cpu), vectors(o, dtype, cpu)
    sums, panels = tile_blocks(geo, dtype.itemsize), filter_panels(c, o, dtype.itemsize)
    shared = shares_tiles(geo, dtype.itemsize)
    often = (1, 1) if shared else (len(panels.rows), -(-ins // 3))
    of_x, of_dy = SUMMED[geo.kh]
    transforms = tiles * (of_x * ins * often[0] + of_dy * outs * often[1])
    transforms += 0.65 * MADE[cpu.registers][geo.kh] * sums * c * outs
    if shared:
        transforms += cpu.vector_bytes * (LENT * numbers * (ins + outs) + LENT_SUMS * E * sums * c * outs)
    each = 1.3 * numbers * max(multiply_add(cpu) * c, IN_FLIGHT) * outs + transforms + LATTICE * lattice_count(geo, False)
    return BEGUN_SUMS + 2 * LAUNCH * geo.groups + geo.groups * each + cutting(call)
