"""Augmentation by whole pixels: mirrored, moved, and with a hole; bytes stay bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry import whole
from fastconv.training.checks import callable_with, images_only, number

__all__ = ["AlternatingFlip", "Augment", "Crop", "Cutout", "Flip", "Shift", "augmentation"]

FUNCTION = "a function (images, generator) -> images, such as fastconv.training.Flip()"
MODES = ("constant", "edge", "reflect")  # as in numpy.pad; constant is 0


class Augment(tuple):
    """Several augmentations, one after the other: Augment(Crop(4), Flip()).

    Like each of them it is called with images (N, H, W, C) and a numpy Generator, and gives new images of the same shape.
    `Trainer.fit` makes one generator for each batch, from the seed, the epoch and the batch's place in it.
    """

    def __new__(cls, *steps):
        for i, step in enumerate(steps):
            augmentation(step, f"augment: step {i}")
        return super().__new__(cls, steps)

    @property
    def wants_place(self):
        """Whether a step does."""
        return any(getattr(step, "wants_place", False) for step in self)

    def __call__(self, x, random, place=None):
        for step in self:
            x = step(x, random, place=place) if getattr(step, "wants_place", False) else step(x, random)
        return x

    def __repr__(self):
        return f"Augment({', '.join(map(repr, self))})"


@dataclass(frozen=True)
class Flip:
    """Left and right exchanged, for each image with this probability.  Not for digits and letters."""

    probability: float = 0.5

    def __post_init__(self):
        number(self.probability, "probability", "a number from 0 to 1", lambda p: 0 <= p <= 1)

    def __call__(self, x, random):
        images_only(x, "Flip")
        chosen = random.random(len(x)) < self.probability
        return exchanged(x, chosen)


@dataclass(frozen=True)
class AlternatingFlip:
    """Left and right exchanged in every other epoch; a coin for each image decides whether it begins with the even or the odd.

    So two epochs that follow each other show every image and its mirror image, where with `Flip` half of the images come twice
    the same way.  Jordan 2024, arXiv:2404.00498, section 3.6.  In `Trainer.fit` only, which says where a batch is in the run.
    """

    wants_place = True

    def __call__(self, x, random, place=None):
        if place is None:
            raise OptionError(
                "AlternatingFlip: needs the place of the batch in a run, which Trainer.fit gives; use Flip elsewhere"
            )
        images_only(x, "AlternatingFlip")
        return exchanged(x, (place.coins() < 0.5) != (place.epoch % 2 == 1))


@dataclass(frozen=True)
class Shift:
    """Each image moved by up to so many whole pixels, each way; what comes in from outside is `fill`, or as `mode` says.

    rows, columns : pixels, columns as rows unless given;  mode : "constant", "edge" or "reflect"
    fill : a number, or one for each channel, in the units of the images: their mean is 0 for the network behind `Normalize`
    """

    rows: int = 2
    columns: int | None = None
    mode: str = "constant"
    fill: float | tuple = 0

    def __post_init__(self):
        object.__setattr__(self, "columns", self.rows if self.columns is None else self.columns)
        whole(self.rows, "rows", 0)
        whole(self.columns, "columns", 0)
        check_mode(self.mode)
        check_fill(self.fill)

    def __call__(self, x, random):
        images_only(x, "Shift")
        r, c = random.integers(0, 2 * self.rows + 1, len(x)), random.integers(0, 2 * self.columns + 1, len(x))
        return cut(padded(x, self.rows, self.columns, self.mode, self.fill), r, c, x.shape)


@dataclass(frozen=True)
class Crop:
    """Padded by so many pixels on each side, then a window of the old size at a random place.

    Lee et al. 2015, arXiv:1409.5185, as He et al. 2016, section 4.2, have it for CIFAR-10: 4 pixels of the mean.  `mode` and
    `fill` as for `Shift`.
    """

    padding: int = 4
    mode: str = "constant"
    fill: float | tuple = 0

    def __post_init__(self):
        whole(self.padding, "padding", 0)
        check_mode(self.mode)
        check_fill(self.fill)

    def __call__(self, x, random):
        images_only(x, "Crop")
        return Shift(self.padding, mode=self.mode, fill=self.fill)(x, random)


@dataclass(frozen=True)
class Cutout:
    """A square of `size` pixels set to `fill`, its centre anywhere in the image, so that a part of it may lie outside.

    DeVries and Taylor 2017, arXiv:1708.04552.  `fill` is in the units of the images, such as their mean.
    """

    size: int = 8
    fill: float | tuple = 0

    def __post_init__(self):
        whole(self.size, "size", 1)
        check_fill(self.fill)

    def __call__(self, x, random):
        images_only(x, "Cutout")
        n, h, w, channels = x.shape
        check_fill(self.fill, channels, x.dtype)
        inside = [near(np.arange(side), random.integers(0, side, n)[:, None] - self.size // 2, self.size) for side in (h, w)]
        hole = inside[0][:, :, None] & inside[1][:, None, :]
        y = x.copy()
        y[hole] = np.asarray(self.fill, x.dtype)
        return y


def augmentation(augment, name="augment"):
    """`augment` if `Trainer.fit` can take it, None for none, else OptionError."""
    if augment is None:
        return None
    if isinstance(augment, (list, tuple)) and not callable(augment):
        raise OptionError(f"{name}: got a {type(augment).__name__}; needed {FUNCTION}; Augment(a, b) makes one of several")
    return callable_with(augment, name, FUNCTION, 2, ("place",) if getattr(augment, "wants_place", False) else ())


def exchanged(x, chosen):
    """A copy of the images; of the chosen ones left and right exchanged."""
    y, some = x.copy(), np.flatnonzero(chosen)
    y[some] = np.take(x[some], np.arange(x.shape[2])[::-1], axis=2)
    return y


def near(places, first, size):
    """Which places are in [first, first + size)."""
    return (places >= first) & (places < first + size)


def check_mode(mode):
    if mode not in MODES:
        raise OptionError(f"mode: got {mode!r}; needed one of {', '.join(MODES)}")


def check_fill(fill, channels=None, dtype=None):
    """OptionError where `fill` is neither a number nor some, or beyond the images' whole numbers; ShapeError where these are not
    as many as the channels."""
    for value in np.ravel(np.asarray(fill, object)):
        number(value, "fill", "a number, or one for each channel, such as (125, 123, 114)")
    if channels is not None and np.size(fill) not in (1, channels):
        raise ShapeError(f"fill: got {np.size(fill)} numbers; needed one, or one for each channel of the images ({channels})")
    if dtype is not None and dtype.kind in "ui":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if np.min(fill) < least or np.max(fill) > most:
            raise OptionError(f"fill: got {fill} for images of {dtype}; needed {least} to {most}, in the units of the images")


def padded(x, rows, columns, mode="constant", fill=0):
    """Images with a frame."""
    if mode != "constant":
        return np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode)
    n, h, w, channels = x.shape
    check_fill(fill, channels, x.dtype)
    frame = np.empty((n, h + 2 * rows, w + 2 * columns, channels), x.dtype)
    frame[...] = np.asarray(fill).astype(x.dtype)
    frame[:, rows : rows + h, columns : columns + w] = x
    return frame


def cut(frame, r, c, shape):
    """y[n] = frame[n, r[n] : r[n] + H, c[n] : c[n] + W], with (N, H, W, C) = shape."""
    windows = sliding_window_view(frame, shape[1:], axis=(1, 2, 3))[:, :, :, 0]
    return windows[np.arange(len(frame)), r, c]
