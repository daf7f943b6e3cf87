"""Several networks that answer together."""

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry import whole
from fastconv.layers import Softmax
from fastconv.layers.connect import listed
from fastconv.models.inputs import checked_batch
from fastconv.models.sequential import checked_network

__all__ = ["Ensemble"]


class Ensemble:
    """Networks of the same task, whose answers are averaged: mean of the class probabilities.

    Networks that were trained from different seeds make different mistakes, and their mean makes fewer; AlexNet's and VGG's
    published results are such means.

    Parameters
    ----------
    nets : networks with the same input and output shapes, whose `predict` gives probabilities (a `Trainer` sees to that)

    Raises
    ------
    OptionError : no network, one that gives raw scores, or softmax and sigmoid mixed;  ShapeError : shapes that differ

    >>> from fastconv.models import lenet5
    >>> both = Ensemble([lenet5(seed=0), lenet5(seed=1)])
    >>> both.predict(np.zeros((3, 32, 32, 3))).shape
    (3, 10)
    """

    def __init__(self, nets):
        self.nets = listed(nets, "nets", "networks, such as [net]")
        if not self.nets:
            raise OptionError("nets: got none; needed at least one network")
        for i, net in enumerate(self.nets):
            checked_network(net, f"nets[{i}]")
            first = self.nets[0]
            if (net.input_shape, net.output_shape) != (first.input_shape, first.output_shape):
                raise ShapeError(
                    f"nets[{i}]: goes from {net.input_shape} to {net.output_shape}; needed {first.input_shape} to "
                    f"{first.output_shape}, as nets[0]"
                )
            if answer_of(net) == "linear":
                raise OptionError(
                    f"nets[{i}]: predict gives raw scores, whose mean says little; set net.output to softmax or sigmoid"
                )
            if answer_of(net) != answer_of(first):
                raise OptionError(
                    f"nets[{i}]: predict gives {answer_of(net)}; needed {answer_of(first)}, as nets[0]; set net.output alike"
                )

    @property
    def input_shape(self):
        """(height, width, channels) or (features,) of all of them."""
        return self.nets[0].input_shape

    @property
    def output_shape(self):
        """Shape of the answer for one input."""
        return self.nets[0].output_shape

    @property
    def classes(self):
        """Names of the classes, if all networks have the same; else None."""
        names = {net.classes for net in self.nets}
        return names.pop() if len(names) == 1 else None

    def predict(self, x, batch_size=256):
        """Mean of the networks' probabilities for x (N, *input_shape), `batch_size` inputs at a time."""
        x, batch_size = checked_batch(x, self.input_shape), whole(batch_size, "batch_size", 1)
        total = np.zeros((len(x), *self.output_shape))
        for net in self.nets:
            total += net.predict(x, batch_size)
        return (total / len(self.nets)).astype(np.result_type(*(net.dtype for net in self.nets)))

    def __repr__(self):
        return f"<Ensemble of {len(self.nets)} networks: {self.input_shape} -> {self.output_shape}>"


def answer_of(net):
    """What `predict` gives: "softmax", "sigmoid" or, for raw scores, "linear"."""
    if net.ends_in_logits:
        return net.output
    return "softmax" if isinstance(net.layers[-1], Softmax) else "sigmoid"
