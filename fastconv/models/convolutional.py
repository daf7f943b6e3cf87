"""Dense layers as the convolutions that they are, so that a network looks at larger images, everywhere at once."""

from fastconv.errors import OptionError, ShapeError
from fastconv.layers import (
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
from fastconv.models.sequential import Sequential

__all__ = ["to_convolutional"]

WINDOWED = {GlobalAvgPool2D: AvgPool2D, GlobalMaxPool2D: MaxPool2D}  # one answer for each place instead of one in all


def to_convolutional(net, input_shape=None):
    """The same network without Flatten and Dense: each dense layer is a convolution with the same numbers.

    A dense layer behind a map of 5×5×16 is a convolution with filters of 5×5×16 that fits in one place; the dense layers behind
    that are 1×1 convolutions.  On images of the network's own size the answer is the same, of shape (1, 1, classes).  On a larger
    image it is a map of answers, one for each place that the network fits in, `jump` pixels apart (`net.rows()` has the jump),
    which costs far less than to cut the places out.  Equal to those up to the padding inside the network: with "same" padding
    the border of a place that is cut out is zeros, here it is the rest of the image.  Long, Shelhamer and Darrell 2015,
    arXiv:1411.4038; Sermanet et al. 2014, arXiv:1312.6229.

    Parameters
    ----------
    net : Sequential of images, with any layers before Flatten or the global pooling
    input_shape : (height, width, channels) of the new network; default: that of `net`

    Returns
    -------
    Sequential, new, with copies of the weights; layers keep their names

    Raises
    ------
    OptionError : the network takes no images, or has a layer between Flatten and Dense that tells positions apart
    ShapeError : the new images are smaller than the network fits in, or have other channels

    >>> from fastconv.models import lenet5
    >>> to_convolutional(lenet5(), (40, 48, 3)).output_shape
    (3, 5, 10)
    """
    if len(net.input_shape) != 3:
        raise OptionError(f"net: takes input of shape {net.input_shape}; needed images, (height, width, channels)")
    shape = net.input_shape if input_shape is None else tuple(input_shape)
    if len(shape) != 3 or shape[2] != net.input_shape[2] or shape[0] < net.input_shape[0] or shape[1] < net.input_shape[1]:
        raise ShapeError(f"input_shape: got {shape}; needed {net.input_shape} or larger in height and width, same channels")
    settings = {"dtype": net.dtype, "seed": net.seed, "name": net.name, "output": net.output}
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
            yield WINDOWED[type(layer)](layer.input_shape[:2], stride=1, name=layer.name)
        elif window != (1, 1) and not is_blind(layer):
            raise OptionError(f"net: {layer!r} stands between Flatten and Dense and tells rows and columns apart; move it")
        else:
            yield twin(layer)


def is_blind(layer):
    """Whether every number is treated by itself and alike, wherever it lies."""
    if isinstance(layer, Pointwise):
        return not (isinstance(layer, (Normalize, Softmax)) or layer.parameter_shapes(layer.input_shape))
    return isinstance(layer, Dropout)


def as_convolution(dense, size):
    """The convolution with filters of `size` that computes what `dense` does."""
    options = {name: getattr(dense, name) for name in ("activation", "bias", "initializer", "name")}
    layer = Conv2D(dense.units, size, **options)
    layer.trainable = dense.trainable
    return layer


def twin(layer):
    """A new layer with the same settings."""
    made = type(layer)(**layer.config())
    if made.trainable != layer.trainable:
        made.trainable = layer.trainable
    return made
