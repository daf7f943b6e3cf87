"""Arguments of a network: checked once, when it is made or when one of them is set."""

import numpy as np

from fastconv.errors import OptionError
from fastconv.geometry import whole

__all__ = ["class_names", "element_type", "image_shape", "name_of", "seed_of", "shape_of"]

SEED_DIGITS = 40  # as many as a model file holds; the seeds that NumPy draws have 39
LONGEST_NAME = 200  # characters of the name of a class


def shape_of(value):
    """`input_shape` as a tuple of positive ints."""
    if not isinstance(value, (tuple, list)) or len(value) not in (1, 3):
        raise OptionError(f"input_shape: got {value!r}; needed (height, width, channels) or (features,), without the batch axis")
    return tuple(whole(size, f"input_shape[{i}]", 1) for i, size in enumerate(value))


def image_shape(value):
    """The same for a network that takes nothing but images."""
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        raise OptionError(f"input_shape: got {value!r}; needed (height, width, channels), without the batch axis")
    return shape_of(value)


def element_type(dtype):
    """float32 or float64 as a numpy.dtype."""
    try:
        name = "" if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise OptionError(f"dtype: got {dtype!r}; networks compute in float32 or float64")
    return np.dtype(name)


def name_of(value):
    """The name of a network, text or None."""
    if value is not None and not isinstance(value, str):
        raise OptionError(f"name: got {value!r:.80}; needed text or None")
    return value


def seed_of(value):
    """`seed` as an int that a model file can hold; a new one for None."""
    if value is None:
        return np.random.SeedSequence().entropy
    seed = whole(value, "seed", 0)
    if seed >= 10**SEED_DIGITS:
        raise OptionError(f"seed: got a number of {seed.bit_length()} bits; needed at most {SEED_DIGITS} digits, such as 0")
    return seed


def class_names(value, outputs):
    """`classes` as a tuple of names, one for each of the `outputs`; of a single output two, "no" and "yes"."""
    if value is None:
        return None
    count = max(outputs, 2)
    proper = isinstance(value, (tuple, list)) and all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME for name in value)
    if not proper or len(value) != count:
        raise OptionError(
            f"classes: got {value!r:.80}; needed {count} names in the order of the labels, each of 1 to {LONGEST_NAME} characters"
        )
    return tuple(value)
