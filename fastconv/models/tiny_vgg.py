"""TinyVGG, the network that CNN Explainer shows."""

from fastconv.layers import Conv2D, Flatten, MaxPool2D
from fastconv.models.zoo import head, network, scaled

__all__ = ["tiny_vgg"]


def tiny_vgg(input_shape=(64, 64, 3), classes=10, *, filters=10, width=1.0, normalize=None, dtype="float32", seed=0):
    """Twice (conv 3×3 - conv 3×3 - pool 2×2), then one dense layer.  Wang et al. 2020, CNN Explainer, arXiv:2004.15004.

    >>> tiny_vgg().n_parameters
    19920
    """
    layers, count = [], scaled(filters, width)
    for _ in range(2):
        layers += [Conv2D(count, 3, activation="relu"), Conv2D(count, 3, activation="relu"), MaxPool2D(2)]
    layers += [Flatten(), head(classes)]
    return network(layers, "TinyVGG", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
