"""Residual networks for ImageNet: 18 to 152 layers with weights on their main path."""

from fastconv.layers import BatchNorm, Conv2D, GlobalAvgPool2D, MaxPool2D, ReLU, Residual
from fastconv.models.zoo import head, network, scaled

__all__ = ["convolution", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]

CHANNELS = (64, 128, 256, 512)


def convolution(filters, size=3, stride=1):
    """Convolution without bias, which keeps the size at stride 1, and BatchNorm."""
    return [Conv2D(filters, size, stride=stride, padding=size // 2, bias=False), BatchNorm()]


def basic(channels, stride):
    """Two 3×3 convolutions; (layers, output channels)."""
    return [*convolution(channels, 3, stride), ReLU(), *convolution(channels)], channels


def bottleneck(channels, stride):
    """1×1 to few channels, 3×3 (which has the stride, as everybody trains it; the paper put it in the 1×1), 1×1 to four times as
    many; (layers, output channels)."""
    layers = [*convolution(channels, 1), ReLU(), *convolution(channels, 3, stride), ReLU(), *convolution(4 * channels, 1)]
    return layers, 4 * channels


def resnet18(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """He, Zhang, Ren and Sun 2016, arXiv:1512.03385: 2, 2, 2, 2 blocks of two 3×3 convolutions.

    Running statistics are buffers and not counted:

    >>> net = resnet18()
    >>> net.n_parameters, net.summary().totals.macs
    (11689512, 1814073344)
    """
    return resnet(18, basic, (2, 2, 2, 2), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet34(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """3, 4, 6, 3 blocks of two 3×3 convolutions; 21,797,672 parameters."""
    return resnet(34, basic, (3, 4, 6, 3), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet50(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """3, 4, 6, 3 bottlenecks, with the stride in their 3×3 convolution; 25,557,032 parameters."""
    return resnet(50, bottleneck, (3, 4, 6, 3), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet101(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """3, 4, 23, 3 bottlenecks; 44,549,160 parameters."""
    return resnet(101, bottleneck, (3, 4, 23, 3), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet152(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """3, 8, 36, 3 bottlenecks; 60,192,808 parameters."""
    return resnet(152, bottleneck, (3, 8, 36, 3), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet(depth, body, counts, width, classes, normalize, **options):
    """`counts` blocks in each of the four stages, `body` their main path."""
    before = scaled(CHANNELS[0], width)
    layers = [*convolution(before, 7, 2), ReLU(), MaxPool2D(3, stride=2, padding=1)]
    for stage, (channels, count) in enumerate(zip(CHANNELS, counts, strict=True)):
        for i in range(count):
            stride = 2 if stage and not i else 1
            main, after = body(scaled(channels, width), stride)
            shortcut = None if (stride, before) == (1, after) else convolution(after, 1, stride)
            layers.append(Residual(main, shortcut, activation="relu"))
            before = after
    return network([*layers, GlobalAvgPool2D(), head(classes)], f"ResNet-{depth}", normalize, **options)
