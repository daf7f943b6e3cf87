"""AlexNet, with which convolutional networks won ImageNet in 2012, and ZFNet, which won it a year later."""

from fastconv.geometry import whole
from fastconv.layers import Conv2D, Dense, Dropout, Flatten, LocalResponseNorm, MaxPool2D
from fastconv.models.zoo import head, network, scaled

__all__ = ["alexnet", "zfnet"]


def alexnet(input_shape=(227, 227, 3), classes=1000, *, groups=1, lrn=True, width=1.0, normalize=None, dtype="float32", seed=0):
    """Five convolutions, three poolings, three dense layers.  Krizhevsky, Sutskever and Hinton 2012.

    groups : 2 splits layers 2, 4 and 5 as the original does over its two graphics cards
    lrn : local response normalisation behind the first two layers, as in the paper (section 3.3)

    The paper says 224 pixels, but only 227 give its 55×55 positions in the first layer.

    >>> alexnet().n_parameters, alexnet(groups=2).n_parameters
    (62378344, 60965224)
    """
    groups = whole(groups, "groups", 1)
    c1, c2, c3, c4, c5 = (scaled(count, width, groups) for count in (96, 256, 384, 384, 256))
    norm = lambda: [LocalResponseNorm()] if lrn else []  # noqa: E731
    layers = [
        *(Conv2D(c1, 11, stride=4, activation="relu"), *norm(), MaxPool2D(3, stride=2)),
        *(Conv2D(c2, 5, padding=2, groups=groups, activation="relu"), *norm(), MaxPool2D(3, stride=2)),
        *tail(c3, c4, c5, scaled(4096, width), classes, groups),
    ]
    name = "AlexNet" if groups == 1 else f"AlexNet, {groups} groups"
    return network(layers, name, normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def zfnet(input_shape=(225, 225, 3), classes=1000, *, lrn=True, width=1.0, normalize=None, dtype="float32", seed=0):
    """AlexNet with 7×7 filters at stride 2 in the first layer, and stride 2 in the second.

    Zeiler and Fergus 2014, arXiv:1311.2901.

    lrn : normalise behind the first two poolings, where the paper has contrast normalisation; here it is AlexNet's

    >>> zfnet().n_parameters
    62357608
    """
    c1, c2, c3, c4, c5 = (scaled(count, width) for count in (96, 256, 384, 384, 256))
    norm = lambda: [LocalResponseNorm()] if lrn else []  # noqa: E731
    layers = [
        *(Conv2D(c1, 7, stride=2, activation="relu"), MaxPool2D(3, stride=2, padding=1), *norm()),
        *(Conv2D(c2, 5, stride=2, activation="relu"), MaxPool2D(3, stride=2, padding=1), *norm()),
        *tail(c3, c4, c5, scaled(4096, width), classes, 1),
    ]
    return network(layers, "ZFNet", normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def tail(c3, c4, c5, units, classes, groups):
    """The third convolution and all behind it."""
    return [
        Conv2D(c3, 3, padding=1, activation="relu"),
        Conv2D(c4, 3, padding=1, groups=groups, activation="relu"),
        Conv2D(c5, 3, padding=1, groups=groups, activation="relu"),
        MaxPool2D(3, stride=2),
        *(Flatten(), Dropout(0.5), Dense(units, activation="relu"), Dropout(0.5), Dense(units, activation="relu")),
        head(classes),
    ]
