"""An image as characters: dark is empty, bright is dense."""

import numpy as np

__all__ = ["beside", "draw"]

RAMP = np.array(list(" .:-=+*#%@"))
ASPECT = 2  # a character is about twice as high as wide


def draw(plane, columns):
    """`plane` (H, W), values from 0 on, as lines of at most `columns` characters; each shows the mean of its block."""
    height, width = plane.shape
    columns = min(columns, width)
    lines = max(round(height * columns / width / ASPECT), 1)
    blocks = [np.array_split(row, columns, axis=1) for row in np.array_split(np.asarray(plane, float), lines, axis=0)]
    means = np.array([[block.mean() for block in row] for row in blocks])
    top = means.max() or 1.0
    return ["".join(row) for row in RAMP[np.minimum(means / top * len(RAMP), len(RAMP) - 1).astype(int)]]


def beside(pictures, width):
    """Pictures (lists of lines of one width each) in rows as wide as `width` allows."""
    lines = []
    per_row = max(1, (width + 2) // (len(pictures[0][0]) + 2))
    for start in range(0, len(pictures), per_row):
        rows = zip(*pictures[start : start + per_row], strict=True)
        lines += ["  ".join(row).rstrip() for row in rows] + [""]
    return lines
