"""The gradients of a group of images in a chain: dense layers with images as lanes, then the convolutions image by image."""

from numba.extending import register_jitable

from fastconv.kernels.chain_back_tables import BACK, PASS
from fastconv.kernels.chain_walk import clear, copy, run_stages, run_tile
from fastconv.kernels.chain_writer import KEPT, ROWS, TURNED
from fastconv.kernels.group_sizes import FLOAT
from fastconv.kernels.intrinsics import array_address, number_at, row_of

__all__ = ["group_backward"]

IN_BACK, IN_PASS = len(BACK), len(PASS)  # columns
(
    C, PIXEL, PIXELS, X_FROM, X, X_IMAGE, TURN_X, O, WINDOWS, MARKS_FROM, MARKS, MARKS_IMAGE, TURN_MARKS, LIVE, LIST, G, G_IMAGE,
    G_START, DX, DX_SIZE, PARTIAL_AT, FILTER, TURNED_AT, TURN, FIRST, MIDDLE, END,
) = range(len(BACK))  # fmt: skip


@register_jitable
def group_backward(x, dy, g, row, bases, back, lanes, mine, sums):
    """What group g adds to the partial sums of the convolutions' weights, and what the weights of dense layers need: inputs, and
    gradients as rows; `row` is its part of the workspace, `mine` the room of the thread."""
    images, here = min(lanes, len(x) - g * lanes), array_address(row)
    if back.enter[0] > 0:
        first, count = row_of(back.keep, 0, 2)
        copy(row, here + FLOAT * first, bases[KEPT] + FLOAT * g * count, count)
        dense_part(mine, here, array_address(dy), g, images, bases, back, lanes)
    for i in range(len(back.convs)):
        turn_images(mine, here, row_of(back.convs, i, IN_BACK), i > 0, back, lanes)
    for n in range(images):
        one_image(x, array_address(dy), g * lanes + n, n, bases, back, mine, sums)


@register_jitable
def dense_part(mine, here, dy, g, images, bases, back, lanes):
    """The gradients of dense layers, from that of the result down to the last convolution's."""
    enter, top, rows = back.enter, back.top, bases[ROWS]
    a, c = dy + FLOAT * g * lanes * enter[0], here + FLOAT * enter[1]
    run_tile(mine, back.tiles[0], a, a, c, c, back.steps, enter[2], images, 0)
    to_rows(mine, here, row_of(enter, 0, 7)[3:], rows, g, back, lanes)
    for stage in range(len(back.stages)):
        run_stages(mine, here, here, bases, back.calls, back.stages, back.steps, stage, stage + 1)
        if back.turns[stage, 2] > 0:
            to_rows(mine, here, row_of(back.turns, stage, 4), rows, g, back, lanes)
    a, c = here + FLOAT * top[0], array_address(mine) + FLOAT * top[2]
    run_tile(mine, back.tiles[1], a, a, c, c, back.steps, top[1], lanes, 0)


@register_jitable
def to_rows(mine, here, turn, rows, g, back, lanes):
    """A gradient of a group as rows, for the gradient of the weights."""
    a, c = here + FLOAT * turn[0], rows + FLOAT * (turn[3] + g * lanes * turn[2])
    run_tile(mine, back.tiles[1], a, a, c, c, back.steps, turn[1], lanes, 0)


@register_jitable
def turn_images(mine, here, conv, with_values, back, lanes):
    """The input of a convolution (not of the first) image by image, and its marks, filter by filter."""
    there, turn_out, steps = array_address(mine), back.tiles[1], back.steps
    for f in range(conv[O]):
        a, c = here + FLOAT * (conv[MARKS_FROM] + f * lanes), there + FLOAT * (conv[MARKS] + f * conv[WINDOWS])
        run_tile(mine, turn_out, a, a, c, c, steps, conv[TURN_MARKS], lanes, 0)
    if with_values:
        for p in range(conv[PIXELS]):
            a = here + FLOAT * (conv[X_FROM] + p * conv[C] * lanes)
            c = there + FLOAT * (conv[X] + p * conv[PIXEL])
            run_tile(mine, turn_out, a, a, c, c, steps, conv[TURN_X], lanes, 0)


@register_jitable
def one_image(x, dy, n, k, bases, back, mine, sums):
    """Image n of the batch, k of its group, from the last convolution to the first."""
    convs, passes, live, steps = back.convs, back.passes, back.tiles[2], back.steps
    high, wide, start, step = row_of(back.image, 0, 4)
    here, there, weights = array_address(mine), array_address(sums), bases[TURNED]
    for h in range(high):
        copy(mine, array_address(x) + FLOAT * (n * x.shape[1] + h * wide), here + FLOAT * (start + h * step), wide)
    lists_at, length_at = row_of(back.lists, 0, 2)
    offsets, gradients = here + FLOAT * lists_at, here + FLOAT * (lists_at + 1)
    for i in range(len(convs) - 1, -1, -1):
        conv = row_of(convs, i, IN_BACK)
        pixels = here + FLOAT * (conv[X] + (k * conv[X_IMAGE] if i > 0 else 0))
        marks = here + FLOAT * (conv[MARKS] + k * conv[MARKS_IMAGE])
        g = dy + FLOAT * n * conv[G_IMAGE]
        if conv[G] >= 0:
            g = here + FLOAT * (conv[G] + k * conv[G_IMAGE] + conv[G_START])
        for o in range(conv[O]):  # all weight gradients first, then all of the input's: x and dx together would not fit L1
            found, slopes, keep = marks + FLOAT * o * conv[WINDOWS], g + FLOAT * o, o * conv[LIST]
            run_tile(mine, live, found, slopes, gradients + FLOAT * keep, offsets + FLOAT * keep, steps, conv[LIVE], length_at, 0)
            count = number_at(mine, lists_at + keep + length_at)
            for p in range(conv[FIRST], conv[MIDDLE]):
                tile, at, w_at, bias, block = row_of(passes, p, IN_PASS)
                target = there + FLOAT * (conv[PARTIAL_AT] + o * conv[FILTER] + w_at)
                run_tile(
                    mine, tile, pixels + FLOAT * at, gradients + FLOAT * keep, target, offsets + FLOAT * keep, steps, block,
                    count, bias,
                )  # fmt: skip
        clear(mine, conv[DX], conv[DX_SIZE])
        for p in range(conv[MIDDLE], conv[END]):
            tile, at, w_at, _, block = row_of(passes, p, IN_PASS)
            for o in range(conv[O]):
                keep, target = o * conv[LIST], here + FLOAT * (conv[DX] + at)
                count = number_at(mine, lists_at + keep + length_at)
                filter_at = weights + FLOAT * (conv[TURNED_AT] + o * conv[TURN] + w_at)
                run_tile(
                    mine, tile, filter_at, gradients + FLOAT * keep, target, offsets + FLOAT * keep, steps, block, count, 0
                )  # fmt: skip
