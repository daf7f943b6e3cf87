"""Windows along one axis, and the arguments that say them: integers in, integers out.  No other file computes an output size.

Notation: size n, kernel k, stride s, dilation d, padding (before, after).  A dilated kernel spans d (k - 1) + 1 pixels, and

    output = floor((n + before + after - span) / s) + 1        [arXiv:1603.07285, relations 6 and 14]
"""

import operator
from math import ceil

from fastconv.errors import OptionError, ShapeError

__all__ = [
    "AXES",
    "adaptive_windows",
    "check_flag",
    "four_sizes",
    "image_sizes",
    "kernel_span",
    "output_size",
    "padding_for",
    "pair",
    "resolve_padding",
    "source_index",
    "unread_pixels",
    "whole",
]

AXES = ("height", "width")
MOST_PIXELS = 2**31 - 1  # of a kernel, a step, a frame


def whole(value, name, least):
    """`value` as an int of at least `least`; booleans and fractions are refused."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise OptionError(f"{name}: got {value!r}; needed a whole number of at least {least}")
    return number


def check_flag(value, name, needed="True or False"):
    """OptionError for an option that is neither True nor False."""
    if value not in (True, False):
        raise OptionError(f"{name}: got {value!r}; needed {needed}")


def pair(value, name, least=1):
    """An int, or (height, width), as two ints.

    >>> pair(3, "size"), pair((5, 3), "size")
    ((3, 3), (5, 3))
    """
    if not isinstance(value, (tuple, list)):
        return (pixels(value, name, least),) * 2
    if len(value) != 2:
        raise OptionError(f"{name}: got {value!r}; needed one number or (height, width)")
    return tuple(pixels(v, f"{name}[{i}]", least) for i, v in enumerate(value))


def pixels(value, name, least):
    """A number of pixels that an image can have."""
    number = whole(value, name, least)
    if number > MOST_PIXELS:
        raise OptionError(f"{name}: got {value}; needed at most {MOST_PIXELS:,}")
    return number


def kernel_span(kernel, dilation=1):
    """Pixels from the first tap of a kernel to its last, both counted."""
    return dilation * (kernel - 1) + 1


def output_size(size, kernel, *, stride=1, dilation=1, pad=(0, 0), axis="height", ceil=False, strict=False):
    """Window positions along one axis: floor((size + pads - span) / stride) + 1.

    With `ceil` the division rounds up (Caffe, `ceil_mode`), and a last window that would start in the padding is dropped.
    With `strict` a size that does not come out even is refused.

    >>> output_size(227, 11, stride=4)
    55
    """
    span = kernel_span(kernel, dilation)
    slack = size + sum(pad) - span
    if slack < 0 and not (ceil and slack > -stride):
        largest = (size + sum(pad) - 1) // dilation + 1
        raise ShapeError(
            f"{axis}: a kernel of {kernel} with dilation {dilation} spans {span} pixels, the padded input has {size + sum(pad)} "
            f"({size} + {pad[0]} + {pad[1]}); add {-slack} padding, or use a kernel of at most {largest}"
        )
    if strict and slack % stride:
        raise ShapeError(
            f"{axis}: ({size} + {pad[0]} + {pad[1]} - {span}) / {stride} + 1 = {slack / stride + 1:.2f} is not whole; "
            f"{even_setting(size, span, stride, slack)}"
        )
    if ceil:
        last = -(-slack // stride)
        return last + 1 if last * stride < size + pad[0] else last
    return slack // stride + 1


def even_setting(size, span, stride, slack):
    """The nearest changes that make (size + pads - span) / stride whole, in words."""
    missing = stride - slack % stride
    strides = [s for s in range(1, slack + 1) if slack % s == 0] or [1]
    nearest = min(strides, key=lambda s: (abs(s - stride), s))
    return f"add {missing} padding, use a size of {size - slack % stride} or {size + missing}, or use stride {nearest}"


def padding_for(size, output, kernel, *, stride=1, dilation=1):
    """The least (before, after) that gives `output` window positions; the odd pixel goes after (bottom, right).

    >>> padding_for(32, 32, 5), padding_for(224, 112, 7, stride=2)
    ((2, 2), (2, 3))
    """
    total = max((output - 1) * stride + kernel_span(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def resolve_padding(padding, sizes, kernels, strides=(1, 1), dilations=(1, 1)):
    """Any form of the `padding` argument as ((top, bottom), (left, right)).

    "valid": none.  "same": output = ceil(n / stride).  "full": every window that touches the input.  Otherwise an int,
    (vertical, horizontal), or the four sides themselves.
    """
    axes = tuple(zip(sizes, kernels, strides, dilations, strict=True))
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        return tuple(padding_for(n, ceil(n / s), k, stride=s, dilation=d) for n, k, s, d in axes)
    if padding == "full":
        return tuple((d * (k - 1),) * 2 for _, k, _, d in axes)
    if isinstance(padding, str):
        raise OptionError(
            f'padding: got {padding!r}; needed "valid", "same", "full", a number, (h, w) or ((top, bottom), (left, right))'
        )
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
        return tuple(pair(p, f"padding[{i}]", least=0) for i, p in enumerate(padding))
    if isinstance(padding, (tuple, list)) and len(padding) != 2:
        raise OptionError(f"padding: got {padding!r}; four sides are written ((top, bottom), (left, right))")
    return tuple((p, p) for p in pair(padding, "padding", least=0))


def source_index(size, pad, mode, axis="height"):
    """For every pixel of the padded axis, the input pixel it shows; -1 where it shows zero.

    >>> source_index(3, (2, 2), "reflect")
    (2, 1, 0, 1, 2, 1, 0)
    """
    before, after = pad
    limit = {"constant": None, "replicate": None, "reflect": size - 1, "circular": size}[mode]
    if limit is not None and max(pad) > limit:
        raise ShapeError(
            f'padding: {max(pad)} on the {axis} axis, but pad_mode="{mode}" can show at most {limit} of {size} pixels; '
            f'use padding of at most {limit} or pad_mode="replicate"'
        )
    where = {
        "constant": lambda i: i if 0 <= i < size else -1,
        "replicate": lambda i: min(max(i, 0), size - 1),
        "reflect": lambda i: -i if i < 0 else 2 * size - 2 - i if i >= size else i,
        "circular": lambda i: i % size,
    }[mode]
    return tuple(where(i) for i in range(-before, size + after))


def adaptive_windows(size, count, axis="height"):
    """`count` windows that cover an axis, evenly: (floor(i n / count), ceil((i + 1) n / count)).

    >>> adaptive_windows(7, 3)
    ((0, 3), (2, 5), (4, 7))
    """
    if count > size:
        raise ShapeError(f"{axis}: got {size} pixels for {count} windows; needed at least one for each: use a smaller size")
    return tuple((i * size // count, -(-(i + 1) * size // count)) for i in range(count))


def unread_pixels(size, kernel, stride, dilation, pad, output):
    """Pixels at the far end of an axis that no window reads (those that a stride skips between windows are not counted)."""
    reach = (output - 1) * stride + kernel_span(kernel, dilation) - pad[0]
    return max(size - reach, 0)


def four_sizes(shape, name, form):
    """`shape` as four ints."""
    if len(shape) != 4:
        raise ShapeError(f"{name}: got {len(shape)} axes, shape {tuple(shape)}; needed 4, {form}")
    return tuple(int(n) for n in shape)


def image_sizes(x_shape):
    """(n, h, w, c) of x; an image without pixels is refused, a batch without images is not."""
    n, h, w, c = four_sizes(x_shape, "x", "(N, H, W, C)")
    if min(h, w) < 1:
        raise ShapeError(f"x: got images of {h}x{w} pixels, shape {tuple(x_shape)}; needed at least 1x1")
    return n, h, w, c
