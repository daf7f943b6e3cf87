"""One run of the training loop: epochs of batches, with a record of what happened."""

from dataclasses import replace
from time import perf_counter

from fastconv.display.progress import Progress
from fastconv.machine import get_threads
from fastconv.training.clock import Clock
from fastconv.training.durations import in_words
from fastconv.training.estimate import affordable, epoch_seconds
from fastconv.training.history import History
from fastconv.training.interrupts import Interrupts
from fastconv.training.means import Means
from fastconv.training.schedules import factor_at
from fastconv.training.snapshot import compare, identity, put_back, taken
from fastconv.training.step import NotFinite

__all__ = ["Run"]

SHORT, LONG = 0.1, 0.5  # seconds of passes for an estimate, and for one that decides


class Run:
    """One call of `Trainer.fit`.

    `epoch` and `step_in_epoch` say which step is next, both from 0; a step is done when the latter moves.  `checkpoints`: a
    `Checkpoints` or None;  `found`: (path, content) of the one to go on from, or None;  `budget`: seconds, or None.
    """

    def __init__(
        self,
        trainer,
        batches,
        held_out,
        epochs,
        *,
        hooks,
        schedule,
        verbose,
        checkpoints=None,
        found=None,
        budget=None,
    ):
        self.trainer, self.batches, self.held_out, self.epochs = trainer, batches, held_out, epochs
        self.hooks, self.schedule = hooks, schedule
        self.checkpoints, self.found, self.budget = checkpoints, found, budget
        self.epoch = self.step_in_epoch = 0
        self.means = Means(trainer.loss)
        self.compiled = 0.0  # seconds that are in a row of the history
        self.clock, self.ctrl_c = Clock(), Interrupts()
        self.progress = Progress(epochs, len(batches), verbose=verbose)
        self.history = History(**self.settings(), seed=trainer.seed)
        self.identity = None if checkpoints is None else identity(self)
        if found is not None:
            compare(self, *found)

    def settings(self):
        """What the record says about the run."""
        return {
            "optimizer": repr(self.trainer.optimizer),
            "loss": self.trainer.loss.name,
            "schedule": None if self.schedule is None else called(self.schedule),
            "augment": None if self.batches.augment is None else called(self.batches.augment),
            "clip": self.trainer.clip,
            "images": len(self.batches.rows),
            "epochs": self.epochs,
            "budget": self.budget,
            "batch_size": self.batches.size,
            "shuffle": self.batches.shuffle,
        }

    def metrics(self):
        """The names in the logs of an epoch's end."""
        names = ("loss",) if self.trainer.loss.hits is None else ("loss", "accuracy")
        return names if self.held_out is None else (*names, *(f"val_{name}" for name in names))

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

    def fit_into_budget(self, started):
        """Take as many epochs as fit into the budget, of which time since `started` is spent; a resumed run keeps its own."""
        if self.budget is None:
            return
        if self.found is None:
            self.progress.say(f"seeing how many epochs fit into {in_words(self.budget)}")
            each = epoch_seconds(self.trainer, self.batches, self.held_out, self.clock, LONG)
            self.epochs = affordable(self.budget - (perf_counter() - started), each)
        else:
            self.epochs = self.found[1]["epochs"]
        self.progress.epochs = self.epochs
        self.history.settings.update(self.settings())

    def introduce(self):
        """What is going to happen, in numbers, before it does."""
        what = "images" if len(self.trainer.net.input_shape) == 3 else "rows"
        threads = get_threads()
        self.progress.say(f"{self.batches.sentence(self.epochs, what)}; {threads} thread{'s' if threads > 1 else ''}")
        left = self.epochs - (self.found[1]["epoch"] if self.found else 0)
        if self.progress.verbose and left > 0:
            each = epoch_seconds(self.trainer, self.batches, self.held_out, self.clock, SHORT)
            self.progress.say(f"about {in_words(left * each)}, compilation apart")

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
        self.resume()
        while self.epoch < self.epochs and not self.trainer.stop_training:
            if not self.one_epoch():
                return "interrupt"
        return "callback" if self.trainer.stop_training else ""

    def resume(self):
        """Go on from the checkpoint that was found."""
        if self.found is None:
            return
        path, tree = self.found
        put_back(self, tree)
        where = f"at epoch {self.epoch + 1}, iteration {self.step_in_epoch + 1} of {len(self.batches)}"
        self.progress.say(f"going on from {path}, {where if self.epoch < self.epochs else 'where all epochs are done'}")

    def keep(self):
        """Write a checkpoint, where that is wanted."""
        if self.checkpoints is not None:
            self.checkpoints.write(self.history.iterations, taken(self))

    def one_epoch(self):
        """What is left of an epoch, its validation and its end; False after Ctrl-C before its last batch."""
        earlier = {**self.clock.seconds, "compile": self.compiled}
        if self.step_in_epoch == 0:
            self.hooks("on_epoch_begin", self.epoch)
        trained = len(self.batches) - self.step_in_epoch
        if not self.all_batches():
            self.keep()
            return False
        try:
            judged = self.validate()
            cut = self.ctrl_c.pending and self.held_out is not None and not judged
            if not cut:
                self.end_of_epoch(judged, earlier, trained)
                self.hooks("on_epoch_end", self.epoch, **self.means.values(), **judged)
        finally:
            self.hooks("on_epoch_over", self.epoch)
        if cut:
            self.keep()  # from before the epoch's end: who goes on from there validates again
            self.end_of_epoch({}, earlier, trained)
            return False
        self.epoch, self.step_in_epoch, self.means = self.epoch + 1, 0, Means(self.trainer.loss)
        self.keep()
        return not self.ctrl_c.pending

    def end_of_epoch(self, judged, earlier, trained):
        """Its row in the history; `earlier`: the clock when it began, `trained`: the batches since then."""
        lr = getattr(self.optimizer(self.iteration - 1), "lr", None)
        images = min(trained * self.batches.size, len(self.batches.rows))
        self.progress.row(self.history.add({**self.means.values(), **judged}, self.clock.since(earlier), images, lr))
        self.compiled = self.clock.seconds["compile"]
        self.trainer.epochs += 1

    def all_batches(self):
        """Every batch of the epoch that is left; False after Ctrl-C before the last."""
        self.clock.restart()
        for x, y in self.batches.epoch(self.trainer.epochs, self.step_in_epoch):
            self.clock.lap("data")
            self.one_batch(x, y)
            if self.ctrl_c.pending and self.step_in_epoch < len(self.batches):
                return False
            self.clock.restart()
        return True

    def one_batch(self, x, y):
        """A step and all that belongs to it."""
        i = self.step_in_epoch
        if not self.hooks.empty:
            self.hooks("on_train_batch_begin", i)
            self.clock.restart()
        self.step(x, y)
        self.step_in_epoch = i + 1
        self.trainer.done = self.iteration / (self.epochs * len(self.batches))
        self.report_compilation()
        if not self.hooks.empty:
            self.hooks("on_train_batch_end", i, **self.means.values())
        self.progress.iteration(self.history.iterations, f"loss {self.means.loss:.4f}")
        if self.checkpoints is not None and self.checkpoints.due(self.history.iterations):
            self.keep()

    @property
    def iteration(self):
        """How many steps of all the run's are done."""
        return self.epoch * len(self.batches) + self.step_in_epoch

    def step(self, x, y):
        """One step of the run, with the schedule's learning rate; an error gets its place in the run."""
        means = self.means
        try:
            value, scores = self.trainer.stepper(x, y, self.optimizer(self.iteration), self.clock)
        except NotFinite as error:
            known = f"the mean loss of the epoch so far is {means.loss:.4g}" if means.count else "it was the epoch's first"
            place = f"epoch {self.epoch + 1}, iteration {self.step_in_epoch + 1} of {len(self.batches)}"
            raise NotFinite(
                f"stopped in {place}: {error}; {known}.  The weights are those before this step.  {self.advice(error)}"
            ) from None
        means.add(value, scores, y)
        self.history.iterations += 1

    def advice(self, error):
        """What to do about a step whose numbers are not finite."""
        if not error.of_input:
            return f"Try a smaller learning rate than in {self.trainer.optimizer}"
        if self.batches.augment is not None:
            return "The examples are finite: look at what augment makes of them"
        return f"Scale the examples to numbers that {self.trainer.net.dtype} can hold"

    def optimizer(self, iteration):
        """The optimizer for one iteration of the run."""
        settings = self.trainer.optimizer
        if self.schedule is None:
            return settings
        factor = factor_at(self.schedule, iteration / (self.epochs * len(self.batches)))
        return replace(settings, lr=settings.lr * factor)

    def validate(self):
        """{"val_loss": …} of the examples held out; {} without any, or when Ctrl-C came meanwhile."""
        if self.held_out is None:
            return {}
        self.hooks("on_test_begin")
        self.clock.restart()
        found = {}
        try:
            found = self.trainer.means(self.held_out, stop=lambda: self.ctrl_c.pending, hooks=self.hooks)
        finally:
            self.clock.lap("evaluate")
            self.hooks("on_test_end", **found)
        return {f"val_{name}": value for name, value in found.items()}


def called(function):
    """What a schedule or an augmentation is called: its settings, or its name."""
    name = getattr(function, "__name__", type(function).__name__)
    return name if hasattr(function, "__name__") or type(function).__repr__ is object.__repr__ else repr(function)


def reason(error):
    """`History.stopped` for an exception."""
    if isinstance(error, NotFinite):
        return "nonfinite"
    return "interrupt" if isinstance(error, KeyboardInterrupt) else "error"
