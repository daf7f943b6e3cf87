"""How long an epoch will take, from a few passes that leave everything as it was."""

from time import perf_counter

import numpy as np

from fastconv.machine import compile_seconds
from fastconv.training.clock import Clock
from fastconv.training.step import restore, volatile

__all__ = ["affordable", "epoch_seconds"]

SLOW = 10  # seconds of a first pass that needs no second one to be known
MOST = 300  # passes


def epoch_seconds(trainer, batches, held_out, clock, enough):
    """Seconds that an epoch over `batches` and its validation on `held_out` (or None) will take, without compilation.

    That is done here, and booked on `clock`.  `enough` : seconds of passes after which the time of one is known.  Only what every
    step does is timed: batches as they are prepared, gradients, the update (on copies), and answers to the examples held out.
    Weights, running statistics and random draws stay as they are.
    """
    before, compiled = volatile(trainer.net), compile_seconds()
    try:
        with np.errstate(all="ignore"):
            learning = typical(trained(trainer, batches), enough) + update_seconds(trainer)
            validating = 0.0 if held_out is None else typical(answered(trainer, held_out), enough) * len(held_out)
    finally:
        restore(before)
        clock.seconds["compile"] += compile_seconds() - compiled
    return learning * len(batches) + validating


def typical(passes, enough):
    """Seconds of one of `passes`, an iterator: the median of a few.  The first, which compiles and allocates and fetches kernels
    from the cache, counts only where there is no other."""
    seconds = []
    time, compiled = perf_counter(), compile_seconds()
    for _ in passes:
        now, compiled_now = perf_counter(), compile_seconds()
        seconds.append(max(now - time - (compiled_now - compiled), 0.0))
        if sum(seconds[1:]) > enough or seconds[0] > SLOW or len(seconds) >= MOST:
            break
        time, compiled = perf_counter(), compile_seconds()
    passes.close()
    later = sorted(seconds[1:] or seconds)
    return later[len(later) // 2]


def trained(trainer, batches):
    """Batches of the epoch to come, each through the network and back."""
    for x, y in batches.epoch(trainer.epochs):
        trainer.stepper.gradients(x, y, Clock())
        trainer.stepper.length(trainer.stepper.plan().gradients)
        yield


def answered(trainer, held_out):
    """Batches of examples held out, each through the network."""
    for x, _ in held_out.epoch():
        trainer.net.forward(x)
        yield


def update_seconds(trainer):
    """Of an update of all weights, on copies, one at a time."""
    total = 0.0
    for _, _, p, g in trainer.stepper.plan().trained:
        copy, state = p.copy(), trainer.optimizer.init(p)
        trainer.optimizer.step(copy, g, state)
        seconds = []
        for _ in range(3):
            start = perf_counter()
            trainer.optimizer.step(copy, g, state)
            seconds.append(perf_counter() - start)
        total += min(seconds)
    return total


def affordable(seconds, each):
    """How many epochs of `each` seconds fit into `seconds`; at least one.

    >>> affordable(60, 4.1), affordable(60, 90)
    (14, 1)
    """
    return max(int(seconds / each), 1)
