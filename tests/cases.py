"""The convolutions that every algorithm faces: a short chosen list.  `random_cases.py` has as many more as asked for."""

from dataclasses import dataclass

import numpy as np

import oracle


def flat(value):
    """3 -> "3", (2, 3) -> "2x3", ((1, 0), (2, 3)) -> "1.0.2.3"."""
    if np.isscalar(value):
        return str(value)
    nested = not all(np.isscalar(v) for v in value)
    return ".".join(str(v) for side in value for v in side) if nested else "x".join(map(str, value))


@dataclass(frozen=True)
class Case:
    """One convolution: sizes and options.  `str(case)` is its name in test reports, `repr(case)` can be pasted into a test."""

    n: int = 2
    h: int = 9
    w: int = 8
    c: int = 3
    o: int = 5
    k: tuple = (3, 3)
    stride: object = 1
    padding: object = "valid"
    dilation: object = 1
    groups: int = 1
    pad_mode: str = "constant"
    flip: bool = False

    def __str__(self):
        name = f"N{self.n}-{self.h}x{self.w}x{self.c}-O{self.o}-k{flat(self.k)}"
        for letter, value in (("s", self.stride), ("d", self.dilation), ("g", self.groups)):
            name += "" if value == 1 else f"-{letter}{flat(value)}"
        if self.padding != "valid":
            name += f"-{self.padding}" if isinstance(self.padding, str) else f"-p{flat(self.padding)}"
        return name + ("" if self.pad_mode == "constant" else f"-{self.pad_mode}") + ("-flip" if self.flip else "")

    @property
    def options(self):
        names = ("stride", "padding", "dilation", "groups", "pad_mode", "flip")
        return {name: getattr(self, name) for name in names}

    @property
    def x_shape(self):
        return (self.n, self.h, self.w, self.c)

    @property
    def w_shape(self):
        return (*self.k, self.c // self.groups, self.o)

    @property
    def walk(self):
        return oracle.Walk(self.x_shape, self.w_shape, **self.options)

    @property
    def y_shape(self):
        return (self.n, *self.walk.out, self.o)

    @property
    def macs(self):
        return int(np.prod(self.y_shape) * np.prod(self.w_shape[:3]))

    def arrays(self, seed, dtype=np.float32):
        """x, w, b, dy; the same numbers for every dtype of at least float32."""
        return draw(seed, dtype, self.x_shape, self.w_shape, (self.o,), self.y_shape)

    def whole_arrays(self, seed, dtype=np.float32):
        """The same with small whole numbers: no sum of them rounds."""
        rng = np.random.default_rng(seed)
        return tuple(rng.integers(-4, 5, shape).astype(dtype) for shape in (self.x_shape, self.w_shape, (self.o,), self.y_shape))


def draw(seed, dtype, *shapes):
    """Normal numbers that float32 holds exactly."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(np.float32).astype(dtype) for shape in shapes)


CASES = (
    # sizes: one pixel, one filter, one row, one column, channels around the vector width
    Case(n=1, h=1, w=1, c=1, o=1, k=(1, 1)),
    Case(n=1, h=3, w=3, c=1, o=1),
    Case(h=7, w=4, c=3, o=5, k=(1, 1)),
    Case(h=1, w=9, c=2, o=3, k=(1, 3)),
    Case(h=9, w=1, c=2, o=3, k=(4, 1)),
    Case(n=2, h=200, w=1, c=1, o=3, k=(40, 1), stride=(16, 1)),  # sound: the stride is longer than a row of y has bytes
    Case(h=5, w=6, c=4, o=2, k=(5, 6)),
    Case(),
    Case(n=3, h=6, w=7, c=1, o=17),
    Case(n=1, h=6, w=5, c=17, o=1),
    Case(n=1, h=5, w=6, c=65, o=4),
    Case(n=1, h=6, w=5, c=4, o=65),
    Case(n=1, h=4, w=5, c=65, o=17, k=(2, 3)),
    Case(n=1, h=5, w=4, c=16, o=64),
    Case(n=5, h=4, w=4, c=8, o=8, k=(2, 2)),
    Case(n=0, c=3, o=5),
    Case(n=0, c=4, o=6, groups=2, padding="same", stride=2),
    # kernels that are not square, even kernels, large kernels
    Case(k=(1, 4), padding="same"),
    Case(k=(5, 2), padding="same"),
    Case(k=(2, 2), padding="same"),
    Case(h=9, w=10, k=(7, 5), padding="same"),
    Case(h=2, w=3, k=(5, 7), padding="same"),
    Case(h=2, w=2, k=(5, 4), padding=((3, 2), (1, 2))),
    Case(h=1, w=1, c=2, o=3, k=(3, 3), padding=1),
    # strides, also larger than the filter
    Case(stride=2),
    Case(h=10, w=9, stride=(2, 3)),
    Case(stride=3, k=(1, 1)),
    Case(h=11, w=10, stride=(3, 2), k=(2, 2)),
    Case(h=9, w=8, stride=2, padding="same"),
    Case(h=10, w=7, stride=(3, 2), padding="same", k=(5, 4)),
    Case(h=7, w=9, stride=3, padding="same", k=(2, 1)),
    Case(h=13, w=12, c=3, o=6, k=(7, 7), stride=2, padding=3),
    # squares, counted in strides: strides that Winograd's algorithm turns into channels
    Case(h=15, w=14, k=(4, 4), padding="same"),
    Case(h=13, w=17, c=5, o=18, k=(4, 4), stride=2, padding=1),
    Case(h=14, w=9, k=(3, 3), stride=2, padding=((0, 1), (2, 0)), pad_mode="reflect"),
    Case(n=1, h=27, w=25, k=(11, 11), stride=4),
    Case(h=14, w=15, k=(5, 5), stride=2, padding=((1, 3), (0, 2)), pad_mode="circular"),
    Case(h=17, w=16, k=(8, 4), stride=(2, 1), padding=3, flip=True),
    # padding: numbers, pairs, four sides, every window that touches the image
    Case(padding=1),
    Case(padding=(2, 0)),
    Case(padding=(0, 1), k=(1, 5)),
    Case(padding=((1, 2), (0, 3))),
    Case(padding=((0, 0), (4, 1)), stride=(1, 2)),
    Case(padding=4, k=(2, 3)),
    Case(padding="full"),
    Case(padding="full", stride=2, k=(2, 4)),
    Case(h=2, w=1, padding="full", k=(3, 4)),
    # dilation
    Case(h=10, w=9, dilation=2),
    Case(h=9, w=12, dilation=(1, 3), k=(2, 3)),
    Case(h=10, w=11, dilation=(3, 2), padding="same"),
    Case(h=9, w=11, dilation=2, stride=2, padding="same", k=(3, 2)),
    Case(h=6, w=5, dilation=(2, 1), padding="full"),
    Case(h=12, w=13, dilation=(2, 3), stride=(3, 2), padding=((1, 0), (2, 4)), k=(4, 3)),
    # groups and depthwise
    Case(c=4, o=6, groups=2),
    Case(c=6, o=3, groups=3, padding="same", stride=(2, 1)),
    Case(c=6, o=12, groups=3, dilation=2, padding=2),
    Case(c=34, o=34, groups=2, n=1, h=4, w=5),
    Case(h=15, w=13, c=8, o=18, groups=2, dilation=(2, 3), padding=2),
    Case(c=5, o=5, groups=5, padding="same"),
    Case(c=4, o=12, groups=4, stride=2, padding="same", k=(5, 3)),
    Case(c=17, o=17, groups=17, k=(3, 1), padding=((0, 2), (1, 0)), dilation=(2, 1)),
    Case(c=1, o=4, k=(2, 2)),
    # what the padding shows
    Case(padding=2, pad_mode="reflect"),
    Case(padding="same", pad_mode="replicate", k=(4, 5)),
    Case(padding=((1, 3), (2, 0)), pad_mode="circular", stride=(2, 1)),
    Case(h=4, w=5, padding=((3, 0), (1, 4)), pad_mode="reflect", k=(2, 5), c=4, o=4, groups=2),
    Case(h=2, w=3, padding=((2, 2), (3, 3)), pad_mode="circular", dilation=(2, 1)),
    Case(h=1, w=2, padding=((4, 3), (2, 5)), pad_mode="replicate", stride=2),
    Case(padding="full", pad_mode="circular", c=3, o=3, groups=3, flip=True),
    # filter rotated by 180 degrees
    Case(flip=True, k=(2, 3)),
    Case(flip=True, k=(3, 4), padding="full"),
    Case(flip=True, k=(3, 2), padding=((1, 2), (0, 1)), stride=(1, 2), dilation=(2, 1), pad_mode="replicate"),
    Case(flip=True, c=4, o=8, groups=4, padding="same", stride=2, k=(4, 3)),
)

# pixels, filters and channels below, at and above the rows and lanes of register tiles, with every remainder
TILE_CASES = (
    *(Case(n=1, h=2, w=size + 1, c=2, o=9, k=(1, 2)) for size in (*range(1, 16), 24, 31)),
    *(Case(n=1, h=3, w=5, c=2, o=size, k=(2, 1)) for size in (2, 4, 7, 8, 15, 16, 23, 24, 25, 31, 32, 33, 48, 49, 63)),
    *(Case(n=1, h=3, w=5, c=size, o=3, k=(2, 2)) for size in (2, 4, 7, 8, 15, 16, 23, 24, 25, 31, 32, 33, 48, 49, 63)),
    Case(n=1, h=4, w=6, c=36, o=34, k=(3, 3), groups=2, padding=1),
    Case(n=1, h=4, w=6, c=18, o=66, k=(2, 3), groups=2, stride=(1, 2), padding=1),
)

# more work than one block of rows, windows or weights holds, with a remainder
LARGE_CASES = (
    Case(n=3, h=37, w=41, c=17, o=19, k=(3, 5), padding="same"),
    Case(n=33, h=23, w=25, c=17, o=2, k=(5, 5), padding="same"),
    Case(n=2, h=66, w=63, c=21, o=5, k=(3, 2), padding="same"),
    Case(n=70, h=6, w=5, c=3, o=6, k=(2, 2)),
    Case(n=2, h=67, w=45, c=6, o=9, k=(3, 3), groups=3, stride=(2, 1), padding=1),
    Case(n=1, h=90, w=131, c=1, o=2, k=(7, 7), padding="full", flip=True),
    Case(n=1, h=7, w=5, c=130, o=150, k=(3, 3), padding=1),
    Case(n=3, h=9, w=11, c=70, o=130, k=(1, 1)),
    Case(n=2, h=9, w=12, c=40, o=33, k=(1, 1), stride=2),
    Case(n=2, h=50, w=47, c=20, o=40, k=(4, 4), stride=2, padding=1),
    Case(n=1, h=37, w=33, c=18, o=34, k=(5, 5), padding=2),
    Case(n=1, h=14, w=14, c=64, o=160, k=(4, 4), stride=2, padding=1),
    # 1x1 with so many channels that the weight gradient is one product of matrices, and a stride that forbids it
    Case(n=2, h=10, w=9, c=130, o=97, k=(1, 1)),
    Case(n=2, h=40, w=1, c=130, o=97, k=(1, 1), stride=(1, 2)),
    # filters with so many terms that the weight gradient arranges dy, also of a product of matrices and of groups
    Case(n=2, h=4, w=5, c=230, o=131, k=(3, 3), padding=1),
    Case(n=2, h=5, w=4, c=2050, o=130, k=(1, 1)),
    Case(n=1, h=4, w=4, c=460, o=258, k=(3, 3), groups=2, stride=2, padding=1),
    # dense layers of few examples: several blocks of input channels
    Case(n=3, h=1, w=1, c=2102, o=71, k=(1, 1)),
    Case(n=1, h=2, w=2, c=1027, o=200, k=(1, 1)),
)

KINDS_OF_LAYER = (  # every algorithm accepts at least one of them
    Case(padding=1),
    Case(h=11, w=10, c=8, o=12, padding="same", k=(3, 3)),
    Case(c=6, o=6, groups=6, padding=1),
    Case(h=7, w=4, c=9, o=17, k=(1, 1)),
    Case(n=2, h=5, w=3, c=9, o=17, k=(1, 1)),
    Case(padding=2, pad_mode="circular", flip=True, stride=2, c=4, o=6, groups=2),
)
