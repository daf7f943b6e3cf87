"""Speed, measured: convolutions over a list of shapes, beside PyTorch where it is installed.

The functions to compare take turns in short blocks with a pause before each (a thread pool that still spins from its last
call slows the next one down); medians are reported.  Both libraries use the same threads; compilation is over before, and shown
apart.
"""

import csv
import functools
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fastconv import functional as F
from fastconv import machine, plans
from fastconv.display.table import Column, Table
from fastconv.errors import DataError, OptionError

__all__ = ["Case", "Report", "Row", "measure", "peak_gflops", "read_shapes", "run"]

SHAPES = Path(__file__).with_name("bench_shapes.csv")
FIELDS = ["name", "n", "h", "w", "c_in", "c_out", "kh", "kw", "stride", "pad", "dilation", "groups"]
PAUSE = 0.012  # seconds; the spinning threads of either library have gone to sleep by then
BLOCK = 0.025  # seconds of calls in one turn
TURNS = 5


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
        return tuple(random.standard_normal(shape, np.float32) for shape in shapes)


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
    return [shape_of(row, path, line) for line, row in enumerate(rows, start=2)]


def shape_of(row, path, line):
    missing = [field for field in FIELDS if not row.get(field)]
    if missing:
        raise DataError(f"{path}, line {line}: nothing in column {missing[0]}; needed all of {','.join(FIELDS)}")
    try:
        return Case(row["name"], *(int(row[field]) for field in FIELDS[1:]))
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; needed whole numbers in all columns but name") from error


def measure(functions, turns=TURNS, block=BLOCK):
    """Median seconds of each of `functions` (name -> callable), which take turns.  All have been called once before."""
    times = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            time.sleep(PAUSE)
            function()
            stop, calls = time.perf_counter() + block, 0
            while calls < 3 or time.perf_counter() < stop:
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
                calls += 1
    return {name: statistics.median(spent) for name, spent in times.items()}


@functools.cache
def peak_gflops(threads):
    """float32 GFLOP/s that `threads` cores reach on multiply-adds that never leave their registers: the best of ten runs."""
    from fastconv.kernels import peak

    lanes = machine.cpu().vector_bytes // 4
    numbers, rounds = np.ones((threads, peak.CHAINS * lanes), np.float32), 400_000
    peak.multiply_add(numbers, 1)
    best = min(clocked(lambda: peak.multiply_add(numbers, rounds)) for _ in range(10))
    return 2 * numbers.size * rounds / best / 1e9


def clocked(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ours(case, direction):
    """The whole call a user would make, packing, padding and the new array included."""
    x, w, b, dy = case.arrays()
    calls = {
        "forward": lambda: F.conv2d(x, w, b, **case.options),
        "input_grad": lambda: F.conv2d_input_grad(dy, w, case.x_shape, **case.options),
        "weight_grad": lambda: F.conv2d_weight_grad(dy, x, case.w_shape, **case.options),
    }
    return calls[direction]


def theirs(case, direction):
    """PyTorch's call in both of its memory layouts: {"nchw": callable, "nhwc": callable}."""
    import torch

    x, w, b, dy = (torch.from_numpy(a) for a in case.arrays())
    options = (case.stride, case.stride), (case.pad, case.pad), (case.dilation, case.dilation)
    calls = {}
    for layout, form in (("nchw", torch.contiguous_format), ("nhwc", torch.channels_last)):
        xt, dyt = (a.permute(0, 3, 1, 2).contiguous(memory_format=form) for a in (x, dy))
        wt = w.permute(3, 2, 0, 1).contiguous(memory_format=form)
        calls[layout] = torch_call(torch, direction, xt, wt, b, dyt, options, case.groups)
    return calls


def torch_call(torch, direction, x, w, b, dy, options, groups):
    if direction == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, b, *options, groups)
    mask = [direction == "input_grad", direction == "weight_grad", False]
    return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *options, False, [0, 0], groups, mask)


def torch_threads(threads):
    """Give PyTorch the same threads; False where it is not installed."""
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(threads)
    return True


@dataclass(frozen=True)
class Row:
    """One measured case; ratio = PyTorch's time / ours."""

    name: str
    direction: str
    algorithm: str
    ms: float
    gflops: float
    peak_share: float
    torch_ms: float | None
    torch_layout: str | None
    ratio: float | None
    first_call_s: float


