"""Normalisation: of the input by fixed numbers, and of feature maps by the statistics of the batch."""

from math import prod

import numpy as np

from fastconv import functional as F
from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array
from fastconv.functional.norm import batch_gradients, normalise_batch
from fastconv.layers.activations import Pointwise, ReLU
from fastconv.layers.values import fraction, settled

__all__ = ["BatchNorm", "Normalize", "paired"]


class Normalize(Pointwise):
    """y = (x - mean) / std, in floating point: bytes become numbers around 0, and the numbers travel with the saved network.

    `mean` and `std`: one number, or one for each channel, in the units of the input (0 … 255 for bytes).

    >>> import numpy as np
    >>> Normalize(127.5, 127.5)(np.array([[0, 255]], np.uint8))
    array([[-1.,  1.]], dtype=float32)
    """

    kind = "normalize"
    traits = ("mean", "std")

    def __init__(self, mean=0.0, std=1.0, *, name=None):
        super().__init__(name)
        self.mean, self.std = statistics(mean, "mean"), statistics(std, "std")
        if not np.all(np.asarray(self.std) > 0):
            raise OptionError(f"std: got {self.std}; needed numbers above 0")

    def output_shape_for(self, input_shape):
        for name in ("mean", "std"):
            found = np.size(getattr(self, name))
            if np.ndim(getattr(self, name)) and found != input_shape[-1]:
                raise ShapeError(f"{self.label}: {name} has {found} numbers for {input_shape[-1]} channels; give one for each")
        return tuple(input_shape)

    def forward(self, x, training=False):
        dtype = self.dtype or np.result_type(x, np.float32)
        # a loop over 3 channels takes NumPy nine times as long as one over a row of pixels
        rows = x.reshape(*x.shape[:-2], -1) if x.ndim > 2 and x.size else x
        along = rows.shape[-1] // x.shape[-1]
        y = np.subtract(rows, repeated(self.mean, along, dtype), dtype=dtype)
        y /= repeated(self.std, along, dtype)
        return y.reshape(x.shape)

    def backward(self, dy, needs_dx=True):
        return dy / np.asarray(self.std, dy.dtype) if needs_dx else None


def repeated(value, times, dtype):
    """A number as it is; numbers of the channels for so many pixels beside each other."""
    value = np.asarray(value, dtype)
    return np.tile(value, times) if value.ndim and times > 1 else value


def statistics(value, name):
    """A number or a row of numbers, as a float or a tuple of floats."""
    array = as_array(value, name)
    if array.ndim > 1 or not array.size or not np.isfinite(array).all():
        raise OptionError(f"{name}: got {value!r}; needed one finite number, or one for each channel")
    return settled(array.astype(float))


class BatchNorm(Pointwise):
    """y = scale · (x - mean) / sqrt(var + eps) + shift, for each channel (last axis).  Ioffe and Szegedy 2015, arXiv:1502.03167.

    While training, mean and (biased) variance are those of the batch; in inference, the running ones:

        running <- (1 - momentum) · running + momentum · batch

    This is PyTorch's convention (momentum 0.1); the same in Keras is written momentum = 0.9.  The running variance takes the
    unbiased one of the batch, as in PyTorch.  Parameters "scale" and "shift" are trained; buffers "mean" and "var" are saved.

    With trainable = False nothing of it changes: it normalises by the running statistics in training, too, as in Keras, and
    these stay as they are.  So a base that was loaded and frozen answers after training as before.
    """

    kind = "batch_norm"
    traits = ("momentum", "eps")

    def __init__(self, momentum=0.1, eps=1e-5, *, name=None):
        super().__init__(name)
        self.momentum = fraction(momentum, "momentum", 0, 1)
        self.eps = fraction(eps, "eps", 1e-12, 1)

    def parameter_shapes(self, input_shape):
        return {"scale": input_shape[-1:], "shift": input_shape[-1:]}

    def buffer_shapes(self, input_shape):
        return {"mean": input_shape[-1:], "var": input_shape[-1:]}

    def formula(self, input_shape):
        return f"2·{input_shape[-1]}"

    def initial(self, name, shape, rng):
        return (np.ones if name in ("scale", "var") else np.zeros)(shape, self.dtype)

    def checked(self, arrays, allow_nonfinite=False):
        arrays = super().checked(arrays, allow_nonfinite)
        if "var" in arrays and (arrays["var"] < 0).any():
            raise OptionError(f"{self.label}.var: got {arrays['var'].min()}; a variance is at least 0")
        return arrays

    def forward(self, x, training=False):
        if training and self.trainable:
            return self.normalise(x)
        own = self.arrays
        if training:
            self.keep(factor=own["scale"] / np.sqrt(own["var"] + self.eps))
        return F.batch_norm(x, own["scale"], own["shift"], mean=own["mean"], var=own["var"], eps=self.eps)

    def normalise(self, x, rectified=False):
        """The forward pass of training, with a ReLU behind it if `rectified`."""
        values = prod(x.shape[:-1])
        if values < 2:
            raise ShapeError(
                f"{self.label}: the batch has {values} value a channel, statistics need 2 or more; use a larger batch"
            )
        y, mean, var, line = normalise_batch(x, self.arrays["scale"], self.arrays["shift"], self.eps, rectified)
        self.keep(x=x, mean=mean, var=var, line=line)
        self.follow(mean, var * (values / (values - 1)))
        return y

    def follow(self, mean, var):
        """Move the running statistics towards those of a batch."""
        for name, batch in (("mean", mean), ("var", var)):
            running = self.arrays[name]
            running += self.momentum * (batch - running)
        self.touch()

    def backward(self, dy, needs_dx=True):
        if not self.trainable:
            return dy * self.kept("factor") if needs_dx else None
        x, mean, var, line = self.kept("x", "mean", "var", "line")
        dx, dscale, dshift = batch_gradients(dy, x, self.arrays["scale"], mean, var, self.eps, needs_dx, line)
        self.set_grads(scale=dscale, shift=dshift)
        return dx


class Rectified:
    """A `BatchNorm` and the `ReLU` behind it as one step of training: the same bits in fewer passes over memory.

    A frozen one does not look at the batch: then the two layers work one after the other.
    """

    def __init__(self, norm, relu):
        self.norm, self.relu = norm, relu

    @property
    def learns(self):
        """Whether the BatchNorm does."""
        return self.norm.learns

    def forward(self, x, training=False):
        """Both layers."""
        if training and self.norm.trainable:
            return self.norm.normalise(x, rectified=True)
        return self.relu.forward(self.norm.forward(x, training), training)

    def backward(self, dy, needs_dx=True):
        """Both gradients."""
        if not self.norm.trainable:
            dy = self.relu.backward(dy, needs_dx)
        return self.norm.backward(dy, needs_dx)


def paired(layers):
    """`layers` as steps of training: each ReLU right behind a BatchNorm goes with it."""
    steps = []
    for layer in layers:
        if type(layer) is ReLU and steps and type(steps[-1]) is BatchNorm:
            steps[-1] = Rectified(steps[-1], layer)
        else:
            steps.append(layer)
    return tuple(steps)
