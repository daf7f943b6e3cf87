"""The small networks that lectures on convolution start with."""

from fastconv.layers import Conv2D, Dense, Flatten, MaxPool2D
from fastconv.models.zoo import head, network

__all__ = ["cat_or_not", "course39", "ten_filters"]


def ten_filters(input_shape=(6, 6, 3), *, normalize=None, dtype="float32", seed=0):
    """One layer of ten 3×3 filters: on colour images 280 parameters, whatever their size.

    >>> [ten_filters((side, side, 3)).n_parameters for side in (6, 1000, 5000)]
    [280, 280, 280]
    """
    layers = [Conv2D(10, 3, activation="relu")]
    return network(layers, "ten filters", normalize, input_shape=input_shape, output="linear", dtype=dtype, seed=seed)


def course39(input_shape=(39, 39, 3), classes=10, *, normalize=None, dtype="float32", seed=0):
    """The simple network on 39×39×3: three convolutions down to 7×7×40 = 1,960 numbers, then softmax over `classes`.

    >>> print(*(row.output_shape for row in course39().rows()))
    (39, 39, 3) (37, 37, 10) (17, 17, 20) (7, 7, 40) (1960,) (10,)
    """
    layers = [
        Conv2D(10, 3, activation="relu"),
        Conv2D(20, 5, stride=2, activation="relu"),
        Conv2D(40, 5, stride=2, activation="relu"),
        Flatten(),
        head(classes),
    ]
    return network(layers, "course network on 39×39×3", normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def cat_or_not(input_shape=(64, 64, 3), *, normalize=None, dtype="float32", seed=0):
    """One output, "is it a cat?": its logit; `predict` gives the probability.  For binary cross-entropy."""
    layers = [
        Conv2D(8, 3, padding="same", activation="relu"),
        MaxPool2D(4),
        Conv2D(16, 3, padding="same", activation="relu"),
        MaxPool2D(4),
        Flatten(),
        Dense(1),
    ]
    return network(layers, "cat or not", normalize, input_shape=input_shape, output="sigmoid", dtype=dtype, seed=seed)
