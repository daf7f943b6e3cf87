"""Dense layers as the convolutions that they are, so that a network looks at larger images, everywhere at once."""

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry import pair
from fastconv.layers import (
    AdaptiveAvgPool2D,
    AdaptiveMaxPool2D,
    AvgPool2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    MaxPool2D,
    Normalize,
    Softmax,
)
from fastconv.layers.activations import Pointwise
from fastconv.models.arguments import shape_of
from fastconv.models.sequential import Sequential, checked_network

__all__ = ["to_convolutional"]

WINDOWED = {  # one answer for each place instead of one in all
    GlobalAvgPool2D: AvgPool2D,
    GlobalMaxPool2D: MaxPool2D,
    AdaptiveAvgPool2D: AvgPool2D,
    AdaptiveMaxPool2D: MaxPool2D,
}


def to_convolutional(net, input_shape=None):
    """The same network without Flatten and Dense: each dense layer is a convolution with the same numbers.

    A dense layer behind a map of 5×5×16 is a convolution with filters of 5×5×16 that fits in one place; the dense layers behind
    that are 1×1 convolutions.  On images of the network's own size the answer is the same, of shape (1, 1, classes).  On a larger
    image it is a map of answers, one for each place that the network fits in, `jump` pixels apart (`net.rows()` has the jump),
    which costs far less than to cut the places out.  (Where a pooling or stride leaves out the last pixels of the network's own
    image, these are not missed, and there are answers for places that hang over by so many.)  Equal to those up to the padding
    inside the network: with "same" padding the border of a place that is cut out is zeros, here it is the rest of the
    image.  Long, Shelhamer and Darrell 2015, arXiv:1411.4038; Sermanet et al. 2014, arXiv:1312.6229.

    Parameters
    ----------
    net : Sequential of images, with any layers before Flatten or the global pooling; an adaptive pooling has to divide its maps
    input_shape : (height, width, channels) of the new network; default: that of `net`

    Returns
    -------
    Sequential, new, with copies of the weights; layers keep their names, regularisation, rates and what is frozen

    Raises
    ------
    OptionError : the network takes no images, has a layer between Flatten and Dense that tells positions apart, or ends in a map
        that lies flat, such as the board of `models.alphago_policy`
    ShapeError : the new images are smaller than the network fits in, or have other channels

    >>> from fastconv.models import lenet5
    >>> to_convolutional(lenet5(), (40, 48, 3)).output_shape
    (3, 5, 10)
    """
    if len(checked_network(net, "net").input_shape) != 3:
        raise OptionError(f"net: takes input of shape {net.input_shape}; needed images, (height, width, channels)")
    shape = net.input_shape if input_shape is None else shape_of(input_shape)
    if len(shape) != 3 or shape[2] != net.input_shape[2] or shape[0] < net.input_shape[0] or shape[1] < net.input_shape[1]:
        raise ShapeError(f"input_shape: got {shape}; needed {net.input_shape} or larger in height and width, same channels")
    settings = {name: getattr(net, name) for name in ("dtype", "seed", "name", "output", "classes")}
    made = Sequential(list(convolutions(net)), input_shape=shape, **settings)
    shapes = {f"{layer.name}.{name}": size for layer in made.layers for name, size in layer.array_shapes().items()}
    made.set_weights({name: array.reshape(shapes[name]) for name, array in net.get_weights().items()}, allow_nonfinite=True)
    return made


def convolutions(net):
    """The layers of the new network, untrained."""
    window = (1, 1)  # rows and columns that lie flat before the layer, in the order in which filters have them
    for layer in net.layers:
        if isinstance(layer, Flatten):
            window = layer.input_shape[:2] if len(layer.input_shape) == 3 else window
        elif isinstance(layer, Dense):
            yield as_convolution(layer, window)
            window = (1, 1)
        elif type(layer) in WINDOWED:
            yield as_pooling(layer)
        elif window != (1, 1) and not is_blind(layer):
            raise OptionError(f"net: {layer!r} stands between Flatten and Dense and tells rows and columns apart; move it")
        else:
            yield twin(layer)
    if window != (1, 1):
        raise OptionError(
            f"net: ends in a flat map of {window[0]}×{window[1]}, one answer for all its places; needed Dense behind Flatten; "
            f"for other images build the network anew with their input_shape"
        )


def is_blind(layer):
    """Whether every number is treated by itself and alike, wherever it lies."""
    if isinstance(layer, Pointwise):
        return not (isinstance(layer, (Normalize, Softmax)) or layer.parameter_shapes(layer.input_shape))
    return isinstance(layer, Dropout)


def as_convolution(dense, size):
    """The convolution with filters of `size` that computes what `dense` does."""
    options = {name: getattr(dense, name) for name in ("activation", "bias", "initializer", "l1", "l2", "name")}
    return trained_as(dense, Conv2D(dense.units, size, **options))


def as_pooling(layer):
    """The pooling whose windows are those that a global or adaptive pooling has on the network's own images."""
    sizes = layer.input_shape[:2]
    counts = pair(getattr(layer, "size", 1), "size")
    if any(size % count for size, count in zip(sizes, counts, strict=True)):
        raise OptionError(
            f"net: {layer!r} has windows of several sizes on {sizes[0]}×{sizes[1]}; needed a size that divides these, such as 1"
        )
    window = tuple(size // count for size, count in zip(sizes, counts, strict=True))
    stride = tuple(1 if count == 1 else step for step, count in zip(window, counts, strict=True))
    return WINDOWED[type(layer)](window, stride=stride, name=layer.name)


def twin(layer):
    """A new layer with the same settings."""
    return trained_as(layer, type(layer)(**layer.config()))


def trained_as(layer, made):
    """`made`, frozen and with learning rates as `layer`, those inside blocks too."""
    for old, new in zip(layer.walk(), made.walk(), strict=True):
        new.trainable, new.rates = old.trainable, old.rates
    return made
