"""A small residual network for 32×32 pixels, made for processors."""

from fastconv.layers import GlobalMaxPool2D, MaxPool2D, ReLU, Residual
from fastconv.models.resnet import convolution
from fastconv.models.zoo import head, network, scaled_each

__all__ = ["small_cifar"]


def small_cifar(
    input_shape=(32, 32, 3), classes=10, *, filters=(32, 48, 96, 192), width=1.0, normalize=None, dtype="float32", seed=0
):
    """Conv 3×3 and pool; three stages of conv 3×3 and a residual conv 3×3, pooling between them; the largest of each map.

    Shaped after the networks that train fastest on CIFAR-10 (Page 2018, ResNet-9; Jordan 2024, arXiv:2404.00498) and after what
    processors do well: few feature maps of many pixels, whose BatchNorm and ReLU cost memory traffic (so the first pooling is
    before them), many filters where the maps are small.

    >>> net = small_cifar()
    >>> net.n_parameters, net.summary().totals.macs
    (660842, 25659264)
    """
    first, *stages = scaled_each(filters, width)
    conv, norm = convolution(first)
    layers = [conv, MaxPool2D(2), norm, ReLU()]
    for i, count in enumerate(stages):
        layers += [MaxPool2D(2)] * bool(i) + [*convolution(count), ReLU(), Residual([*convolution(count), ReLU()])]
    layers += [GlobalMaxPool2D(), head(classes)]
    return network(layers, "small CIFAR", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
