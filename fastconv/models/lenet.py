"""LeNet-5, as courses draw it: two convolutions with pooling, three dense layers."""

from fastconv.layers import Conv2D, Dense, Flatten, MaxPool2D
from fastconv.models.zoo import head, network, scaled, scaled_each

__all__ = ["lenet5"]


def lenet5(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    filters=(6, 16),
    padding="valid",
    width=1.0,
    normalize=None,
    dtype="float32",
    seed=0,
):
    """LeNet-5 with ReLU and max pooling: conv 5×5 - pool - conv 5×5 - pool - dense 120 - dense 84 - dense `classes`.

    LeCun, Bottou, Bengio and Haffner 1998, in the form of today's lectures (the paper has tanh, average pooling with weights,
    a partly connected second convolution and RBF outputs).  `padding` is that of the first convolution; `filters` are those of
    the two.  The last layer gives logits, `predict` gives probabilities.

    >>> lenet5().n_parameters, lenet5(filters=(8, 16)).n_parameters
    (62006, 62958)
    >>> lenet5((32, 32, 1)).n_parameters, lenet5((28, 28, 1), padding="same").n_parameters
    (61706, 61706)
    """
    first, second = scaled_each(filters, width, count=2)
    layers = [
        Conv2D(first, 5, padding=padding, activation="relu"),
        MaxPool2D(2),
        Conv2D(second, 5, activation="relu"),
        MaxPool2D(2),
        Flatten(),
        Dense(scaled(120, width), activation="relu"),
        Dense(scaled(84, width), activation="relu"),
        head(classes),
    ]
    return network(layers, "LeNet-5", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
