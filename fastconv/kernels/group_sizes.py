"""Groups of images as lanes: how their work is cut, and when Winograd's F(2x2, r x r) is the shorter way."""

from fastconv.kernels.blocks import balanced
from fastconv.machine import cpu

__all__ = [
    "MOST_WINDOWS",
    "even_parts",
    "has_windows",
    "is_faster",
    "transformed_row",
    "transformed_sizes",
    "window_instructions",
    "windows_at_once",
    "windows_over",
]

MOST_WINDOWS = 6  # of 2x2 outputs, that are transformed and multiplied together
FAR = 1.3  # times longer: products whose filters the first cache does not hold (measured with AVX2, 32 to 64 channels)


def even_parts(count, most):
    """Balanced parts of `count`; all of one size where that costs no more than half of `most`, to compile one tile only: for
    what takes little of the time."""
    for parts in range(-(-count // most), 2 * (-(-count // most)) + 1):
        if count % parts == 0:
            return [count // parts] * parts
    return balanced(count, most)


def has_windows(geo):
    """Whether F(2x2, k x k) is made for a convolution (None for a dense layer)."""
    return geo is not None and geo.kh == geo.kw in (3, 5) and geo.sh == geo.sw == 1


def window_instructions(size, c, o, l1):
    """An estimate for a 2x2 window of `o` outputs: products of the elements, and what each takes that is transformed."""
    elements = (size + 1) ** 2
    far = FAR if 4 * elements * c * o > l1 else 1
    return elements * (far * c * o + 7 * c + 5 * o)


def is_faster(geo):
    """Whether that takes fewer instructions than the multiply-adds of the direct way."""
    return has_windows(geo) and window_instructions(geo.kh, geo.c, geo.o, cpu().l1) < 4 * geo.kh * geo.kw * geo.c * geo.o


def windows_over(rows, cols):
    """(rows, columns) of the 2x2 windows that cover so many outputs."""
    return -(-rows // 2), -(-cols // 2)


def windows_at_once(across):
    """The windows of a row in parts that are computed together."""
    return even_parts(across, MOST_WINDOWS)


def transformed_row(numbers, windows, lanes):
    """From element to element of V or M: an odd number of vectors, so that not all 36 fall on the same lines of a cache."""
    return (numbers * windows | 1) * lanes


def transformed_sizes(geo, across, lanes):
    """Floats of V and of M, for so many windows in a row."""
    windows = max(windows_at_once(across))
    return [(geo.kh + 1) ** 2 * transformed_row(numbers, windows, lanes) for numbers in (geo.c, geo.o)]
