"""A network in evaluation mode: fewer steps, and memory that is used again.

A convolution or dense layer takes the BatchNorm behind it into its weights and the activation behind that into its own; where its
algorithm allows it, a convolution also keeps the largest of each 2x2 results for the max pooling behind it; Dropout is left out;
steps write into memory of a `Space` where they can.  Results are those of the layers to rounding, also inside blocks.  Folded
weights are kept until a version changes.
"""

import functools

import numpy as np

from fastconv import functional as F
from fastconv.functional.conv import PreparedWeights
from fastconv.functional.pooled import pooled_conv2d
from fastconv.layers import LAYERS
from fastconv.layers.base import as_promised
from fastconv.layers.block import Block
from fastconv.layers.branches import Add, Concat

__all__ = ["pooled_steps", "run", "steps_for"]

WEIGHTED = ("conv2d", "depthwise_conv2d", "dense")
ACTIVATIONS = ("relu", "sigmoid", "tanh")  # layers that a weighted one before them can compute itself


def own_kind(layer):
    """Its kind, None for a class of somebody's own, which may do anything."""
    return layer.kind if LAYERS.get(type(layer).__name__) is type(layer) else None


def apart(y, *others):
    """y, as a copy where it is one of the others or a view of it: today, but who knows in the next pass."""
    return y.copy() if any(np.may_share_memory(y, other) for other in others) else y


def steps_for(layers):
    """The steps that do what `layers` do in inference."""
    left, steps = [layer for layer in layers if own_kind(layer) not in ("dropout", "spatial_dropout2d")], []
    while left:
        layer, *left = left
        if own_kind(layer) in (*WEIGHTED, "batch_norm"):
            norm = left.pop(0) if can_fold(layer, left) else None
            activation = left.pop(0) if layer.activation is None and left and own_kind(left[0]) in ACTIVATIONS else None
            steps.append((Weighted if own_kind(layer) in WEIGHTED else Normed)(layer, norm, activation))
        elif isinstance(layer, Block):
            steps.append(Branches(layer))
        else:
            steps.append(POOLS.get(own_kind(layer), Plain)(layer))
    return tuple(steps)


def can_fold(layer, behind):
    """Whether the next layer is a BatchNorm that can go into the weights of this one."""
    return bool(behind) and own_kind(layer) in WEIGHTED and own_kind(behind[0]) == "batch_norm" and layer.activation is None


def pooled_steps(steps):
    """`steps`, each convolution together with the 2x2 max pooling right behind it."""
    joined = []
    for step in steps:
        if type(step) is Pool and joined and type(joined[-1]) is Weighted and joined[-1].can_pool(step):
            joined[-1] = Pooled(joined[-1], step)
        else:
            joined.append(step)
    return tuple(joined)


def run(steps, x, space):
    """The output of the last step; memory is given back as soon as nobody reads it, but never that of x itself."""
    y = given = x
    for step in steps:
        x, y = y, step.forward(y, space)
        if x is not given:
            space.give(x, y, given)
    return y


class Plain:
    """A layer as it is."""

    def __init__(self, layer):
        self.layer = self.last = layer
        self.name, self.dtype, self.shape = layer.label, layer.dtype, layer.output_shape

    @property
    def output_shape(self):
        """Of one image; no step changes the shape of what its layer gives."""
        return self.shape

    def op(self, batch):
        """What the step does, as an `Op`."""
        return self.layer.op(self.layer.input_shape, batch)

    def forward(self, x, space):
        """The output for a batch x; in memory of `space` where the layer can use it."""
        y = as_promised(self.layer, x, self.layer.forward(x))
        return y if own_kind(self.layer) else apart(y, x)

    def target(self, x, space):
        """An array for the output."""
        return space.take((len(x), *self.shape), self.dtype)


class Pool(Plain):
    """The largest of windows."""

    def forward(self, x, space):
        return self.into(x, self.target(x, space))

    def into(self, x, y):
        return F.max_pool2d(x, self.layer.size, out=y, **self.layer.options)


class AveragePool(Pool):
    """The average."""

    def into(self, x, y):
        return F.avg_pool2d(x, self.layer.size, count_include_pad=self.layer.count_include_pad, out=y, **self.layer.options)


POOLS = {"max_pool2d": Pool, "avg_pool2d": AveragePool}


class Normed(Plain):
    """A BatchNorm that no convolution takes in, with the activation behind it."""

    def __init__(self, layer, norm, activation):
        super().__init__(layer)
        self.last = activation or layer

    def op(self, batch):
        op = super().op(batch)
        return op if self.last is self.layer else op.merged(self.last.kind)

    def forward(self, x, space):
        if self.last is self.layer or x.ndim != 4:
            y = self.layer.forward(x)
            return y if self.last is self.layer else self.last.forward(y)
        factor, offset = factor_and_offset(self.layer, self.dtype)
        w, channels = factor[None, None, None], x.shape[3]
        return F.conv2d(x, w, offset, groups=channels, activation=self.last.kind, out=self.target(x, space))


