"""One run of the training loop: epochs of batches, with a record of what happened."""

from dataclasses import replace

from fastconv.display.progress import Progress
from fastconv.machine import get_threads
from fastconv.training.clock import Clock
from fastconv.training.history import History
from fastconv.training.interrupts import Interrupts
from fastconv.training.means import Means
from fastconv.training.step import NotFinite

__all__ = ["Run"]


class Run:
    """One call of `Trainer.fit`."""

    def __init__(self, trainer, batches, held_out, epochs, *, hooks, schedule, verbose):
        self.trainer, self.batches, self.held_out, self.epochs = trainer, batches, held_out, epochs
        self.hooks, self.schedule = hooks, schedule
        self.clock, self.ctrl_c = Clock(), Interrupts()
        self.progress = Progress(epochs, len(batches), verbose=verbose)
        self.history = History(**self.settings(), seed=trainer.seed)

    def settings(self):
        """What the record says about the run."""
        return {
            "optimizer": repr(self.trainer.optimizer),
            "loss": self.trainer.loss.name,
            "schedule": getattr(self.schedule, "__name__", None),
            "augment": None if self.batches.augment is None else repr(self.batches.augment),
            "images": len(self.batches.rows),
            "epochs": self.epochs,
            "batch_size": self.batches.size,
            "shuffle": self.batches.shuffle,
        }

    def __call__(self):
        with self.progress, self.ctrl_c:
            try:
                self.history.stopped = self.train()
                last = self.history.rows()[-1:]
                self.hooks("on_train_end", **(last[0] if last else {}))
                self.farewell()
            except BaseException as error:
                self.history.stopped = reason(error)
                raise
            finally:
                self.history.seconds = dict(self.clock.seconds)
        if self.ctrl_c.pending:
            self.history.stopped = "interrupt"
            raise KeyboardInterrupt
        return self.history

    def introduce(self):
        """What is going to happen, in numbers, before it does."""
        what = "images" if len(self.trainer.net.input_shape) == 3 else "rows"
        threads = get_threads()
        self.progress.say(f"{self.batches.sentence(self.epochs, what)}; {threads} thread{'s' if threads > 1 else ''}")

    def report_compilation(self):
        """Said once, after the first step, if it took a time that somebody noticed."""
        seconds = self.clock.seconds["compile"]
        if self.history.iterations == 1 and seconds > 0.5:
            self.progress.say(f"kernels compiled in {seconds:.1f} s, which is not in the times below")

    def farewell(self):
        """Why the run ended before its last epoch."""
        causes = {"interrupt": "Ctrl-C", "callback": "a callback"}
        if cause := causes.get(self.history.stopped):
            done = self.history.iterations
            self.progress.say(f"stopped by {cause} after {done:,} iterations; the network is as the last whole step left it")

    def train(self):
        """All epochs; returns why it stopped early, or ""."""
        self.introduce()
        self.hooks("on_train_begin", **self.settings())
        for epoch in range(self.epochs):
            earlier = dict(self.clock.seconds)
            self.hooks("on_epoch_begin", epoch)
            means = self.one_epoch(epoch)
            if means is None:
                return "interrupt"
            logs = {**means.values(), **self.validate()}
            self.trainer.epochs += 1
            row = self.history.add(logs, self.clock.since(earlier), len(self.batches.rows))
            self.progress.row(row)
            self.hooks("on_epoch_end", epoch, **logs)
            if self.ctrl_c.pending or self.trainer.stop_training:
                return "interrupt" if self.ctrl_c.pending else "callback"
        return ""

    def one_epoch(self, epoch):
        """Every batch once; the means, or None after Ctrl-C before the last batch."""
        means, last = Means(self.trainer.loss), len(self.batches) - 1
        self.clock.restart()
        for i, (x, y) in enumerate(self.batches.epoch(self.trainer.epochs)):
            self.clock.lap("data")
            self.hooks("on_batch_begin", i)
            self.clock.restart()
            self.step(epoch, i, x, y, means)
            self.report_compilation()
            self.hooks("on_batch_end", i, **means.values())
            self.progress.iteration(self.history.iterations, f"loss {means.loss:.4f}")
            if self.ctrl_c.pending and i < last:
                return None
            self.clock.restart()
        return means

    def step(self, epoch, i, x, y, means):
        """One step of the run, with the schedule's learning rate; an error gets its place in the run."""
        try:
            value, scores = self.trainer.stepper(x, y, self.optimizer(epoch * len(self.batches) + i), self.clock)
        except NotFinite as error:
            known = f"the mean loss of the epoch so far is {means.loss:.4g}" if means.count else "it was the epoch's first"
            raise NotFinite(
                f"stopped in epoch {epoch + 1}, iteration {i + 1} of {len(self.batches)}: {error}; {known}.  The weights are "
                f"those before this step.  Try a smaller learning rate than in {self.trainer.optimizer}"
            ) from None
        means.add(value, scores, y)
        self.history.iterations += 1

    def optimizer(self, iteration):
        """The optimizer for one iteration of the run."""
        settings = self.trainer.optimizer
        if self.schedule is None:
            return settings
        return replace(settings, lr=settings.lr * self.schedule(iteration / (self.epochs * len(self.batches))))

    def validate(self):
        """{"val_loss": …} of the examples held out; {} without any, or when Ctrl-C came meanwhile."""
        if self.held_out is None:
            return {}
        self.clock.restart()
        found = self.trainer.means(self.held_out, stop=lambda: self.ctrl_c.pending)
        self.clock.lap("evaluate")
        return {f"val_{name}": value for name, value in found.items()}


def reason(error):
    """`History.stopped` for an exception."""
    if isinstance(error, NotFinite):
        return "nonfinite"
    return "interrupt" if isinstance(error, KeyboardInterrupt) else "error"
