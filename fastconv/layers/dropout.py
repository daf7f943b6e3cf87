"""Dropout, of single values or of whole feature maps: the only layers that draw random numbers after their weights."""

import numpy as np

from fastconv.errors import OptionError
from fastconv.layers.activations import Pointwise
from fastconv.layers.base import image_shape
from fastconv.layers.values import fraction

__all__ = ["Dropout", "SpatialDropout2D"]


class Dropout(Pointwise):
    """While training, each value is 0 with probability `rate` and divided by 1 - rate otherwise; in inference, nothing.

    Srivastava et al. 2014, scaled while training ("inverted").  The mask of the k-th training pass depends on the network's
    seed, the layer's place and k alone; k is the attribute `draws`, so a run that is resumed goes on with the same masks.
    """

    kind = "dropout"
    traits = ("rate",)
    shares_memory = True

    def __init__(self, rate=0.5, *, name=None):
        super().__init__(name)
        self.rate = fraction(rate, "rate", 0, 1)
        if self.rate == 1:
            raise OptionError("rate: got 1, which drops everything; needed a number below 1")
        self.draws = 0

    def mask_shape(self, x):
        """One random number for each value of x."""
        return x.shape

    def forward(self, x, training=False):
        if not training:
            return x
        kept = self.random(number=self.draws).random(self.mask_shape(x), np.float32) >= self.rate
        self.draws += 1
        mask = kept * x.dtype.type(1 / (1 - self.rate))
        self.keep(mask=mask)
        return x * mask

    def backward(self, dy, needs_dx=True):
        return dy * self.kept("mask") if needs_dx else None


class SpatialDropout2D(Dropout):
    """`Dropout` of whole feature maps: every channel of an image stays or goes as one.

    Tompson et al. 2015, arXiv:1411.4280: neighbouring pixels of a map say the same, so that dropping some of them drops nothing.
    """

    kind = "spatial_dropout2d"

    def output_shape_for(self, input_shape):
        return image_shape(self, input_shape)

    def mask_shape(self, x):
        return len(x), 1, 1, x.shape[3]
