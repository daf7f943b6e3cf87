"""All sizes of a pooling."""

from dataclasses import dataclass

from fastconv.errors import ShapeError
from fastconv.geometry.windows import AXES, check_flag, image_sizes, output_size, pair, resolve_padding, unread_pixels

__all__ = ["PoolGeometry"]


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
        if c < 1:
            raise ShapeError(f"x has no channels, shape {tuple(x_shape)}; needed at least 1")
        check_flag(ceil_mode, "ceil_mode")
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
    def covers_once(self):
        """Whether every pixel is seen by one window."""
        side_by_side = (self.sh, self.sw) == (self.kh, self.kw) and self.pads == ((0, 0), (0, 0))
        return side_by_side and (self.p * self.kh, self.q * self.kw) == (self.h, self.w)

    @property
    def unread(self):
        return (
            unread_pixels(self.h, self.kh, self.sh, 1, self.pads[0], self.p),
            unread_pixels(self.w, self.kw, self.sw, 1, self.pads[1], self.q),
        )
