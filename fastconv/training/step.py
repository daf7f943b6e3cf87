"""One training step, all or nothing: forward, loss, backward, a look at the numbers, update."""

import functools
from collections import defaultdict
from dataclasses import replace
from math import isfinite, nan

import numpy as np

from fastconv.errors import ModelFileError, TrainingError
from fastconv.functional.softmax import LABELS
from fastconv.functional.updates import Together, sum_of_squares
from fastconv.layers import Normalize
from fastconv.layers.settable import is_ours
from fastconv.training.batches import refuse_nonfinite
from fastconv.training.diagnose import INPUT, suspect
from fastconv.training.losses import mean

__all__ = ["NotFinite", "Stepper"]


class NotFinite(TrainingError):
    """A loss or a gradient that is not a finite number; `of_input`: because the examples are not."""

    of_input = False


class Plan:
    """What a step does to a network in one `Sequential.state`, None for one of which that does not tell everything.

    trained : (layer, name, parameter, gradient) of all that is trained; `gradients` and `layers` of these
    drifting : what else a training pass changes; see the function of this name
    moves : for optimizers of the type `kind`; see `Stepper.moves`
    """

    def __init__(self, state, trained, drifting):
        self.state, self.trained, self.drifting = state, trained, drifting
        self.gradients = [g for *_, g in trained]
        self.layers = list(dict.fromkeys(layer for layer, name, *_ in trained if layer.rate(name)))
        self.kind, self.moves = None, ()


class Stepper:
    """Steps of one network with one loss; keeps the optimizer's state of each parameter.

    A step whose loss or gradients are not finite changes no weight, statistic or random draw and raises NotFinite, a
    TrainingError.  All gradients are known to be finite, and their squares to have a finite sum, before the first weight is
    written; with the bounds that SGD and Adam put on their settings, such an update leaves finite weights finite.  (An optimizer
    of the user's own may overflow them: the next step finds it.)
    """

    def __init__(self, net, loss, clip_norm=None, clip_value=None):
        self.net, self.loss = net, loss
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self._states, self._together = {}, defaultdict(Together)
        self._plan = Plan(None, (), ())

    def __call__(self, x, y, optimizer, clock, finite=True):
        """One step on a batch, targets as the loss wants them; (mean loss, predictions before the update).

        finite : whether x is known to be; if not, DataError where it is not.
        """
        if not (finite or self.finds_nonfinite(x, y)):
            refuse_nonfinite(x, "x")
        plan = self.plan()
        before = as_now(plan.drifting)
        with np.errstate(all="ignore"):
            try:
                value, scores = self.gradients(x, y, clock)
                plan = self.plan()
                norm = self.length(plan.gradients) if isfinite(value) else nan
            except BaseException:
                restore(before)
                raise
            if not isfinite(norm):
                restore(before)
                if not finite:
                    refuse_nonfinite(x, "x")
                raise self.refused(x, y, value, before)
            if self.clip_norm is not None or self.clip_value is not None:
                clip(plan.gradients, norm, self.clip_norm, self.clip_value)
            self.update(optimizer, plan)
        clock.lap("update")
        return value, scores

    def gradients(self, x, y, clock):
        """The loss, and its gradients in the layers: in those of one chain always, in others where the loss is finite."""
        found = self.at_once(x, y)
        if found is not None:
            clock.lap("backward")
            return found
        scores = self.net.forward(x, training=True)
        value, dy = self.loss.function(scores, y)
        value += self.net.penalty()
        clock.lap("forward")
        if isfinite(value):
            self.net.backward(dy)
        clock.lap("backward")
        return value, scores

    def at_once(self, x, y):
        """(loss, predictions) where a chain of small layers goes forward and back in one pass, None where none does.  The loss is
        not finite then for a label that is no class."""
        found = self.net.forward_backward(x, y, self.loss.smoothing) if self.is_cross_entropy(y) else None
        if found is None:
            return None
        scores, losses = found
        return mean(losses) + self.net.penalty(), scores

    def finds_nonfinite(self, x, y):
        """Whether a step by itself has no finite loss where x is not finite: in one pass, behind nothing that could hide it."""
        chain = self.net.chain_of_scores(len(x)) if self.is_cross_entropy(y) else None
        return chain is not None and all(isinstance(layer, Normalize) for layer in chain[0])

    def is_cross_entropy(self, y):
        """Whether a chain can compute the loss: of one class for each example."""
        return y.dtype == LABELS and y.ndim == 1 and self.loss.smoothing is not None

    def plan(self):
        """The `Plan` for the network as it is."""
        state = self.net.state
        if self._plan.state is not state:
            if not all(is_ours(type(layer)) for layer in self.net.walk()):
                state = None  # a layer of somebody's own may say something else in each step
            trained = [(layer, name, p, g) for layer in self.net.layers for name, (p, g) in layer.trainable_arrays().items()]
            self._plan = Plan(state, trained, drifting(self.net))
        return self._plan

    def length(self, arrays):
        """Length of the vector of all numbers; infinite or NaN where one is, or where their squares overflow."""
        return sum_of_squares(arrays, self._together["squares"]) ** 0.5

    def update(self, optimizer, plan):
        """Move every trainable parameter, all of one rate together where the optimizer knows how."""
        if plan.kind is not type(optimizer):
            plan.kind, plan.moves = type(optimizer), self.moves(optimizer, plan.trained)
        try:
            for place, (rate, some) in enumerate(plan.moves):
                step_all(paced(optimizer, rate), some, self._together[place])
        finally:
            for layer in plan.layers:
                layer.touch()

    def moves(self, optimizer, trained):
        """[(rate, [(parameter, gradient, state), ...]), ...] of all that has a rate."""
        found = {}
        for layer, name, p, g in trained:
            if rate := layer.rate(name):
                found.setdefault(rate, []).append((p, g, self._state(optimizer, layer, name, p)))
        return list(found.items())

    def states(self, optimizer):
        """{"conv2d_1.w": state, …} of an optimizer of this type, without what is needed within a step only."""
        return {
            f"{layer}.{name}": {key: value for key, value in state.items() if not key.startswith("scratch")}
            for (kind, layer, name), (_, state) in self._states.items()
            if kind is type(optimizer)
        }

    def set_states(self, optimizer, states):
        """Take back what `states` gave; states of other types are forgotten.  ModelFileError: arrays that do not fit."""
        found = {}
        for layer, name, p, _ in self.plan().trained:
            state = {key: own(value) for key, value in states.get(f"{layer.name}.{name}", {}).items()}
            for key, value in state.items():
                if isinstance(value, np.ndarray) and (value.shape, value.dtype) != (p.shape, p.dtype):
                    what = f"{layer.name}.{name}: optimizer state {key!r}"
                    raise ModelFileError(f"{what} is {value.dtype} {value.shape}; its parameter is {p.dtype} {p.shape}")
            if state:
                found[type(optimizer), layer.name, name] = layer, state
        self._states, self._plan.kind = found, None

    def _state(self, optimizer, layer, name, p):
        key = type(optimizer), layer.name, name  # settings may change between steps, by a schedule or a callback
        owner, state = self._states.get(key, (None, None))
        if owner is not layer:  # at first, and where another layer has taken its place
            state = optimizer.init(p)
            self._states[key] = layer, state
        return state

    def refused(self, x, y, value, before):
        """The error for a batch that gave numbers that are not finite; weights, statistics and draws are as before it."""
        cause = suspect(self.net, self.loss, x, y)
        restore(before)
        what = f"the loss is {value}" if not isfinite(value) else f"the loss is {value:.4g}, but its gradient overflows"
        error = NotFinite(f"{what}: {cause}")
        error.of_input = cause.startswith(INPUT)
        return error


