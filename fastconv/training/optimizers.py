"""Optimizers: how a gradient moves a parameter.

Settings are frozen; what changes from step to step is in the state that `init` makes for one parameter array.  A step works in
place.  `dataclasses.replace(optimizer, lr=...)` is the same optimizer with another learning rate.

The bounds on the settings keep a promise of the `Trainer`: gradients whose squares have a finite sum (each is below 2e19 in
float32) move a parameter by less than 1e38 where float32 ends at 3.4e38, so that a step cannot make ordinary weights infinite.
"""

from dataclasses import dataclass, fields
from math import isfinite
from numbers import Real

import numpy as np

from fastconv.errors import OptionError
from fastconv.functional.updates import adam_update, sgd_update

__all__ = ["OPTIMIZERS", "SGD", "Adam"]


@dataclass(frozen=True)
class SGD:
    """v <- momentum v + g;  p <- p - lr v.  With nesterov: p <- p - lr (g + momentum v).

    Robbins and Monro 1951; momentum: Polyak 1964 (v starts at 0, g is not scaled by 1 - momentum); nesterov: Nesterov 1983 as
    Sutskever et al. 2013 write it, with v after its update.  These are PyTorch's conventions.

    lr : 0 to 1e6, per mean gradient of a batch;  momentum : 0 to 0.999999;  OptionError otherwise

    >>> p, g = np.array([1.0]), np.array([0.5])
    >>> sgd = SGD(0.1, momentum=0.9)
    >>> state = sgd.init(p)
    >>> for _ in range(2):
    ...     sgd.step(p, g, state)
    >>> p
    array([0.855])
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self):
        as_floats(self, "lr", "momentum")
        check(self, "lr", 0, 1e6)
        check(self, "momentum", 0, 0.999999)
        if self.nesterov and not self.momentum:
            raise OptionError("nesterov: needs a momentum; pass momentum=0.9")

    def init(self, p):
        """State for one parameter array."""
        return {"velocity": np.zeros(p.shape, p.dtype)} if self.momentum else {"scratch": np.empty_like(p)}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        if not self.momentum:
            p -= np.multiply(g, self.lr, out=state.get("scratch"))
            return
        if "velocity" not in state:  # momentum switched on in the middle of a run
            state["velocity"] = np.zeros(p.shape, p.dtype)
        sgd_update(p, g, state["velocity"], self.lr, self.momentum, self.nesterov)


@dataclass(frozen=True)
class Adam:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).

    Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; t counts the steps of this parameter from 1.

    lr : 0 to 1e6;  beta1, beta2 : 0 to 0.999999;  eps : 1e-12 to 1;  OptionError otherwise

    >>> p, adam = np.array([1.0]), Adam(0.1)
    >>> adam.step(p, np.array([123.0]), adam.init(p))
    >>> p.round(6)
    array([0.9])
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self):
        as_floats(self, "lr", "beta1", "beta2", "eps")
        check(self, "lr", 0, 1e6)
        check(self, "beta1", 0, 0.999999)
        check(self, "beta2", 0, 0.999999)
        check(self, "eps", 1e-12, 1)

    def init(self, p):
        """State for one parameter array."""
        return {"mean": np.zeros(p.shape, p.dtype), "square": np.zeros(p.shape, p.dtype), "t": 0}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        state["t"] += 1
        lr, correction = self.lr / (1 - self.beta1 ** state["t"]), (1 - self.beta2 ** state["t"]) ** -0.5
        adam_update(p, g, state["mean"], state["square"], self.beta1, self.beta2, lr, correction, self.eps)


OPTIMIZERS = {"sgd": SGD, "adam": Adam}


def as_floats(optimizer, *names):
    """Settings as Python floats: a NumPy scalar would change the dtype of float32 arithmetic."""
    for name in names:
        value = getattr(optimizer, name)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise OptionError(f"{name}: got {value!r}; needed a number")
        object.__setattr__(optimizer, name, float(value))


def check(optimizer, name, least, most):
    """OptionError unless a setting is within its bounds."""
    value = getattr(optimizer, name)
    if not (isfinite(value) and least <= value <= most):
        default = next(f.default for f in fields(optimizer) if f.name == name)
        usual = f"; the usual value is {default}" if isinstance(default, float) and default else ""
        raise OptionError(f"{name}: got {value!r}; needed a number from {least} to {most}{usual}")
