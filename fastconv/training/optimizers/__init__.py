"""Optimizers: how a gradient moves a parameter.

Settings are frozen; what changes from step to step is in the state that `init` makes for one parameter array.  A step works in
place and allocates no array after the first.  `dataclasses.replace(optimizer, lr=...)` is the same optimizer with another rate.

An optimizer of your own needs `init(p)`, a dict of arrays and numbers, and `step(p, g, state)`; as a frozen dataclass with a
setting `lr` it also works with schedules, callbacks and checkpoints.  (`step_together(moves, together)`, which SGD, Adam and
AdaDelta have, is for moving many arrays in one pass; nobody needs it.)
"""

from fastconv.training.optimizers.adagrad import AdaDelta, Adagrad, RMSProp, WindowGrad
from fastconv.training.optimizers.adam import Adam, AdamW
from fastconv.training.optimizers.sgd import SGD

__all__ = ["OPTIMIZERS", "SGD", "AdaDelta", "Adagrad", "Adam", "AdamW", "RMSProp", "WindowGrad"]

OPTIMIZERS = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "adadelta": AdaDelta,
    "windowgrad": WindowGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
