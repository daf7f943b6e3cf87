"""What the networks of the zoo have in common.

Every builder takes `input_shape`, `classes`, `dtype`, `seed` and `normalize`, and ends in logits with `output` saying what
`predict` makes of them.  `width` multiplies all numbers of channels, and of hidden units.
"""

import contextlib

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import number
from fastconv.geometry import whole
from fastconv.layers import Dense, Normalize
from fastconv.layers.connect import given_names, shapes_through
from fastconv.models.arguments import image_shape
from fastconv.models.sequential import Sequential

__all__ = ["head", "network", "scaled", "scaled_each"]

LARGEST = 256  # pixels a side, up to which the smallest image for a network is looked for


def network(layers, name, normalize=None, *, input_shape, output="softmax", **options):
    """The network of `layers` behind `input_layers`, with class probabilities from `predict`; `options` of `Sequential`."""
    layers, shape = [*input_layers(normalize), *layers], image_shape(input_shape)
    try:
        return Sequential(layers, input_shape=shape, name=name, output=output, **options)
    except ShapeError:
        side = smallest_side(layers, shape)
        if side is None:
            raise
    raise ShapeError(
        f"input_shape: got {shape}, images too small for {name}; needed {side}×{side} pixels or more; enlarge them or take a "
        f"network with fewer poolings"
    )


def smallest_side(layers, shape):
    """Pixels of the smallest square image that the layers take; None where that is not larger than one of `shape`."""
    names = given_names(layers)
    for side in range(min(shape[:2]) + 1, LARGEST + 1):
        with contextlib.suppress(ShapeError):
            shapes_through(layers, names, (side, side, shape[2]))
            return side
    return None


def input_layers(normalize):
    """The layers in front: a `Normalize` for `normalize` = (mean, std), in units of the input; none for None."""
    if normalize is None:
        return []
    if not isinstance(normalize, (tuple, list)) or len(normalize) != 2:
        raise OptionError(f"normalize: got {normalize!r:.80}; needed (mean, std) in units of the input, or None")
    return [Normalize(*normalize)]


def head(classes, *, bias=True):
    """The last layer: a logit for each class."""
    return Dense(whole(classes, "classes", 1), bias=bias)


def scaled(count, width, multiple=1, *, name="filters"):
    """`count` channels, the argument `name`, times `width`, as the nearest multiple of `multiple`, at least one.

    >>> scaled(64, 1.0), scaled(64, 0.25), scaled(96, 0.1, multiple=2)
    (64, 16, 10)
    """
    width = number(width, "width", "a number above 0 and up to 64 that multiplies all channels", lambda given: 0 < given <= 64)
    return max(1, round(whole(count, name, 1) * width / multiple)) * multiple


def scaled_each(filters, width, count=None):
    """`scaled` of each of the `filters`, as many as `count` where that is given.

    >>> scaled_each((6, 16), 0.5, count=2)
    [3, 8]
    """
    if not isinstance(filters, (tuple, list)) or not filters or count not in (None, len(filters)):
        raise OptionError(f"filters: got {filters!r:.80}; needed {count or 'some'} whole numbers in a tuple, such as (6, 16)")
    return [scaled(each, width, name=f"filters[{i}]") for i, each in enumerate(filters)]
