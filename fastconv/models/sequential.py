"""A chain of layers: shapes through it, numbers through it, gradients back."""

import warnings
from collections.abc import Mapping
from math import prod

import numpy as np

from fastconv import functional as F
from fastconv.errors import FastconvWarning, OptionError
from fastconv.geometry import whole
from fastconv.layers import Normalize, Sigmoid, Softmax
from fastconv.layers.arrays import LATEST
from fastconv.layers.base import as_promised
from fastconv.layers.block import backward_through, forward_through
from fastconv.layers.connect import connect
from fastconv.layers.values import flag
from fastconv.models import ledger, weights_file
from fastconv.models.arguments import class_names, element_type, name_of, seed_of, shape_of
from fastconv.models.inference import run
from fastconv.models.inputs import as_batch, checked_batch
from fastconv.models.passes import ChainedLayers, steps_of
from fastconv.models.space import Space
from fastconv.models.summary import Summary

__all__ = ["Sequential", "checked_network", "load"]

OUTPUTS = ("linear", "softmax", "sigmoid")
MOST_BATCH_SIZES = 8  # whose passes are kept ready
MOST_SPACE = 1 << 28  # bytes of memory that is kept between passes in inference
MOST_SPACES = 4  # of as many threads
MOST_MAPS = 1 << 29  # bytes of feature maps that `predict` has at a time


