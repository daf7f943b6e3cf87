"""The arrays of several layers as those of one: how a block looks to whoever saves, checks or trains parameters."""

from fastconv.errors import OptionError
from fastconv.layers.base import Layer
from fastconv.layers.values import flag

__all__ = ["InnerArrays"]


class InnerArrays(Layer):
    """A layer whose arrays are those of `layers`, each under "name of the layer.name of the array"."""

    layers = ()

    def walk(self):
        yield self
        for layer in self.layers:
            yield from layer.walk()

    def _gathered(self, attribute):
        return {f"{layer.name}.{name}": value for layer in self.layers for name, value in getattr(layer, attribute).items()}

    @property
    def built(self):
        return all(layer.built for layer in self.layers)

    @property
    def arrays(self):
        return self._gathered("arrays")

    @property
    def gradients(self):
        return self._gathered("gradients")

    @property
    def trainable(self):
        """Whether any layer inside is trained; setting it sets all of them."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value):
        value = flag(value, f"{self.label}.trainable")
        for layer in self.layers:
            layer.trainable = value

    def check_rates(self, values):
        if values:
            raise OptionError(f"{self.label}.rates: got {values}; a block has none, set those of its layers")

    @property
    def learns(self):
        return any(layer.learns for layer in self.layers)

    def trainable_arrays(self):
        found = {layer.name: layer.trainable_arrays() for layer in self.layers}
        return {f"{layer}.{name}": pair for layer, arrays in found.items() for name, pair in arrays.items()}

    def rate(self, name):
        layer, _, inner = name.partition(".")
        return next(each for each in self.layers if each.name == layer).rate(inner)

    @property
    def version(self):
        """Grows with every change of an array inside."""
        return sum(layer.version for layer in self.layers)

    def touch(self):
        for layer in self.layers:
            layer.touch()

    @property
    def draws(self):
        """How often each layer that draws random numbers while training has done so; one number sets all of them."""
        return tuple(layer.draws for layer in self.layers if hasattr(layer, "draws"))

    @draws.setter
    def draws(self, values):
        drawing = [layer for layer in self.layers if hasattr(layer, "draws")]
        for layer, value in zip(drawing, values if isinstance(values, tuple) else [values] * len(drawing), strict=True):
            layer.draws = value

    def checked(self, arrays, allow_nonfinite=False):
        known, given = {layer.name: layer for layer in self.layers}, {}
        for key, value in arrays.items():
            layer, _, name = key.partition(".")
            if layer not in known:
                raise OptionError(f"{self.label}.{key}: no such array; {self.label} holds {', '.join(known) or 'nothing'}")
            given.setdefault(layer, {})[name] = value
        found = {layer: known[layer].checked(values, allow_nonfinite) for layer, values in given.items()}
        return {f"{layer}.{name}": value for layer, values in found.items() for name, value in values.items()}

    def write(self, checked):
        for layer in self.layers:
            own = {key.removeprefix(f"{layer.name}."): v for key, v in checked.items() if key.startswith(f"{layer.name}.")}
            if own:
                layer.write(own)
