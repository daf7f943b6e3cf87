"""Convolution layer: parameters and shapes; the arithmetic is in `functional`."""

from fastconv import functional as F
from fastconv.geometry import ConvGeometry, conv_formula, pair, resolve_padding, whole
from fastconv.layers.activations import before_activation, check_activation
from fastconv.layers.base import Layer, image_shape
from fastconv.layers.initializers import check_initializer
from fastconv.layers.values import flag, frozen

__all__ = ["Conv2D"]


class Conv2D(Layer):
    """Filter bank, (N, H, W, C) -> (N, P, Q, filters), with w (KH, KW, C / groups, filters) and b (filters,).

    Parameters
    ----------
    filters : int, output channels
    size : int or (height, width) of a filter, pixels
    stride, padding, dilation, groups, pad_mode : as in `conv2d`
    activation : None, "relu", "leaky_relu", "sigmoid" or "tanh", computed together with the convolution
    bias : bool
    initializer : name of a rule in `fastconv.layers.initializers`

    It has (KH · KW · C / groups + 1) · filters parameters, whatever the size of the image:

    >>> layer = Conv2D(10, 3)
    >>> layer.formula((6, 6, 3)), layer.output_shape_for((6, 6, 3))
    ('(3·3·3 + 1)·10', (4, 4, 10))
    """

    kind = "conv2d"
    _prepared = (None, None)

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
        name=None,
    ):
        super().__init__(name)
        self.filters, self.groups = whole(filters, "filters", 1), whole(groups, "groups", 1)
        self.size, self.stride, self.padding, self.dilation = map(frozen, (size, stride, padding, dilation))
        self.pad_mode = pad_mode
        self.activation = check_activation(activation)
        self.bias = flag(bias, "bias")
        self.initializer = check_initializer(initializer)
        for option in ("size", "stride", "dilation"):
            pair(getattr(self, option), option)
        resolve_padding(self.padding, (1, 1), (1, 1))

    @property
    def options(self):
        """What `conv2d` and its gradients are told besides arrays."""
        names = ("stride", "padding", "dilation", "groups", "pad_mode")
        return {name: getattr(self, name) for name in names}

    def filter_shape(self, input_shape):
        """(KH, KW, C / groups, filters)."""
        channels = image_shape(self, input_shape)[2]
        return (*pair(self.size, "size"), channels // self.groups, self.filters)

    def geometry(self, input_shape, batch=1):
        return ConvGeometry.of((batch, *input_shape), self.filter_shape(input_shape), **self.options)

    def output_shape_for(self, input_shape):
        return self.geometry(input_shape).y_shape[1:]

    def parameter_shapes(self, input_shape):
        shapes = {"w": self.filter_shape(input_shape)}
        return {**shapes, "b": (self.filters,)} if self.bias else shapes

    def formula(self, input_shape):
        return conv_formula(*pair(self.size, "size"), input_shape[2], self.filters, groups=self.groups, bias=self.bias)

    def macs(self, input_shape):
        return self.geometry(input_shape).macs

    def window(self, input_shape):
        geo = self.geometry(input_shape)
        return (geo.kh, geo.sh, geo.dh, geo.pads[0][0]), (geo.kw, geo.sw, geo.dw, geo.pads[1][0])

    def prepared(self, x_shape):
        """The weights packed for inputs of `x_shape` (and, as they come, others), kept until they change."""
        version, weights = self._prepared
        if version != self.version:
            version, weights = self.version, F.prepare(self.arrays["w"], x_shape, **self.options)
            self._prepared = version, weights  # one assignment: another thread sees both or neither
        return weights

    def forward(self, x, training=False):
        w = self.arrays["w"] if training else self.prepared(x.shape)
        y = F.conv2d(x, w, self.arrays.get("b"), activation=self.activation, **self.options)
        if training:
            self.keep(x=x, y=y if self.activation else None)
        return y

    def backward(self, dy, needs_dx=True):
        x, y = self.kept("x", "y")
        dy = before_activation(self.activation, dy, y)
        w = self.arrays["w"]
        if self.trainable:
            F.conv2d_weight_grad(dy, x, w.shape, out=self.grad("w"), **self.options)
        if self.trainable and self.bias:
            self.set_grads(b=F.conv2d_bias_grad(dy))
        return F.conv2d_input_grad(dy, w, x.shape, **self.options) if needs_dx else None
