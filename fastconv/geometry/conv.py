"""All sizes of a convolution, and the convolutions of other sizes that do the same."""

import functools
from dataclasses import dataclass, replace

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry.counts import conv_parameters
from fastconv.geometry.windows import (
    AXES,
    check_flag,
    four_sizes,
    image_sizes,
    output_size,
    pair,
    resolve_padding,
    source_index,
    unread_pixels,
    whole,
)

__all__ = ["ConvGeometry"]

PAD_MODES = ("constant", "reflect", "replicate", "circular")


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
        check_flag(flip, "flip", "True, to turn the filters round, or False")
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
    def as_column(self):
        """The same convolution; one of 1x1 filters at stride 1 on a single image of one column, in which all pixels lie."""
        return self._one_column if self.kh == self.kw == self.sh == self.sw == 1 and not self.is_padded else self

    @functools.cached_property
    def _one_column(self):
        pixels = self.n * self.h * self.w
        return replace(self, n=1, h=pixels, w=1, p=pixels, q=1)

    @functools.cached_property
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
