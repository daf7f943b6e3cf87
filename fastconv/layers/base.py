"""What every layer is: shapes from integers alone, then forward and backward.

A layer of your own needs `forward` and `backward`, and `parameter_shapes` if it learns something:

    class Scale(fc.Layer):
        def parameter_shapes(self, input_shape):
            return {"scale": input_shape[-1:]}

        def forward(self, x, training=False):
            if training:                            # inference keeps nothing: safe from several threads
                self.keep(x=x)
            return x * self.params["scale"]

        def backward(self, dy, needs_dx=True):
            x = self.kept("x")
            self.set_grads(scale=(dy * x).sum(axis=tuple(range(x.ndim - 1))))
            return dy * self.params["scale"]
"""

import inspect
import re

import numpy as np

from fastconv.errors import DTypeError, OptionError, ShapeError, TrainingError
from fastconv.layers.op import Op
from fastconv.layers.settable import Settable, is_ours
from fastconv.layers.values import frozen, plain, settled

__all__ = ["Layer", "as_gradient", "as_promised"]

MOST_PENALTY = 1e6  # of l1 and l2


class Layer(Settable):
    """Base of all layers.  Shapes are those of one image or row, without the batch axis.

    Attributes
    ----------
    name : str without a dot, unique in its network, which gives one ("conv2d_1") where it is None
    trainable : bool; False keeps the parameters as they are in training, and the running statistics of BatchNorm; it is saved
    rates : {"w": 0.1, …}, factors on the learning rates of parameters, 0 for none; these are not saved with the network
    input_shape, output_shape, dtype : known once the layer has a place in a network or was built
    version : int, grows with every change of an array
    params, grads, buffers : read-only mappings; see `fastconv.layers.arrays`
    """

    kind = "custom"
    activation = None
    l1 = l2 = 0.0  # weight regularisation: l1 · sum |w| + l2 / 2 · sum w² is part of the loss
    traits = ()  # attributes that decide the result, beyond shapes, geometry and activation
    shares_memory = False  # True: in inference the output is the input itself, or a view of it
    nested = ()  # constructor arguments that hold layers: of a block, see `fastconv.layers.block`
    scope = ""  # "residual_1." for a layer inside the block of that name
    _kept = None

    def __init__(self, name=None):
        self.name = name

    def forward(self, x, training=False):
        """Output for a batch x; with `training` the layer keeps what `backward` needs, otherwise nothing."""
        raise NotImplementedError(f"{self.label}: a layer of its own needs forward(self, x, training=False)")

    def backward(self, dy, needs_dx=True):
        """Gradient of the input from that of the output (None without `needs_dx`); stores those of the parameters."""
        raise NotImplementedError(f"{self.label}: a layer of its own needs backward(self, dy, needs_dx=True) to be trained")

    def __call__(self, x, training=False):
        return self.forward(x, training)

    def keep(self, **values):
        """Remember values of a training pass for `backward`."""
        self._kept = values

    def kept(self, *names):
        """What `keep` remembered: one value for one name, a tuple for more."""
        if self._kept is None:
            raise TrainingError(f"{self.label}: backward needs a forward pass before it; call forward(x, training=True)")
        values = tuple(self._kept[name] for name in names)
        return values if len(values) > 1 else values[0]

    def output_shape_for(self, input_shape):
        """Shape of the output, or ShapeError; unless overridden, that of the input."""
        return tuple(input_shape)

    def parameter_shapes(self, input_shape):
        """{"w": shape, …} of what is trained; unless overridden, nothing."""
        return {}

    def buffer_shapes(self, input_shape):
        """{"mean": shape, …} of what is saved but not trained; unless overridden, nothing."""
        return {}

    def geometry(self, input_shape, batch=1):
        """ConvGeometry or PoolGeometry of a layer that slides a window, else None."""

    def formula(self, input_shape):
        """The number of parameters in symbols, such as "(3·3·3 + 1)·10"; "0" without any."""
        terms = ("·".join(map(str, shape)) or "1" for shape in self.parameter_shapes(input_shape).values())
        return " + ".join(terms) or "0"

    def macs(self, input_shape):
        """Multiply-accumulates for one image; convolutions and dense layers are counted, as the field does, the rest is 0."""
        return 0

    def window(self, input_shape):
        """((kernel, stride, dilation, pad_before) of the height, the same of the width); None where one unit sees everything."""

    def fields_after(self, fields, input_shape):
        """Receptive fields (height, width) of a unit behind this layer from those before it; None once it sees everything."""
        window = self.window(input_shape)
        if fields is None or window is None:
            return None
        return tuple(field.after(*axis) for field, axis in zip(fields, window, strict=True))

    def penalty(self):
        """What regularisation adds to the loss."""
        if not ((self.l1 or self.l2) and self.trainable):
            return 0.0
        w = self.arrays["w"]
        return float(self.l1 * abs(w).sum(dtype=np.float64) + self.l2 / 2 * np.square(w).sum(dtype=np.float64))

    def add_penalty_gradient(self):
        """Add the gradient of `penalty` to that of w; a network does it behind all layers."""
        if (self.l1 or self.l2) and self.trainable:
            w, gradient = self.arrays["w"], self.grad("w")
            gradient += self.l2 * w
            if self.l1:
                gradient += self.l1 * np.sign(w)

    def walk(self):
        """This layer, and for a block all layers inside it, each before what it holds."""
        yield self

    @property
    def learns(self):
        """Whether it has parameters that are trained."""
        return self.trainable and bool(self.parameter_shapes(self.input_shape))

    @property
    def output_shape(self):
        """Shape of the output in the layer's place, None while it has none."""
        return None if self.input_shape is None else self.output_shape_for(self.input_shape)

    @property
    def label(self):
        """How messages call the layer: its name, behind those of the blocks around it, or what a name would start with."""
        return self.scope + (self.name or self.stem())

    @classmethod
    def stem(cls):
        """What a given name starts with: "conv2d", "my_layer"."""
        return vars(cls).get("kind") or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def op(self, input_shape, batch=1):
        """This layer as an `Op`; a subclass that does not state its own `kind` is "custom", whatever it inherits."""
        slots = (*self.parameter_shapes(input_shape), *self.buffer_shapes(input_shape))
        return Op(
            kind=vars(type(self)).get("kind", "custom"),
            layer=self.label,
            in_shape=(batch, *input_shape),
            out_shape=(batch, *self.output_shape_for(input_shape)),
            geometry=self.geometry(input_shape, batch),
            slots=tuple(f"{self.label}.{slot}" for slot in slots),
            activation=self.activation,
            settings=tuple((name, settled(getattr(self, name))) for name in self.traits),
        )

    def config(self):
        """Constructor arguments as JSON holds them: `type(layer)(**layer.config())` is the same layer, untrained.

        Unless overridden, each argument is read from the attribute of its name.
        """
        try:
            return {key: plain(getattr(self, key)) for key in inspect.signature(type(self)).parameters}
        except AttributeError as missing:
            raise OptionError(f"{self.label}: {missing}; keep constructor arguments as attributes or override config()") from None

    def settings(self):
        """The constructor call without the name, options at their defaults left out: "Conv2D(6, 5, activation='relu')"."""
        try:
            config = self.config()
        except OptionError:  # a layer that cannot be saved can still be shown
            config = {}
        parameters = inspect.signature(type(self)).parameters
        shown = [argument(parameters[key], frozen(value)) for key, value in config.items() if key in parameters and key != "name"]
        return f"{type(self).__name__}({', '.join(filter(None, shown))})"

    def __repr__(self):
        return f"<{self.label}: {self.settings()}>"


