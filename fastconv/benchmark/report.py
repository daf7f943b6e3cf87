"""Figures with what they need to be understood: rows, the machine, and an older report beside them."""

import json
import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fastconv import machine
from fastconv.display.table import Column, Table
from fastconv.errors import DataError

__all__ = ["Report", "Row", "context", "older_report"]


@dataclass(frozen=True)
class Row:
    """One measured call; ratio = PyTorch's time / ours, change = an older report's time / ours."""

    name: str
    direction: str
    algorithm: str
    ms: float
    gflops: float | None
    peak_share: float | None
    torch_ms: float | None
    torch_layout: str | None
    ratio: float | None
    first_call_s: float
    old_ms: float | None = None
    change: float | None = None


@dataclass(frozen=True)
class Report:
    """Rows and what they were measured on; print it, or take `to_json()`."""

    rows: tuple
    context: dict
    caution: tuple = ()  # a line if what stands beside it can hardly be compared

    def table(self):
        columns = COLUMNS if any(row.old_ms for row in self.rows) else COLUMNS[:-2]
        notes = describe(self.context), *self.caution, *self.verdict()
        return Table(columns, tuple(asdict(row) for row in self.rows), notes=notes)

    def verdict(self):
        """The last lines: geometric mean, least ratio and count."""
        changes = [row.change for row in self.rows if row.change]
        lines = [f"faster than before: {summary(changes)}"] if changes else []
        ratios = [row.ratio for row in self.rows if row.ratio]
        if not ratios:
            return (*lines, f"{len(self.rows)} rows, not compared: PyTorch is not installed, or --no-peer was given")
        return (*lines, f"ratio to PyTorch: {summary(ratios)}")

    def beside(self, report, old):
        """This report with the times of an older one, as `older_report` gives them, for the rows that it has."""
        rows = tuple(with_old(row, old.get((row.name, row.direction))) for row in self.rows)
        return replace(self, rows=rows, caution=self.unlike(report))

    def unlike(self, report):
        """What the older one was measured on, where that was something else: no code made these differences alone."""
        other = {name: report[name] for name in SAME if name in report and report[name] != self.context[name]}
        said = ", ".join(f"{name} {value}, now {self.context[name]}" for name, value in other.items())
        return (f"the older report is of another machine or setting: {said}",) if other else ()

    def to_json(self):
        return self.table().json(schema=1, **self.context)

    def __str__(self):
        return self.table().text(width=170)


def older_report(path):
    """(report, {(name, direction): ms}) of a file that `Report.to_json` wrote; DataError for any other."""
    try:
        report = json.loads(Path(path).read_text())
        return report, {(row["name"], row["direction"]): positive(row["ms"]) for row in report["rows"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a report ({error!r}); needed what `fastconv bench --json` printed") from None


SAME = ("cpu", "llvm_cpu", "threads")  # of the context: without them two times say little about each other


def positive(ms):
    """A time that was measured; ValueError for anything else."""
    if not isinstance(ms, (int, float)) or not ms > 0:
        raise ValueError(f"a time of {ms!r} ms")
    return ms


def with_old(row, ms):
    return replace(row, old_ms=ms, change=ms / row.ms) if ms else row


def summary(ratios):
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    return f"geometric mean {mean:.2f}, least {min(ratios):.2f}, {len(ratios)} rows"


def number(digits):
    return lambda value: "" if value is None else f"{value:,.{digits}f}"


COLUMNS = (
    Column("name", "layer"),
    Column("direction", "direction"),
    Column("algorithm", "algorithm"),
    Column("ms", "ms", "right", number(3)),
    Column("gflops", "GFLOP/s", "right", number(1)),
    Column("peak_share", "% of peak", "right", lambda share: "" if share is None else f"{100 * share:.1f}"),
    Column("torch_ms", "PyTorch ms", "right", number(3)),
    Column("torch_layout", "layout", "left", lambda layout: layout or ""),
    Column("ratio", "ratio", "right", number(2)),
    Column("old_ms", "before ms", "right", number(3)),
    Column("change", "before / now", "right", number(2)),
)


def describe(context):
    passes = f"median of {context['passes']} passes, " if context["passes"] > 1 else ""
    return (
        f"float32, {passes}{context['threads']} threads, {context['cpu']} ({context['llvm_cpu']}), measured peak "
        f"{context['peak_gflops']:.0f} GFLOP/s, versions {context['versions']}; {context['compile_s']:.1f} s of compilation apart"
    )


def context(peak, passes, with_torch):
    """What a figure needs to be understood later."""
    found = machine.info()
    versions = dict(found["versions"])
    if with_torch:
        import torch

        versions["torch"] = torch.__version__
    chosen = {name: found[name] for name in ("cpu", "llvm_cpu", "threads", "threading_layer")}
    return {**chosen, "passes": passes, "peak_gflops": peak, "compile_s": machine.compile_seconds(), "versions": versions}
