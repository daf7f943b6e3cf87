"""Test-time averaging: a network looks at each image in several ways, and its answers are averaged."""

from dataclasses import dataclass

import numpy as np

from fastconv.errors import OptionError
from fastconv.geometry import whole
from fastconv.layers.values import flag
from fastconv.training.checks import callable_with, images_only
from fastconv.training.crops import check_fill, check_mode, padded

__all__ = ["Views", "answers", "averaged", "scores_of"]


@dataclass(frozen=True)
class Views:
    """The image, the same moved by `shift` pixels to each corner, and with `flip` the mirror images of all these.

    With shift > 0 and flip these are the ten of Krizhevsky, Sutskever and Hinton 2012, section 4.1, but that outside the image
    there is `fill`, or what `mode` says, as for `Shift`.  Any function from images to several batches of images of the same shape
    can take its place.

    >>> len(list(Views(flip=True, shift=2)(np.zeros((1, 8, 8, 3)))))
    10
    """

    flip: bool = True
    shift: int = 0
    fill: float | tuple = 0
    mode: str = "constant"

    def __post_init__(self):
        flag(self.flip, "flip")
        whole(self.shift, "shift", 0)
        check_mode(self.mode)
        check_fill(self.fill)

    def __call__(self, x):
        """Each view of all images x (N, H, W, C)."""
        images_only(x, "Views")
        h, w = x.shape[1:3]
        frame = padded(x, self.shift, self.shift, self.mode, self.fill)
        corners = [(r, c) for r in (0, 2 * self.shift) for c in (0, 2 * self.shift)] if self.shift else []
        for r, c in [(self.shift, self.shift), *corners]:
            view = frame[:, r : r + h, c : c + w]
            yield view
            if self.flip:
                yield view[:, :, ::-1]


def averaged(net, x, views):
    """The mean of what `net.predict` answers to each view."""
    callable_with(views, "views", "a function from images to several batches of them, such as fastconv.training.Views(flip=True)")
    given = [np.asarray(net.predict(view, len(x) or 1)) for view in views(x)]
    if not given:
        raise OptionError(f"views: {views!r} gave no view of the images; needed one or more, such as Views(flip=True)")
    return sum(given[1:], given[0]) / given[0].dtype.type(len(given))


def answers(net, x, batch_size, views=None):
    """What `net.predict` answers to images x, or the mean over `views` of each, `batch_size` images at a time."""
    if views is None:
        return net.predict(x, batch_size)
    starts = range(0, max(len(x), 1), whole(batch_size, "batch_size", 1))
    return np.concatenate([averaged(net, x[start : start + batch_size], views) for start in starts])


def scores_of(given, output):
    """Raw outputs that give these answers, so that losses can judge them: log p, log(p / (1 - p)), or the answers."""
    if output == "linear":
        return given
    tiny = np.finfo(given.dtype).tiny
    scores = np.log(np.maximum(given, tiny))
    return scores if output == "softmax" else scores - np.log(np.maximum(1 - given, tiny))
