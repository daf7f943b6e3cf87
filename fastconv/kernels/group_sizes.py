"""Groups of images as lanes: how their work is cut, and when Winograd's F(4, r) along rows is the shorter way."""

from fastconv.kernels.blocks import balanced
from fastconv.machine import cpu

__all__ = [
    "FLOAT",
    "MOST_WINDOWS",
    "WIDE",
    "bands",
    "elements_of",
    "even_parts",
    "filter_numbers",
    "has_windows",
    "is_faster",
    "row_instructions",
    "rows_read",
    "steps_of_values",
    "transformed_row",
    "transformed_sizes",
    "windows_at_once",
    "windows_over",
]

WIDE = 4  # results of a window
MOST_WINDOWS = 6  # that are multiplied together
FLOAT = 4  # bytes
# row_instructions of an input and of an output, with so many vector registers, where two multiply-adds begin in a cycle
TRANSFORMED = {16: (7, 3), 32: (23, 5.5)}


def even_parts(count, most):
    """Balanced parts of `count`; all of one size where that costs no more than half of `most`, to compile one tile only: for
    what takes little of the time."""
    for parts in range(-(-count // most), 2 * (-(-count // most)) + 1):
        if count % parts == 0:
            return [count // parts] * parts
    return balanced(count, most)


def has_windows(geo, across):
    """Whether F(4, r) is made for a convolution (None for a dense layer) with rows of so many results."""
    return geo is not None and geo.kw in (3, 5) and geo.sw == 1 and across >= WIDE


def elements_of(width):
    """Numbers of a transformed window of a filter that wide: inputs, multiplications."""
    return WIDE + width - 1


def filter_numbers(geo):
    """Of all transformed filters."""
    return elements_of(geo.kw) * geo.kh * geo.c * geo.o


def row_instructions(geo, c, o, across):
    """An estimate for a row of `across` results of `o` outputs, in multiply-adds of the direct way: products of the elements, and
    what each takes that is transformed (measured with AVX2 and AVX-512, 1 to 128 channels)."""
    each_input, each_output = (cpu().multiply_adds / 2 * more for more in TRANSFORMED[cpu().registers])
    return windows_over(across) * elements_of(geo.kw) * (1.15 * geo.kh * c * o + each_input * c + each_output * o)


def is_faster(geo, across):
    """Whether that takes fewer instructions than the multiply-adds of the direct way."""
    if not has_windows(geo, across):
        return False
    return row_instructions(geo, geo.c, geo.o, across) < across * geo.kh * geo.kw * geo.c * geo.o


def windows_over(across):
    """Windows of a row of so many results; the last may begin inside the one before it."""
    return -(-across // WIDE)


def windows_at_once(across):
    """The windows of a row in parts that are multiplied together."""
    return even_parts(windows_over(across), MOST_WINDOWS)


def transformed_row(numbers, windows, lanes):
    """From element to element of V or M: an odd number of vectors, so that not all fall on the same lines of a cache."""
    return (numbers * windows | 1) * lanes


def rows_read(geo, down):
    """Rows of the padded image that so many rows of results see."""
    return (down - 1) * geo.sh + geo.kh


def bands(geo, down, across, high, lanes):
    """`down` rows of results, each of which is `high` rows in one, in bands, the same for all parts of a row: what is transformed
    for the largest fills half of the second cache; but none is so low that most rows are transformed twice."""
    row = elements_of(geo.kw) * max(windows_at_once(across)) * geo.c * lanes * FLOAT
    most = max(geo.kh, (cpu().l2 // (2 * row) - geo.kh) // geo.sh + 1)
    return balanced(down, max(1, most // high))


def steps_of_values(geo, down, windows, lanes):
    """From window to window of V, and from element to element."""
    numbers = rows_read(geo, down) * geo.c
    return numbers * lanes, transformed_row(numbers, windows, lanes)


def transformed_sizes(geo, down, across, high, lanes):
    """Floats of V and M for some windows: of a band, and of one row of results, which is `high` rows in one; `down` of them."""
    elements, windows = elements_of(geo.kw), max(windows_at_once(across))
    band = high * max(bands(geo, down, across, high, lanes))
    values = elements * steps_of_values(geo, band, windows, lanes)[1]
    return values, high * elements * transformed_row(geo.o, windows, lanes)