class Weighted(Plain):
    """A convolution or dense layer with the BatchNorm and the activation behind it, as far as there are any."""

    def __init__(self, layer, norm, activation):
        super().__init__(layer)
        self.norm, self.last = norm, activation or norm or layer
        self.sources = [source for source in (layer, norm) if source is not None]
        self.activation = activation.kind if activation else layer.activation
        self.options = layer.options if layer.kind != "dense" else {}
        self._folded = self._arrays = (None, None)

    @property
    def version(self):
        """Grows with every change of the arrays behind the folded weights."""
        return sum(source.version for source in self.sources)

    @property
    def built(self):
        """Whether the arrays exist."""
        return all(source.built for source in self.sources)

    @property
    def arrays(self):
        """{"w": …} and, where there is one, {"b": …}, BatchNorm included: the same dict until something changes."""
        if self.norm is None:
            return self.layer.arrays
        version, arrays = self._arrays
        if version != self.version:
            own, version = self.built_arrays()
            arrays = {"w": fold_weights(own, self.norm), "b": fold_bias(own, self.norm)}
            self._arrays = version, arrays
        return arrays

    def op(self, batch):
        op = super().op(batch)
        if self.norm is not None:
            op = op.merged(op.activation, self.norm.op(self.norm.input_shape, batch).slots)
        return op.merged(self.activation)

    def folded(self):
        """(prepared weights, bias) with the BatchNorm in them, of the weights nothing but what is packed; kept until something
        changes."""
        version, found = self._folded
        if version != self.version:
            own, version = self.built_arrays()
            w, make = own["w"], functools.partial(folded_filters, self.layer, self.norm)  # which does not refer to this step
            shape = w.shape if w.ndim == 4 else (1, 1, *w.shape)
            found = PreparedWeights.made_by(make, shape, w.dtype), fold_bias(own, self.norm)
            self._folded = version, found
        return found

    def built_arrays(self):
        """(arrays of the layer, the version that they and those of the BatchNorm have at least): to build them is a change."""
        own, _ = self.layer.arrays, self.norm.arrays
        return own, self.version

    def can_pool(self, pool):
        """Whether these are a convolution and windows of 2x2 that cover each of its results once."""
        geo = pool.layer.geometry(pool.layer.input_shape)
        return self.layer.kind == "conv2d" and (geo.kh, geo.kw) == (2, 2) and geo.covers_once

    def weights(self):
        """(prepared weights, bias or None) of a convolution."""
        return self.folded() if self.norm is not None else (self.layer.prepared(), self.layer.arrays.get("b"))

    def forward(self, x, space):
        return self.into(x, self.target(x, space))

    def into(self, x, out):
        if self.layer.kind != "dense":
            return F.conv2d(x, *self.weights(), activation=self.activation, out=out, **self.options)
        if self.norm is not None:
            (w, b), algorithm = self.folded(), "auto"
        else:
            (w, algorithm), b = self.layer.for_rows(len(x)), self.layer.arrays.get("b")
        return F.dense(x, w, b, activation=self.activation, algorithm=algorithm, out=out)


class Pooled:
    """A convolution and the 2x2 max pooling behind it, in one pass where its algorithm allows it; for a pass only, no Op."""

    def __init__(self, weighted, pool):
        self.weighted, self.pool = weighted, pool

    def forward(self, x, space):
        y, results = self.pool.target(x, space), self.weighted.target(x, space)  # always both: plans change, a Space does not
        if not pooled_conv2d(x, *self.weighted.weights(), y, activation=self.weighted.activation, **self.weighted.options):
            self.pool.into(self.weighted.into(x, results), y)
        space.give(results, y)
        return y


def factor_and_offset(norm, dtype):
    """The BatchNorm as x factor + offset, computed in float64 and rounded once."""
    of = {name: array.astype(np.float64) for name, array in norm.arrays.items()}
    factor = of["scale"] / np.sqrt(of["var"] + norm.eps)
    return factor.astype(dtype), (of["shift"] - of["mean"] * factor).astype(dtype)


# What a layer with `arrays` and BatchNorm `norm` do one after the other, a layer with folded weights and bias does:
# (x w + b) factor + offset  =  x (w factor) + (b factor + offset)


def fold_weights(arrays, norm):
    w = arrays["w"]
    return (w * factor_and_offset(norm, np.float64)[0]).astype(w.dtype, copy=False)


def folded_filters(layer, norm):
    """(KH, KW, C / groups, O)"""
    w = fold_weights(layer.arrays, norm)
    return w if w.ndim == 4 else w[None, None]


def fold_bias(arrays, norm):
    factor, offset = factor_and_offset(norm, np.float64)
    return (arrays.get("b", 0.0) * factor + offset).astype(arrays["w"].dtype)


class Branches(Plain):
    """A block, each of its branches in steps."""

    def __init__(self, layer):
        super().__init__(layer)
        self.branches = tuple(pooled_steps(steps_for(branch)) for branch in layer.branches)

    def forward(self, x, space):
        outputs = [run(steps, x, space) for steps in self.branches]
        y = self.joined(outputs, x, space)
        for part in outputs:
            space.give(part, x, y)
        return y

    def joined(self, outputs, x, space):
        """The block's output: sums go into the first branch's memory, stacks into memory of their own."""
        if type(self.layer).join is Concat.join:
            return F.concat(outputs, out=self.target(x, space))
        if type(self.layer).join is Add.join and np.may_share_memory(outputs[0], x):
            return self.layer.summed(outputs, self.target(x, space))
        y = self.layer.join(outputs, x, False)
        return y if own_kind(self.layer) else apart(y, x, *outputs)
