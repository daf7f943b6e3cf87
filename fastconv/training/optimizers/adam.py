"""Adam, and Adam with weight decay of its own."""

from dataclasses import dataclass
from typing import ClassVar

from fastconv.functional.updates import Together, adam_update
from fastconv.training.optimizers.settings import RATE, SHARE, SMALL, bounded, zeros

__all__ = ["Adam", "AdamW"]


@dataclass(frozen=True)
class Adam:
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  p <- p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).

    Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; t counts the steps of this parameter from 1.  g includes weight_decay p.

    lr : 0 to 1e6;  beta1, beta2 : 0 to 0.999999;  eps : 1e-12 to 1;  weight_decay : 0 to 1;  OptionError otherwise

    >>> p, adam = np.array([1.0]), Adam(0.1)
    >>> adam.step(p, np.array([123.0]), adam.init(p))
    >>> p.round(6)
    array([0.9])
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        bounded(self, lr=RATE, beta1=SHARE, beta2=SHARE, eps=SMALL, weight_decay=(0, 1))

    def init(self, p):
        """State for one parameter array."""
        return {"mean": zeros(p), "square": zeros(p), "t": 0}

    def step(self, p, g, state):
        """Update p in place from its gradient g."""
        self._move([(p, g, state)], Together())

    def step_together(self, moves, together):
        """`step` for each (p, g, state), those of one dtype and t in one pass over all; `together` is the caller's to keep."""
        alike = {}
        for move in moves:
            alike.setdefault((move[0].dtype, move[2]["t"]), []).append(move)
        for place, some in enumerate(alike.values()):
            self._move(some, together.part(place))

    def _move(self, moves, together):
        """Moves of one dtype and t."""
        (p, _, state), *_ = moves
        t, number = state["t"] + 1, p.dtype.type
        # 0.999 in float32, whose 1 - beta2 is off by 1.3e-5, needs the correction of that very number
        beta1, beta2 = float(number(self.beta1)), float(number(self.beta2))
        lr, correction = self.lr / (1 - beta1**t), (1 - beta2**t) ** -0.5
        arrays = [(g, p, state["mean"], state["square"]) for p, g, state in moves]
        adam_update(arrays, beta1, beta2, lr, correction, self.eps, *self._decay(), together)
        for _, _, state in moves:
            state["t"] = t

    def _decay(self):
        """(what g includes of p, what is kept of p)"""
        return self.weight_decay, 1.0


@dataclass(frozen=True)
class AdamW(Adam):
    """p <- (1 - lr weight_decay) p, then the step of Adam from the gradient of the loss alone.

    Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, with PyTorch's lr · weight_decay for the paper's eta · lambda.
    Settings as in `Adam`; where lr weight_decay is above 1, it counts as 1.

    >>> p, adam = np.array([1.0]), AdamW(0.1, weight_decay=0.5)
    >>> adam.step(p, np.array([123.0]), adam.init(p))
    >>> p.round(6)  # 0.95, and 0.1 less
    array([0.85])
    """

    weight_decay: float = 1e-2

    decays_by_lr: ClassVar[bool] = True  # a step takes lr times weight_decay of each weight

    def _decay(self):
        return 0.0, max(1 - self.lr * self.weight_decay, 0.0)
