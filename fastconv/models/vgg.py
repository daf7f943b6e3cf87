"""VGG: nothing but 3×3 filters and 2×2 pooling, sixteen or nineteen layers with weights."""

from fastconv.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D
from fastconv.models.zoo import head, network, scaled

__all__ = ["vgg16", "vgg19"]

CHANNELS = (64, 128, 256, 512, 512)


def vgg16(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """Configuration D: 2, 2, 3, 3, 3 convolutions between poolings, three dense layers.

    Simonyan and Zisserman 2015, arXiv:1409.1556.  Weights take 528 MiB once they are needed; counting needs none:

    >>> net = vgg16()
    >>> net.n_parameters, net.summary().totals.macs, net.summary().totals.activations
    (138357544, 15470264320, 15237608)
    """
    return vgg("VGG-16", (2, 2, 3, 3, 3), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def vgg19(input_shape=(224, 224, 3), classes=1000, *, width=1.0, normalize=None, dtype="float32", seed=0):
    """Configuration E: four convolutions where `vgg16` has three.

    >>> vgg19().n_parameters
    143667240
    """
    return vgg("VGG-19", (2, 2, 4, 4, 4), width, classes, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def vgg(name, depths, width, classes, normalize, **options):
    """`depths` convolutions in each of the five stages."""
    layers = []
    for channels, depth in zip(CHANNELS, depths, strict=True):
        layers += [Conv2D(scaled(channels, width), 3, padding=1, activation="relu") for _ in range(depth)]
        layers.append(MaxPool2D(2))
    units = scaled(4096, width)
    layers += [Flatten(), Dense(units, activation="relu"), Dropout(0.5), Dense(units, activation="relu"), Dropout(0.5)]
    return network([*layers, head(classes)], name, normalize, **options)
