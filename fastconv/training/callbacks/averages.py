"""Means of the weights over the steps of a run, which are often better than the last weights, or than those to go on from."""

import numpy as np

from fastconv.errors import OptionError
from fastconv.geometry import whole
from fastconv.layers.values import flag
from fastconv.training.callbacks.base import Callback
from fastconv.training.checks import callable_with, number

__all__ = ["SWA", "Lookahead", "WeightAverage", "fading"]


class Averaged(Callback):
    """Keeps a mean of all weights and running statistics.

    It takes their place in validation, until every callback has seen the end of the epoch, so that what `ModelCheckpoint` and
    `EarlyStopping` keep is what was measured; and when the run has ended, unless `EarlyStopping` puts back what was best.
    """

    leaves_a_mean = True

    def __init__(self):
        self.count, self.averages, self._own, self._room = 0, {}, None, {}

    def arrays(self):
        """{"conv2d_1.w": array, …} of the network, those in use."""
        return {f"{layer.name}.{name}": array for layer in self.net.layers for name, array in layer.arrays.items()}

    def on_train_begin(self, logs):
        """Begin anew."""
        self.count, self.averages, self._own = 0, {}, None

    def follow(self, share):
        """mean <- mean + share (weights - mean); the first weights are the first mean."""
        self.count += 1
        for name, array in (self._own or self.arrays()).items():
            if name not in self.averages:
                self.averages[name], self._room[name] = array.copy(), np.empty_like(array)
                continue
            room = self._room.setdefault(name, np.empty_like(array))
            np.subtract(array, self.averages[name], out=room)
            room *= share
            self.averages[name] += room

    def exchange(self, weights):
        """Write `weights` into the network."""
        for layer in self.net.layers:
            for name, array in layer.arrays.items():
                array[...] = weights[f"{layer.name}.{name}"]
            layer.touch()

    def on_test_begin(self, logs):
        """The mean is what is validated."""
        if self.averages:
            self._own = self.net.get_weights()
            self.exchange(self.averages)

    def on_epoch_over(self, epoch, logs):
        """Training goes on with its own weights."""
        if self._own is not None:
            self.exchange(self._own)
            self._own = None

    def on_train_end(self, logs):
        """The mean is the result."""
        if self.averages:
            self.exchange(self.averages)

    def get_state(self):
        """Mean and count, for a checkpoint."""
        return {"count": self.count, "averages": self.averages}

    def set_state(self, state):
        """Take back what `get_state` gave."""
        self.count, self.averages = state["count"], {name: np.array(array) for name, array in state["averages"].items()}


class WeightAverage(Averaged):
    """Exponential moving average: after each step  mean <- d mean + (1 - d) weights,  d = min(decay, (1 + t) / (10 + t)).

    t counts the steps; with warm_up=False d is `decay` from the first step on.  Polyak and Juditsky 1992; the growing d is
    TensorFlow's `num_updates`.  Running statistics of BatchNorm are averaged alike.
    """

    def __init__(self, decay=0.999, *, warm_up=True):
        super().__init__()
        self.decay = number(decay, "decay", "a number from 0 to below 1, such as 0.999", lambda decay: 0 <= decay < 1)
        self.warm_up = flag(warm_up, "warm_up")

    def on_train_batch_end(self, batch, logs):
        """Follow the weights."""
        kept = min(self.decay, (1 + self.count) / (10 + self.count)) if self.warm_up else self.decay
        self.follow(1 - kept)


class SWA(Averaged):
    """Stochastic weight averaging: the plain mean of the weights after each epoch from `start_epoch` (counted from 0) on.

    Izmailov et al. 2018, arXiv:1803.05407.  Running statistics of BatchNorm are averaged alike, where the paper computes them
    anew in one more pass over the examples.
    """

    def __init__(self, start_epoch):
        super().__init__()
        self.start_epoch = whole(start_epoch, "start_epoch", 0)

    def check_run(self, epochs, metrics):
        """Refuse a run that is over before."""
        if self.start_epoch >= epochs:
            what = f"start_epoch: got {self.start_epoch} (counted from 0) of {epochs} epochs"
            raise OptionError(f"{what}, which leaves nothing to average; needed 0 to {epochs - 1}")

    def on_epoch_end(self, epoch, logs):
        """Add the weights of this epoch."""
        if epoch >= self.start_epoch:
            self.follow(1 / (self.count + 1))


class Lookahead(Averaged):
    """After every k-th step a slow copy of the weights goes a part of the way to those in use, and takes their place:

        slow <- slow + alpha (weights - slow);  weights <- slow

    Zhang et al. 2019, arXiv:1907.08610, with alpha = 0.5 and k = 5.  `alpha` may be a function of how much of the run is done
    (0 to 1), such as `fading`.  The slow copy begins with the weights after the first step; running statistics of BatchNorm are
    treated alike.
    """

    def __init__(self, alpha=0.5, every=5):
        super().__init__()
        needed = "a number above 0 and up to 1, such as 0.5, or a function of how much of the run is done"
        if callable(alpha):
            self.alpha = callable_with(alpha, "alpha", needed)
        else:
            self.alpha = number(alpha, "alpha", needed, lambda alpha: 0 < alpha <= 1)
        self.every = whole(every, "every", 1)

    def on_train_batch_end(self, batch, logs):
        """Follow the weights, and lead them."""
        if not self.averages:
            self.follow(1.0)
        elif (self.count + 1) % self.every:
            self.count += 1
        else:
            self.follow(self.alpha(self.trainer.done) if callable(self.alpha) else self.alpha)
            self.exchange(self.averages)

    def on_test_begin(self, logs):
        """The weights in use are validated."""

    def on_train_end(self, logs):
        """They are the result, too."""


def fading(done):
    """1 - 0.95^5 done^3: the slow copy follows at once in the beginning and lags behind in the end.  Jordan 2024,
    arXiv:2404.00498, section 3.5.

    >>> [round(fading(done), 3) for done in (0, 0.5, 1)]
    [1.0, 0.903, 0.226]
    """
    return 1 - 0.95**5 * done**3
