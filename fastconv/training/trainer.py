"""What trains a network: a loss, an optimizer, and their state from one call to the next."""

import warnings
from math import prod
from numbers import Real
from time import perf_counter

import numpy as np

from fastconv.errors import FastconvError, FastconvWarning, OptionError, ShapeError
from fastconv.geometry import whole
from fastconv.layers import BatchNorm
from fastconv.models import Sequential
from fastconv.training.batches import Batches, examples, images, split
from fastconv.training.checkpoint import Checkpoints, known_resume
from fastconv.training.checks import number
from fastconv.training.clock import NO_CLOCK
from fastconv.training.durations import seconds
from fastconv.training.hooks import Hooks
from fastconv.training.losses import find_loss
from fastconv.training.means import Means
from fastconv.training.optimizers import Adam
from fastconv.training.run import Run
from fastconv.training.schedules import find_schedule
from fastconv.training.step import Stepper
from fastconv.training.views import answers, averaged, scores_of

__all__ = ["Trainer"]


class Trainer:
    """Trains a network.

    Parameters
    ----------
    net : Sequential that ends in raw outputs (logits, scores); its `output` is set so that `predict` suits the loss
    optimizer : such as `fc.optim.SGD(0.1, momentum=0.9)`; default `fc.optim.Adam(1e-3)`.  May be replaced between steps
    loss : name in `fc.losses.LOSSES`, `fc.losses.label_smoothed(0.1)`, or a function (predictions, targets) -> (value, gradient)
    seed : int, of shuffling, held-out examples and augmentation; default: the network's, from which first weights and
        dropout come, so that one number fixes a run.  Results do not depend on the number of threads
    clip_norm : the longest that the vector of all gradients of a step may be; a longer one is shortened [Pascanu, Mikolov and
        Bengio 2013, arXiv:1211.5063, algorithm 1]
    clip_value : the largest magnitude of a single number of a gradient; after clip_norm

    Attributes
    ----------
    history : History of the last `fit`, complete up to where it stopped, also after an exception
    epochs : whole epochs trained so far, over all calls of `fit`; a second `fit` goes on with new orders and the same
        optimizer state
    done : the part of the steps of a run that is done, from 0 to 1
    stop_training : a callback sets it to end the run after the epoch

    >>> import numpy as np
    >>> from fastconv.layers import Dense
    >>> from fastconv.models import Sequential
    >>> x = np.eye(4, dtype=np.float32)
    >>> trainer = Trainer(Sequential([Dense(2)], input_shape=(4,)))
    >>> history = trainer.fit(x, [0, 0, 1, 1], epochs=100, batch_size=2, verbose=0)
    >>> history.history["loss"][0] > history.history["loss"][-1], history.iterations
    (True, 200)
    """

    def __init__(self, net, optimizer=None, loss="softmax_cross_entropy", seed=None, *, clip_norm=None, clip_value=None):
        self.net = network(net)
        self.optimizer = Adam() if optimizer is None else optimizer
        self.loss = find_loss(loss)
        self.seed = net.seed if seed is None else whole(seed, "seed", 0)
        check_ending(net, self.loss)
        net.output = self.loss.output or net.output
        self.history = None
        self.epochs = 0
        self.done = 0.0
        self.stop_training = False
        self.clip = {"norm": limit(clip_norm, "clip_norm"), "value": limit(clip_value, "clip_value")}
        self.stepper = Stepper(net, self.loss, *self.clip.values())

    @property
    def optimizer(self):
        """What moves the parameters; another one may take its place at any time."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, value):
        self._optimizer = with_steps(value)

    def fit(
        self,
        x,
        y,
        *,
        epochs=None,
        batch_size=64,
        validation=None,
        callbacks=(),
        verbose=1,
        shuffle=True,
        schedule=None,
        augment=None,
        checkpoint=None,
        resume=False,
        budget=None,
    ):
        """Train on examples x with targets y; returns the `History`.

        Parameters
        ----------
        x : (N, *net.input_shape), bytes or numbers; grey images may come without the channel axis
        y : class numbers or one-hot rows; 0 and 1 for binary_cross_entropy; numbers for mean_squared_error
        epochs, batch_size : whole numbers, epochs by default 1; the last batch of an epoch has what is left
        validation : (x, y), or the fraction of the examples to hold out (drawn from the seed, the same ones at each call).
            "val_loss" is the loss alone, "loss" has the L1 and L2 of the layers in it
        callbacks : objects with any of Keras's hooks, or a single one; see `fastconv.training.hooks`
        verbose : 0 silent, 1 bar and a row for each epoch, 2 rows only
        shuffle : a new order in each epoch
        schedule : a name in `fastconv.training.SCHEDULES`, such as "cosine" or "one_cycle", or a function from the part of the
            run that is done (0 to 1) to a factor on the optimizer's lr
        augment : function (images, numpy Generator) -> images, such as `fastconv.training.Warp()`, for training batches only; it
            works on the next batch, on a thread of its own, while the network learns from this one
        checkpoint : folder for checkpoints of this run, or `fc.Checkpoint(folder, every="5min", keep=2)`
        resume : "auto" goes on from the newest checkpoint where there is one; True needs one; False begins, and refuses a folder
            that holds a run.  Everything else is to be given as it was.  The run ends in the same bits as without the break
        budget : a time such as "60s" or "5min", in the place of `epochs` (not both): as many as fit, by a few timed passes before
            the start that change nothing; at least one.  `history.settings["epochs"]` says how many, and giving that number
            repeats the run

        Raises
        ------
        ShapeError, DTypeError, DataError, OptionError : before anything has changed
        TrainingError : a loss or gradient that is not finite (the message names the layer; the weights are those after the last
            whole step, which are finite), or an exception in a callback
        KeyboardInterrupt : after Ctrl-C, at the end of the step; the weights are those after the last whole step, and
            `trainer.history` has what was done.  A second Ctrl-C stops at once, wherever that is

        The history is kept in `trainer.history` in all these cases.
        """
        started = perf_counter()
        check_ending(self.net, self.loss)
        x, y = examples(x, y, self.net, self.loss)
        rows, held_out = self._validation(validation, x, y)
        batches = Batches(x, y, batch_size, rows=rows, seed=self.seed, shuffle=shuffle, augment=augment)
        check_last_batch(self.net, batches)
        if not any(layer.learns for layer in self.net.layers):
            warnings.warn(
                "no layer of this network is trained, so that fit changes nothing; net.trainable = True trains all of them",
                FastconvWarning,
                stacklevel=2,
            )
        hooks = Hooks(callbacks, self)
        schedule, (epochs, budget) = find_schedule(schedule), length(epochs, budget)
        checkpoints = None if checkpoint is None else Checkpoints(checkpoint)
        run = Run(
            self,
            batches,
            held_out,
            epochs,
            hooks=hooks,
            schedule=schedule,
            verbose=verbose,
            checkpoints=checkpoints,
            found=opened(checkpoints, resume),
            budget=budget,
        )
        run.fit_into_budget(started)
        hooks.begin(run.epochs, len(batches), verbose, run.metrics())
        self.history, self.stop_training = run.history, False
        return run()

    def step(self, x, y):
        """One update on one batch; returns the mean loss before it.  Errors as in `fit`; no weight, statistic or random
        draw has changed then."""
        check_ending(self.net, self.loss)
        x, y = examples(x, y, self.net, self.loss, finite=False)
        return self.stepper(x, y, self.optimizer, NO_CLOCK, finite=False)[0]

    def evaluate(self, x, y, batch_size=256, *, views=None):
        """{"loss": mean, "accuracy": fraction} over all examples, `batch_size` at a time; no accuracy where there is none.

        views : such as `fastconv.training.Views(flip=True, shift=2)`: what is judged is the mean of the answers to several views
            of each image
        """
        return self.means(Batches(*examples(x, y, self.net, self.loss), batch_size), views=views)

    def predict(self, x, batch_size=256, *, views=None):
        """Class probabilities, or raw outputs where the loss has none: `net.predict`; with `views` the mean over these."""
        x = images(x, self.net.input_shape)
        return answers(self.net, x, batch_size, views)

    def _validation(self, validation, x, y):
        """(rows of x to train on, or None for all; batches to validate on, or None)."""
        if validation is None:
            return None, None
        if isinstance(validation, (tuple, list)) and len(validation) == 2:
            try:
                return None, Batches(*examples(*validation, self.net, self.loss), 256)
            except FastconvError as error:
                raise type(error)(f"validation: {error}") from None
        if isinstance(validation, Real) and not isinstance(validation, bool):
            rows, held_out = split(float(validation), len(x), self.seed)
            return rows, Batches(x, y, 256, rows=held_out)
        raise OptionError(f"validation: got {type(validation).__name__}; needed (x, y), or a fraction between 0 and 1")

    def means(self, batches, stop=lambda: False, views=None, hooks=lambda name, batch: None):
        """Loss and accuracy over all `Batches`, as `evaluate` gives them; {} once `stop()` says so.  `hooks` is told of each."""
        means = Means(self.loss)
        with np.errstate(all="ignore"):
            for batch, (x, y) in enumerate(batches.epoch()):
                hooks("on_test_batch_begin", batch)
                scores = self.net.forward(x) if views is None else scores_of(averaged(self.net, x, views), self.net.output)
                means.add(self.loss.function(scores, y)[0], scores, y)
                hooks("on_test_batch_end", batch)
                if stop():
                    return {}
        return means.values()


def check_ending(net, loss):
    """OptionError where a loss of raw outputs would get those of a Softmax or sigmoid."""
    if loss.output in ("softmax", "sigmoid") and not net.ends_in_logits:
        raise OptionError(
            f"loss: {loss.name} takes raw outputs, but the network ends in {net.layers[-1]!r}; remove that layer or its "
            f"activation: predict applies {loss.output} itself"
        )


def check_last_batch(net, batches):
    """ShapeError where the last batch is a single example, and a BatchNorm would take its statistics from one value."""
    count, size = len(batches.rows), batches.size
    if count % size != 1 and size > 1:
        return
    for layer in net.walk():
        if isinstance(layer, BatchNorm) and layer.trainable and prod(layer.input_shape[:-1]) == 1:
            other = next((n for n in range(size - 1, 1, -1) if count % n != 1), None if count == 1 else count)
            way = "pass more examples" if other is None else f"use batch_size={other}"
            raise ShapeError(
                f"batch_size: {count:,} examples in batches of {size} leave one for the last batch, and {layer.label} needs two "
                f"or more for its statistics; {way}"
            )


def network(net):
    """`net` if it is a network, else OptionError."""
    if not isinstance(net, Sequential):
        raise OptionError(f"net: got {net!r}; needed a network such as fc.models.lenet5() or fc.Sequential([…], input_shape=…)")
    return net


def with_steps(optimizer):
    """`optimizer` if it is one, else OptionError."""
    needed = "needed an optimizer such as fc.optim.Adam(1e-3)"
    if isinstance(optimizer, type):
        name = optimizer.__name__
        raise OptionError(f"optimizer: got the class {name}; {needed}; make an object of it: {name}(…)")
    if not all(callable(getattr(optimizer, method, None)) for method in ("init", "step")):
        raise OptionError(f"optimizer: got {optimizer!r}; {needed}")
    return optimizer


def length(epochs, budget):
    """(epochs, seconds of the budget or None), of which only one can be asked for."""
    if budget is None:
        return 1 if epochs is None else whole(epochs, "epochs", 1), None
    if epochs is not None:
        raise OptionError(f"budget: got {budget!r} and epochs={epochs!r}; needed one of them: a budget picks the epochs")
    return 1, seconds(budget, "budget")


def limit(value, name):
    """A bound on gradients: a number above 0, or None for none."""
    return None if value is None else number(value, name, "a number above 0, or None", lambda most: most > 0)


def opened(checkpoints, resume):
    """The checkpoint to go on from, as `Checkpoints.open` finds it."""
    if checkpoints is not None:
        return checkpoints.open(resume)
    if known_resume(resume):
        raise OptionError("resume: there is no folder to look in; pass checkpoint=")
    return None
