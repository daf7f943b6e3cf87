"""A suite of measurements: every task in turns with PyTorch, and a report."""

from dataclasses import replace
from pathlib import Path

from fastconv import machine
from fastconv.benchmark import tasks
from fastconv.benchmark.clock import clocked, measure, peak_gflops
from fastconv.benchmark.peers import torch_threads
from fastconv.benchmark.report import Report, Row, context, older_report
from fastconv.benchmark.shapes import NETWORKS, SMALL_NETWORKS, read_shapes
from fastconv.errors import DataError, OptionError
from fastconv.geometry import whole

__all__ = ["run"]


def run(
    shapes=None,
    direction="forward",
    *,
    prepared=False,
    quick=False,
    passes=1,
    threads=None,
    peer=True,
    compare=None,
    progress=None,
):
    """Measure and return a `Report`.

    Parameters
    ----------
    shapes : Cases, or a CSV file; None: our own list
    direction : "forward", "input_grad" or "weight_grad" of the convolutions of `shapes`; "pooling" or "networks"
    prepared : forward with weights packed before, as layers keep them
    quick : measure so briefly that only large differences show
    passes : how often to go through all rows.  Of each row the pass with the median ratio is reported (without PyTorch, with the
        median time): on a shared machine another one's work may spoil all turns of a row, and hardly those of most passes
    threads : of both libraries
    peer : whether PyTorch is measured, too, where it is installed
    compare : file of an older report (`to_json`), whose times are shown beside these
    progress : progress(row) is called after each row
    """
    chosen, older = tasks_of(shapes, direction, prepared, quick), older_report(compare) if compare else None
    if threads is not None:
        machine.set_threads(threads)
    with_torch = peer and torch_threads(machine.get_threads())  # before our first launch, whose settings its threads would take
    peaks = [peak_gflops(machine.get_threads())]
    if with_torch:
        torch_threads(machine.get_threads())  # again, since the launch may change their number
    found = [[] for _ in chosen]
    for _ in range(whole(passes, "passes", 1)):
        for task, rows in zip(chosen, found, strict=True):
            rows.append(measured(task, with_torch, quick))
            if progress:
                progress(rows[-1])
        peaks.append(peak_gflops(machine.get_threads()))
    rows = tuple(with_share(in_the_middle(rows), max(peaks)) for rows in found)
    report = Report(rows, context(max(peaks), passes, with_torch))
    return report.beside(*older) if older else report


def in_the_middle(rows):
    """The row with the median ratio, or with the median time where there is no ratio, of an even number the worse one of the two
    in the middle; compilation was in the first."""
    middle = sorted(rows, key=lambda row: (row.ratio or 0, -row.ms))[(len(rows) - 1) // 2]
    return replace(middle, first_call_s=rows[0].first_call_s)


def with_share(row, peak):
    return replace(row, peak_share=row.gflops and row.gflops / peak)


LISTS = {
    "pooling": lambda quick: tasks.poolings(),
    "networks": lambda quick: tasks.networks(SMALL_NETWORKS if quick else NETWORKS),
}


def tasks_of(shapes, direction, prepared, quick):
    """The tasks of one direction."""
    if direction not in tasks.WHAT:
        raise OptionError(f"direction: got {direction!r}; needed one of {', '.join(tasks.WHAT)}")
    if prepared and direction != "forward":
        raise OptionError(f'prepared: weights are prepared for the forward pass, not for {direction}; use direction="forward"')
    if direction in LISTS:
        if shapes is not None:
            raise OptionError(f"shapes: {direction} has a list of its own; leave shapes out")
        return LISTS[direction](quick)
    cases = read_shapes(shapes) if shapes is None or isinstance(shapes, (str, Path)) else list(shapes)
    if not cases:
        raise DataError("the list of shapes is empty; needed at least one row")
    return [tasks.convolution(case, direction, prepared) for case in cases]


def measured(task, with_torch, quick):
    """The `Row` of a task, without its share of the peak."""
    call = task.make()
    first = clocked(call)
    functions = {"ours": call} | (task.make_peers() if with_torch else {})
    for function in functions.values():
        function()
    seconds = measure(functions, turns=2, block=0.004) if quick else measure(functions)
    spent = seconds.pop("ours")
    layout = min(seconds, key=seconds.get, default=None)
    gflops = task.flops / spent / 1e9 if task.flops else None
    theirs = seconds.get(layout)
    return Row(
        task.name,
        task.what,
        task.algorithm,
        1e3 * spent,
        gflops,
        None,
        theirs and 1e3 * theirs,
        layout,
        theirs and theirs / spent,
        first,
    )
