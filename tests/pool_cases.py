"""The poolings that are tested: a short chosen list.  `random_cases.py` has as many more as asked for."""

from dataclasses import dataclass

import numpy as np

import oracle
from cases import draw, flat


@dataclass(frozen=True)
class PoolCase:
    """One pooling: sizes and options."""

    n: int = 2
    h: int = 7
    w: int = 8
    c: int = 3
    size: object = 2
    stride: object = None
    padding: object = 0
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __str__(self):
        name = f"N{self.n}-{self.h}x{self.w}x{self.c}-k{flat(self.size)}"
        name += "" if self.stride is None else f"-s{flat(self.stride)}"
        if self.padding != 0:
            name += f"-{self.padding}" if isinstance(self.padding, str) else f"-p{flat(self.padding)}"
        return name + ("-ceil" if self.ceil_mode else "") + ("-padcounts" if self.count_include_pad else "")

    @property
    def max_options(self):
        return {"stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}

    @property
    def avg_options(self):
        return {**self.max_options, "count_include_pad": self.count_include_pad}

    @property
    def x_shape(self):
        return (self.n, self.h, self.w, self.c)

    @property
    def out(self):
        return oracle.pool_windows(self.x_shape, self.size, **self.max_options)[0]

    @property
    def y_shape(self):
        return (self.n, *self.out, self.c)

    @property
    def pad(self):
        stride = self.size if self.stride is None else self.stride
        return oracle.pads(self.padding, (self.h, self.w), oracle.pair(self.size), oracle.pair(stride), (1, 1))

    @property
    def terms(self):
        return int(np.prod(oracle.pair(self.size)))

    @property
    def symmetric(self):
        """The padding of each axis is the same before and after, as PyTorch wants it."""
        return all(before == after for before, after in self.pad)

    def arrays(self, seed, dtype=np.float32):
        """x, dy"""
        return draw(seed, dtype, self.x_shape, self.y_shape)

    def tied_arrays(self, seed, dtype=np.float32):
        """x with few different values, so that most windows have several maxima; dy of whole numbers."""
        rng = np.random.default_rng(seed)
        return rng.integers(-2, 2, self.x_shape).astype(dtype), rng.integers(-9, 10, self.y_shape).astype(dtype)


POOL_CASES = (
    PoolCase(),
    PoolCase(h=8, w=6),
    PoolCase(n=1, h=1, w=1, c=1, size=1),
    PoolCase(n=0),
    PoolCase(c=17, size=3),
    PoolCase(h=8, w=28, c=6, size=2),
    PoolCase(h=8, w=28, c=20, size=2),
    PoolCase(h=4, w=36, c=10, size=(2, 3)),
    PoolCase(h=5, w=16, c=37, size=(1, 2)),
    PoolCase(h=6, w=21, c=11, size=(3, 1)),
    PoolCase(h=6, w=20, c=3, size=3, stride=1),
    PoolCase(c=65, h=4, w=5, size=(2, 3)),
    PoolCase(size=3, stride=1),
    PoolCase(size=3, stride=2),
    PoolCase(size=(1, 3), stride=(2, 1)),
    PoolCase(size=(7, 8)),
    PoolCase(size=1, stride=(2, 3)),
    PoolCase(size=2, stride=3),
    PoolCase(size=2, padding=1),
    PoolCase(size=3, stride=2, padding=1),
    PoolCase(size=(3, 2), stride=(1, 2), padding=(1, 0)),
    PoolCase(size=(5, 4), stride=2, padding=((2, 1), (0, 2))),
    PoolCase(size=3, stride=1, padding="same"),
    PoolCase(size=(2, 3), stride=2, padding="same"),
    PoolCase(size=2, ceil_mode=True),
    PoolCase(h=8, w=9, size=3, stride=2, ceil_mode=True),
    PoolCase(h=6, w=7, size=2, stride=2, padding=1, ceil_mode=True),
    PoolCase(h=2, w=3, size=4, stride=3, ceil_mode=True),  # one window, larger than the image
    PoolCase(h=3, w=9, size=5, stride=3, padding=1, ceil_mode=True),
    PoolCase(h=5, w=6, size=2, stride=3, padding=1, ceil_mode=True),  # the last window would start in the padding
    PoolCase(h=4, w=7, size=3, stride=(3, 2), padding=((0, 1), (1, 1)), ceil_mode=True),
    PoolCase(h=4, w=5, size=1, stride=3, ceil_mode=True),
    PoolCase(h=2, w=2, size=(3, 5), stride=2, padding=(1, 2), ceil_mode=True),
    PoolCase(size=2, padding=1, count_include_pad=True),
    PoolCase(size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=True),
    PoolCase(h=6, w=8, size=(4, 3), stride=(3, 2), padding=((2, 0), (1, 1)), ceil_mode=True, count_include_pad=True),
    PoolCase(n=1, h=7, w=6, c=128, size=3, stride=2, padding=1),
)
