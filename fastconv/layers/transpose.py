"""Transposed convolution layer: images made larger with weights."""

from math import prod

from fastconv import functional as F
from fastconv.errors import OptionError
from fastconv.functional.transpose import check_groups, output_shape
from fastconv.geometry import pair, whole
from fastconv.layers.activations import before_activation
from fastconv.layers.base import image_shape
from fastconv.layers.conv import Bank
from fastconv.layers.values import settled

__all__ = ["Conv2DTranspose"]


class Conv2DTranspose(Bank):
    """Every pixel spread over a window, (N, H, W, C) -> (N, P, Q, filters); w (KH, KW, C / groups, filters) and b (filters,).

    The input gradient of a convolution as a layer; P = (H - 1) · stride - padding + size + output_padding, or H · stride with
    padding="same".  Dumoulin and Visin, arXiv:1603.07285, chapter 4.  Options as in `conv2d_transpose` and `Conv2D`.

    >>> Conv2DTranspose(8, 4, stride=2, padding=1).output_shape_for((7, 7, 16))
    (14, 14, 8)
    """

    kind = "conv2d_transpose"

    def __init__(
        self,
        filters,
        size,
        *,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
        activation=None,
        bias=True,
        initializer="he_normal",
        l1=0.0,
        l2=0.0,
        name=None,
    ):
        super().__init__(size, stride, padding, dilation, "constant", activation, bias, initializer, l1, l2, name)
        self.filters, self.groups = whole(filters, "filters", 1), whole(groups, "groups", 1)
        self.output_padding = settled(output_padding)
        if any(e >= s for e, s in zip(pair(self.output_padding, "output_padding", 0), pair(self.stride, "stride"), strict=True)):
            raise OptionError(f"output_padding: got {output_padding!r}; needed less than the stride {stride}")

    def filters_and_groups(self, channels):
        return self.filters, self.groups

    def options_for(self, channels):
        return {name: getattr(self, name) for name in ("stride", "padding", "output_padding", "dilation", "groups")}

    def geometry(self, input_shape, batch=1):
        """None: no window moves over the input."""

    def _shape_and_pads(self, input_shape):
        check_groups(image_shape(self, input_shape)[2], self.filter_shape(input_shape), self.groups)
        steps = pair(self.stride, "stride"), self.padding, self.output_padding, pair(self.dilation, "dilation")
        return output_shape((1, *input_shape), self.filter_shape(input_shape), *steps)

    def output_shape_for(self, input_shape):
        return self._shape_and_pads(input_shape)[0][1:]

    def macs(self, input_shape):
        return prod(input_shape[:2]) * prod(self.filter_shape(input_shape))

    def fields_after(self, fields, input_shape):
        pads = self._shape_and_pads(input_shape)[1]
        axes = zip(pair(self.size, "size"), pair(self.stride, "stride"), pair(self.dilation, "dilation"), pads, strict=True)
        return fields and tuple(field.enlarged(k, s, d, pad[0]) for field, (k, s, d, pad) in zip(fields, axes, strict=True))

    def forward(self, x, training=False):
        y = F.conv2d_transpose(x, self.arrays["w"], self.arrays.get("b"), **self.options)
        y = F.activate(y, self.activation)
        if training:
            self.keep(x=x, y=y if self.activation else None)
        return y

    def backward(self, dy, needs_dx=True):
        x, y = self.kept("x", "y")
        dy = before_activation(self.activation, dy, y)
        dx, dw, db = F.conv2d_transpose_grad(dy, x, self.arrays["w"], needs_dx=needs_dx, **self.options)
        if self.trainable:
            self.set_grads(w=dw, b=db) if self.bias else self.set_grads(w=dw)
        return dx
