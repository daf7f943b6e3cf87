"""A rate of its own for each number, from the gradients that it has seen: Adagrad and what came of it."""

from dataclasses import dataclass

import numpy as np

from fastconv.functional.updates import Together, adadelta_update
from fastconv.training.optimizers.settings import RATE, SHARE, SMALL, bounded, decayed, scratch, zeros

__all__ = ["AdaDelta", "Adagrad", "RMSProp", "WindowGrad"]


@dataclass(frozen=True)
class Adagrad:
    """s <- s + g^2;  p <- p - lr g / (sqrt(s) + eps).  Duchi, Hazan and Singer 2011, figure 1; eps outside as in PyTorch.

    lr : 0 to 1e6;  eps : 1e-12 to 1;  weight_decay : 0 to 1, g includes weight_decay p;  OptionError otherwise
    """

    lr: float = 1e-2
    eps: float = 1e-10
    weight_decay: float = 0.0

    def __post_init__(self):
        bounded(self, lr=RATE, eps=SMALL, weight_decay=(0, 1))

    def init(self, p):
        """State for one parameter array."""
        return {"sum": zeros(p)}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        g, room = decayed(p, g, state, self.weight_decay), scratch(state, p)
        state["sum"] += np.multiply(g, g, out=room)
        np.sqrt(state["sum"], out=room)
        room += self.eps
        p -= times(self.lr, np.divide(g, room, out=room))


@dataclass(frozen=True)
class WindowGrad:
    """s <- rho s + (1 - rho) g^2;  p <- p - lr g / sqrt(s + eps): Adagrad over a window of about 1 / (1 - rho) steps.

    "Idea 1" of Zeiler 2012, arXiv:1212.5701, section 3.1, as the trainer "windowgrad" of ConvNetJS computes it.

    lr : 0 to 1e6;  rho : 0 to 0.999999;  eps : 1e-12 to 1;  weight_decay : 0 to 1, g includes weight_decay p
    """

    lr: float = 1e-2
    rho: float = 0.95
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self):
        bounded(self, lr=RATE, rho=SHARE, eps=SMALL, weight_decay=(0, 1))

    def init(self, p):
        """State for one parameter array."""
        return {"square": zeros(p)}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        g, room = decayed(p, g, state, self.weight_decay), scratch(state, p)
        follow(state["square"], self.rho, np.multiply(g, g, out=room))
        root(state["square"], self.eps, room)
        p -= times(self.lr, np.divide(g, room, out=room))


@dataclass(frozen=True)
class AdaDelta:
    """s <- rho s + (1 - rho) g^2;  d = g sqrt(u + eps) / sqrt(s + eps);  u <- rho u + (1 - rho) d^2;  p <- p - lr d.

    Zeiler 2012, arXiv:1212.5701, algorithm 1, which has no lr (1.0).  ConvNetJS computes the same.

    lr : 0 to 1e6;  rho : 0 to 0.999999;  eps : 1e-12 to 1;  weight_decay : 0 to 1, g includes weight_decay p
    """

    lr: float = 1.0
    rho: float = 0.95
    eps: float = 1e-6
    weight_decay: float = 0.0

    def __post_init__(self):
        bounded(self, lr=RATE, rho=SHARE, eps=SMALL, weight_decay=(0, 1))

    def init(self, p):
        """State for one parameter array."""
        return {"square": zeros(p), "moved": zeros(p)}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        self._move([(p, g, state)], Together())

    def step_together(self, moves, together):
        """`step` for each (p, g, state), in one pass over all; `together` is the caller's to keep."""
        self._move(moves, together)

    def _move(self, moves, together):
        arrays = [(g, p, state["square"], state["moved"]) for p, g, state in moves]
        adadelta_update(arrays, self.lr, self.rho, self.eps, self.weight_decay, together)


@dataclass(frozen=True)
class RMSProp:
    """s <- rho s + (1 - rho) g^2;  v <- momentum v + g / (sqrt(s) + eps);  p <- p - lr v.

    Tieleman and Hinton 2012, lecture 6e of "Neural networks for machine learning"; eps and momentum as in PyTorch, whose rho
    is called alpha.

    lr : 0 to 1e6;  rho, momentum : 0 to 0.999999;  eps : 1e-12 to 1;  weight_decay : 0 to 1, g includes weight_decay p
    """

    lr: float = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        bounded(self, lr=RATE, rho=SHARE, momentum=SHARE, eps=SMALL, weight_decay=(0, 1))

    def init(self, p):
        """State for one parameter array."""
        return {"square": zeros(p), "velocity": zeros(p)} if self.momentum else {"square": zeros(p)}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        g, room = decayed(p, g, state, self.weight_decay), scratch(state, p)
        follow(state["square"], self.rho, np.multiply(g, g, out=room))
        np.sqrt(state["square"], out=room)
        room += self.eps
        np.divide(g, room, out=room)
        if self.momentum:
            v = state["velocity"] if "velocity" in state else state.setdefault("velocity", zeros(p))
            v *= self.momentum
            v += room
            np.copyto(room, v)
        p -= times(self.lr, room)


def follow(mean, rho, new):
    """mean <- rho mean + (1 - rho) new, in place; `new` is used up."""
    mean *= rho
    mean += times(1 - rho, new)


def root(square, eps, out):
    """out <- sqrt(square + eps)."""
    np.add(square, eps, out=out)
    np.sqrt(out, out=out)


def times(factor, array):
    """`array`, multiplied in place."""
    array *= factor
    return array
