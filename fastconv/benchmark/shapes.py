"""What is measured: lists of convolutions, poolings, and small networks."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastconv import functional as F
from fastconv.errors import DataError, FastconvError
from fastconv.geometry import whole
from fastconv.kernels import aligned

__all__ = ["FIELDS", "NETWORKS", "POOLINGS", "SMALL_NETWORKS", "Case", "NetworkCase", "PoolCase", "normal", "read_shapes"]

SHAPES = Path(__file__).parent.with_name("bench_shapes.csv")
FIELDS = ["name", "n", "h", "w", "c_in", "c_out", "kh", "kw", "stride", "pad", "dilation", "groups"]


@dataclass(frozen=True)
class Case:
    """One convolution of a shape list; `pad` is on every side."""

    name: str
    n: int
    h: int
    w: int
    c_in: int
    c_out: int
    kh: int
    kw: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def x_shape(self):
        return self.n, self.h, self.w, self.c_in

    @property
    def w_shape(self):
        return self.kh, self.kw, self.c_in // self.groups, self.c_out

    @property
    def options(self):
        return {"stride": self.stride, "padding": self.pad, "dilation": self.dilation, "groups": self.groups}

    def plan(self, direction="forward"):
        return F.plan(self.x_shape, self.w_shape, direction=direction, **self.options)

    def arrays(self, seed=0):
        """(x, w, b, dy), float32, standard normal."""
        random = np.random.default_rng(seed)
        shapes = self.x_shape, self.w_shape, (self.c_out,), self.plan().geometry.y_shape
        return tuple(normal(random, shape) for shape in shapes)


def normal(random, shape):
    """float32, standard normal, where both libraries put their own results: at the beginning of a cache line."""
    return random.standard_normal(dtype=np.float32, out=aligned.empty(shape, np.float32))


@dataclass(frozen=True)
class NetworkCase:
    """A network of the zoo, in evaluation or training."""

    name: str
    batch: int
    training: bool
    options: tuple = ()  # ((name, value), ...)

    @property
    def title(self):
        return ", ".join([self.name, *(f"{name} {value}" for name, value in self.options), f"batch {self.batch}"])


@dataclass(frozen=True)
class PoolCase:
    """One pooling: windows of `size` pixels, `stride` apart."""

    n: int
    h: int
    w: int
    c: int
    size: int
    stride: int
    pad: int = 0

    @property
    def name(self):
        return f"{self.n}x{self.h}x{self.w}x{self.c} {self.size}/{self.stride}" + (f" p{self.pad}" if self.pad else "")

    @property
    def options(self):
        return {"stride": self.stride, "padding": self.pad}

    def images(self, seed=0):
        return normal(np.random.default_rng(seed), (self.n, self.h, self.w, self.c))


POOLINGS = (
    PoolCase(64, 28, 28, 6, 2, 2),
    PoolCase(1, 224, 224, 64, 2, 2),
    PoolCase(1, 112, 112, 64, 3, 2, 1),
    PoolCase(8, 28, 28, 192, 3, 1, 1),
    PoolCase(64, 32, 32, 16, 2, 2),
)
SMALL_NETWORKS = (
    NetworkCase("lenet5", 64, False),
    NetworkCase("lenet5", 64, True),
    NetworkCase("convnetjs_cifar", 64, False),
    NetworkCase("convnetjs_cifar", 64, True),
)
NETWORKS = (
    *SMALL_NETWORKS,
    NetworkCase("small_cifar", 128, True),
    NetworkCase("vgg16", 1, False),
    NetworkCase("vgg16", 4, True),
    NetworkCase("resnet18", 1, False),
    NetworkCase("resnet18", 8, True),
    NetworkCase("resnet50", 1, False),
    NetworkCase("alexnet", 8, False, (("groups", 2),)),
    NetworkCase("googlenet", 1, False),
    NetworkCase("mobilenet_v1", 1, False),
)


def read_shapes(path=None):
    """The cases of a CSV file whose columns are FIELDS; None: our own list."""
    path = SHAPES if path is None else Path(path)
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read as a list of shapes ({error}); needed a CSV file headed {','.join(FIELDS)}"
        ) from error
    if not rows:
        raise DataError(f"{path}: no shapes; needed a CSV file headed {','.join(FIELDS)} and at least one row below")
    return [shape_of(row, path, line) for line, row in enumerate(rows, start=2)]


def shape_of(row, path, line):
    missing = [field for field in FIELDS if not row.get(field)]
    if missing:
        raise DataError(f"{path}, line {line}: nothing in column {missing[0]}; needed all of {','.join(FIELDS)}")
    try:
        case = Case(row["name"], *(whole(int(row[field]), field, 0 if field == "pad" else 1) for field in FIELDS[1:]))
        case.plan()
    except FastconvError as error:
        raise DataError(f"{path}, line {line}: {error}") from error
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; needed whole numbers in all columns but name") from error
    return case
