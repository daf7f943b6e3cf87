"""Layers that make images larger without weights."""

from fastconv import functional as F
from fastconv.errors import OptionError
from fastconv.geometry import pair, resolve_padding
from fastconv.layers.base import Layer, image_shape
from fastconv.layers.values import settled

__all__ = ["UpSampling2D", "ZeroPad2D"]


class ZeroPad2D(Layer):
    """Zeros around each image, and `channels` of zeros before and behind the others: see `zero_pad2d`.

    With channels it widens the shortcut of a residual block without weights: option A of He et al. 2016, arXiv:1512.03385.
    """

    kind = "zero_pad2d"
    traits = ("padding", "channels")

    def __init__(self, padding=1, *, channels=0, name=None):
        super().__init__(name)
        if isinstance(padding, str):  # a rule for windows, and this layer has none
            needed = "a number of pixels, (vertical, horizontal) or ((top, bottom), (left, right))"
            raise OptionError(f"padding: got {padding!r}; needed {needed}")
        self.padding, self.channels = settled(padding), settled(channels)
        resolve_padding(self.padding, (1, 1), (1, 1)), pair(self.channels, "channels", least=0)

    def output_shape_for(self, input_shape):
        h, w, c = image_shape(self, input_shape)
        (top, bottom), (left, right) = resolve_padding(self.padding, (h, w), (1, 1))
        return top + h + bottom, left + w + right, c + sum(pair(self.channels, "channels", least=0))

    def window(self, input_shape):
        (top, _), (left, _) = resolve_padding(self.padding, input_shape[:2], (1, 1))
        return (1, 1, 1, top), (1, 1, 1, left)

    def forward(self, x, training=False):
        return F.zero_pad2d(x, self.padding, channels=self.channels)

    def backward(self, dy, needs_dx=True):
        return F.zero_pad2d_grad(dy, self.padding, channels=self.channels) if needs_dx else None


class UpSampling2D(Layer):
    """Every pixel repeated `size` = int or (vertical, horizontal) times: nearest-neighbour enlargement."""

    kind = "up_sampling2d"
    traits = ("size",)

    def __init__(self, size=2, *, name=None):
        super().__init__(name)
        self.size = settled(size)
        pair(self.size, "size")

    def output_shape_for(self, input_shape):
        (h, w, c), (sh, sw) = image_shape(self, input_shape), pair(self.size, "size")
        return h * sh, w * sw, c

    def fields_after(self, fields, input_shape):
        return fields and tuple(field.enlarged(s, s) for field, s in zip(fields, pair(self.size, "size"), strict=True))

    def forward(self, x, training=False):
        return F.upsample2d(x, self.size)

    def backward(self, dy, needs_dx=True):
        return F.upsample2d_grad(dy, self.size) if needs_dx else None
