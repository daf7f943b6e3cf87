"""The network that learns CIFAR-10 with the least arithmetic, narrower for processors."""

from fastconv.errors import OptionError
from fastconv.layers import BatchNorm, Conv2D, Dense, GlobalMaxPool2D, MaxPool2D, ReLU
from fastconv.models.arguments import image_shape
from fastconv.models.sequential import checked_network
from fastconv.models.whitening import whiten
from fastconv.models.zoo import head, network, scaled_each

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
    layers = [Conv2D(2 * 2 * 2 * image_shape(input_shape)[2], 2, padding=padding, bias=False, activation="relu")]
    for count in scaled_each(filters, width):
        layers += [conv(count), MaxPool2D(2), BatchNorm(), ReLU(), conv(count), BatchNorm(), ReLU()]
    layers += [GlobalMaxPool2D(), head(classes, bias=False)]
    return network(layers, "airbench", normalize, input_shape=input_shape, dtype=dtype, seed=seed)


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
    last = checked_network(net, "net").layers[-1:]
    if not last or not isinstance(last[0], Dense):
        raise OptionError(f"begin_airbench: the network ends in {last}; needed Dense, as models.airbench() has it")
    whiten(net, x)
    for layer in net.layers:
        if isinstance(layer, BatchNorm):
            layer.rates = {"scale": 0.0, "shift": SHIFTS}
    last[0].set_params(w=last[0].params["w"] / SCALE)
    last[0].rates = {"w": SCALE**-2}
