"""A network as a program: a tuple of Ops for one batch size and one mode, with the steps that vanish or merge.

The plain way, layer by layer, gives the same numbers; `plans.plan_chain` says which runs of these Ops go as one chain of kernels.
"""

from dataclasses import replace

from fastconv.errors import OptionError
from fastconv.geometry import whole
from fastconv.layers.op import Op
from fastconv.models.inference import steps_for

__all__ = ["Op", "lower"]

MODES = ("inference", "training")
MERGED = ("relu", "sigmoid", "tanh")  # activation layers that a convolution or dense layer before them can compute itself


def lower(net, batch, mode="inference"):
    r"""The Ops of `net` for `batch` inputs.

    In both modes an activation layer behind a convolution or dense layer becomes part of it; in inference so does a BatchNorm,
    and Dropout is left out.

    >>> from fastconv.layers import Conv2D, Dropout, ReLU
    >>> from fastconv.models import Sequential
    >>> net = Sequential([Conv2D(10, 3), ReLU(), Dropout(0.5)], input_shape=(6, 6, 3))
    >>> print(*lower(net, 64), sep="\n")
    conv2d_1: conv2d 64×6×6×3 -> 64×4×4×10, relu
    """
    if mode not in MODES:
        raise OptionError(f"mode: got {mode!r}; needed one of {', '.join(MODES)}")
    batch = whole(batch, "batch", 1)
    if mode == "inference":
        return tuple(step.op(batch) for step in steps_for(net.layers))
    return merge_activations([replace(layer.op(layer.input_shape, batch), learns=layer.learns) for layer in net.layers])


def merge_activations(ops):
    """Activations computed by the step before them, where that one has none."""
    merged = []
    for op in ops:
        before = merged[-1] if merged else None
        if op.kind in MERGED and before is not None and before.kind in ("conv2d", "dense") and before.activation is None:
            merged[-1] = before.merged(op.kind)
        else:
            merged.append(op)
    return tuple(merged)
