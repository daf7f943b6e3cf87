"""One training step, all or nothing: forward, loss, backward, a look at the numbers, update."""

import numpy as np

from fastconv.errors import TrainingError
from fastconv.training.diagnose import squares, suspect

__all__ = ["NotFinite", "Stepper"]


class NotFinite(TrainingError):
    """A loss or a gradient that is not a finite number."""


class Stepper:
    """Steps of one network with one loss; keeps the optimizer's state of each parameter.

    A step whose loss or gradients are not finite changes nothing and raises NotFinite, a TrainingError.  All gradients are known
    to be finite, and their squares to have a finite sum, before the first weight is written; with the bounds that SGD and Adam
    put on their settings, such an update leaves finite weights finite.  (An optimizer of the user's own may overflow them: the
    next step finds it.)
    """

    def __init__(self, net, loss):
        self.net, self.loss = net, loss
        self._states = {}

    def __call__(self, x, y, optimizer, clock):
        """One step on a batch, targets as the loss wants them; (mean loss, predictions before the update)."""
        before = volatile(self.net)
        try:
            with np.errstate(all="ignore"):
                value, scores = self.gradients(x, y, clock)
                norm = self.norm() if np.isfinite(value) else np.nan
        except BaseException:
            restore(before)
            raise
        if not np.isfinite(norm):
            raise self.refused(x, y, value, before)
        self.update(optimizer)
        clock.lap("update")
        return value, scores

    def gradients(self, x, y, clock):
        """The loss, and the gradients left in the layers where it is finite."""
        scores = self.net.forward(x, training=True)
        value, dy = self.loss.function(scores, y)
        clock.lap("forward")
        if np.isfinite(value):
            self.net.backward(dy)
        clock.lap("backward")
        return value, scores

    def norm(self):
        """Length of the vector of all gradients; infinite or NaN where one is, or where its squares overflow."""
        arrays = [g for layer in self.net.layers for _, g in layer.trainable_arrays().values()]
        return float(sum(map(squares, arrays), start=np.float64(0))) ** 0.5

    def update(self, optimizer):
        """Move every trainable parameter; nothing is allocated after the first time."""
        for layer in self.net.layers:
            arrays = layer.trainable_arrays()
            for name, (p, g) in arrays.items():
                optimizer.step(p, g, self._state(optimizer, layer.name, name, p))
            if arrays:
                layer.touch()

    def _state(self, optimizer, layer, name, p):
        key = type(optimizer), layer, name  # settings may change between steps, by a schedule or a callback
        if key not in self._states:
            self._states[key] = optimizer.init(p)
        return self._states[key]

    def refused(self, x, y, value, before):
        """The error for a batch that gave numbers that are not finite; weights, statistics and draws are as before it."""
        restore(before)
        cause = suspect(self.net, self.loss, x, y)
        restore(before)
        what = f"the loss is {value}" if not np.isfinite(value) else f"the loss is {value:.4g}, but its gradient overflows"
        return NotFinite(f"{what}: {cause}")


def volatile(net):
    """What a training pass changes besides gradients: running statistics and the number of random draws, as they are now."""
    kept = []
    for layer in net.layers:
        names = layer.buffer_shapes(layer.input_shape)
        if names or hasattr(layer, "draws"):
            kept.append((layer, {name: layer.arrays[name].copy() for name in names}, getattr(layer, "draws", None)))
    return kept


def restore(kept):
    """Put back what `volatile` kept."""
    for layer, arrays, draws in kept:
        for name, values in arrays.items():
            layer.arrays[name][...] = values
        if arrays:
            layer.touch()
        if draws is not None:
            layer.draws = draws
