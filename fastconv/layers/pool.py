"""Pooling layers: no parameters; the window moves over each channel by itself."""

from fastconv import functional as F
from fastconv.geometry import PoolGeometry, ReceptiveField, adaptive_windows, pair, resolve_padding
from fastconv.layers.base import Layer, image_shape
from fastconv.layers.values import flag, settled

__all__ = ["AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "AvgPool2D", "GlobalAvgPool2D", "GlobalMaxPool2D", "MaxPool2D"]


class Pool2D(Layer):
    """What both poolings share: a window of `size`, moved by `stride` (its own size when None), over padded images."""

    def __init__(self, size=2, *, stride=None, padding=0, ceil_mode=False, name=None):
        super().__init__(name)
        self.size, self.stride, self.padding = map(settled, (size, stride, padding))
        self.ceil_mode = flag(ceil_mode, "ceil_mode")
        pair(self.size, "size"), pair(self.size if stride is None else self.stride, "stride")
        resolve_padding(self.padding, (1, 1), (1, 1))

    @property
    def options(self):
        """What the pooling and its gradient are told besides arrays and size."""
        return {"stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}

    def geometry(self, input_shape, batch=1):
        return PoolGeometry.of((batch, *image_shape(self, input_shape)), self.size, **self.options)

    def output_shape_for(self, input_shape):
        return self.geometry(input_shape).y_shape[1:]

    def window(self, input_shape):
        geo = self.geometry(input_shape)
        return (geo.kh, geo.sh, 1, geo.pads[0][0]), (geo.kw, geo.sw, 1, geo.pads[1][0])


class MaxPool2D(Pool2D):
    """The largest value of each window; the gradient goes to the first one in reading order.  Options as in `max_pool2d`."""

    kind = "max_pool2d"

    def forward(self, x, training=False):
        if not training:
            return F.max_pool2d(x, self.size, **self.options)
        y, argmax = F.max_pool2d(x, self.size, return_argmax=True, **self.options)
        self.keep(x=x, argmax=argmax)
        return y

    def backward(self, dy, needs_dx=True):
        x, argmax = self.kept("x", "argmax")
        return F.max_pool2d_grad(dy, x, self.size, argmax=argmax, **self.options) if needs_dx else None


class AvgPool2D(Pool2D):
    """The mean of each window, over the pixels that are really there unless `count_include_pad`.  Options as in `avg_pool2d`."""

    kind = "avg_pool2d"
    traits = ("count_include_pad",)

    def __init__(self, size=2, *, stride=None, padding=0, ceil_mode=False, count_include_pad=False, name=None):
        super().__init__(size, stride=stride, padding=padding, ceil_mode=ceil_mode, name=name)
        self.count_include_pad = flag(count_include_pad, "count_include_pad")

    def forward(self, x, training=False):
        if training:
            self.keep(shape=x.shape)
        return F.avg_pool2d(x, self.size, count_include_pad=self.count_include_pad, **self.options)

    def backward(self, dy, needs_dx=True):
        shape = self.kept("shape")
        if not needs_dx:
            return None
        return F.avg_pool2d_grad(dy, shape, self.size, count_include_pad=self.count_include_pad, **self.options)


class GlobalAvgPool2D(Layer):
    """(N, H, W, C) -> (N, C): the mean of each feature map.  Lin, Chen and Yan 2014, arXiv:1312.4400."""

    kind = "global_avg_pool2d"

    def output_shape_for(self, input_shape):
        return image_shape(self, input_shape)[2:]

    def forward(self, x, training=False):
        if training:
            self.keep(shape=x.shape)
        return F.global_avg_pool2d(x)

    def backward(self, dy, needs_dx=True):
        shape = self.kept("shape")
        return F.global_avg_pool2d_grad(dy, shape) if needs_dx else None


class GlobalMaxPool2D(Layer):
    """(N, H, W, C) -> (N, C): the largest value of each feature map; the gradient goes to the first one in reading order."""

    kind = "global_max_pool2d"

    def output_shape_for(self, input_shape):
        return image_shape(self, input_shape)[2:]

    def forward(self, x, training=False):
        if not training:
            return F.max_pool2d(x, x.shape[1:3])[:, 0, 0]
        y, argmax = F.max_pool2d(x, x.shape[1:3], return_argmax=True)
        self.keep(x=x, argmax=argmax)
        return y[:, 0, 0]

    def backward(self, dy, needs_dx=True):
        x, argmax = self.kept("x", "argmax")
        return F.max_pool2d_grad(dy[:, None, None], x, x.shape[1:3], argmax=argmax) if needs_dx else None


class AdaptivePool2D(Layer):
    """What both share: `size` = int or (height, width) of the output, for images of any size from that on."""

    traits = ("size",)

    def __init__(self, size, *, name=None):
        super().__init__(name)
        self.size = settled(size)
        pair(self.size, "size")

    def windows(self, input_shape):
        """The windows of both axes."""
        h, w, _ = image_shape(self, input_shape)
        ph, pw = pair(self.size, "size")
        return adaptive_windows(h, ph, "height"), adaptive_windows(w, pw, "width")

    def output_shape_for(self, input_shape):
        rows, columns = self.windows(input_shape)
        return len(rows), len(columns), input_shape[2]

    def fields_after(self, fields, input_shape):
        """The widest window; where windows differ, `jump` is their mean distance."""
        return fields and tuple(map(widest, fields, self.windows(input_shape), input_shape[:2]))


def widest(field, windows, pixels):
    jump = field.jump * pixels / len(windows)
    size = field.size + (max(end - start for start, end in windows) - 1) * field.jump
    return ReceptiveField(size, int(jump) if jump == int(jump) else jump, field.start)


class AdaptiveAvgPool2D(AdaptivePool2D):
    """Means over windows that cover the image, so that a network takes images of any size: see `adaptive_avg_pool2d`."""

    kind = "adaptive_avg_pool2d"

    def forward(self, x, training=False):
        if training:
            self.keep(shape=x.shape)
        return F.adaptive_avg_pool2d(x, self.size)

    def backward(self, dy, needs_dx=True):
        shape = self.kept("shape")
        return F.adaptive_avg_pool2d_grad(dy, shape, self.size) if needs_dx else None


class AdaptiveMaxPool2D(AdaptivePool2D):
    """The largest value of such windows: see `adaptive_max_pool2d`."""

    kind = "adaptive_max_pool2d"

    def forward(self, x, training=False):
        if training:
            self.keep(x=x)
        return F.adaptive_max_pool2d(x, self.size)

    def backward(self, dy, needs_dx=True):
        x = self.kept("x")
        return F.adaptive_max_pool2d_grad(dy, x, self.size) if needs_dx else None
