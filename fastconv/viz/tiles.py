"""Filters and feature maps as small pictures: arrays in, bytes and titles out."""

import numpy as np

from fastconv.display.png import as_bytes

__all__ = ["filter_tiles", "map_tiles"]


def filter_tiles(w, most):
    """Filters (KH, KW, C, O) as at most `most` pictures, and a title for each.

    All have one scale, so that they can be compared: mid-grey is zero, black and white the largest magnitude.  Of one and of
    three channels a filter is one picture, of others it has one for each channel, the first filters first.
    """
    limit = float(abs(w).max()) or 1.0
    shades = as_bytes(np.asarray(w, np.float64), -limit, limit)
    channels, count = w.shape[2:]
    if channels in (1, 3):
        return [shades[..., o] for o in range(min(count, most))], [str(o) for o in range(min(count, most))]
    places = [(o, c) for o in range(count) for c in range(channels)][:most]
    return [shades[..., c, o] for o, c in places], [f"{o}, channel {c}" for o, c in places]


def map_tiles(y, most):
    """Feature maps (H, W, C) as at most `most` pictures on one scale from 0 (or the least) to the greatest, and titles."""
    count = min(y.shape[2], most)
    low = min(float(y.min()), 0.0)
    shades = as_bytes(np.asarray(y, np.float64), low, float(y.max()))
    return [shades[..., c] for c in range(count)], [str(c) for c in range(count)]
