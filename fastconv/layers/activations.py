"""Activation layers, and the gradients of those that other layers compute together with their own work."""

from fastconv import functional as F
from fastconv.errors import OptionError
from fastconv.layers.base import Layer
from fastconv.layers.values import fraction

__all__ = ["ELU", "GELU", "LeakyReLU", "ReLU", "Sigmoid", "Softmax", "Swish", "Tanh"]

POINT = ((1, 1, 1, 0), (1, 1, 1, 0))  # window of a layer that works on single positions: the receptive field stays

# Gradient before a fused activation, from its output alone (a leaky ReLU keeps the sign, so its output serves as well).
FUSED = {"relu": F.relu_grad, "leaky_relu": F.leaky_relu_grad, "sigmoid": F.sigmoid_grad, "tanh": F.tanh_grad}

HINTS = {
    "softmax": "; softmax is a layer, fc.Softmax(), and training needs none: losses take what comes before it",
    "linear": "; for none pass None",
    **{name.lower(): f"; {name.lower()} is a layer, put fc.{name}() behind this one" for name in ("ELU", "GELU", "Swish")},
}


def check_activation(name):
    """`name` itself if a layer can compute it together with its own work, or OptionError."""
    if name is None or (isinstance(name, str) and name in FUSED):
        return name
    hint = HINTS.get(name, "") if isinstance(name, str) else ""
    raise OptionError(f"activation: got {name!r}; needed None, {', '.join(FUSED)}{hint}")


def before_activation(name, dy, y):
    """The gradient before the fused activation `name`, from the gradient dy and the value y behind it."""
    return dy if name is None else FUSED[name](dy, y)


class Pointwise(Layer):
    """A layer that treats every position alike: shapes and receptive fields pass through."""

    def window(self, input_shape):
        return POINT


class FromOutput(Pointwise):
    """y = value(x), whose gradient follows from y alone: `value_grad(dy, y)`."""

    def forward(self, x, training=False):
        y = self.value(x)
        if training:
            self.keep(y=y)
        return y

    def backward(self, dy, needs_dx=True):
        y = self.kept("y")
        return self.value_grad(dy, y) if needs_dx else None


class ReLU(FromOutput):
    """y = max(x, 0); gradient 0 at x = 0.  NaN stays NaN."""

    kind = "relu"
    value, value_grad = staticmethod(F.relu), staticmethod(F.relu_grad)


class Sigmoid(FromOutput):
    """y = 1 / (1 + exp(-x)), without overflow.  A network for `predict` needs none at its end: see `Sequential.output`."""

    kind = "sigmoid"
    value, value_grad = staticmethod(F.sigmoid), staticmethod(F.sigmoid_grad)


class Tanh(FromOutput):
    """y = tanh(x)."""

    kind = "tanh"
    value, value_grad = staticmethod(F.tanh), staticmethod(F.tanh_grad)


class Softmax(FromOutput):
    """y = exp(x) / sum exp(x) over the last axis, shifted by the maximum so that nothing overflows.

    Not needed for training or `predict`: losses take logits, and `Sequential.output` says what `predict` applies to them.
    """

    kind = "softmax"
    value, value_grad = staticmethod(F.softmax), staticmethod(F.softmax_grad)


class LeakyReLU(Pointwise):
    """y = x where x > 0, else slope · x.  Maas, Hannun and Ng 2013."""

    kind = "leaky_relu"
    traits = ("slope",)

    def __init__(self, slope=0.01, *, name=None):
        super().__init__(name)
        self.slope = fraction(slope, "slope", 0, 1)

    def forward(self, x, training=False):
        if training:
            self.keep(x=x)
        return F.leaky_relu(x, self.slope)

    def backward(self, dy, needs_dx=True):
        x = self.kept("x")
        return F.leaky_relu_grad(dy, x, self.slope) if needs_dx else None


class FromInput(Pointwise):
    """y = value(x), whose gradient follows from x: `value_grad(dy, x)`."""

    def forward(self, x, training=False):
        if training:
            self.keep(x=x)
        return self.value(x)

    def backward(self, dy, needs_dx=True):
        x = self.kept("x")
        return self.value_grad(dy, x) if needs_dx else None


class GELU(FromInput):
    """y = x Φ(x), Φ the normal distribution function, exactly.  Hendrycks and Gimpel 2016, arXiv:1606.08415."""

    kind = "gelu"
    value, value_grad = staticmethod(F.gelu), staticmethod(F.gelu_grad)


class Swish(FromInput):
    """y = x sigmoid(x), also called SiLU.  Ramachandran, Zoph and Le 2017, arXiv:1710.05941."""

    kind = "swish"
    value, value_grad = staticmethod(F.swish), staticmethod(F.swish_grad)


class ELU(Pointwise):
    """y = x where x > 0, else alpha (exp(x) - 1).  Clevert, Unterthiner and Hochreiter 2016, arXiv:1511.07289."""

    kind = "elu"
    traits = ("alpha",)

    def __init__(self, alpha=1.0, *, name=None):
        super().__init__(name)
        self.alpha = fraction(alpha, "alpha", 0, 1e6)

    def forward(self, x, training=False):
        y = F.elu(x, self.alpha)
        if training:
            self.keep(y=y)
        return y

    def backward(self, dy, needs_dx=True):
        y = self.kept("y")
        return F.elu_grad(dy, y, self.alpha) if needs_dx else None
