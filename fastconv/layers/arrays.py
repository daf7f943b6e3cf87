"""The arrays of a layer: allocated at first use, handed out read-only, changed in one place that counts the changes."""

from math import prod
from types import MappingProxyType

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import WORTH_ASKING, as_array
from fastconv.functional.conv import PreparedWeights
from fastconv.layers.initializers import draw
from fastconv.machine import require_memory

__all__ = ["LATEST", "Arrays", "stream_of"]

INITIAL, TRAINING = 0, 1  # the random streams of a layer: first weights, and what is drawn while training


class Latest:
    """The last change of any layer, an object of its own: while it is the same, no network needs to look at its layers."""

    change = object()


LATEST = Latest()


class Arrays:
    """Parameters, gradients and buffers of one layer; `Layer` says their shapes."""

    version = 0  # of the numbers in its arrays
    changes = 0  # of its settings, of what is trained, of which arrays it has: what was made for the layer before is stale
    input_shape = None
    dtype = None
    initializer = "glorot_uniform"
    _seed = np.random.SeedSequence(0)
    _arrays = None
    _grads = None
    _prepared = (None, None)

    def connect(self, input_shape, dtype, seed):
        """Take a place in a network: shape, element type and a `numpy.random.SeedSequence`; allocates nothing."""
        place = tuple(input_shape), np.dtype(dtype)
        if self.input_shape is None:
            self.input_shape, self.dtype = place
            self._seed = seed
        elif place != (self.input_shape, self.dtype):
            raise OptionError(
                f"{self.label}: is in use for {self.input_shape} {self.dtype} and cannot also serve {place[0]} {place[1]}: "
                f"make a new layer"
            )

    def build(self, input_shape=None, dtype=None, rng=None):
        """Allocate parameters and buffers; a layer in a network does it by itself at first use.

        Outside a network `input_shape` (without the batch axis) is needed; `dtype` is float32 unless said otherwise.
        """
        if input_shape is not None:
            self.connect(input_shape, dtype or self.dtype or "float32", self._seed)
        shapes = self.array_shapes()
        needed = self.dtype.itemsize * sum(prod(np.atleast_1d(shape).tolist()) for shape in shapes.values())
        if needed > WORTH_ASKING:
            require_memory(needed, f"{self.label} with {needed // self.dtype.itemsize:,} numbers")
        rng = self.random(INITIAL) if rng is None else rng
        self._arrays = {name: self.initial(name, shape, rng) for name, shape in shapes.items()}
        self.touch()
        self.change()

    def __getstate__(self):
        """What copies and pickles hold: not what is remembered for one backward pass, nor what is made from weights again."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_kept", "_prepared")}

    @property
    def stream(self):
        """What the layer's random numbers depend on: the network's seed, and a place in it."""
        return stream_of(self._seed)

    def initial(self, name, shape, rng):
        """First value of one array: biases ("b") 0, everything else by the rule `self.initializer`."""
        return draw("zeros" if name == "b" else self.initializer, shape, rng, self.dtype)

    def random(self, stream=TRAINING, number=0):
        """A generator that depends on the network's seed, this layer's place, the stream and the number of the draw alone."""
        key = (*self._seed.spawn_key, stream, number)
        return np.random.default_rng(np.random.SeedSequence(self._seed.entropy, spawn_key=key))

    def array_shapes(self):
        """{name: shape} of parameters and buffers."""
        if self.input_shape is None:
            raise OptionError(f"{self.label}: its sizes follow from its input; put it in a Sequential or call build(input_shape)")
        return {**self.parameter_shapes(self.input_shape), **self.buffer_shapes(self.input_shape)}

    @property
    def built(self):
        """Whether the arrays exist."""
        return self._arrays is not None

    @property
    def arrays(self):
        """{name: array} of parameters and buffers, writable: for the layer itself and for who trains it.

        Arrays stay for the life of the layer, numbers are written into them: passes and optimizers remember where they lie.
        """
        if self._arrays is None:
            # Two threads that come here at once draw the same numbers from the same seed: it does not matter whose arrays stay.
            self.build()
        return self._arrays

    @property
    def params(self):
        """Read-only mapping of read-only parameters, such as {"w": …, "b": …}; `set_params` changes them."""
        return self._handed_out(self.parameter_shapes, self.arrays)

    @property
    def buffers(self):
        """Read-only mapping of what is saved but not trained, such as running statistics."""
        return self._handed_out(self.buffer_shapes, self.arrays)

    @property
    def grads(self):
        """Read-only mapping of the gradients of the last `backward`; 0 before the first."""
        arrays = {name: self.grad(name) for name in self.parameter_shapes(self.input_shape)}
        return self._handed_out(self.parameter_shapes, arrays)

    def _handed_out(self, shapes, arrays):
        return MappingProxyType({name: read_only(arrays[name]) for name in shapes(self.input_shape)})

    def grad(self, name):
        """The gradient array of one parameter, writable; the same array for the life of the layer."""
        return self.gradients[name]

    @property
    def gradients(self):
        """{name: gradient}, writable, as `arrays`."""
        if self._grads is None:
            self._grads = {name: np.zeros_like(self.arrays[name]) for name in self.parameter_shapes(self.input_shape)}
            self.change()
        return self._grads

    def set_grads(self, **values):
        """Store gradients: what `backward` found for each parameter."""
        for name, value in values.items():
            self.grad(name)[...] = value

    def trainable_arrays(self):
        """{name: (parameter, gradient)}, both writable; whoever writes a parameter calls `touch` afterwards."""
        if not self.trainable or self.input_shape is None:
            return {}
        return {name: (self.arrays[name], g) for name, g in self.gradients.items()}

    def touch(self):
        """Say that numbers in arrays have changed: everything derived from them (prepared weights) is stale."""
        object.__setattr__(self, "version", self.version + 1)  # it is no setting: nothing to check, after every step

    def change(self):
        """Say that the layer is another one: what is derived from its settings, or holds its arrays, is stale."""
        self.changes += 1
        LATEST.change = object()

    def prepared(self):
        """The weights "w" with their packed forms, made as inputs come that need them, kept until the weights change."""
        version, weights = self._prepared
        if version != self.version or weights is None:
            w = self.arrays["w"]
            weights = PreparedWeights(w if w.ndim == 4 else w[None, None], copy=False)
            self._prepared = self.version, weights  # one assignment: another thread sees both or neither
        return weights

    def set_params(self, **arrays):
        """Overwrite parameters or buffers by name: `layer.set_params(w=…)`.

        ShapeError, DTypeError or OptionError (unknown name, not finite); then nothing has been changed.
        """
        self.write(self.checked(arrays))

    def checked(self, arrays, allow_nonfinite=False):
        """`arrays` as new arrays of this layer's dtype and shapes, or an error that names the first that does not fit."""
        shapes = self.array_shapes()
        return {name: self._fitting(name, value, shapes, allow_nonfinite) for name, value in arrays.items()}

    def _fitting(self, name, value, shapes, allow_nonfinite):
        where = f"{self.label}.{name}"
        if name not in shapes:
            raise OptionError(f"{where}: no such array; {self.label} has {', '.join(shapes) or 'none'}")
        value = as_array(value, where)
        if value.shape != tuple(shapes[name]):
            raise ShapeError(f"{where}: got shape {value.shape}; needed {tuple(shapes[name])}")
        with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is refused in the next line
            value = np.array(value, self.dtype, order="C")
        if not allow_nonfinite and not np.isfinite(value).all():
            raise OptionError(f"{where}: got NaN or infinite values in {self.dtype}; needed finite ones")
        return value

    def write(self, checked):
        """Store what `checked` returned."""
        if not self.built and checked.keys() == self.array_shapes().keys():
            self._arrays = dict(checked)  # nothing to keep: no need to draw random values first
            self.change()
        for name, value in checked.items():
            self.arrays[name][...] = value
        self.touch()


def stream_of(seed):
    """A `numpy.random.SeedSequence` as something to compare."""
    return seed.entropy, seed.spawn_key


def read_only(array):
    """A view that refuses to be written."""
    view = array.view()
    view.flags.writeable = False
    return view
