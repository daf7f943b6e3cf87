"""Layers made of layers: branches that all take the block's input, and what joins their outputs.

To the network a block is one layer.  Its arrays are those of the layers inside, under their names: "conv2d_2.w" in the block
"residual_1" is "residual_1.conv2d_2.w" in the network, so that whoever saves, checks or trains parameters needs to know nothing
of blocks.  A block of your own says what joins the branches:

    class Maximum(fc.layers.Block):
        kind = "maximum"
        nested = ("branches",)                      # constructor arguments that hold layers

        def __init__(self, branches, *, name=None):
            super().__init__(branches, name)

        def joined_shape(self, shapes):
            return shapes[0]

        def join(self, outputs, x, training):
            if training:
                self.keep(first=outputs[0] >= outputs[1])
            return np.maximum(*outputs)

        def split(self, dy):
            first = self.kept("first")
            return dy * first, dy * ~first
"""

from dataclasses import replace

import numpy as np

from fastconv.errors import OptionError
from fastconv.layers.base import Layer, as_gradient, as_promised
from fastconv.layers.connect import check_kinds, given_names, listed, places, way_out
from fastconv.layers.inner_arrays import InnerArrays
from fastconv.layers.norm import paired

__all__ = ["Block", "backward_through", "flags_of", "forward_through", "layer_list", "set_flags", "untrained"]


def layer_list(value, name):
    """A layer or a list of layers as a tuple of layers; None as none."""
    if isinstance(value, Layer):
        return (value,)
    if value is None or isinstance(value, (list, tuple)):
        return tuple(value or ())
    raise OptionError(f"{name}: got {value!r:.80}; needed a layer or a list of layers{way_out(value)}")


def forward_through(steps, x, training=False):
    """The output of the last of `steps`."""
    for step in steps:
        x = as_promised(step, x, step.forward(x, training))
    return x


def backward_through(steps, dy, needs_dx=True):
    """The gradient of the input of the first of `steps`, None without `needs_dx`.

    Steps below the lowest one that learns are not visited unless that gradient is asked for.
    """
    learning = [i for i, step in enumerate(steps) if step.learns]
    lowest = 0 if needs_dx else min(learning, default=len(steps))
    for index in range(len(steps) - 1, lowest - 1, -1):
        step, wanted = steps[index], needs_dx or index > lowest
        found = step.backward(dy, needs_dx=wanted)
        dy = as_gradient(step, dy, found) if wanted else found
    return dy if needs_dx else None


