"""Local response normalisation, AlexNet's and GoogLeNet's way before there was BatchNorm."""

from fastconv import functional as F
from fastconv.geometry import whole
from fastconv.layers.activations import Pointwise
from fastconv.layers.values import fraction

__all__ = ["LocalResponseNorm"]


class LocalResponseNorm(Pointwise):
    """y = x / (k + alpha · sum of x² over `size` neighbouring channels)^beta.

    Krizhevsky, Sutskever and Hinton 2012, section 3.3, with their constants as defaults; PyTorch's alpha is `size` times as
    large for the same result, see `local_response_norm`.
    """

    kind = "local_response_norm"
    traits = ("size", "alpha", "beta", "k")

    def __init__(self, size=5, *, alpha=1e-4, beta=0.75, k=2.0, name=None):
        super().__init__(name)
        self.size = whole(size, "size", 1)
        self.alpha, self.beta = fraction(alpha, "alpha", 0, 1e6), fraction(beta, "beta", 0, 100)
        self.k = fraction(k, "k", 1e-6, 1e6)

    @property
    def options(self):
        """What `local_response_norm` and its gradient are told besides arrays."""
        return {"size": self.size, "alpha": self.alpha, "beta": self.beta, "k": self.k}

    def forward(self, x, training=False):
        if training:
            self.keep(x=x)
        return F.local_response_norm(x, **self.options)

    def backward(self, dy, needs_dx=True):
        x = self.kept("x")
        return F.local_response_norm_grad(dy, x, **self.options) if needs_dx else None
