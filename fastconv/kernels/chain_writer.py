"""What all tables of a chain have in common: their columns, the slots of addresses, and who collects their rows."""

import numpy as np

from fastconv.kernels.codes import NONE, RELU

__all__ = [
    "BLOCKS", "CALL", "CONSTANTS", "FILTERS", "KEPT", "ONES", "PARTIAL", "ROWS", "SPACE", "STAGE", "TURNED", "WORK",
    "Writer", "array", "starts", "weights_slot", "window_steps",
]  # fmt: skip

CALL = (
    "tile", "a_slot", "a", "b_room", "b", "b_step", "c_room", "c", "c_step", "d_slot", "d", "steps", "base", "base_step", "mark",
    "mark_step",
)  # fmt: skip  # _step: a row of windows further; _room: 1 for what lies in the room of a thread, not in that of a group
STAGE = ("rows", "first", "end")
WORK = ("tile", "a_slot", "a", "b_slot", "b", "c_slot", "c", "steps", "first", "second")  # what is done once for all images
# slots of addresses: a group's row of the workspace (of which work knows nothing), zeros and ones, memory of a training pass,
# Winograd's filters; then weights, bias and their gradients, four for each block
SPACE, CONSTANTS, PARTIAL, ROWS, KEPT, TURNED, FILTERS, BLOCKS = range(8)
ONES = 64  # that many zeros come before as many ones


def starts(parts):
    return [sum(parts[:i]) for i in range(len(parts))]


class Writer:
    """Collects steps, calls and stages, and tasks of work."""

    def __init__(self):
        self.calls, self.stages, self.steps = [], [], []
        self.work, self.tasks = [], [0]

    def block(self, names, **given):
        """Steps of a tile; returns where they begin."""
        at = len(self.steps)
        self.steps += [int(given.get(name, 0)) for name in names]
        return at

    def call(self, **given):
        self.calls.append([given.get(name, 0) for name in CALL])

    def do(self, **given):
        """One step of a task of work."""
        self.work.append([given.get(name, 0) for name in WORK])

    def task_done(self):
        """The next `do` may run at the same time."""
        self.tasks.append(len(self.work))

    def stage(self, first, rows=1):
        """The calls from `first` on, for each of `rows` rows of windows."""
        self.stages.append([rows, first, len(self.calls)])


def array(rows, columns):
    return np.array(rows, np.int64).reshape(-1, columns)


def weights_slot(i):
    """Weights, then bias, gradient of the weights, gradient of the bias."""
    return BLOCKS + 4 * i


def window_steps(network, i, each):
    """(what all ways of convolving tell their tiles, their calls, and how far it is from window to window).

    A window has `each` rows of outputs; with `each` = 1 it may be any number of pixels wide.
    """
    block, source, target, lanes = network.blocks[i], network.places[i], network.places[i + 1], network.lanes
    geo, pixel, results = block.geometry, network.pixel(i), 1 if block.pooled else each
    row, step = source.cols * source.channels * lanes, source.channels * lanes
    c_row, c_step = target.cols * target.channels * lanes, target.channels * lanes
    mark_row = block.out[1] * c_step
    shared = {
        "b_r": geo.sh * row,
        "b_s": geo.sw * step,
        "c_m": lanes,
        "c_r": c_row,
        "c_s": c_step,
        "after": RELU if block.relu else NONE,
        "marked": int(network.training),
        "mark_r": mark_row,
        "base_r": geo.sh * source.cols * pixel,
        "base_s": geo.sw * pixel,
    }
    down = {
        "b_step": each * geo.sh * row,
        "c_step": results * c_row,
        "base_step": each * geo.sh * source.cols * pixel,
        "mark_step": results * mark_row,
    }
    return shared, down, {"b": each * geo.sw * step, "c": results * c_step, "base": each * geo.sw * pixel}
