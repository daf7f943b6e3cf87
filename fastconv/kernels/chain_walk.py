"""How a thread walks the tables of a chain: tasks that are done once, then a group of images through all stages.

The tables hold addresses of tiles and offsets; what is done with which tile stands in `chain_tables` and `chain_back_tables`.
"""

from numba.extending import register_jitable

from fastconv.kernels.chain_writer import CALL, CONSTANTS, SPACE, STAGE, WORK
from fastconv.kernels.group_sizes import FLOAT
from fastconv.kernels.intrinsics import array_address, emits, row_of
from fastconv.kernels.runs import over_channels
from fastconv.kernels.sharing import done, next_task

__all__ = ["add_zeros_of", "clear", "copy", "group_forward", "run_stages", "run_tile", "share_work"]

IN_CALL, IN_STAGE, IN_WORK = map(len, (CALL, STAGE, WORK))  # columns


@emits()
def run_tile(v, like, tile, a, b, c, d, steps, steps_at, first, second):
    """Run the tile at the address `tile` on what lies at the addresses a, b, c, d; `like` says the type."""
    v.call(tile, *map(v.pointer, (a, b, c, d)), v.builder.gep(steps, [steps_at]), first, second)


@emits()
def copy(v, like, a, c, count):
    """`count` numbers from the address a to the address c; `like` says the type."""
    v.copy(v.pointer(a), v.pointer(c), count)


@emits()
def clear(v, c, c_at, count):
    """c[c_at + i] = 0; these are short, and on AMD's cores the C library's function takes several times as long as the stores."""
    start = v.at(c, c_at)

    def zeros(places):
        v.keep_rolled()  # else LLVM would call that function
        for place, mask in places:
            v.store(v.constant(0.0), v.at(start, place), mask)

    over_channels(v, count, 4, zeros)


@emits()
def add_zeros_of(v, x, first, count, out, at):
    """out[at] += 0 times `count` numbers of x: NaN where one of them is not finite."""
    total = v.variable(v.constant(0.0))

    def one(places):
        for place, mask in places:
            value = v.load(v.at(x, first, place), mask)
            v.builder.store(v.multiply_add(value, v.constant(0.0), v.builder.load(total)), total)

    over_channels(v, count, 1, one)
    sums, place = v.builder.load(total), v.at(out, at)
    for lane in range(v.lanes):
        number = v.builder.extract_element(sums, v.index(lane))
        v.builder.store(v.builder.fadd(v.builder.load(place), number), place)


@register_jitable
def run_stages(like, here, room, bases, calls, stages, steps, first, end):
    """Every call of the stages first ... end - 1, row after row; `here` is the address of the workspace of the group, `room` that
    of the thread's."""
    for s in range(first, end):
        rows, c0, c1 = row_of(stages, s, IN_STAGE)
        for row in range(rows):
            for k in range(c0, c1):
                call = row_of(calls, k, IN_CALL)
                tile, a_slot, a, b_room, b, b_step, c_room, c, c_step, d_slot, d, block, base, base_step, mark, mark_step = call
                a_base = here if a_slot == SPACE else bases[a_slot]
                d_base = here if d_slot == SPACE else bases[d_slot]
                c_here = c + row * c_step
                b_base, c_base = room if b_room else here, room if c_room else here
                run_tile(
                    like, tile, a_base + FLOAT * a, b_base + FLOAT * (b + row * b_step), c_base + FLOAT * c_here,
                    d_base + FLOAT * d, steps, block, base + row * base_step, mark + row * mark_step - c_here,
                )  # fmt: skip


@register_jitable
def do_work(like, bases, work, first, end, steps):
    """A task of what is done once for all images."""
    for k in range(first, end):
        tile, a_slot, a, b_slot, b, c_slot, c, block, one, two = row_of(work, k, IN_WORK)
        places = bases[a_slot] + FLOAT * a, bases[b_slot] + FLOAT * b, bases[c_slot] + FLOAT * c
        run_tile(like, tile, places[0], places[1], places[2], bases[CONSTANTS], steps, block, one, two)


@register_jitable
def share_work(like, bases, work, tasks, steps, turns, kind, thread):
    """All tasks of it, by all threads that come here; those that are done are counted as the next kind."""
    count = len(tasks) - 1
    task = next_task(turns, kind, thread, count)
    while task < count:
        do_work(like, bases, work, tasks[task], tasks[task + 1], steps)
        done(turns, kind + 1)
        task = next_task(turns, kind, thread, count)


@register_jitable
def group_forward(x, y, g, row, room, bases, ahead):
    """The results of group g, rows of y (N, numbers), of its rows of x (N, numbers); `row` is its part of the workspace, `room`
    the address of the thread's."""
    (N, K), units, lanes, steps = x.shape, y.shape[1], ahead.lanes, ahead.steps
    high, a_row, c_row, start, into, turn_in = row_of(ahead.entry, 0, 6)
    rows, row_step, y_step, result, out, turn_out, gather, gather_row = row_of(ahead.leave, 0, 8)
    here, images, first = array_address(row), min(lanes, N - g * lanes), g * lanes
    for h in range(high):
        a, c = array_address(x) + FLOAT * (first * K + h * a_row), here + FLOAT * (start + h * c_row)
        run_tile(row, turn_in, a, a, c, c, steps, into, images, 0)
    run_stages(row, here, room, bases, ahead.calls, ahead.stages, steps, 0, len(ahead.stages))
    for h in range(rows):
        a, y_at = here + FLOAT * (result + h * row_step), array_address(y) + FLOAT * (first * units + h * y_step)
        c = y_at if gather < 0 else here + FLOAT * gather
        run_tile(row, turn_out, a, a, c, c, steps, out, images, 0)
        for i in range(images if gather >= 0 else 0):
            copy(row, c + FLOAT * i * gather_row, y_at + FLOAT * i * units, y_step)