class Block(InnerArrays):
    """Base of layers made of layers.

    Attributes
    ----------
    branches : tuple of tuples of layers; an empty one hands on the input
    layers : tuple of all of them
    """

    kind = "block"
    _places = (None, ())

    def __init__(self, branches, name=None):
        super().__init__(name)
        branches = listed(branches, "branches", "branches, such as [fc.Conv2D(8, 1), fc.Conv2D(8, 3, padding=1)]")
        self.branches = tuple(layer_list(branch, f"branches[{i}]") for i, branch in enumerate(branches))
        self.layers = tuple(layer for branch in self.branches for layer in branch)
        check_kinds(self.layers)
        for layer, given in zip(self.layers, given_names(self.layers), strict=True):
            layer.name = given
        self.steps = tuple(map(paired, self.branches))

    # What a kind of block says

    def joined_shape(self, shapes):
        """Shape of the output from those of the branches, or ShapeError."""
        raise NotImplementedError(f"{type(self).__name__}.joined_shape")

    def join(self, outputs, x, training):
        """The output from those of the branches, arrays that are nobody's but where they are x itself, or a view of it."""
        raise NotImplementedError(f"{type(self).__name__}.join")

    def split(self, dy):
        """The gradient of each branch's output from that of the block's."""
        raise NotImplementedError(f"{type(self).__name__}.split")

    # Numbers through it

    def forward(self, x, training=False):
        return self.join([forward_through(steps, x, training) for steps in self.steps], x, training)

    def backward(self, dy, needs_dx=True):
        parts = zip(self.steps, self.split(dy), strict=True)
        found = [backward_through(steps, part, needs_dx) for steps, part in parts]
        return total(found, dy) if needs_dx else None

    # Shapes and counts

    def places(self, input_shape):
        """For each branch ((layer, its input shape), …)."""
        if self._places[0] != tuple(input_shape):
            self._places = tuple(input_shape), tuple(places(branch, input_shape) for branch in self.branches)
        return self._places[1]

    def output_shape_for(self, input_shape):
        shapes = []
        for branch in self.places(input_shape):
            layer, shape = branch[-1] if branch else (None, tuple(input_shape))
            shapes.append(layer.output_shape_for(shape) if layer else shape)
        return self.joined_shape(shapes)

    def inside(self, method, input_shape):
        """{name inside the block: value} of what `method` of each layer gives by name."""
        pairs = [pair for branch in self.places(input_shape) for pair in branch]
        return {f"{layer.name}.{name}": v for layer, shape in pairs for name, v in getattr(layer, method)(shape).items()}

    def parameter_shapes(self, input_shape):
        return self.inside("parameter_shapes", input_shape)

    def buffer_shapes(self, input_shape):
        return self.inside("buffer_shapes", input_shape)

    def formula(self, input_shape):
        formulas = [layer.formula(shape) for branch in self.places(input_shape) for layer, shape in branch]
        return " + ".join(f for f in formulas if f != "0") or "0"

    def macs(self, input_shape):
        return sum(layer.macs(shape) for branch in self.places(input_shape) for layer, shape in branch)

    def fields_after(self, fields, input_shape):
        found = [self._branch_fields(branch, fields) for branch in self.places(input_shape)]
        if any(branch is None for branch in found):
            return None
        return tuple(first.union(*others) for first, *others in zip(*found, strict=True))

    def _branch_fields(self, branch, fields):
        for layer, shape in branch:
            fields = layer.fields_after(fields, shape)
        return fields

    # A place in a network

    def connect(self, input_shape, dtype, seed):
        super().connect(input_shape, dtype, seed)
        seeds = iter(seed.spawn(len(self.layers)))
        for branch in self.places(input_shape):
            for layer, shape in branch:
                layer.scope = f"{self.label}."
                layer.connect(shape, dtype, next(seeds))

    def build(self, input_shape=None, dtype=None, rng=None):
        if input_shape is not None:
            self.connect(input_shape, dtype or self.dtype or "float32", self._seed)
        self.array_shapes()  # says what to do about a block without a place
        for layer in self.layers:
            layer.build(rng=rng)

    # Description

    def op(self, input_shape, batch=1):
        op = super().op(input_shape, batch)
        inside = tuple(tuple(layer.op(shape, batch) for layer, shape in branch) for branch in self.places(input_shape))
        return replace(op, settings=(*op.settings, ("branches", inside)))

    def config(self):
        config = super().config()
        return {key: untrained(value) if key in self.nested else value for key, value in config.items()}

    def settings(self):
        inside = (" - ".join(layer.stem() for layer in branch) or "x" for branch in self.branches)
        return f"{type(self).__name__}({' | '.join(inside)})"


def untrained(value):
    """New layers with the settings of those in `value`, a layer or lists of them."""
    if isinstance(value, (list, tuple)):
        return [untrained(item) for item in value]
    if not isinstance(value, Layer):
        return value
    twin = type(value)(**value.config())
    set_flags(twin, flags_of(value))
    return twin


def flags_of(layer):
    """Whether it is trained; of a block whose layers are not described one by one those of all of them, where they differ."""
    flags = [flags_of(inner) for inner in getattr(layer, "layers", ())]
    return layer.trainable if layer.nested or all(flag is layer.trainable for flag in flags) else flags


def set_flags(layer, flags):
    """What `flags_of` another layer of the kind gave; ValueError where these are not as many."""
    if isinstance(flags, list):
        for inner, flag in zip(layer.layers, flags, strict=True):
            set_flags(inner, flag)
    elif layer.trainable != flags:  # a block's says something of layers that have theirs already
        layer.trainable = flags


def total(gradients, dy):
    """The sum of what comes out of the branches; in place only where the array is nobody else's."""
    first, *others = gradients
    if not others:
        return first
    target = None if np.may_share_memory(first, dy) or not first.flags.writeable else first
    if any(np.may_share_memory(first, other) for other in others):
        target = None
    first = np.add(first, others[0], out=target)
    for other in others[1:]:
        first += other
    return first