class Sequential:
    """Layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer, each used once
    input_shape : (height, width, channels) or (features,), without the batch axis
    dtype : "float32" or "float64"; input of any other real type is cast, values are never rescaled (see `Normalize`)
    seed : int of up to 40 digits; one seed gives every layer a stream of its own (`numpy.random.SeedSequence.spawn`), or None
        for a new one
    name : str, optional
    output : "linear", "softmax" or "sigmoid": what `predict` applies to the output of the last layer.  Losses take logits, so a
        classifier ends without Softmax and says "softmax" here; a `Trainer` sets it to suit its loss, `save` keeps it, and it is
        ignored where the last layer is a Softmax or Sigmoid already.
    classes : names of the classes in the order of their labels, optional, saved with the network: `fastconv predict` answers
        with them.  Those of a folder of pictures: net.classes = classes, the third that `data.image_folder` gives

    Raises
    ------
    ShapeError : a layer does not fit; the message shows the table of layers up to it
    OptionError : a layer or a name twice, an unknown dtype or output, classes that are not one for each output

    Weights are allocated at first use: shapes, `n_parameters` and `summary` need none.

    >>> from fastconv.layers import Conv2D, Dense, Flatten, MaxPool2D
    >>> net = Sequential([Conv2D(10, 3, activation="relu"), MaxPool2D(2), Flatten(), Dense(10)], input_shape=(28, 28, 1))
    >>> net.n_parameters, net.output_shape
    (17010, (10,))
    """

    _state = (None, None, -1)  # what `state` gives, the latest change of any layer at that time, how many of its own there were
    _bytes_seen = False
    _last_steps = None
    _classes = None

    def __init__(self, layers, *, input_shape, dtype="float32", seed=0, name=None, output="linear", classes=None):
        self.input_shape = shape_of(input_shape)
        self.dtype = element_type(dtype)
        self.seed = seed_of(seed)
        self.name = name_of(name)
        self.layers = layers
        self.output = output
        self.classes = classes

    @property
    def layers(self):
        """Layers, as a tuple; others may take their place: net.layers = (*net.layers[:-1], fc.Dense(7))."""
        return self._layers

    @layers.setter
    def layers(self, value):
        self._layers = connect(value, self.input_shape, self.dtype, self.seed, self._classes)
        self._all_layers, self._last_steps = tuple(self.walk()), None
        self._forget()

    def _forget(self):
        """What was made ready for layers as they were goes."""
        self._steps, self._spaces, self._state = {}, [], (object(), LATEST.change, self._changes())

    def _changes(self):
        """How often its layers have changed."""
        return sum([layer.changes for layer in self._all_layers])

    @property
    def state(self):
        """An object that stays the same as long as layers, their settings, what is trained and the arrays do (not the numbers in
        these): whoever has made something for them can tell by it whether that still holds."""
        state, seen, own = self._state
        if seen is not (latest := LATEST.change):
            if own == self._changes():
                self._state = state, latest, own
            else:
                self._forget()
        return self._state[0]

    @property
    def output(self):
        """What `predict` applies to the last layer's output."""
        return self._output

    @output.setter
    def output(self, value):
        if value not in OUTPUTS:
            raise OptionError(f"output: got {value!r}; needed one of {', '.join(OUTPUTS)}")
        self._output = value

    @property
    def classes(self):
        """Names of the classes in the order of their labels, or None."""
        return self._classes

    @classes.setter
    def classes(self, value):
        self._classes = class_names(value, self.output_shape[-1])

    @property
    def trainable(self):
        """Whether any layer is trained; setting it sets all of them, those inside blocks too."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value):
        value = flag(value, "trainable")
        for layer in self.layers:
            layer.trainable = value

    @property
    def output_shape(self):
        """Shape of the output for one input, without the batch axis."""
        return self.layers[-1].output_shape if self.layers else self.input_shape

    @property
    def ends_in_logits(self):
        """Whether the last layer leaves its numbers as they are, neither Softmax nor sigmoid."""
        last = self.layers[-1] if self.layers else None
        return not (isinstance(last, (Softmax, Sigmoid)) or getattr(last, "activation", None) == "sigmoid")

    def walk(self):
        """Every layer, each block before the layers inside it; their `label` is the name that tells them apart."""
        for layer in self.layers:
            yield from layer.walk()

    # Numbers through it

    def trace(self, x, training=False):
        """The forward pass step by step: yields (layer, its output)."""
        x = self._received(x)
        for layer in self.layers:
            x = as_promised(layer, x, layer.forward(x, training))
            yield layer, x

    def forward(self, x, training=False):
        """Output for a batch x (N, *input_shape); with `training` the network keeps what `backward` needs, otherwise nothing.

        Small layers go through the cache as one chain; without `training`, BatchNorm and activations become part of the
        convolution before them and memory is used again.  Both give the results of `trace` to rounding.
        """
        x = self._received(x)
        steps = self._steps_for(len(x), training)
        if not training:
            return self._inferred(steps, x)
        y = forward_through(steps, x, training)
        self._last_steps = steps
        return y

    def forward_backward(self, x, labels, smoothing=0.0):
        """(output, softmax cross-entropy of each input), and the gradients of the mean loss as `backward` leaves them.

        In one pass, where small layers that end in a dense one go through the cache as one chain; None where they do not:
        `forward`, a loss and `backward` do the same.  `labels` int64 (N,), `smoothing` as in `losses.softmax_cross_entropy`.  The
        loss is NaN for what is not finite when it reaches the chain, and for a label that is no class.  ShapeError: not a label
        for each input.
        """
        found = self.chain_of_scores(len(x))
        if found is None:
            return None
        before, last = found
        scores, losses = last.forward_backward(forward_through(before, self._received(x), True), labels, smoothing)
        self._last_steps = (*before, last)
        self._add_penalty_gradients()
        return scores, losses

    def chain_of_scores(self, batch):
        """(steps before it, the chain that ends the network and a loss can follow at once); None if there is none, or if a
        subclass has a `forward` or `backward` of its own."""
        of_its_own = type(self).forward is not Sequential.forward or type(self).backward is not Sequential.backward
        *before, last = (() if of_its_own else self._steps_for(batch, True)) or (None,)
        return (tuple(before), last) if isinstance(last, ChainedLayers) and last.gives_scores else None

    def _inferred(self, steps, x):
        """The output of a pass in a `Space` that no other thread has; it is kept for the next pass unless it is large."""
        try:
            owner, batch, space = self._spaces.pop()
        except IndexError:
            owner = None
        if owner is not steps or batch != len(x):
            space = Space()
        y = run(steps, x, space)
        if space.owns(y) or np.may_share_memory(y, x):
            y = y.copy()
        space.finish()
        if space.bytes <= MOST_SPACE and len(self._spaces) < MOST_SPACES:
            self._spaces.append((steps, len(x), space))
        return y

    def _steps_for(self, batch, training):
        """Layers and chains of them, remembered for the last few batch sizes."""
        steps = self._known_steps().get((batch, training))
        if steps is None:
            for layer in self._all_layers:
                _ = layer.arrays  # they are allocated first: steps may hold them
            known_steps = self._known_steps()  # if another thread or `steps_of` changes something now, these are kept for nobody
            steps = steps_of(self, batch, training)
            if len(known_steps) >= MOST_BATCH_SIZES:
                known_steps.clear()
            known_steps[batch, training] = steps
        return steps

    def _known_steps(self):
        """Those that were made for the layers as they are."""
        _ = self.state
        return self._steps

    __call__ = forward

    def backward(self, dy, needs_dx=False):
        """Gradients of all parameters from that of the output, into `layer.grads`; returns the input's with `needs_dx`.

        Layers below the lowest trainable one are not visited unless the input's gradient is asked for.  The gradient of `penalty`
        is added to those of the weights.
        """
        dx = backward_through(self._last_steps or self.layers, np.asarray(dy, self.dtype), needs_dx)
        self._add_penalty_gradients()
        return dx

    def _add_penalty_gradients(self):
        for layer in self._all_layers:
            layer.add_penalty_gradient()

    def penalty(self):
        """What the regularisation (l1, l2) of all layers adds to the loss; 0 for those that are not trained."""
        return sum([layer.penalty() for layer in self._all_layers])

    def __getstate__(self):
        """What copies and pickles hold: not the memory of passes, which is bound to places in this process."""
        return {**self.__dict__, "_steps": {}, "_last_steps": None, "_spaces": [], "_state": Sequential._state}

    def predict(self, x, batch_size=256):
        """Class probabilities, or whatever `output` says, for x (N, *input_shape), computed `batch_size` at a time.

        Fewer at a time where the feature maps of so many would take more than 512 MiB, so that memory stays bounded.
        """
        x, batch_size = checked_batch(x, self.input_shape), whole(batch_size, "batch_size", 1)
        batch_size = min(batch_size, max(1, MOST_MAPS // self._largest_maps()))
        batches = [self._answer(x[start : start + batch_size]) for start in range(0, max(len(x), 1), batch_size)]
        return np.concatenate(batches)

    def _largest_maps(self):
        """Bytes of feature maps that a pass over one image needs at a time: about those of three neighbouring layers."""
        return 3 * self.dtype.itemsize * max(prod(layer.output_shape) for layer in (self, *self.walk()))

    def _answer(self, x):
        y = self.forward(x)
        if self.output == "linear" or not self.ends_in_logits:
            return y
        return F.softmax(y) if self.output == "softmax" else F.sigmoid(y)

    def _received(self, x):
        """x checked and cast; a first batch of bytes gets a warning if nothing brings it to a sensible range."""
        batch = as_batch(x, self.input_shape, self.dtype)
        if not self._bytes_seen and getattr(x, "dtype", None) == np.uint8:
            self._bytes_seen = True
            if not any(isinstance(layer, Normalize) for layer in self.walk()):
                warnings.warn(
                    "the input is bytes (0 … 255) and the network has no Normalize; training is slow or fails on such numbers: "
                    "put fc.Normalize(mean, std) first, it is saved with the network",
                    FastconvWarning,
                    stacklevel=3,
                )
        return batch

    # Parameters

    @property
    def n_parameters(self):
        """Weights and biases, trainable or not; running statistics are not counted."""
        return sum(prod(shape) for layer in self.layers for shape in layer.parameter_shapes(layer.input_shape).values())

    def get_weights(self):
        """Copies of all parameters and buffers: {"conv2d_1.w": array, …}."""
        return {f"{layer.name}.{name}": array.copy() for layer in self.layers for name, array in layer.arrays.items()}

    def set_weights(self, weights, *, strict=True, allow_nonfinite=False):
        """Overwrite parameters and buffers by name; with strict=False names may be missing.  An error changes nothing."""
        if not isinstance(weights, Mapping):
            raise OptionError(f"weights: got {weights!r:.80}; needed arrays by name, as get_weights() gives them")
        known = {f"{layer.name}.{name}": (layer, name) for layer in self.layers for name in layer.array_shapes()}
        unknown, missing = sorted(weights.keys() - known.keys()), sorted(known.keys() - weights.keys())
        if unknown or (strict and missing):
            raise OptionError(
                f"weights: unknown {unknown[:5]}, missing {missing[:5]}; names are like {next(iter(known), None)!r}"
            )
        given = {}
        for key, value in weights.items():
            layer, name = known[key]
            given.setdefault(layer, {})[name] = value
        checked = {layer: layer.checked(arrays, allow_nonfinite) for layer, arrays in given.items()}
        for layer, arrays in checked.items():
            layer.write(arrays)

    def load_weights(self, path, only=None, *, layers=None):
        """Take over weights from a file that `save` wrote, by the names of layers; returns the names taken.

        only : names of layers, or a function from a name to whether it is wanted; None for all, which then have to be the same
            in both networks.  The convolutions of a trained network for a new task: only=lambda name: "conv" in name
        layers : classes of your own that the file names, as for `load`

        Raises
        ------
        ModelFileError : as `load`;  OptionError : a name that the file or this network does not have, nothing that is wanted
        ShapeError : a layer of the same name has other shapes; nothing has changed then
        """
        found = weights_file.read(path, Sequential, layers, False).get_weights()
        if only is not None:
            wanted = weights_file.chosen(only, [layer.name for layer in self.layers], found)
            found = {key: array for key, array in found.items() if key.partition(".")[0] in wanted}
        self.set_weights(found, strict=only is None)
        return tuple(dict.fromkeys(key.partition(".")[0] for key in found))

    # Looking at it

    def rows(self, expand_nested=False):
        """One `LayerRow` for the input and for each layer: every count, from shapes alone.

        A block is one row with the sums of what is inside; with `expand_nested` every layer inside has its own.
        """
        return ledger.rows(self, expand_nested)

    def summary(self, expand_nested=False, *, batch=1, training=False, plan=False, dense=False):
        """The rows as a table that prints as text, shows as HTML in notebooks, and gives JSON and CSV: a `models.Summary`."""
        return Summary(self, expand_nested, batch=batch, training=training, plan=plan, dense=dense)

    def save(self, path):
        """Write architecture and weights to one .safetensors file, all or nothing; `fastconv.load` reads it."""
        weights_file.save(self, path)

    def __repr__(self):
        return f"<{self.name or 'Sequential'}: {self.input_shape} -> {self.output_shape}, {self.n_parameters:,} parameters>"


def load(path, layers=None, *, allow_nonfinite=False):
    """The network that `save` wrote.

    Parameters
    ----------
    path : file name
    layers : {"Scale": Scale, …}, layer classes of your own that the file may name; their constructors get its settings
    allow_nonfinite : accept NaN and infinite weights

    Raises
    ------
    ModelFileError : no such file, damaged, not fastconv's, an unknown layer, tensors that its network does not need, not finite
    """
    return weights_file.read(path, Sequential, layers, allow_nonfinite)


def checked_network(value, name):
    """`value` if it is a `Sequential`, else OptionError."""
    if not isinstance(value, Sequential):
        raise OptionError(f"{name}: got {value!r:.80}; needed a network, such as fc.load(path) gives")
    return value
