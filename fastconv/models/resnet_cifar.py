"""Residual networks for small images, and one made for processors."""

from fastconv.layers import AvgPool2D, GlobalAvgPool2D, ReLU, Residual, ZeroPad2D
from fastconv.models.resnet import convolution
from fastconv.models.zoo import head, network, scaled

__all__ = ["resnet20", "resnet56"]

CHANNELS = (16, 32, 64)


def resnet20(input_shape=(32, 32, 3), classes=10, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """He et al. 2016, arXiv:1512.03385, section 4.2, n = 3: three stages of three blocks with 16, 32 and 64 channels.

    Its shortcuts have no weights (option A): where a stage begins they take every second pixel and add channels of zeros.

    >>> resnet20().n_parameters
    269722
    """
    return resnet_cifar(3, width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet56(input_shape=(32, 32, 3), classes=10, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """The same with n = 9 blocks in each stage.

    >>> resnet56().n_parameters
    853018
    """
    return resnet_cifar(9, width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def resnet_cifar(n, width, classes, normalize, **options):
    """6 n + 2 layers with weights."""
    before = scaled(CHANNELS[0], width)
    layers = [*convolution(before), ReLU()]
    for channels in CHANNELS:
        after = scaled(channels, width)
        for i in range(n):
            stride = 2 if channels != CHANNELS[0] and not i else 1
            body = [*convolution(after, 3, stride), ReLU(), *convolution(after)]
            layers.append(Residual(body, without_weights(before, after) if stride > 1 else None, activation="relu"))
            before = after
    return network([*layers, GlobalAvgPool2D(), head(classes)], f"ResNet-{6 * n + 2} for CIFAR", normalize, **options)


def without_weights(before, after):
    """Every second pixel, and zeros for the channels that are new."""
    more = after - before
    return [AvgPool2D(1, stride=2), ZeroPad2D(0, channels=(more // 2, more - more // 2))]