@dataclass(frozen=True)
class Report:
    """Rows and what they were measured on; print it, or take `to_json()`."""

    rows: tuple
    context: dict

    def table(self):
        return Table(COLUMNS, tuple(asdict(row) for row in self.rows), notes=(describe(self.context), *self.verdict()))

    def verdict(self):
        """The last line: geometric mean, least ratio and count."""
        ratios = [row.ratio for row in self.rows if row.ratio]
        if not ratios:
            return (f"{len(self.rows)} rows; PyTorch is not installed, so nothing to compare with",)
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        return (f"ratio to PyTorch: geometric mean {mean:.2f}, least {min(ratios):.2f}, {len(ratios)} rows",)

    def to_json(self):
        return self.table().json(schema=1, **self.context)

    def __str__(self):
        return self.table().text(width=160)


def number(digits):
    return lambda value: "" if value is None else f"{value:,.{digits}f}"


COLUMNS = (
    Column("name", "layer"),
    Column("direction", "direction"),
    Column("algorithm", "algorithm"),
    Column("ms", "ms", "right", number(3)),
    Column("gflops", "GFLOP/s", "right", number(1)),
    Column("peak_share", "% of peak", "right", lambda share: f"{100 * share:.1f}"),
    Column("torch_ms", "PyTorch ms", "right", number(3)),
    Column("torch_layout", "layout", "left", lambda layout: layout or ""),
    Column("ratio", "ratio", "right", number(2)),
)


def describe(context):
    return (
        f"float32, {context['threads']} threads, {context['cpu']} ({context['llvm_cpu']}), measured peak "
        f"{context['peak_gflops']:.0f} GFLOP/s, versions {context['versions']}; {context['compile_s']:.1f} s of compilation apart"
    )


def measure_case(case, direction, peak, with_torch, quick):
    call = ours(case, direction)
    first = clocked(call)
    functions = {"ours": call} | (theirs(case, direction) if with_torch else {})
    for function in functions.values():
        function()
    seconds = measure(functions, turns=2, block=0.004) if quick else measure(functions)
    spent = seconds.pop("ours")
    layout = min(seconds, key=seconds.get, default=None)
    plan = case.plan(direction)
    gflops = 2 * plan.geometry.macs / spent / 1e9
    torch_s = seconds.get(layout)
    return Row(
        case.name,
        direction,
        plan.algorithm,
        1e3 * spent,
        gflops,
        gflops / peak,
        torch_s and 1e3 * torch_s,
        layout,
        torch_s and torch_s / spent,
        first,
    )


def run(shapes=None, direction="forward", *, quick=False, threads=None, progress=None):
    """Measure every case of `shapes` (Cases, or a CSV file; None: our own list) and return a `Report`.

    `direction` is "forward", "input_grad" or "weight_grad"; `quick` measures so briefly that only large differences show;
    `progress(row)` is called after each row.
    """
    if direction not in plans.DIRECTIONS:
        raise OptionError(f"direction: got {direction!r}; needed one of {', '.join(plans.DIRECTIONS)}")
    cases = read_shapes(shapes) if shapes is None or isinstance(shapes, (str, Path)) else list(shapes)
    if not cases:
        raise DataError("the list of shapes is empty; needed at least one row")
    if threads is not None:
        machine.set_threads(threads)
    peak, rows = peak_gflops(machine.get_threads()), []
    with_torch = torch_threads(machine.get_threads())  # after our first launch, which may change it
    for case in cases:
        rows.append(measure_case(case, direction, peak, with_torch, quick))
        if progress:
            progress(rows[-1])
    return Report(tuple(rows), context(peak, with_torch))


def context(peak, with_torch):
    """What a figure needs to be understood later."""
    found = machine.info()
    versions = dict(found["versions"])
    if with_torch:
        import torch

        versions["torch"] = torch.__version__
    chosen = {name: found[name] for name in ("cpu", "llvm_cpu", "threads", "threading_layer")}
    return {**chosen, "peak_gflops": peak, "compile_s": machine.compile_seconds(), "versions": versions}
