"""A convolution in two steps: each channel by itself, then all channels of each pixel."""

from fastconv.layers.block import Block
from fastconv.layers.conv import Conv2D, DepthwiseConv2D

__all__ = ["SeparableConv2D"]


class SeparableConv2D(Block):
    """`DepthwiseConv2D` without bias, then a 1×1 `Conv2D`: KH·KW·C + C·filters weights instead of KH·KW·C·filters.

    Chollet 2017, arXiv:1610.02357, without an activation in between; MobileNet, which has BatchNorm and ReLU there, is written
    with both layers.  A block with one branch: its arrays are "depthwise_conv2d_1.w", "conv2d_1.w" and "conv2d_1.b".
    Parameters as in `Conv2D`; stride, padding and dilation belong to the first step, activation and bias to the second.

    >>> layer = SeparableConv2D(64, 3)
    >>> layer.formula((28, 28, 32))
    '3·3·1·32 + (1·1·32 + 1)·64'
    """

    kind = "separable_conv2d"

    def __init__(
        self,
        filters,
        size,
        *,
        multiplier=1,
        stride=1,
        padding="valid",
        dilation=1,
        activation=None,
        bias=True,
        initializer="he_normal",
        l1=0.0,
        l2=0.0,
        name=None,
    ):
        common = {"initializer": initializer, "l1": l1, "l2": l2}
        window = {"stride": stride, "padding": padding, "dilation": dilation, "multiplier": multiplier}
        depthwise = DepthwiseConv2D(size, bias=False, **window, **common)
        super().__init__([[depthwise, Conv2D(filters, 1, activation=activation, bias=bias, **common)]], name)

    def config(self):
        first, second = self.layers
        names = ("size", "multiplier", "stride", "padding", "dilation")
        taken = {name: getattr(first, name) for name in names}
        own = {name: getattr(second, name) for name in ("filters", "activation", "bias", "initializer", "l1", "l2")}
        return {**own, **taken, "name": self.name}

    def joined_shape(self, shapes):
        return shapes[0]

    def join(self, outputs, x, training):
        return outputs[0]

    def split(self, dy):
        return [dy]
