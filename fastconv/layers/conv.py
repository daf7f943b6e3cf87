"""Convolution layers: parameters and shapes; the arithmetic is in `functional`."""

from fastconv import functional as F
from fastconv.geometry import ConvGeometry, conv_formula, pair, resolve_padding, whole
from fastconv.layers.activations import before_activation, check_activation
from fastconv.layers.base import MOST_PENALTY, Layer, image_shape
from fastconv.layers.initializers import check_initializer
from fastconv.layers.values import flag, fraction, settled

__all__ = ["Bank", "Conv2D", "DepthwiseConv2D"]


class Bank(Layer):
    """What all filter banks share; `filters_and_groups` says how many filters there are for how many channels."""

    def __init__(self, size, stride, padding, dilation, pad_mode, activation, bias, initializer, l1, l2, name):
        super().__init__(name)
        self.size, self.stride, self.padding, self.dilation = map(settled, (size, stride, padding, dilation))
        self.pad_mode = pad_mode
        self.activation = check_activation(activation)
        self.bias = flag(bias, "bias")
        self.initializer = check_initializer(initializer)
        self.l1, self.l2 = fraction(l1, "l1", 0, MOST_PENALTY), fraction(l2, "l2", 0, MOST_PENALTY)
        for option in ("size", "stride", "dilation"):
            pair(getattr(self, option), option)
        resolve_padding(self.padding, (1, 1), (1, 1))

    def filters_and_groups(self, channels):
        """(filters, groups) for an input of `channels`."""
        raise NotImplementedError(f"{type(self).__name__}.filters_and_groups")

    @property
    def options(self):
        """What `conv2d` and its gradients are told besides arrays, in the layer's place."""
        return self.options_for(self.input_shape[2] if self.input_shape else None)

    def options_for(self, channels):
        """The same for an input of `channels`."""
        names = ("stride", "padding", "dilation", "pad_mode")
        return {name: getattr(self, name) for name in names} | {"groups": self.filters_and_groups(channels)[1]}

    def filter_shape(self, input_shape):
        """(KH, KW, C / groups, filters)."""
        channels = image_shape(self, input_shape)[2]
        filters, groups = self.filters_and_groups(channels)
        return (*pair(self.size, "size"), channels // groups, filters)

    def geometry(self, input_shape, batch=1):
        return ConvGeometry.of((batch, *input_shape), self.filter_shape(input_shape), **self.options_for(input_shape[2]))

    def output_shape_for(self, input_shape):
        return self.geometry(input_shape).y_shape[1:]

    def parameter_shapes(self, input_shape):
        w = self.filter_shape(input_shape)
        return {"w": w, "b": w[3:]} if self.bias else {"w": w}

    def formula(self, input_shape):
        filters, groups = self.filters_and_groups(input_shape[2])
        return conv_formula(*pair(self.size, "size"), input_shape[2], filters, groups=groups, bias=self.bias)

    def macs(self, input_shape):
        return self.geometry(input_shape).macs

    def window(self, input_shape):
        geo = self.geometry(input_shape)
        return (geo.kh, geo.sh, geo.dh, geo.pads[0][0]), (geo.kw, geo.sw, geo.dw, geo.pads[1][0])

    def forward(self, x, training=False):
        w = self.arrays["w"] if training else self.prepared()
        y = F.conv2d(x, w, self.arrays.get("b"), activation=self.activation, **self.options_for(x.shape[3]))
        if training:
            self.keep(x=x, y=y if self.activation else None)
        return y

    def backward(self, dy, needs_dx=True):
        x, y = self.kept("x", "y")
        dy = before_activation(self.activation, dy, y)
        w, options = self.arrays["w"], self.options_for(x.shape[3])
        if self.trainable:
            F.conv2d_weight_grad(dy, x, w.shape, out=self.grad("w"), **options)
        if self.trainable and self.bias:
            self.set_grads(b=F.conv2d_bias_grad(dy))
        return F.conv2d_input_grad(dy, w, x.shape, **options) if needs_dx else None


class Conv2D(Bank):
    """Filter bank, (N, H, W, C) -> (N, P, Q, filters), with w (KH, KW, C / groups, filters) and b (filters,).

    Parameters
    ----------
    filters : int, output channels
    size : int or (height, width) of a filter, pixels
    stride, padding, dilation, groups, pad_mode : as in `conv2d`
    activation : None, "relu", "leaky_relu", "sigmoid" or "tanh", computed together with the convolution
    bias : bool
    initializer : name of a rule in `fastconv.layers.initializers`
    l1, l2 : weight regularisation: l1 · sum |w| + l2 / 2 · sum w² is added to the loss, so that l2 is what PyTorch calls weight
        decay (Keras writes the same l2 without the half).  Biases are left alone

    It has (KH · KW · C / groups + 1) · filters parameters, whatever the size of the image:

    >>> layer = Conv2D(10, 3)
    >>> layer.formula((6, 6, 3)), layer.output_shape_for((6, 6, 3))
    ('(3·3·3 + 1)·10', (4, 4, 10))
    """

    kind = "conv2d"

    def __init__(
        self,
        filters,
        size,
        *,
        stride=1,
        padding="valid",
        dilation=1,
        groups=1,
        pad_mode="constant",
        activation=None,
        bias=True,
        initializer="he_normal",
        l1=0.0,
        l2=0.0,
        name=None,
    ):
        super().__init__(size, stride, padding, dilation, pad_mode, activation, bias, initializer, l1, l2, name)
        self.filters, self.groups = whole(filters, "filters", 1), whole(groups, "groups", 1)

    def filters_and_groups(self, channels):
        return self.filters, self.groups


class DepthwiseConv2D(Bank):
    """`multiplier` filters for each channel by itself, (N, H, W, C) -> (N, P, Q, C · multiplier), with w (KH, KW, 1, filters).

    The first half of a separable convolution; Howard et al. 2017, arXiv:1704.04861.  Filters of one channel stand side by side.
    Options as in `Conv2D`.

    >>> DepthwiseConv2D(3).formula((112, 112, 32))
    '(3·3·1 + 1)·32'
    """

    kind = "depthwise_conv2d"

    def __init__(
        self,
        size,
        *,
        multiplier=1,
        stride=1,
        padding="valid",
        dilation=1,
        pad_mode="constant",
        activation=None,
        bias=True,
        initializer="he_normal",
        l1=0.0,
        l2=0.0,
        name=None,
    ):
        super().__init__(size, stride, padding, dilation, pad_mode, activation, bias, initializer, l1, l2, name)
        self.multiplier = whole(multiplier, "multiplier", 1)

    def filters_and_groups(self, channels):
        return channels * self.multiplier, channels
