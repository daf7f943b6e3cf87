"""The network of the ConvNetJS CIFAR-10 demonstration."""

from fastconv.layers import Conv2D, Flatten, MaxPool2D
from fastconv.models.zoo import head, network, scaled_each

__all__ = ["convnetjs_cifar"]


def convnetjs_cifar(
    input_shape=(32, 32, 3), classes=10, *, filters=(16, 20, 20), width=1.0, normalize=None, dtype="float32", seed=0
):
    """Three times conv 5×5 "same" with ReLU and pool 2×2, then one dense layer.  Karpathy's page trains it in the browser.

    >>> net = convnetjs_cifar()
    >>> net.n_parameters, net.summary().totals.macs
    (22466, 3920000)
    """
    layers = []
    for count in scaled_each(filters, width):
        layers += [Conv2D(count, 5, padding="same", activation="relu"), MaxPool2D(2)]
    layers += [Flatten(), head(classes)]
    return network(layers, "ConvNetJS CIFAR-10", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
