"""The calls that every algorithm faces: a short chosen list, and as many random ones as asked for."""

from dataclasses import dataclass

import numpy as np

import oracle

MAX_MACS = 300_000  # a random case stays far below a millisecond


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
)


def random_cases(seed, count):
    """`count` valid cases: channels 1-65, kernels 1-7, strides and dilations 1-3, every padding, groups and depthwise."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        case = random_case(rng)
        if is_valid(case):
            found.append(case)
    return tuple(found)


def random_case(rng):
    kind = rng.choice(["dense", "grouped", "depthwise"], p=[0.6, 0.2, 0.2])
    if kind == "dense":
        groups, c, o = 1, whole(rng, 1, 65), whole(rng, 1, 65)
    elif kind == "grouped":
        groups = whole(rng, 2, 8)
        c, o = groups * whole(rng, 1, 65 // groups), groups * whole(rng, 1, 65 // groups)
    else:
        groups = c = whole(rng, 1, 65)
        o = c * whole(rng, 1, max(65 // c, 1))
    return Case(
        n=whole(rng, 1, 3),
        h=whole(rng, 1, 14),
        w=whole(rng, 1, 14),
        c=c,
        o=o,
        k=(whole(rng, 1, 7), whole(rng, 1, 7)),
        stride=either(rng, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
        padding=either(rng, "valid", "same", "full", whole(rng, 0, 4), (whole(rng, 0, 4), whole(rng, 0, 4)), four_sides(rng)),
        dilation=either(rng, 1, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
        groups=groups,
        pad_mode=either(rng, "constant", "constant", "constant", "reflect", "replicate", "circular"),
        flip=bool(rng.random() < 0.1),
    )


def whole(rng, least, most):
    return int(rng.integers(least, most + 1))


def either(rng, *values):
    return values[rng.integers(len(values))]


def four_sides(rng):
    return tuple((whole(rng, 0, 4), whole(rng, 0, 4)) for _ in range(2))


def is_valid(case):
    """The window fits, the padding mode can show that many pixels, and the case is quick."""
    most = {"reflect": (case.h - 1, case.w - 1), "circular": (case.h, case.w)}.get(case.pad_mode)
    if most and any(max(sides) > limit for sides, limit in zip(case.walk.pad, most, strict=True)):
        return False
    return min(case.walk.out) > 0 and case.macs <= MAX_MACS


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
    PoolCase(h=5, w=6, size=2, stride=3, padding=1, ceil_mode=True),  # the last window would start in the padding
    PoolCase(h=4, w=7, size=3, stride=(3, 2), padding=((0, 1), (1, 1)), ceil_mode=True),
    PoolCase(h=4, w=5, size=1, stride=3, ceil_mode=True),
    PoolCase(h=2, w=2, size=(3, 5), stride=2, padding=(1, 2), ceil_mode=True),
    PoolCase(size=2, padding=1, count_include_pad=True),
    PoolCase(size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=True),
    PoolCase(h=6, w=8, size=(4, 3), stride=(3, 2), padding=((2, 0), (1, 1)), ceil_mode=True, count_include_pad=True),
)


def random_pool_cases(seed, count):
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        size = (whole(rng, 1, 5), whole(rng, 1, 5))
        padding = tuple((whole(rng, 0, k // 2), whole(rng, 0, k // 2)) for k in size)
        case = PoolCase(
            n=whole(rng, 1, 3),
            h=whole(rng, 1, 14),
            w=whole(rng, 1, 14),
            c=whole(rng, 1, 65),
            size=size,
            stride=either(rng, None, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
            padding=either(rng, 0, (min(padding[0]), min(padding[1])), padding),
            ceil_mode=bool(rng.random() < 0.5),
            count_include_pad=bool(rng.random() < 0.5),
        )
        if case.h + sum(case.pad[0]) >= size[0] and case.w + sum(case.pad[1]) >= size[1]:
            found.append(case)
    return tuple(found)
