"""The learning rate of each epoch from a function of one's own."""

from dataclasses import replace

from fastconv.training.callbacks.base import Callback
from fastconv.training.checks import callable_with, takes

__all__ = ["LearningRateScheduler"]


class LearningRateScheduler(Callback):
    """Before each epoch: lr = schedule(epoch, lr), or schedule(epoch); epochs count from 0.

    For schedules that move with every step give `fit` a `schedule`, which is a factor on the rate that this callback sets.

    >>> LearningRateScheduler(lambda epoch, lr: lr if epoch < 10 else 0.9 * lr).takes_rate
    True
    """

    def __init__(self, schedule):
        needed = "a function (epoch, lr) or (epoch), which returns the rate; fit(…, schedule=…) takes names"
        self.takes_rate = takes(schedule, 2)
        self.schedule = callable_with(schedule, "schedule", needed, 2 if self.takes_rate else 1)

    def on_epoch_begin(self, epoch, logs):
        """Set the rate."""
        optimizer = self.trainer.optimizer
        lr = self.schedule(epoch, optimizer.lr) if self.takes_rate else self.schedule(epoch)
        self.trainer.optimizer = replace(optimizer, lr=lr)