def step_all(optimizer, moves, together):
    """The optimizer's step for each (p, g, state)."""
    if steps_together(type(optimizer)):
        optimizer.step_together(moves, together)
    else:
        for move in moves:
            optimizer.step(*move)


@functools.cache
def steps_together(kind):
    """Whether `step_together` of an optimizer class does what its `step` does: not where a subclass has only a new `step`."""
    owner = next((cls for cls in kind.__mro__ if {"step", "step_together"} & vars(cls).keys()), kind)
    return "step_together" in vars(owner)


def paced(optimizer, rate):
    """The optimizer with its lr times `rate`.  Where weight decay takes lr times weight_decay of a weight in a step, that stays,
    even beyond the bounds on settings: it is the product that they guard."""
    if rate == 1:
        return optimizer
    lr = optimizer.lr * rate
    if not getattr(optimizer, "decays_by_lr", False):
        return replace(optimizer, lr=lr)
    found = replace(optimizer, lr=lr, weight_decay=0.0)
    object.__setattr__(found, "weight_decay", optimizer.weight_decay / rate)
    return found


def own(value):
    """A copy of an array that can be written; numbers as they are."""
    return np.array(value, order="C") if isinstance(value, np.ndarray) else value


def clip(gradients, norm, most, largest):
    """Gradients made smaller in place: all by one factor where their `norm` is above `most`; then each within ±`largest`."""
    if most is not None and norm > most:
        for g in gradients:
            g *= most / norm
    if largest is not None:
        for g in gradients:
            np.clip(g, -largest, largest, out=g)


def volatile(net):
    """What a training pass changes besides gradients, as it is now: for `restore`."""
    return as_now(drifting(net))


def drifting(net):
    """(layer, names of its running statistics) of those in which a training pass changes these, or the number of random draws."""
    named = [(layer, tuple(layer.buffer_shapes(layer.input_shape))) for layer in net.layers]
    return [(layer, names) for layer, names in named if names or hasattr(layer, "draws")]


def as_now(layers):
    """(layer, running statistics, draws) of what is `drifting`."""
    return [
        (layer, {name: layer.arrays[name].copy() for name in names}, getattr(layer, "draws", None)) for layer, names in layers
    ]


def restore(kept):
    """Put back what `volatile` kept."""
    for layer, arrays, draws in kept:
        for name, values in arrays.items():
            layer.arrays[name][...] = values
        if arrays:
            layer.touch()
        if draws is not None:
            layer.draws = draws
