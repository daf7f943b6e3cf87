"""Callbacks that watch one number and act when it no longer gets better."""

from dataclasses import replace

from fastconv.errors import OptionError
from fastconv.geometry import whole
from fastconv.layers.values import flag
from fastconv.training.callbacks.base import Callback
from fastconv.training.checks import number

__all__ = ["Best", "EarlyStopping", "ReduceLROnPlateau", "Watching"]

MODES = ("auto", "min", "max")


class Best:
    """The best value of a metric so far.  mode "auto": the larger the better for names with "accuracy", else the smaller."""

    def __init__(self, monitor, mode="auto", min_delta=0.0, best=None):
        if mode not in MODES:
            raise OptionError(f"mode: got {mode!r}; needed one of {', '.join(MODES)}")
        if not isinstance(monitor, str):
            raise OptionError(f'monitor: got {monitor!r}; needed the name of a metric, such as "val_loss"')
        self.monitor, self.min_delta, self.value = monitor, abs(number(min_delta, "min_delta")), best
        self.larger = mode == "max" or (mode == "auto" and "acc" in monitor)

    def read(self, logs):
        """The metric among the numbers of an epoch; OptionError where it is not there."""
        self.check(logs)
        return logs[self.monitor]

    def check(self, metrics):
        """OptionError where the metric is not among these."""
        if self.monitor not in metrics:
            hint = "; pass validation=0.1 to fit" if self.monitor.startswith("val_") else ""
            raise OptionError(f"monitor: got {self.monitor!r}; needed one of {', '.join(metrics)}{hint}")

    def improved(self, value):
        """Whether `value` is better than the best by more than min_delta; then it is the best.  NaN never is, nor at first."""
        if value != value or (self.value is not None and not self.beats(value, self.value)):
            return False
        self.value = value
        return True

    def beats(self, value, other):
        """Whether `value` is better by more than min_delta; NaN never is."""
        return (value - other if self.larger else other - value) > self.min_delta


class Watching(Callback):
    """A callback with a best value, None before the first, of a metric that has to be there."""

    def check_run(self, epochs, metrics):
        """Refuse a run that does not measure the metric."""
        self._best.check(metrics)

    @property
    def watched(self):
        """The metric, and which end of it is better; by this a checkpoint knows its state again."""
        return f"{self._best.monitor}, {'max' if self._best.larger else 'min'}"

    @property
    def best(self):
        """The best value so far."""
        return self._best.value

    @best.setter
    def best(self, value):
        self._best.value = value


class EarlyStopping(Watching):
    """Ends the run when a metric has not got better for `patience` epochs.

    monitor : a metric of the history;  min_delta : what counts as better;  mode : "auto", "min" or "max"
    baseline : epochs that do not beat it count as waiting, as in Keras;  start_from_epoch : earlier epochs do not count
    restore_best_weights : the network is left as it was after its best epoch, else as after the last

    Attributes: best, wait, best_epoch, stopped_epoch (from 0, None before).
    """

    remembered = ("best", "wait", "best_epoch", "stopped_epoch", "best_weights")

    def __init__(
        self,
        monitor="val_loss",
        *,
        min_delta=0.0,
        patience=0,
        mode="auto",
        baseline=None,
        restore_best_weights=False,
        start_from_epoch=0,
    ):
        self._best = Best(monitor, mode, min_delta)
        self.patience = whole(patience, "patience", 0)
        self.baseline = None if baseline is None else number(baseline, "baseline")
        self.restore_best_weights = flag(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = whole(start_from_epoch, "start_from_epoch", 0)
        self.on_train_begin({})

    def on_train_begin(self, logs):
        """Begin anew."""
        self.best, self.wait, self.best_epoch, self.stopped_epoch, self.best_weights = None, 0, None, None, None

    def on_epoch_end(self, epoch, logs):
        """Look at the metric."""
        value = self._best.read(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._best.improved(value):
            self.best_epoch = epoch
            self.best_weights = self.net.get_weights() if self.restore_best_weights else None
            if self.baseline is None or self._best.beats(value, self.baseline):
                self.wait = 0
        elif self.wait >= max(self.patience, 1):
            self.stopped_epoch, self.trainer.stop_training = epoch, True

    def on_train_end(self, logs):
        """Put back the best weights."""
        if self.best_weights is not None:
            self.net.set_weights(self.best_weights)


class ReduceLROnPlateau(Watching):
    """Multiplies the optimizer's lr by `factor` when a metric has not got better for `patience` epochs.

    He et al. 2016, arXiv:1512.03385, section 3.4: "divided by 10 when the error plateaus".

    cooldown : epochs after a reduction that do not count;  min_lr : where it ends;  the rest as in `EarlyStopping`
    """

    remembered = ("best", "wait", "rest")

    def __init__(self, monitor="val_loss", *, factor=0.1, patience=10, mode="auto", min_delta=1e-4, cooldown=0, min_lr=0.0):
        self._best = Best(monitor, mode, min_delta)
        self.factor = number(factor, "factor", "a number between 0 and 1", lambda factor: 0 < factor < 1)
        self.min_lr = number(min_lr, "min_lr", "a number of at least 0", lambda lr: lr >= 0)
        self.patience = whole(patience, "patience", 1)
        self.cooldown = whole(cooldown, "cooldown", 0)
        self.on_train_begin({})

    def on_train_begin(self, logs):
        """Begin anew."""
        self.best, self.wait, self.rest = None, 0, 0

    def on_epoch_end(self, epoch, logs):
        """Look at the metric."""
        better = self._best.improved(self._best.read(logs))
        resting = self.rest > 0
        self.rest = max(self.rest - 1, 0)
        self.wait = 0 if better or resting else self.wait + 1
        if self.wait >= self.patience:
            lr = self.trainer.optimizer.lr
            lr = min(lr, max(lr * self.factor, self.min_lr))
            self.trainer.optimizer = replace(self.trainer.optimizer, lr=lr)
            self.wait, self.rest = 0, self.cooldown
