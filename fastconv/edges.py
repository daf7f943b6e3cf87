"""The edge filters of the lectures, by name, and a small picture to try them on.

All are written for cross-correlation, which is what `conv2d` computes: slide the filter, multiply, add.  So `vertical` answers
+30 where a region of 10 on the left meets 0 on the right, and -30 for the mirrored image.  `*_x` filters answer to changes along
x (vertical edges), positive when the left is brighter; `*_y` ones to changes along y, positive when the top is brighter (those of
Roberts: along the two diagonals).  Some libraries use the opposite sign.
"""

import operator

import numpy as np

from fastconv.errors import DTypeError, OptionError, ShapeError

__all__ = [
    "ALL",
    "diagonal_45",
    "diagonal_135",
    "horizontal",
    "laplacian",
    "laplacian_8",
    "on_channels",
    "prewitt_x",
    "prewitt_y",
    "roberts_x",
    "roberts_y",
    "sample_image",
    "scharr_x",
    "scharr_y",
    "sobel_x",
    "sobel_y",
    "vertical",
]

COLOURS = {"red": 0, "green": 1, "blue": 2}


def fixed(rows):
    """A float32 array over immutable bytes: nobody can switch writing on again and change everybody's filter."""
    values = np.array(rows, np.float32)
    return np.frombuffer(values.tobytes(), np.float32).reshape(values.shape)


vertical = fixed([[1, 0, -1]] * 3)
horizontal = fixed(vertical.T)
diagonal_45 = fixed([[1, 1, 0], [1, 0, -1], [0, -1, -1]])  # the edge runs "/"; positive when the upper left is brighter
diagonal_135 = fixed(diagonal_45[:, ::-1])  # the edge runs "\"; positive when the upper right is brighter
prewitt_x = vertical
prewitt_y = horizontal
sobel_x = fixed([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
sobel_y = fixed(sobel_x.T)
scharr_x = fixed([[3, 0, -3], [10, 0, -10], [3, 0, -3]])
scharr_y = fixed(scharr_x.T)
roberts_x = fixed([[1, 0], [0, -1]])
roberts_y = fixed([[0, 1], [-1, 0]])
laplacian = fixed([[0, 1, 0], [1, -4, 1], [0, 1, 0]])  # second derivatives, 4 neighbours: every direction at once
laplacian_8 = fixed([[1, 1, 1], [1, -8, 1], [1, 1, 1]])

ALL = {
    "vertical": vertical,
    "horizontal": horizontal,
    "diagonal_45": diagonal_45,
    "diagonal_135": diagonal_135,
    "prewitt_x": prewitt_x,
    "prewitt_y": prewitt_y,
    "sobel_x": sobel_x,
    "sobel_y": sobel_y,
    "scharr_x": scharr_x,
    "scharr_y": scharr_y,
    "roberts_x": roberts_x,
    "roberts_y": roberts_y,
    "laplacian": laplacian,
    "laplacian_8": laplacian_8,
}


def on_channels(f, channels="all", of=3):
    """A filter for colour images that looks at some channels only: `f` there, zeros in the others.

    Parameters
    ----------
    f : array (KH, KW), real numbers
    channels : "all", a channel number from 0, "red" / "green" / "blue" (0, 1, 2), or a sequence of these
    of : number of channels of the image

    Returns
    -------
    w : new array (KH, KW, of, 1) for `conv2d`, float32 (float64 when `f` is)

    Raises
    ------
    ShapeError : `f` is not two-dimensional;  DTypeError : it does not hold real numbers
    OptionError : a channel that the image does not have

    >>> w = on_channels(vertical, "red")
    >>> w.shape, w[0, :, 0, 0].tolist(), int(abs(w[:, :, 1:]).sum())
    ((3, 3, 3, 1), [1.0, 0.0, -1.0], 0)
    """
    f = np.asarray(f)
    if f.dtype.kind not in "biuf":
        raise DTypeError(f"f: got elements of type {f.dtype}; needed real numbers, such as float32")
    if f.ndim != 2:
        raise ShapeError(f"f: got shape {f.shape}; needed one filter of (height, width), such as edges.vertical")
    w = np.zeros((*f.shape, count(of), 1), np.result_type(f, np.float32))
    w[:, :, channel_numbers(channels, count(of)), 0] = f[:, :, None]
    return w


def count(of):
    number = as_integer(of)
    if number is None or number < 1:
        raise OptionError(f"of: got {of!r}; needed the number of channels of the image, at least 1")
    return number


def channel_numbers(channels, of):
    """The distinct channel numbers that a name, a number or a sequence of them means."""
    if isinstance(channels, str) and channels == "all":
        return list(range(of))
    several = not isinstance(channels, str) and np.ndim(channels) > 0
    numbers = sorted({channel_number(c, of) for c in (channels if several else [channels])})
    if not numbers:
        raise OptionError('channels: got none; needed at least one channel, or "all"')
    return numbers


def channel_number(channel, of):
    number = COLOURS.get(channel) if isinstance(channel, str) else as_integer(channel)
    if number is None or not 0 <= number < of:
        raise OptionError(
            f'channels: got {channel!r}; needed "all", "red", "green", "blue" or a number from 0 to {of - 1} (of={of})'
        )
    return number


def as_integer(value):
    """The int that `value` is, or None: True and 1.5 are not channel numbers."""
    try:
        return None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        return None


def sample_image():
    """A grey test picture, a new uint8 array (64, 64): light left half, dark right half, shapes with edges in every direction.

    A dark disc and a dark square lie on the light half, a light triangle with a 45 degree edge and a light frame on the dark one.

    >>> sample_image()[:, [0, -1]].tolist()[0]
    [200, 40]
    """
    y, x = np.mgrid[:64, :64] / 64
    image = np.where(x < 0.5, 200, 40).astype(np.uint8)
    image[(y - 0.27) ** 2 + (x - 0.25) ** 2 < 0.15**2] = 40
    image[(abs(y - 0.73) < 0.15) & (abs(x - 0.25) < 0.15)] = 90
    image[(x > 0.6) & (y < 0.43) & (y > 0.12) & (x - 0.6 < 0.43 - y)] = 220
    frame = np.maximum(abs(y - 0.73), abs(x - 0.75))
    image[(frame < 0.16) & (frame > 0.1)] = 160
    return image
