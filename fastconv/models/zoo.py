"""What the networks of the zoo have in common.

Every builder takes `input_shape`, `classes`, `dtype`, `seed` and `normalize`, and ends in logits with `output` saying what
`predict` makes of them.
"""

from fastconv.layers import Normalize

__all__ = ["input_layers"]


def input_layers(normalize):
    """The layers in front: a `Normalize` for `normalize` = (mean, std), in units of the input; none for None."""
    return [] if normalize is None else [Normalize(*normalize)]
