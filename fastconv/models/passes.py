"""How a batch goes through a network: layer by layer, but for the run of layers that goes as one chain."""

import functools
from math import prod

import numpy as np

from fastconv.errors import ShapeError, TrainingError
from fastconv.functional.activations import relu_grad
from fastconv.functional.arrays import ready
from fastconv.functional.softmax import LABELS, loss_shares
from fastconv.layers.norm import paired
from fastconv.models.inference import pooled_steps, steps_for
from fastconv.models.program import lower
from fastconv.plans import plan_chain

__all__ = ["ChainedLayers", "steps_of"]

FLOAT32 = np.dtype(np.float32)  # of every chain


@functools.lru_cache(maxsize=64)
def shares(count, classes, smoothing):
    """`loss_shares` as an array, which kernels only read."""
    return np.array(loss_shares(count, classes, smoothing), FLOAT32)


def steps_of(net, batch, training):
    """The steps of a training pass, with `forward(x, training)` and `backward(dy, needs_dx)`: layers and `ChainedLayers`.

    Or those of inference, with `forward(x, space)`: of `models.inference`, and `ChainedLayers`.
    """
    mode = "training" if training else "inference"
    layers = net.layers if training else steps_for(net.layers)
    fused = paired if training else pooled_steps
    ops = lower(net, max(batch, 1), mode)
    plan = plan_chain(ops, net.dtype, mode)
    if not plan.chains or batch == 0:
        return fused(layers)
    (first, last), places = plan.chains[0], {layer.name: i for i, layer in enumerate(layers)}
    begin = places[ops[first].layer]
    end = places[ops[last + 1].layer] if last + 1 < len(ops) else len(layers)
    return (*fused(layers[:begin]), ChainedLayers(layers[begin:end], plan), *fused(layers[end:]))


def arrays_of(layers):
    """(weights, bias or None) of each."""
    owners = [layer.arrays for layer in layers]
    return [(own["w"], own.get("b")) for own in owners]


def gradients_of(layers):
    """Where the gradients of both go; of those that nobody wants, to arrays that nobody reads."""
    return [tuple(gradient(layer, name) for name in ("w", "b")) for layer in layers]


def gradient(layer, name):
    if layer.trainable and name in layer.arrays:
        return layer.grad(name)
    w = layer.arrays["w"]
    return np.empty_like(w if name == "w" else w[0, ..., :].reshape(-1))


class ChainedLayers:
    """Neighbouring layers that work as one, for one batch size and mode, as long as their arrays and what is trained stay."""

    def __init__(self, layers, plan):
        self.layers, self.plan = tuple(layers), plan
        by_name = {layer.name: layer for layer in layers}
        self.weighted = tuple(by_name[block.layer] for block in plan.blocks)
        self.out_shape = layers[-1].output_shape
        self.out_size = prod(self.out_shape)
        self.trained = arrays_of(self.weighted) if plan.training else None
        self.gradients = gradients_of(self.weighted) if plan.training else None
        self.idle = []  # workspaces, each with the versions of the weights it was prepared for
        self.pass_ = None

    @property
    def learns(self):
        """Whether any of the layers has parameters that are trained."""
        return any(layer.learns for layer in self.layers)

    @functools.cached_property
    def chain(self):
        """The kernels' tables, and tiles compiled."""
        return self.plan.ready()

    def forward(self, x, space):
        """The output of the last of the layers; in inference `space` lends its memory, in training it is the flag True."""
        work, versions = self.ready_workspace(stays=self.plan.training)
        x = ready(x.reshape(len(x), -1), FLOAT32)
        shape = len(x), self.out_size
        y = np.empty(shape, FLOAT32) if self.plan.training else space.take(shape, FLOAT32)
        self.chain.forward(x, y, work)
        self.idle.append((work, versions))
        y = y.reshape(len(x), *self.out_shape)
        if self.plan.training:
            self.pass_ = x, y, work
        return y

    @property
    def gives_scores(self):
        """Whether the last layer is a dense one without ReLU, so that a loss can follow at once."""
        return self.plan.blocks[-1].geometry is None and not self.ends_rectified

    def forward_backward(self, x, labels, smoothing):
        """(output, loss of each image) and the gradients of the mean loss, softmax and cross-entropy, in one pass of the images.

        `labels` int64 (N,); see `losses.softmax_cross_entropy`.  The loss of an image that is not finite, or has a label that is
        no class, is NaN.
        """
        if labels.shape != (len(x),):
            raise ShapeError(f"labels: got shape {labels.shape}; needed a class number for each of {len(x)} images")
        work, versions = self.ready_workspace()
        x, labels = ready(x.reshape(len(x), -1), FLOAT32), ready(labels, LABELS)
        y, dy, losses = (np.empty(shape, FLOAT32) for shape in ((len(x), self.out_size), (len(x), self.out_size), len(x)))
        self.chain.forward_backward(x, y, dy, labels, shares(len(x), self.out_size, smoothing), losses, self.gradients, work)
        self.idle.append((work, versions))
        self.pass_ = x, y, None
        return y, losses

    def ready_workspace(self, stays=False):
        """(workspace, versions of the weights that it has taken up): those of now.  `stays`: see `Chain.workspace`."""
        work, known = self.workspace(stays)
        versions = [layer.version for layer in self.weighted]
        if versions != known:
            self.chain.prepare(work, self.trained or arrays_of(self.weighted))
        return work, versions

    def workspace(self, stays):
        """A workspace that no other thread has."""
        while self.idle:
            try:
                work, versions = self.idle.pop()
            except IndexError:  # another thread was faster
                break
            if self.chain.serves(work, stays):
                return work, versions
        return self.chain.workspace(stays), None

    def backward(self, dy, needs_dx=True):
        """Gradients of the parameters; that of the input layer by layer, which takes a second forward pass."""
        if self.pass_ is None:
            raise TrainingError(
                f"{self.layers[0].label}: backward needs a forward pass before it; call forward(x, training=True)"
            )
        x, y, work = self.pass_
        if dy.shape != y.shape:
            raise ShapeError(f"dy: got shape {dy.shape}; needed that of the output of {self.layers[-1].label}, {y.shape}")
        if needs_dx:
            return self.replay(x, dy)
        if work is None:  # it went there and back at once: nothing of it has stayed
            self.forward(x, True)
            *_, work = self.pass_
        if self.ends_rectified:  # a convolution's ReLU is in its marks, that of a dense layer in what comes behind it
            dy = relu_grad(dy, y)
        dy = ready(dy.reshape(len(dy), -1), FLOAT32)
        self.chain.backward(x, dy, self.trained, gradients_of(self.weighted), work)  # what is trained may have changed since
        return None

    @property
    def ends_rectified(self):
        """Whether the last layer is a dense one with a ReLU."""
        last = self.plan.blocks[-1]
        return last.geometry is None and last.relu

    def replay(self, x, dy):
        """The plain way."""
        x = x.reshape(len(x), *self.layers[0].input_shape)
        for layer in self.layers:
            x = layer.forward(x, training=True)
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy
