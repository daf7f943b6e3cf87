"""MobileNet: depthwise and pointwise convolutions in turn."""

from fastconv.layers import BatchNorm, Conv2D, DepthwiseConv2D, GlobalAvgPool2D, ReLU
from fastconv.models.resnet import convolution
from fastconv.models.zoo import head, network, scaled

__all__ = ["mobilenet_v1"]

# (filters of the pointwise, stride of the depthwise) convolution: table 1 of the paper
PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def mobilenet_v1(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """Howard et al. 2017, arXiv:1704.04861; `width` is the paper's α.  Padding is one pixel on every side.

    >>> net = mobilenet_v1()
    >>> net.n_parameters, net.summary().totals.macs
    (4231976, 568740352)
    """
    layers = [*convolution(scaled(32, width), 3, 2), ReLU()]
    for filters, stride in PAIRS:
        layers += [DepthwiseConv2D(3, stride=stride, padding=1, bias=False), BatchNorm(), ReLU()]
        layers += [Conv2D(scaled(filters, width), 1, bias=False), BatchNorm(), ReLU()]
    layers += [GlobalAvgPool2D(), head(classes)]
    return network(layers, "MobileNet v1", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
