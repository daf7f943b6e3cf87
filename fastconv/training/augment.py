"""Augmentation: the same pictures, slightly different each time they are shown."""

from dataclasses import dataclass, fields

import numpy as np

from fastconv.training.checks import images_only, number

__all__ = ["Warp"]


@dataclass(frozen=True)
class Warp:
    """Each image shifted, turned, stretched and slanted a little, at random; what comes in from outside is 0.

    The pixel (r, c), counted from the centre, of the new image is read at A (r, c) + t in the old one, between its four
    neighbours [bilinear; Simard, Steinkraus and Platt 2003 for its use on digits].

    shift : t up to so many pixels, each way
    turn : rotation up to so many degrees
    stretch : each axis by a factor of up to 1 ± stretch
    slant : columns move by up to so many pixels per row

    Called with images (N, H, W, C) and a numpy Generator it gives float32 images of the same shape.
    """

    shift: float = 2.0
    turn: float = 15.0
    stretch: float = 0.15
    slant: float = 0.2

    def __post_init__(self):
        for setting in fields(self):
            number(getattr(self, setting.name), setting.name, "a number of at least 0", lambda most: most >= 0)

    def __call__(self, x, random):
        images_only(x, "Warp")
        n, h, w, _ = x.shape
        angle = np.deg2rad(self._draw(random, self.turn, n, 1))
        stretched, shifted = 1 + self._draw(random, self.stretch, n, 2), self._draw(random, self.shift, n, 2)
        slant = self._draw(random, self.slant, n, 1)
        r = np.arange(h, dtype=np.float32)[:, None] - (h - 1) / 2
        c = np.arange(w, dtype=np.float32)[None, :] - (w - 1) / 2
        rows = (np.cos(angle) * r + np.sin(angle) * c) * stretched[0] + shifted[0] + (h - 1) / 2
        columns = (np.cos(angle) * c - np.sin(angle) * r + slant * r) * stretched[1] + shifted[1] + (w - 1) / 2
        return sample(x, rows.astype(np.float32), columns.astype(np.float32))

    @staticmethod
    def _draw(random, most, n, numbers):
        """Uniform numbers from -most to most: (N, 1, 1), or a tuple of such arrays."""
        drawn = random.uniform(-most, most, (numbers, n, 1, 1))
        return drawn[0] if numbers == 1 else drawn


def sample(x, rows, columns):
    """x (N, H, W, C) read between the pixels at rows, columns (N, H, W), as float32; 0 outside.

    y = (1-a)(1-b) x[r,c] + (1-a) b x[r,c+1] + a (1-b) x[r+1,c] + a b x[r+1,c+1],  r + a = row, c + b = column
    """
    n, h, w, channels = x.shape
    frame = np.zeros((n, h + 3, w + 3, channels), np.float32)  # zeros around: one before, two after
    frame[:, 1 : h + 1, 1 : w + 1] = x
    rows, columns = np.clip(rows, -1, h) + 1, np.clip(columns, -1, w) + 1
    r, c = np.floor(rows), np.floor(columns)
    a, b = (rows - r)[..., None], (columns - c)[..., None]
    at = (np.arange(n)[:, None, None] * (h + 3) + r.astype(np.intp)) * (w + 3) + c.astype(np.intp)
    pixels = frame.reshape(-1, channels)
    upper = pixels[at] * (1 - b) + pixels[at + 1] * b
    lower = pixels[at + w + 3] * (1 - b) + pixels[at + w + 4] * b
    return upper + a * (lower - upper)
