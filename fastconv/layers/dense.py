"""Fully connected layer, and the step from feature maps to it."""

from math import prod

from fastconv import functional as F
from fastconv.errors import ShapeError
from fastconv.geometry import dense_formula, whole
from fastconv.layers.activations import before_activation, check_activation
from fastconv.layers.base import MOST_PENALTY, Layer
from fastconv.layers.initializers import check_initializer
from fastconv.layers.values import flag, fraction

__all__ = ["Dense", "Flatten"]

READ_IN_PLACE, FEW_ROWS = 1 << 25, 8  # bytes of weights; so few rows take the time of reading them, packed or not


class Flatten(Layer):
    """(N, H, W, C) -> (N, H·W·C) in memory order: channels vary fastest, where PyTorch's (N, C, H, W) has columns fastest."""

    kind = "flatten"
    shares_memory = True

    def output_shape_for(self, input_shape):
        return (prod(input_shape),)

    def forward(self, x, training=False):
        if training:
            self.keep(shape=x.shape)
        return x.reshape(len(x), prod(x.shape[1:]))

    def backward(self, dy, needs_dx=True):
        return dy.reshape(self.kept("shape")) if needs_dx else None


class Dense(Layer):
    """y = x w + b, (N, in) -> (N, units), with w (in, units) and b (units,): every input reaches every unit.

    `activation`: None, "relu", "leaky_relu", "sigmoid" or "tanh".  The last layer of a classifier has none: losses take
    logits, and `predict` turns them into probabilities.  `initializer`, `l1`, `l2`: as in `Conv2D`.

    >>> Dense(120).formula((400,))
    '(400 + 1)·120'
    """

    kind = "dense"

    def __init__(self, units, *, activation=None, bias=True, initializer="he_normal", l1=0.0, l2=0.0, name=None):
        super().__init__(name)
        self.units = whole(units, "units", 1)
        self.activation = check_activation(activation)
        self.bias = flag(bias, "bias")
        self.initializer = check_initializer(initializer)
        self.l1, self.l2 = fraction(l1, "l1", 0, MOST_PENALTY), fraction(l2, "l2", 0, MOST_PENALTY)

    def output_shape_for(self, input_shape):
        if len(input_shape) != 1:
            raise ShapeError(
                f"{self.label}: got input of shape {tuple(input_shape)}; needed flat rows, ({prod(input_shape)},): "
                f"put fc.Flatten() or fc.GlobalAvgPool2D() before it"
            )
        return (self.units,)

    def parameter_shapes(self, input_shape):
        shapes = {"w": (*input_shape, self.units)}
        return {**shapes, "b": (self.units,)} if self.bias else shapes

    def formula(self, input_shape):
        return dense_formula(input_shape[0], self.units, bias=self.bias)

    def macs(self, input_shape):
        return input_shape[0] * self.units

    def for_rows(self, rows):
        """(weights, algorithm) for so many inputs in inference: packed, or as they are where packing would only take memory."""
        w = self.arrays["w"]
        return (w, "pointwise") if rows <= FEW_ROWS and w.nbytes > READ_IN_PLACE else (self.prepared(), "auto")

    def forward(self, x, training=False):
        w, algorithm = (self.arrays["w"], "auto") if training else self.for_rows(len(x))
        y = F.dense(x, w, self.arrays.get("b"), activation=self.activation, algorithm=algorithm)
        if training:
            self.keep(x=x, y=y if self.activation else None)
        return y

    def backward(self, dy, needs_dx=True):
        x, y = self.kept("x", "y")
        dy = before_activation(self.activation, dy, y)
        dx, _, db = F.dense_grad(dy, x, self.arrays["w"], needs_dx=needs_dx, out=self.grad("w") if self.trainable else None)
        if self.trainable and self.bias:
            self.set_grads(b=db)
        return dx
