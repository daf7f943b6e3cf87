"""The network of the ConvNetJS CIFAR-10 demonstration."""

from fastconv.layers import Conv2D, Dense, Flatten, MaxPool2D
from fastconv.models.sequential import Sequential
from fastconv.models.zoo import input_layers

__all__ = ["convnetjs_cifar"]


def convnetjs_cifar(input_shape=(32, 32, 3), classes=10, *, filters=(16, 20, 20), normalize=None, dtype="float32", seed=0):
    """Three times conv 5×5 "same" with ReLU and pool 2×2, then one dense layer.  Karpathy's page trains it in the browser.

    >>> net = convnetjs_cifar()
    >>> net.n_parameters, net.summary().totals.macs
    (22466, 3920000)
    """
    layers = input_layers(normalize)
    for count in filters:
        layers += [Conv2D(count, 5, padding="same", activation="relu"), MaxPool2D(2)]
    return Sequential(
        [*layers, Flatten(), Dense(classes)],
        input_shape=input_shape,
        dtype=dtype,
        seed=seed,
        name="ConvNetJS CIFAR-10",
        output="softmax",
    )
