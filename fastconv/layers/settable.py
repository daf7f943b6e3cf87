"""What may be set of a layer at any time: its name, whether it is trained, how fast, and what its constructor was told, as long
as its shapes stay; each is checked when it is set."""

import functools
import inspect
from collections.abc import Mapping
from types import MappingProxyType

from fastconv.errors import OptionError
from fastconv.layers.arrays import Arrays
from fastconv.layers.values import flag, fraction, layer_name

__all__ = ["Settable", "is_ours"]

MOST_RATE = 1e6


class Settable(Arrays):
    """Arrays with a name and with what training does to them; `Layer` describes the attributes."""

    _name = None
    _trainable = True
    _rates = MappingProxyType({})

    def __setattr__(self, name, value):
        if name in settings_of(type(self)) and self.input_shape is not None:
            value = self._as_constructed(name, value)
            super().__setattr__(name, value)
            self.touch()
            self.change()
        else:
            super().__setattr__(name, value)

    def _as_constructed(self, name, value):
        """What the constructor makes of a setting; OptionError or ShapeError where it refuses it, or shapes would change."""
        if name in self.nested or name not in vars(self):  # of layers that are made of others
            raise OptionError(f"{self.label}.{name}: cannot change once the layer has its place; make a new layer")
        twin = type(self)(**{**self.config(), name: value})
        if twin.shapes_for(self.input_shape) != self.shapes_for(self.input_shape):
            raise OptionError(f"{self.label}.{name}: got {value!r:.80}; shapes of a layer in use stay: make a new layer")
        return getattr(twin, name)

    def shapes_for(self, input_shape):
        """Shapes of the output, the parameters and the buffers."""
        parameters, buffers = self.parameter_shapes(input_shape), self.buffer_shapes(input_shape)
        return tuple(self.output_shape_for(input_shape)), parameters, buffers

    @property
    def name(self):
        """What tells the layer apart in its network; None until it has a place, unless it was given one."""
        return self._name

    @name.setter
    def name(self, value):
        value = layer_name(value)
        if value != self._name:
            self._name = value
            self.change()

    @property
    def trainable(self):
        """Whether the parameters are trained."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        value = flag(value, f"{self.label}.trainable")
        if value != self._trainable:
            self._trainable = value
            self.change()

    @property
    def rates(self):
        """Factors on the learning rates of parameters, read-only: set all of them at once."""
        return MappingProxyType(dict(self._rates))

    @rates.setter
    def rates(self, values):
        where = f"{self.label}.rates"
        if not isinstance(values, Mapping):
            raise OptionError(f'{where}: got {values!r:.80}; needed factors by parameter, such as {{"w": 0.1}}')
        values = {name: fraction(value, f"{where}[{name!r}]", 0, MOST_RATE) for name, value in values.items()}
        if self.input_shape is not None:
            self.check_rates(values)
        if values != self._rates:
            self._rates = values
            self.change()

    def check_rates(self, values):
        """OptionError for a rate of what is no parameter; parameters are known where the layer has its place."""
        known = self.parameter_shapes(self.input_shape)
        unknown = [name for name in values if name not in known]
        if unknown:
            needed = f"some of its parameters: {', '.join(known)}" if known else "{}, it has no parameters"
            raise OptionError(f"{self.label}.rates: got {unknown[0]!r}; needed {needed}")

    def connect(self, input_shape, dtype, seed):
        super().connect(input_shape, dtype, seed)
        self.check_rates(self._rates)

    def rate(self, name):
        """The factor on the learning rate of one parameter."""
        return self._rates.get(name, 1.0)


@functools.cache
def settings_of(kind):
    """The constructor's arguments, but for the name, of a class of ours; of somebody's own class nothing is known."""
    return frozenset(inspect.signature(kind).parameters) - {"name"} if is_ours(kind) else frozenset()


@functools.cache
def is_ours(kind):
    """Whether a class of layers or steps is one of this package."""
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]
