"""Sizes of windows and of what they give: integers in, integers out.  No other file computes an output size.

Notation: size n, kernel k, stride s, dilation d, padding (before, after).  A dilated kernel spans d (k - 1) + 1 pixels, and

    output = floor((n + before + after - span) / s) + 1        [arXiv:1603.07285, relations 6 and 14]
"""

import functools
import operator
from dataclasses import dataclass, replace
from math import ceil

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry.counts import conv_parameters

__all__ = [
    "ConvGeometry",
    "PoolGeometry",
    "adaptive_windows",
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
PAD_MODES = ("constant", "reflect", "replicate", "circular")


def whole(value, name, least):
    """`value` as an int of at least `least`; booleans and fractions are refused."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise OptionError(f"{name}: got {value!r}; needed a whole number of at least {least}")
    return number


def pair(value, name, least=1):
    """An int, or (height, width), as two ints.

    >>> pair(3, "size"), pair((5, 3), "size")
    ((3, 3), (5, 3))
    """
    if not isinstance(value, (tuple, list)):
        return (whole(value, name, least),) * 2
    if len(value) != 2:
        raise OptionError(f"{name}: got {value!r}; needed one number or (height, width)")
    return tuple(whole(v, f"{name}[{i}]", least) for i, v in enumerate(value))


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
    if slack < 0:
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


@dataclass(frozen=True)
class ConvGeometry:
    """All sizes of one convolution: n images (h, w, c), a bank of o filters (kh, kw, c / groups), output (p, q, o)."""

    n: int
    h: int
    w: int
    c: int
    kh: int
    kw: int
    o: int
    p: int
    q: int
    sh: int = 1
    sw: int = 1
    dh: int = 1
    dw: int = 1
    groups: int = 1
    pads: tuple = ((0, 0), (0, 0))
    pad_mode: str = "constant"
    flip: bool = False

    @classmethod
    def of(
        cls, x_shape, w_shape, *, stride=1, padding="valid", dilation=1, groups=1, pad_mode="constant", flip=False, strict=False
    ):
        """From the shapes of x (N, H, W, C) and w (KH, KW, C / groups, O); ShapeError or OptionError if they do not fit."""
        n, h, w, c = image_sizes(x_shape)
        kh, kw, c_group, o = four_sizes(w_shape, "w", "(KH, KW, C / groups, O)")
        groups = whole(groups, "groups", 1)
        check_channels(x_shape, c, c_group, o, groups)
        if min(kh, kw) < 1:
            raise ShapeError(f"w: a kernel of {kh}x{kw} has no taps; needed at least 1x1")
        (sh, sw), (dh, dw) = pair(stride, "stride"), pair(dilation, "dilation")
        if pad_mode not in PAD_MODES:
            raise OptionError(f"pad_mode: got {pad_mode!r}; needed one of {', '.join(PAD_MODES)}")
        pads = resolve_padding(padding, (h, w), (kh, kw), (sh, sw), (dh, dw))
        p = output_size(h, kh, stride=sh, dilation=dh, pad=pads[0], axis="height", strict=strict)
        q = output_size(w, kw, stride=sw, dilation=dw, pad=pads[1], axis="width", strict=strict)
        geo = cls(n, h, w, c, kh, kw, o, p, q, sh, sw, dh, dw, groups, pads, pad_mode, bool(flip))
        if pad_mode != "constant":
            geo.sources()  # refuses paddings that the mode cannot fill
        return geo

    @property
    def x_shape(self):
        return self.n, self.h, self.w, self.c

    @property
    def w_shape(self):
        return self.kh, self.kw, self.c // self.groups, self.o

    @property
    def y_shape(self):
        return self.n, self.p, self.q, self.o

    @property
    def padded_shape(self):
        (top, bottom), (left, right) = self.pads
        return self.n, self.h + top + bottom, self.w + left + right, self.c

    @property
    def is_padded(self):
        return self.pads != ((0, 0), (0, 0))

    @property
    def needs_copy(self):
        """Whether the padding is not zeros, so that it is written out before the image is read."""
        return self.is_padded and self.pad_mode != "constant"

    @property
    def written_out(self):
        """What is read by those that take zeros for padding: the same geometry, or that of a copy which has its padding."""
        return self._with_padding if self.needs_copy else self

    @functools.cached_property
    def _with_padding(self):
        _, h, w, _ = self.padded_shape
        return replace(self, h=h, w=w, pads=((0, 0), (0, 0)), pad_mode="constant")

    @property
    def terms(self):
        """Products in the sum of one output element."""
        return self.kh * self.kw * self.c // self.groups

    @property
    def macs(self):
        """Multiply-accumulates of the whole batch; products with padding are counted, as the field does."""
        return self.n * self.p * self.q * self.o * self.terms

    def parameters(self, bias=True):
        return conv_parameters(self.kh, self.kw, self.c, self.o, groups=self.groups, bias=bias)

    @property
    def at_stride_one(self):
        """The same convolution of one group, without its stride, on an image whose channels are the pixels that one step jumps.

        y[p,q] = sum of x[sh*p + i, sw*q + j] w[i,j]: with i = sh*a + r and j = sw*b + t it is the sum over a, b and the channels
        (r, t, c) of X[p + a, q + b] W[a, b], where X[i, j, (r, t, c)] = x[sh*i + r, sw*j + t, c], padding included.
        """
        return self if self.sh == self.sw == 1 else self._without_stride

    @functools.cached_property
    def _without_stride(self):
        kh, kw = -(-self.kh // self.sh), -(-self.kw // self.sw)
        return replace(
            self, h=self.p + kh - 1, w=self.q + kw - 1, c=self.sh * self.sw * self.c, kh=kh, kw=kw, sh=1, sw=1,
            pads=((0, 0), (0, 0)), pad_mode="constant",
        )  # fmt: skip

    @property
    def turned(self):
        """The convolution, with filters turned by 180 degrees, of the output's gradient that is the input's: at stride 1, without
        a dilation, and with zeros for padding."""
        kernel = zip((self.kh, self.kw), self.pads, strict=True)
        pads = tuple((k - 1 - before, k - 1 - after) for k, (before, after) in kernel)
        return replace(self, h=self.p, w=self.q, c=self.o, o=self.c, p=self.h, q=self.w, pads=pads, flip=False)

    @property
    def unread(self):
        """(rows, columns) at the bottom and right that no window reads, because the division is floored."""
        return (
            unread_pixels(self.h, self.kh, self.sh, self.dh, self.pads[0], self.p),
            unread_pixels(self.w, self.kw, self.sw, self.dw, self.pads[1], self.q),
        )

    def sources(self):
        """`source_index` of both axes."""
        return tuple(
            source_index(n, pad, self.pad_mode, axis) for n, pad, axis in zip((self.h, self.w), self.pads, AXES, strict=True)
        )


def check_channels(x_shape, c, c_group, o, groups):
    """The channels of x and w against each other and against `groups`."""
    if c < 1 or o < 1:
        raise ShapeError(f"x has {c} channels and w {o} filters; needed at least 1 of each")
    if c % groups or o % groups:
        axis, count = ("x", c) if c % groups else ("w", o)
        raise ShapeError(f"groups: {groups} does not divide the {count} channels of {axis}; use a divisor of {count}")
    if c != c_group * groups:
        hint = ""
        if x_shape[1] == c_group * groups:
            hint = '; x looks like (N, C, H, W): pass layout="NCHW" with w as (O, C, KH, KW), or x.transpose(0, 2, 3, 1)'
        raise ShapeError(
            f"x has {c} channels (axis 3 of {tuple(x_shape)}), w {c_group} (axis 2) x groups={groups}: needed {c_group * groups}"
            + (hint or f"; use filters with {c // groups} input channels")
        )


@dataclass(frozen=True)
class PoolGeometry:
    """All sizes of one pooling: windows (kh, kw) over (n, h, w, c), output (p, q)."""

    n: int
    h: int
    w: int
    c: int
    kh: int
    kw: int
    p: int
    q: int
    sh: int
    sw: int
    pads: tuple = ((0, 0), (0, 0))
    ceil_mode: bool = False

    @classmethod
    def of(cls, x_shape, size, *, stride=None, padding=0, ceil_mode=False):
        n, h, w, c = image_sizes(x_shape)
        kh, kw = pair(size, "size")
        sh, sw = (kh, kw) if stride is None else pair(stride, "stride")
        pads = resolve_padding(padding, (h, w), (kh, kw), (sh, sw))
        for axis, k, pad in zip(AXES, (kh, kw), pads, strict=True):
            if max(pad) > k // 2:
                raise ShapeError(
                    f"padding: {max(pad)} on the {axis} axis is more than half of the window of {k}, some windows would see "
                    f"padding alone; use at most {k // 2}"
                )
        p = output_size(h, kh, stride=sh, pad=pads[0], axis="height", ceil=ceil_mode)
        q = output_size(w, kw, stride=sw, pad=pads[1], axis="width", ceil=ceil_mode)
        return cls(n, h, w, c, kh, kw, p, q, sh, sw, pads, bool(ceil_mode))

    @property
    def x_shape(self):
        return self.n, self.h, self.w, self.c

    @property
    def y_shape(self):
        return self.n, self.p, self.q, self.c

    @property
    def unread(self):
        return (
            unread_pixels(self.h, self.kh, self.sh, 1, self.pads[0], self.p),
            unread_pixels(self.w, self.kw, self.sw, 1, self.pads[1], self.q),
        )
