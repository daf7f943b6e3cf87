"""First values of the weights, by the names that Keras and PyTorch use.

fan_in is the number of inputs of one output, fan_out the number of outputs that one input reaches: for w (KH, KW, C, O) they are
KH·KW·C and KH·KW·O, for w (in, out) they are in and out.  The normal ones are plain normal as in PyTorch; Keras cuts the tails
beyond two standard deviations.
"""

from math import prod, sqrt

import numpy as np

from fastconv.errors import OptionError

__all__ = [
    "INITIALIZERS",
    "dirac",
    "draw",
    "fans",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "normal",
    "ones",
    "zeros",
]

BLOCK = 1 << 20  # values drawn at a time: the float64 numbers of a 400 MB layer are never all in memory


def fans(shape):
    """(fan_in, fan_out) of weights whose last two axes are inputs and outputs.

    >>> fans((5, 5, 3, 6)), fans((400, 120))
    ((75, 150), (400, 120))
    """
    taps = prod(shape[:-2])
    return (taps * shape[-2], taps * shape[-1]) if len(shape) > 1 else (shape[0], shape[0])


def he_normal(shape):
    """Normal, variance 2 / fan_in; for ReLU.  He et al. 2015, arXiv:1502.01852, equation 10."""
    return "normal", sqrt(2 / fans(shape)[0])


def he_uniform(shape):
    """Uniform in ±sqrt(6 / fan_in), variance 2 / fan_in; for ReLU.  He et al. 2015, arXiv:1502.01852."""
    return "uniform", sqrt(6 / fans(shape)[0])


def glorot_normal(shape):
    """Normal, variance 2 / (fan_in + fan_out); for tanh.  Glorot and Bengio 2010, equation 12 (also called Xavier)."""
    return "normal", sqrt(2 / sum(fans(shape)))


def glorot_uniform(shape):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)); for tanh.  Glorot and Bengio 2010, equation 16 (also called Xavier)."""
    return "uniform", sqrt(6 / sum(fans(shape)))


def lecun_normal(shape):
    """Normal, variance 1 / fan_in.  LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, equation 16."""
    return "normal", sqrt(1 / fans(shape)[0])


def dirac(shape):
    """The first filters are the identity: filter o hands on channel o, as far as there are channels; the others as `he_normal`.

    A network of such layers begins with what its first layer gives.  Jordan 2024, arXiv:2404.00498, section 3.3; what PyTorch
    calls `dirac_`.
    """
    return "dirac", sqrt(2 / fans(shape)[0])


def normal(shape):
    """Normal, standard deviation 0.01, as AlexNet.  Krizhevsky, Sutskever and Hinton 2012, section 5."""
    return "normal", 0.01


def zeros(shape):
    """All 0."""
    return "constant", 0.0


def ones(shape):
    """All 1."""
    return "constant", 1.0


INITIALIZERS = {
    rule.__name__: rule
    for rule in (he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, normal, dirac, zeros, ones)
}


def check_initializer(name):
    """`name` itself, or OptionError."""
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise OptionError(f"initializer: got {name!r}; needed one of {', '.join(INITIALIZERS)}")
    return name


def draw(name, shape, rng, dtype="float32"):
    """New array of `shape` filled by the rule `name`.

    Numbers are drawn in float64 and rounded, so that a float32 and a float64 network of one seed start from the same weights.
    """
    kind, size = INITIALIZERS[check_initializer(name)](shape)
    if kind == "constant":
        return np.full(shape, size, dtype)
    values = np.empty(prod(shape), dtype)
    for start in range(0, values.size, BLOCK):
        block = values[start : start + BLOCK]
        block[:] = rng.uniform(-size, size, block.size) if kind == "uniform" else rng.normal(0, size, block.size)
    values = values.reshape(shape)
    if kind == "dirac":
        place_identity(values)
    return values


def place_identity(w):
    """Make the first filters of w (…, C, O) the identity: 1 from channel o to filter o in the middle tap, 0 elsewhere."""
    count = min(w.shape[-2:])
    w[..., :count] = 0
    middle = tuple(size // 2 for size in w.shape[:-2])
    w[middle][range(count), range(count)] = 1
