"""Augmentation: the same pictures, slightly different each time they are shown."""

from dataclasses import dataclass, fields

import numpy as np

from fastconv.kernels.warp import affine
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
        cos, sin, slant = np.cos(angle), np.sin(angle), self._draw(random, self.slant, n, 1)
        rows, columns = (cos * stretched[0], sin * stretched[0]), ((slant - sin) * stretched[1], cos * stretched[1])
        centre = (h - 1) / 2, (w - 1) / 2
        maps = [
            (*axis, shift + middle - axis[0] * centre[0] - axis[1] * centre[1])
            for axis, shift, middle in zip((rows, columns), shifted, centre, strict=True)
        ]
        return sample(x, np.stack([*maps[0], *maps[1]], axis=1))

    @staticmethod
    def _draw(random, most, n, numbers):
        """Uniform numbers from -most to most: (N,), or a tuple of such arrays."""
        drawn = random.uniform(-most, most, (numbers, n))
        return drawn[0] if numbers == 1 else drawn


def sample(x, maps):
    """x (N, H, W, C) as float32, read where the pixel (i, j) comes from: (m0 i + m1 j + m2, m3 i + m4 j + m5), m = maps (N, 6);
    0 outside."""
    n, h, w, channels = x.shape
    frame = np.zeros((n, h + 3, w + 3, channels), np.float32)
    frame[:, 1 : h + 1, 1 : w + 1] = x
    y = np.empty(x.shape, np.float32)
    affine(frame, maps.astype(np.float32), y)
    return y
