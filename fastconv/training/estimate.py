"""How long an epoch will take, from a few passes that leave everything as it was."""

import numpy as np

from fastconv.training.clock import Clock
from fastconv.training.step import restore, volatile

__all__ = ["affordable", "epoch_seconds"]

ENOUGH = 0.3  # seconds of passes after which the time of one is known
MOST = 10  # passes


def epoch_seconds(trainer, batches, held_out=None):
    """Seconds that an epoch over `batches` and its validation on `held_out` will take; without compilation, which is done here.

    Only what every step does is timed: preparing a batch, the gradients, the update (on copies), and answers to the examples held
    out.  Weights, running statistics and random draws stay as they are.
    """
    every = batches.epoch(trainer.epochs)
    try:
        x, y = next(every)
        before = volatile(trainer.net)
        try:
            learning = typical(lambda clock: one_step(trainer, x, y, clock))
        finally:
            restore(before)
        data = typical(lambda clock: (next(every, None), clock.lap("data"))) if len(batches) > MOST + 1 else 0.0
    finally:
        every.close()
    if batches.ahead:
        data = 0.0  # prepared meanwhile
    return (learning + data) * len(batches) + validation_seconds(trainer, held_out)


def typical(run):
    """The median of a few timed runs of `run(clock)`, which books its time; the first, with what it compiles, counts least."""
    seconds = []
    with np.errstate(all="ignore"):
        while len(seconds) < 2 or (sum(seconds) < ENOUGH and len(seconds) < MOST):
            clock = Clock()
            run(clock)
            seconds.append(sum(clock.seconds.values()) - clock.seconds["compile"])
            if seconds[0] > 10 * ENOUGH:  # slow enough to be known
                break
    return sorted(seconds[1:] or seconds)[len(seconds[1:] or seconds) // 2]


def one_step(trainer, x, y, clock):
    """A step whose update goes to copies of the weights, one at a time."""
    trainer.stepper.gradients(x, y, clock)
    for _, _, p, g in trainer.stepper.trained():
        copy, state = p.copy(), trainer.optimizer.init(p)
        trainer.optimizer.step(copy, g, state)
        clock.restart()
        trainer.optimizer.step(copy, g, state)
        clock.lap("update")


def validation_seconds(trainer, held_out):
    """Of answers to all examples held out."""
    if held_out is None:
        return 0.0
    x, _ = next(iter(held_out.epoch()))
    return typical(lambda clock: (trainer.net.forward(x), clock.lap("evaluate"))) * len(held_out)


def affordable(seconds, each):
    """How many epochs of `each` seconds fit into `seconds`; at least one.

    >>> affordable(60, 4.1), affordable(60, 90)
    (14, 1)
    """
    return max(int(seconds / each), 1)
