"""What optimizers share: bounds on settings, memory that a step uses again, and weight decay.

The bounds keep a promise of the `Trainer`: gradients whose squares have a finite sum (each is below 2e19 in float32) move a
parameter by less than 1e38 where float32 ends at 3.4e38, so that a step cannot make ordinary weights infinite.
"""

from dataclasses import fields
from math import isfinite
from numbers import Real

import numpy as np

from fastconv.errors import OptionError

__all__ = ["RATE", "SHARE", "SMALL", "bounded", "decayed", "scratch", "zeros"]

RATE, SHARE, SMALL = (0, 1e6), (0, 0.999999), (1e-12, 1)  # of a learning rate, of what is kept of a mean, of an epsilon


def bounded(optimizer, **bounds):
    """Settings as Python floats (a NumPy scalar would change the dtype of float32 arithmetic); OptionError out of bounds."""
    for name, (least, most) in bounds.items():
        value = getattr(optimizer, name)
        if not isinstance(value, Real) or isinstance(value, bool):
            raise OptionError(f"{name}: got {value!r}; needed a number")
        if not (isfinite(value) and least <= value <= most):
            default = next(f.default for f in fields(optimizer) if f.name == name)
            usual = f"; the usual value is {default}" if isinstance(default, float) and default else ""
            raise OptionError(f"{name}: got {float(value)!r}; needed a number from {least} to {most}{usual}")
        object.__setattr__(optimizer, name, float(value))


def zeros(p):
    """A mean or sum that starts at 0; contiguous, whatever the memory order of p."""
    return np.zeros(p.shape, p.dtype)


def scratch(state, p, name="scratch"):
    """An array like p for what is needed within a step only; it is no part of a checkpoint."""
    if name not in state:
        state[name] = np.empty(p.shape, p.dtype)
    return state[name]


def decayed(p, g, state, weight_decay):
    """g + weight_decay p, the gradient of the loss and of weight_decay |p|^2 / 2; g itself where there is no decay."""
    if not weight_decay:
        return g
    total = np.multiply(p, weight_decay, out=scratch(state, p, "scratch_decay"))
    total += g
    return total
