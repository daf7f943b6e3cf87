"""GoogLeNet: nine inception modules, each four branches side by side."""

from fastconv.layers import Concat, Conv2D, Dropout, GlobalAvgPool2D, LocalResponseNorm, MaxPool2D
from fastconv.models.zoo import head, network, scaled

__all__ = ["googlenet", "inception"]

# Table 1 of the paper: filters of 1×1; of 1×1 before the 3×3, and of the 3×3; the same for 5×5; of 1×1 behind the pooling
MODULES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)


def googlenet(input_shape=(224, 224, 3), classes=1000, *, lrn=True, width=1.0, normalize=None, dtype="float32", seed=0):
    """22 layers with weights in 7 million parameters.  Szegedy et al. 2015, arXiv:1409.4842.

    The two auxiliary classifiers, which the paper uses in training only, are left out.  lrn : the paper's local response
    normalisation around the second stage.

    >>> net = googlenet()
    >>> net.n_parameters, net.summary().totals.macs
    (6998552, 1582671872)
    """
    norm = lambda: [LocalResponseNorm()] if lrn else []  # noqa: E731
    pool = lambda: MaxPool2D(3, stride=2, ceil_mode=True)  # noqa: E731
    c1, c2, c3 = (scaled(count, width) for count in (64, 64, 192))
    layers = [
        *(Conv2D(c1, 7, stride=2, padding=3, activation="relu"), pool(), *norm()),
        *(Conv2D(c2, 1, activation="relu"), Conv2D(c3, 3, padding=1, activation="relu"), *norm(), pool()),
    ]
    for stage in MODULES:
        layers += [*(inception(*(scaled(count, width) for count in counts)) for counts in stage), pool()]
    layers[-1:] = [GlobalAvgPool2D(), Dropout(0.4), head(classes)]
    return network(layers, "GoogLeNet", normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def inception(one, before3, three, before5, five, pooled):
    """1×1, 3×3 and 5×5 filters and a pooling side by side, with 1×1 filters that narrow the input of the wide ones.

    >>> block = inception(64, 96, 128, 16, 32, 32)
    >>> block.output_shape_for((28, 28, 192))
    (28, 28, 256)
    """
    return Concat(
        [
            Conv2D(one, 1, activation="relu"),
            [Conv2D(before3, 1, activation="relu"), Conv2D(three, 3, padding=1, activation="relu")],
            [Conv2D(before5, 1, activation="relu"), Conv2D(five, 5, padding=2, activation="relu")],
            [MaxPool2D(3, stride=1, padding=1), Conv2D(pooled, 1, activation="relu")],
        ]
    )
