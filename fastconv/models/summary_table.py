"""What a summary shows: columns, cells and the sentences below."""

from fastconv.display.table import DEPTH, NBSP, Column, Table, sizes, thousands
from fastconv.machine import get_threads
from fastconv.models.forecast import cycles_per_second

__all__ = ["notes", "summary_table"]

MIB = 1 << 20
LONGEST_FORMULA = 40  # of a folded block: a longer sum is left to its layers


def summary_table(summary, rows):
    """The table of a `Summary` over some of its rows."""
    columns = [
        Column("name", "layer"),
        Column("settings", "what it is", spare=True),
        Column("output", "output", "right"),
        Column("activations", "activations", "right"),
        Column("memory", "memory", "right", extra=True),
        Column("parameters", "parameters", "right"),
        Column("dense", "as a dense layer", "right"),
        Column("macs", "MACs", "right"),
        Column("size", "sees", "right"),
        Column("jump", "every", "right", extra=True),
        Column("start", "from", "right", extra=True),
        Column("algorithm", "algorithm"),
        Column("time", "time", "right"),
    ]
    unwanted = ({"dense"} if not summary.dense else set()) | ({"algorithm", "time"} if not summary.plan else set())
    columns = tuple(column for column in columns if column.key not in unwanted)
    shown = tuple(cells(summary, row) for row in rows)
    return Table(columns, shown, (total_cells(summary),), notes(summary), f"{summary.title}, {summary.dtype}")


def cells(summary, row):
    """One LayerRow as the texts of the table."""
    copies = summary.batch * (1 + summary.training)
    cells = {
        "name": NBSP * 2 * row.depth + row.name.removeprefix(f"{row.parent}."),
        "settings": row.settings,
        "output": sizes(row.output_shape),
        "activations": f"({thousands(row.activations)})" if row.shares_memory else thousands(row.activations),
        "memory": "" if row.shares_memory else binary(row.activation_bytes * copies),
        "parameters": with_value(row),
        "dense": thousands(row.as_dense) if row.as_dense else "",
        "macs": thousands(row.macs) if row.macs else "",
        "size": sizes([number(axis.size) for axis in row.field]) if row.field else "all",
        DEPTH: row.depth,
    }
    if row.field:
        cells |= {key: one_or_both([number(getattr(axis, key)) for axis in row.field]) for key in ("jump", "start")}
    return cells | forecast_cells(summary, row)


def forecast_cells(summary, row):
    """Algorithms and time of one row; a folded block has those of its inside."""
    inside = [one for name, one in summary.forecasts.items() if name == row.name or name.startswith(f"{row.name}.")]
    if not inside or not row.macs:  # without MACs it is what joins a block that is opened
        return {}
    names = ", ".join(dict.fromkeys(name for one in inside for name in one.algorithms))
    return {
        "algorithm": names + (" *" if row.name in summary.chain else ""),
        "time": duration(sum(one.seconds for one in inside)),
    }


def total_cells(summary):
    t = summary.totals
    cells = {name: thousands(getattr(t, name)) for name in ("activations", "parameters", "macs")}
    dense = sum(row.as_dense for row in summary.folded)
    return {
        "name": "total",
        **cells,
        "memory": binary(summary.memory.activations + summary.memory.activation_gradients),
        "dense": thousands(dense) if dense else "",
        "time": duration(summary.seconds) if summary.forecasts else "",
    }


def notes(summary):
    """The conventions, with this network's numbers, and pixels that are never read."""
    t = summary.totals
    lines = [
        f"Parameters: {t.parameters:,} = {t.trainable:,} trainable + {t.frozen:,} not; {binary(t.parameter_bytes)}."
        + (f"  Buffers (running statistics), not counted: {t.buffers:,}." if t.buffers else ""),
        f"Activations of one forward pass of one image: {t.activations:,} values, {binary(t.activation_bytes)} = "
        f"{decimal(t.activation_bytes)}; (in brackets) = the memory of the layer above, not added.",
        *memory_notes(summary),
        f"MACs for one image, a MAC is one multiply and one add: {t.macs:,}; FLOPs = 2 × MACs = {t.flops:,}.",
        "Sees: pixels of the input, height×width, that one output value depends on; its neighbour sees the same from `every` "
        "pixels on; the first starts at pixel `from`.  Memory, `every` and `from` are columns of wide terminals (COLUMNS=200), "
        "of HTML, JSON and CSV.  1 MiB = 1,024 KiB = 1,048,576 bytes, 1 MB = 1,000,000.",
    ]
    if len(summary.rows) < len(summary.opened):
        lines.append("Blocks are folded: their numbers are sums over all that is inside; expand_nested opens them.")
    return (*lines, *dense_notes(summary), *plan_notes(summary), *filter(None, map(unread_note, summary.rows)))


def memory_notes(summary):
    """Bytes of the batch, where something was asked for."""
    m = summary.memory
    if m.batch == 1 and not m.training:
        return
    what = f"Memory of {'a training step' if m.training else 'a forward pass'} with batch {m.batch:,}, if every array stays"
    parts = [f"activations {binary(m.activations)}", f"parameters {binary(m.parameters)}"]
    if m.training:
        parts[1:1] = [f"their gradients {binary(m.activation_gradients)}"]
        parts += [f"their gradients {binary(m.parameter_gradients)}"]
    optimizer = "  Momentum keeps as much as the last again, Adam twice." if m.training else ""
    yield f"{what}: {' + '.join(parts)} = {binary(m.total)}.{optimizer}"


def dense_notes(summary):
    if summary.dense:
        yield "As a dense layer: weights, without biases, if every output were connected to every input of that convolution."


def plan_notes(summary):
    if not summary.forecasts:
        return
    what = "forward and both gradients" if summary.training else "forward"
    yield (
        f"Time: an estimate for convolutions and dense layers alone, {what}, batch {summary.batch:,}, {threads()}: cycles by the "
        f"plans, {cycles_per_second():.3g} of them a second, as one convolution has just shown."
    )
    if summary.chain:
        yield f"* {summary.chain[0]} to {summary.chain[-1]} go through the cache as one chain, usually faster than these times."


def threads():
    """ "1 thread", "2 threads"."""
    count = get_threads()
    return f"{count} thread{'s' * (count > 1)}"


def number(value):
    """A whole number without a point; behind an upsampling there are others."""
    return str(int(value)) if value == int(value) else f"{value:.4g}"


def one_or_both(axes):
    """(2, 2) as "2", (2, 1) as "2×1"."""
    return sizes(axes[:1] if axes[0] == axes[1] else axes)


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
    """Bytes as "1.20 MiB", smaller ones as "44.0 KiB" and "40 B"."""
    if size < 1024:
        return f"{size}{NBSP}B"
    return f"{size / MIB:,.2f}{NBSP}MiB" if size >= MIB else f"{size / 1024:.1f}{NBSP}KiB"


def decimal(size):
    """Bytes as "1.26 MB", smaller ones as "45.1 kB"."""
    return f"{size / 1e6:,.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def duration(seconds):
    """Seconds as "12.3 ms"; longer than a second as "1.23 s", shorter than a millisecond as "0.45 ms"."""
    if seconds >= 1:
        return f"{seconds:,.2f}{NBSP}s"
    return f"{1000 * seconds:.{1 if seconds >= 0.01 else 2}f}{NBSP}ms"
