"""What the networks of the zoo have in common.

Every builder takes `input_shape`, `classes`, `dtype`, `seed` and `normalize`, and ends in logits with `output` saying what
`predict` makes of them.  `width` multiplies all numbers of channels.
"""

from fastconv.errors import OptionError
from fastconv.layers import Normalize
from fastconv.models.sequential import Sequential

__all__ = ["classifier", "input_layers", "scaled"]


def input_layers(normalize):
    """The layers in front: a `Normalize` for `normalize` = (mean, std), in units of the input; none for None."""
    return [] if normalize is None else [Normalize(*normalize)]


def classifier(layers, name, normalize=None, **options):
    """The network of `layers` behind `input_layers`, with class probabilities from `predict`; `options` of `Sequential`."""
    return Sequential([*input_layers(normalize), *layers], name=name, output="softmax", **options)


def scaled(count, width, multiple=1):
    """`count` channels times `width`, as the nearest multiple of `multiple`, at least one.

    >>> scaled(64, 1.0), scaled(64, 0.25), scaled(96, 0.1, multiple=2)
    (64, 16, 10)
    """
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= 64:
        raise OptionError(f"width: got {width!r}; needed a number above 0 and up to 64 that multiplies all channels")
    return max(1, round(count * width / multiple)) * multiple
