"""The sizes of activations, gradients and updates, layer by layer, while a network learns."""

import csv
import io
from contextlib import contextmanager

import numpy as np

from fastconv.geometry import whole
from fastconv.layers import Block
from fastconv.training.batches import examples
from fastconv.training.callbacks.base import Callback
from fastconv.training.history import delivered
from fastconv.training.step import restore, volatile

__all__ = ["RECORDED", "Recorder"]

RECORDED = (
    "epoch",  # from 1, as in the history
    "iteration",  # steps done, this one included
    "layer",  # its label; a block has a row, and so has each layer inside
    "activation_mean",
    "activation_std",
    "activation_zeros",  # fraction of exact zeros: units that a ReLU has switched off
    "activation_gradient",  # root mean square of the loss's gradient with respect to the layer's output
    "gradient",  # Euclidean norm of the gradient of the layer's parameters
    "weight",  # norm of its parameters
    "update",  # norm of what this step has changed in them
    "update_ratio",  # update / weight; around 1e-3 is usual [CS231n, "Learning and evaluation"]
)


class Recorder(Callback):
    """Records sizes of every layer on a probe batch of examples, in a plain pass beside the training, of which no bit changes.

    x, y : the probe, a few examples (64 are plenty) that need not be in the training data
    every : iterations between two records; None for one in each epoch, at its first step

    `rows` is a list of dicts with the keys of `RECORDED`, one for each record and layer; None where a layer has no parameters.
    The pass works as in training (batch statistics, dropout); running statistics and random numbers are put back after it.
    """

    remembered = ("rows",)

    def __init__(self, x, y, *, every=None):
        self.x, self.y = x, y
        self.every = None if every is None else whole(every, "every", 1)
        self.rows, self._before = [], None

    def set_trainer(self, trainer):
        """Check the probe."""
        super().set_trainer(trainer)
        self._probe = examples(self.x, self.y, trainer.net, trainer.loss)

    def on_train_begin(self, logs):
        """Begin anew."""
        self.rows, self._before = [], None

    def on_train_batch_begin(self, batch, logs):
        """Keep the weights before a step that is recorded."""
        due = batch == 0 if self.every is None else self.trainer.history.iterations % self.every == 0
        self._before = [parameters(layer) for layer in self.net.walk()] if due else None

    def on_train_batch_end(self, batch, logs):
        """Record the step."""
        if self._before is not None:
            where = {"epoch": len(self.trainer.history.epoch) + 1, "iteration": self.trainer.history.iterations}
            found = zip(self.net.walk(), self._before, self.sizes(), strict=True)
            self.rows += [{**where, "layer": layer.label, **sizes, **moved(layer, before)} for layer, before, sizes in found]
            self._before = None

    def sizes(self):
        """What the probe shows of each layer, in the order of `Sequential.walk`."""
        kept, (x, y) = volatile(self.net), self._probe
        steps = {layer: Watched(layer) for layer in self.net.walk()}
        try:
            with np.errstate(all="ignore"), inside_blocks(steps):
                for layer, a in self.net.trace(x, training=True):
                    steps[layer].see(a)
                dy = self.trainer.loss.function(a, y)[1]
                for layer in reversed(self.net.layers):
                    dy = steps[layer].backward(dy)
            return [step.sizes for step in steps.values()]
        finally:
            restore(kept)

    def to_csv(self, path=None):
        """The rows as CSV text with a header line; written to `path` if given (all or nothing)."""
        text = io.StringIO()
        writer = csv.DictWriter(text, RECORDED, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return delivered(text.getvalue(), path)


class Watched:
    """A layer as a step of a pass that notes the sizes of its output, of the gradient of that, and of those of its parameters."""

    learns = True  # all gradients are wanted

    def __init__(self, layer):
        self.layer, self.sizes = layer, {}

    def forward(self, x, training=False):
        """As the layer's."""
        y = self.layer.forward(x, training)
        self.see(y)
        return y

    def see(self, y):
        """Note an output."""
        self.sizes |= of_activation(y)

    def backward(self, dy, needs_dx=True):
        """As the layer's, but that the gradient of the input is always there."""
        self.sizes["activation_gradient"] = float(np.sqrt(np.mean(np.square(dy, dtype=np.float64))))
        dx = self.layer.backward(dy)
        gradients = [g for _, g in self.layer.trainable_arrays().values()]
        self.sizes["gradient"] = norm(gradients) if gradients else None
        return dx


@contextmanager
def inside_blocks(steps):
    """Meanwhile the layers inside blocks work as these `steps`, {layer: `Watched`}, each by itself."""
    blocks = {layer: layer.steps for layer in steps if isinstance(layer, Block)}
    try:
        for block in blocks:
            block.steps = tuple(tuple(steps[layer] for layer in branch) for branch in block.branches)
        yield
    finally:
        for block, usual in blocks.items():
            block.steps = usual


def parameters(layer):
    """Copies of what is trained in a layer."""
    return [p.copy() for p, _ in layer.trainable_arrays().values()]


def of_activation(a):
    """Mean, standard deviation and fraction of zeros."""
    mean, std = float(a.mean(dtype=np.float64)), float(a.std(dtype=np.float64))
    return {"activation_mean": mean, "activation_std": std, "activation_zeros": 1 - np.count_nonzero(a) / max(a.size, 1)}


def moved(layer, before):
    """Norms of the parameters and of what a step has changed in them."""
    if not before:
        return dict.fromkeys(("weight", "update", "update_ratio"))
    after = [p for p, _ in layer.trainable_arrays().values()]
    weight, update = norm(before), norm([a - b for a, b in zip(after, before, strict=True)])
    return {"weight": weight, "update": update, "update_ratio": update / weight if weight else None}


def norm(arrays):
    """Euclidean norm of all numbers of some arrays."""
    return float(np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays)))
