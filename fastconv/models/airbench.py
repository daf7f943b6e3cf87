"""The network that learns CIFAR-10 with the least arithmetic, narrower for processors."""

from fastconv.errors import OptionError
from fastconv.layers import BatchNorm, Conv2D, Dense, GlobalMaxPool2D, MaxPool2D, ReLU
from fastconv.models.whitening import whiten
from fastconv.models.zoo import classifier, scaled

__all__ = ["airbench", "begin_airbench"]

SHIFTS = 64.0  # how much faster the shifts of BatchNorm learn
SCALE = 9.0  # what the logits are divided by


def airbench(
    input_shape=(32, 32, 3),
    classes=10,
    *,
    filters=(32, 128, 192),
    padding="same",
    width=1.0,
    normalize=None,
    dtype="float32",
    seed=0,
):
    """Whitening conv 2×2, then three times (conv 3×3 - pool - BN - ReLU - conv 3×3 - BN - ReLU), the largest of each map, dense.

    Jordan 2024, arXiv:2404.00498, with filters=(64, 256, 256), padding="valid" of the first layer, its bias, and GELU for ReLU.
    With "same" the maps have 32, 16, 8 and 4 rows in the place of 31, 15, 7 and 3: whole tiles of Winograd's algorithm, so that
    a quarter more multiplications take 4 % more time.  Pooling comes before BatchNorm, whose passes over memory then cost a
    quarter.  Train it from `begin_airbench`.

    >>> net = airbench()
    >>> net.n_parameters, net.summary().totals.macs
    (757024, 48072576)
    """
    layers = [Conv2D(2 * 2 * 2 * input_shape[-1], 2, padding=padding, bias=False, activation="relu")]
    for count in filters:
        layers += [conv(scaled(count, width)), MaxPool2D(2), BatchNorm(), ReLU(), conv(scaled(count, width)), BatchNorm(), ReLU()]
    layers += [GlobalMaxPool2D(), Dense(classes, bias=False)]
    return classifier(layers, "airbench", normalize, input_shape=input_shape, dtype=dtype, seed=seed)


def conv(filters):
    return Conv2D(filters, 3, padding=1, bias=False, initializer="dirac")


def begin_airbench(net, x):
    """Prepare a fresh `airbench` for training on images x (N, *net.input_shape), as its paper does; no labels are needed.

    The first layer whitens and stays as it is (section 3.2).  The scales of BatchNorm stay 1, its shifts learn 64 times as fast
    as the rest (section 3.4).  The logits are divided by 9: here the weights of the dense layer begin a ninth as large and learn
    1 / 81 as fast, which gives the same numbers at every step.

    Raises
    ------
    OptionError : not a network like `airbench`
    """
    head = net.layers[-1]
    if not isinstance(head, Dense):
        raise OptionError(f"begin_airbench: the network ends in {head!r}; needed Dense, as models.airbench() has it")
    whiten(net, x)
    for layer in net.layers:
        if isinstance(layer, BatchNorm):
            layer.rates = {"scale": 0.0, "shift": SHIFTS}
    head.set_params(w=head.params["w"] / SCALE)
    head.rates = {"w": SCALE**-2}
