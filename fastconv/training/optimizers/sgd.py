"""Gradient descent, plain or with momentum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastconv.errors import OptionError
from fastconv.functional.updates import Together, sgd_update
from fastconv.layers.values import flag
from fastconv.training.optimizers.settings import RATE, SHARE, bounded, decayed, scratch, zeros

__all__ = ["SGD"]


@dataclass(frozen=True)
class SGD:
    """v <- momentum v + g;  p <- p - lr v.  With nesterov: p <- p - lr (g + momentum v).  g includes weight_decay p.

    Robbins and Monro 1951; momentum: Polyak 1964 (v starts at 0, g is not scaled by 1 - momentum); nesterov: Nesterov 1983 as
    Sutskever et al. 2013 write it, with v after its update.  These are PyTorch's conventions.

    lr : 0 to 1e6, per mean gradient of a batch;  momentum : 0 to 0.999999;  OptionError otherwise
    weight_decay : 0 to 1 and to 1 / lr (beyond that weights change their sign), of all parameters, as in PyTorch

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
    weight_decay: float = 0.0

    decays_by_lr: ClassVar[bool] = True  # a step takes lr times weight_decay of each weight

    def __post_init__(self):
        bounded(self, lr=RATE, momentum=SHARE, weight_decay=(0, 1))
        object.__setattr__(self, "nesterov", flag(self.nesterov, "nesterov"))
        if self.nesterov and not self.momentum:
            raise OptionError("nesterov: needs a momentum; pass momentum=0.9")
        if self.lr * self.weight_decay > 1:
            raise OptionError(f"weight_decay: got {self.weight_decay}; needed at most 1 / lr = {1 / self.lr:.3g}; usual is 1e-4")

    def init(self, p):
        """State for one parameter array."""
        return {"velocity": zeros(p)} if self.momentum else {}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        if not self.momentum:
            p -= np.multiply(decayed(p, g, state, self.weight_decay), self.lr, out=scratch(state, p))
            return
        self._move([(p, g, state)], Together())

    def step_together(self, moves, together):
        """`step` for each (p, g, state), with momentum in one pass over all; `together` is the caller's to keep."""
        if self.momentum:
            self._move(moves, together)
            return
        for move in moves:
            self.step(*move)

    def _move(self, moves, together):
        arrays = together.once(moves, lambda: [(g, p, velocity(p, state)) for p, g, state in moves])
        sgd_update(arrays, self.lr, self.momentum, self.nesterov, self.weight_decay, together)


def velocity(p, state):
    """v of one parameter; 0 at first, also where momentum is switched on in the middle of a run."""
    if "velocity" not in state:
        state["velocity"] = zeros(p)
    return state["velocity"]