def argument(parameter, value):
    """One argument of a constructor call as text, None for an option at its default."""
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
        return repr(value)
    return None if value == parameter.default else f"{parameter.name}={value!r}"


def image_shape(layer, input_shape):
    """(height, width, channels), or ShapeError."""
    if len(input_shape) != 3:
        raise ShapeError(f"{layer.label}: got input of shape {tuple(input_shape)}; needed images, (height, width, channels)")
    return tuple(input_shape)


def as_promised(layer, x, y):
    """y, what `forward` of a layer gave for x: where its class is somebody's own, checked, and real numbers of another type cast.

    Raises DTypeError or ShapeError.
    """
    if is_ours(type(layer)):
        return y
    y = numbers_of(layer, y, "forward", layer.dtype or x.dtype)
    needed = len(x), *layer.output_shape_for(x.shape[1:])
    if y.shape != needed:
        raise ShapeError(
            f"{layer.label}: forward gave shape {y.shape}; needed {needed}; output_shape_for says what shape it gives"
        )
    return y


def as_gradient(layer, dy, dx):
    """dx, what `backward` of a layer gave for dy: the same as in `as_promised`, in the layer's place."""
    if is_ours(type(layer)):
        return dx
    dx = numbers_of(layer, dx, "backward", layer.dtype or dy.dtype)
    if dy.shape[1:] == layer.output_shape and dx.shape[1:] != layer.input_shape:
        raise ShapeError(f"{layer.label}: backward gave shape {dx.shape}; needed {(len(dy), *layer.input_shape)}")
    return dx


def numbers_of(layer, array, what, dtype):
    """An array of real numbers in that type."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise DTypeError(f"{layer.label}: {what} gave {found}; needed an array of {dtype}")
    return array.astype(dtype, copy=False)
