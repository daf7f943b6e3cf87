"""The rows of a network as a table: text, HTML and JSON of the same numbers."""

import json
from dataclasses import asdict

from fastconv.display.table import NBSP, Column, Table, sizes, thousands
from fastconv.models import ledger

__all__ = ["Summary"]

MIB = 1 << 20
LONGEST_FORMULA = 40  # of a folded block: a longer sum is left to its layers
SCHEMA = 1  # of the JSON form; grows when a member changes its meaning


class Summary:
    """What `net.summary()` returns: prints as a table, shows as HTML in notebooks.

    Attributes
    ----------
    rows : tuple of LayerRow, the input first
    totals : Totals
    """

    def __init__(self, net, expand_nested=False):
        self.title = net.name or "Sequential"
        self.dtype = net.dtype.name
        self.rows = ledger.rows(net, expand_nested)
        self.totals = ledger.totals(self.rows, net.dtype.itemsize)

    def table(self):
        """The `display.table.Table` that text and HTML are made from."""
        columns = (
            Column("name", "layer"),
            Column("settings", "what it is", spare=True),
            Column("output", "output", "right"),
            Column("activations", "activations", "right"),
            Column("parameters", "parameters", "right"),
            Column("macs", "MACs", "right"),
            Column("field", "sees", "right"),
        )
        foot = {"name": "total", **self._total_cells()}
        return Table(columns, tuple(map(cells, self.rows)), (foot,), self.notes(), f"{self.title}, {self.dtype}")

    def _total_cells(self):
        totals = self.totals
        return {name: thousands(getattr(totals, name)) for name in ("activations", "parameters", "macs")}

    def notes(self):
        """The conventions, with this network's numbers, and pixels that are never read."""
        t = self.totals
        lines = [
            f"Parameters: {t.parameters:,} = {t.trainable:,} trainable + {t.frozen:,} not; {binary(t.parameter_bytes)}."
            + (f"  Buffers (running statistics), not counted: {t.buffers:,}." if t.buffers else ""),
            f"Activations of one forward pass of one image: {t.activations:,} values, {binary(t.activation_bytes)}; "
            f"(in brackets) = the memory of the layer above, not added.",
            f"MACs for one image, a MAC is one multiply and one add: {t.macs:,}; FLOPs = 2 × MACs = {t.flops:,}.",
            "Sees: pixels of the input, height×width, that one output value depends on.  1 MiB = 1,024 KiB = 1,048,576 bytes.",
        ]
        return (*lines, *filter(None, map(unread_note, self.rows)))

    def text(self, width=None, plain=None):
        """The table as text, `width` characters wide (the terminal's by default); `plain`: ASCII only."""
        return self.table().text(width, plain)

    def to_json(self):
        """The same numbers as JSON text: {"schema", "name", "dtype", "layers": […], "totals": {…}}."""
        layers = [asdict(row) for row in self.rows]
        found = {"schema": SCHEMA, "name": self.title, "dtype": self.dtype, "layers": layers, "totals": asdict(self.totals)}
        return json.dumps(found, ensure_ascii=False, indent=2)

    def __str__(self):
        return self.text()

    __repr__ = __str__

    def _repr_html_(self):
        return self.table().html()


def cells(row):
    """One LayerRow as the texts of the table."""
    size = thousands(row.activations)
    return {
        "name": NBSP * 2 * row.depth + row.name,
        "settings": row.settings,
        "output": sizes(row.output_shape),
        "activations": f"({size})" if row.shares_memory else size,
        "parameters": with_value(row),
        "macs": thousands(row.macs) if row.macs else "",
        "field": sizes([axis.size for axis in row.field]) if row.field else "all",
    }


def with_value(row):
    """ "(3·3·3 + 1)·10 = 280"; nothing for a layer without parameters."""
    if not row.parameters:
        return ""
    formula = row.formula.replace(" ", NBSP)  # broken before its value, if at all
    value = f"{formula} = {row.parameters:,}" if len(formula) <= LONGEST_FORMULA else f"{row.parameters:,}"
    if not row.frozen:
        return value
    return f"{value} (fixed)" if row.frozen == row.parameters else f"{value} ({row.frozen:,} fixed)"


def unread_note(row):
    """A sentence on input pixels that no window of this layer reads, None where there are none."""
    lost = [f"{count} {axis}{'s' * (count > 1)}" for count, axis in zip(row.unread, ("row", "column"), strict=True) if count]
    return f"{row.name}: no window reads the last {' and '.join(lost)} of its input." if lost else None


def binary(size):
    """Bytes as "1.20 MiB", smaller ones as "44.0 KiB"."""
    return f"{size / MIB:,.2f} MiB" if size >= MIB else f"{size / 1024:.1f} KiB"
