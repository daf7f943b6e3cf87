"""Networks side by side, in totals: one at several input sizes, or several at one."""

from fastconv.display.table import Column, Table, sizes, thousands
from fastconv.errors import DTypeError
from fastconv.models.summary import Summary

__all__ = ["compare"]


def compare(summaries):
    """A table with a line for each `Summary`, or network: what of it grows with its input, and what does not.

    Raises
    ------
    DTypeError : something else among them

    >>> from fastconv.models import ten_filters
    >>> print(compare([ten_filters((side, side, 3)).summary() for side in (6, 1000, 5000)]).text(width=100, plain=True))
    network            input        output  activations  parameters           MACs
    ------------------------------------------------------------------------------
    ten filters        6x6x3        4x4x10          268         280          4,320
    ten filters  1000x1000x3    998x998x10   12,960,040         280    268,921,080
    ten filters  5000x5000x3  4998x4998x10  324,800,040         280  6,744,601,080
    """
    columns = (
        Column("network", "network"),
        Column("input", "input", "right", sizes),
        Column("output", "output", "right", sizes),
        *(Column(name, name, "right", thousands) for name in ("activations", "parameters")),
        Column("macs", "MACs", "right", thousands),
    )
    return Table(columns, tuple(totals_row(as_summary(i, one)) for i, one in enumerate(summaries)))


def as_summary(i, one):
    """A `Summary`, or that of a network."""
    if isinstance(one, Summary):
        return one
    if callable(getattr(one, "summary", None)):
        return one.summary()
    raise DTypeError(
        f"summaries[{i}]: got {type(one).__name__}; needed a network or its summary(), as in compare([a, b.summary()])"
    )


def totals_row(summary):
    t = summary.totals
    return {
        "network": summary.title,
        "input": summary.rows[0].output_shape,
        "output": [row for row in summary.rows if row.depth == 0][-1].output_shape,
        "activations": t.activations,
        "parameters": t.parameters,
        "macs": t.macs,
    }
