"""The blocks of the literature: sums of branches and branches side by side."""

import numpy as np

from fastconv import functional as F
from fastconv.errors import OptionError, ShapeError
from fastconv.layers.activations import before_activation, check_activation
from fastconv.layers.block import Block, layer_list

__all__ = ["Add", "Concat", "Residual"]


class Add(Block):
    """activation(sum of branches): every branch, a layer or a list of layers, sees the same input; an empty list hands it on.

    `activation`: None, "relu", "leaky_relu", "sigmoid" or "tanh", computed in one pass with the last sum.
    """

    kind = "add"
    nested = ("branches",)

    def __init__(self, branches, *, activation=None, name=None):
        super().__init__(branches, name)
        if len(self.branches) < 2:
            raise OptionError(f"branches: got {len(self.branches)}; needed two or more to add")
        self.activation = check_activation(activation)

    def joined_shape(self, shapes):
        return same_shape(self, shapes)

    def join(self, outputs, x, training):
        y = self.summed(outputs, None if training else reusable(outputs[0], x))
        if training:
            self.keep(y=y if self.activation else None)
        return y

    def summed(self, outputs, out=None):
        """activation(sum of `outputs`), in `out` where given; two at a time, from the left."""
        y, *others = outputs
        for i, other in enumerate(others, start=1):
            last = i == len(others)
            y = F.add(y, other, activation=self.activation if last else None, out=out if i == 1 else y)
        return y

    def split(self, dy):
        return [before_activation(self.activation, dy, self.kept("y"))] * len(self.branches)


def same_shape(block, shapes):
    """The shape that all branches agree on, or ShapeError."""
    if len(set(map(tuple, shapes))) > 1:
        got = " and ".join("×".join(map(str, shape)) for shape in shapes)
        raise ShapeError(
            f"{block.label}: its branches give {got}, which cannot be added; end them alike: a shortcut of "
            f"fc.Conv2D({shapes[0][-1]}, 1, stride=…) changes sizes and channels"
        )
    return tuple(shapes[0])


def reusable(y, x):
    """y where nobody else needs its memory, None where it is the block's input x or a view of it."""
    return None if np.may_share_memory(y, x) or not y.flags.writeable else y


class Residual(Add):
    """activation(body(x) + shortcut(x)).  He, Zhang, Ren and Sun 2016, arXiv:1512.03385, equations 1 and 2.

    Parameters
    ----------
    body : a layer or a list of layers
    shortcut : the same; None hands on the input, whose shape the body must give then
    activation : None, "relu", "leaky_relu", "sigmoid" or "tanh", behind the sum and computed together with it

    >>> from fastconv.layers import BatchNorm, Conv2D, ReLU
    >>> body = [Conv2D(16, 3, padding="same", bias=False), BatchNorm(), ReLU(), Conv2D(16, 3, padding="same", bias=False)]
    >>> Residual(body, activation="relu").output_shape_for((32, 32, 16))
    (32, 32, 16)
    """

    kind = "residual"
    nested = ("body", "shortcut")

    def __init__(self, body, shortcut=None, *, activation=None, name=None):
        super().__init__([layer_list(body, "body"), layer_list(shortcut, "shortcut")], activation=activation, name=name)

    @property
    def body(self):
        """The layers whose output is added to the shortcut's."""
        return self.branches[0]

    @property
    def shortcut(self):
        """The layers of the other way; none hands on the input."""
        return self.branches[1]


class Concat(Block):
    """Branches side by side: the channels of the first, then those of the second, …, for the same rows and columns.

    As in the inception modules of Szegedy et al. 2015, arXiv:1409.4842.  A branch is a layer or a list of layers.

    >>> from fastconv.layers import Conv2D, MaxPool2D
    >>> block = Concat([Conv2D(64, 1), [Conv2D(96, 1), Conv2D(128, 3, padding=1)], MaxPool2D(3, stride=1, padding=1)])
    >>> block.output_shape_for((28, 28, 192))
    (28, 28, 384)
    """

    kind = "concat"
    nested = ("branches",)

    def __init__(self, branches, *, name=None):
        super().__init__(branches, name)
        if not self.branches:
            raise OptionError("branches: got none; needed at least one layer or list of layers")

    def joined_shape(self, shapes):
        if len({tuple(shape[:-1]) for shape in shapes}) > 1:
            got = " and ".join("×".join(map(str, shape)) for shape in shapes)
            raise ShapeError(
                f'{self.label}: its branches give {got}; needed the same height and width: padding="same" and one stride'
            )
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))

    def join(self, outputs, x, training):
        if training:
            self.keep(counts=[y.shape[-1] for y in outputs])
        return F.concat(outputs)

    def split(self, dy):
        return F.split_channels(dy, self.kept("counts"))
