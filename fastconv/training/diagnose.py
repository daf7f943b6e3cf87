"""Which layer was the first to leave the finite numbers: the batch once more, layer by layer."""

import numpy as np

from fastconv.functional.updates import Together, sum_of_squares

__all__ = ["INPUT", "overflows", "suspect"]

INPUT = "the input is not finite"


def overflows(array):
    """Whether an array, or the sum of its squares, is not finite."""
    return not np.isfinite(sum_of_squares([array], Together()))


def suspect(net, loss, x, y):
    """Words for the first array of a training step that is not finite.

    The batch x, y (targets as the loss wants them) is replayed through the plain path: first the weights, then each layer's
    output, the loss, and backward each layer's gradients.  A gradient counts as not finite where its squares are not.
    """
    with np.errstate(all="ignore"):
        return in_arrays(net) or forward(net, loss, x, y)


def in_arrays(net):
    """A weight that is not finite before the step."""
    for layer in net.layers:
        for name, array in layer.arrays.items():
            if not np.isfinite(array).all():
                return f"{layer.name}.{name} was not finite before this step"
    return ""


def forward(net, loss, x, y):
    """The first output that is not finite, or what the loss and the backward pass say."""
    scores = before = np.asarray(x, net.dtype)
    if not np.isfinite(before).all():
        return INPUT if not np.isfinite(x).all() else f"{INPUT} as {net.dtype}"
    for number, (layer, scores) in enumerate(net.trace(x, training=True), start=1):
        if not np.isfinite(scores).all():
            name, _ = inside(layer, before)
            return f"the output of {where(net, number, name)} is the first that is not finite"
        before = scores
    value, dy = loss.function(scores, y)
    if not np.isfinite(value):
        return f"all outputs are finite (the last layer's reach {abs(scores).max():.3g}), the loss itself is not"
    return backward(net, dy)


def backward(net, dy):
    """The first gradient, from the loss down, that is not finite."""
    if overflows(dy):
        return "the gradient of the loss is the first that is not finite"
    for number in range(len(net.layers), 0, -1):
        layer = net.layers[number - 1]
        dy = layer.backward(dy)
        for name, (_, gradient) in layer.trainable_arrays().items():
            if overflows(gradient):
                return f"the gradient of {layer.name}.{name} ({place(net, number)}) is the first that is not finite"
        if overflows(dy):
            return f"the gradient that {where(net, number, layer.label)} passes down is the first that is not finite"
    return "layer by layer the same batch gives finite numbers"


def inside(layer, x):
    """(name, output) of the first layer with an output that is not finite; in a block, of the first layer inside it."""
    for branch in getattr(layer, "branches", ()):
        before = x
        for inner in branch:
            name, before = inside(inner, before)
            if not np.isfinite(before).all():
                return name, before
    return layer.label, layer.forward(x, training=True)


def where(net, number, name):
    """ "conv2d_1 (layer 2 of 9)", or "residual_1.conv2d_1 (in layer 3 of 9)"."""
    return f"{name} ({'in ' * ('.' in name)}{place(net, number)})"


def place(net, number):
    """ "layer 2 of 9"."""
    return f"layer {number} of {len(net.layers)}"
