"""What happened in a run: a row for each epoch, and what is needed to repeat it."""

import csv
import io
import json

from fastconv.display.table import Column, Table, thousands
from fastconv.files import atomic_write
from fastconv.machine import get_threads, info
from fastconv.training.clock import PHASES

__all__ = ["COLUMNS", "History"]

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")
COLUMNS = ("epoch", *METRICS, "lr", "seconds", "images_per_second", "compile_seconds", *(f"{phase}_seconds" for phase in PHASES))


def shown(places):
    """How a number is written in a table; nothing for None."""
    return lambda value: "" if value is None else f"{value:,.{places}f}"


TABLE = (
    Column("epoch", "epoch", "right"),
    *(Column(name, name, "right", shown(4)) for name in METRICS),
    Column("lr", "lr", "right", lambda value: "" if value is None else f"{value:.4g}"),
    Column("seconds", "seconds", "right", shown(2)),
    Column("images_per_second", "images/s", "right", shown(0)),
)


class History:
    """The record of one `Trainer.fit`.

    Attributes
    ----------
    history : dict of lists with a value for each whole epoch, as Keras has it: loss, accuracy, val_loss, val_accuracy (those
        that there are).  Training loss and accuracy are means over the epoch's batches, each computed before its update
    epoch : list of epoch numbers from 0, as in Keras
    settings : dict: optimizer, loss, epochs, batch_size, images, shuffle, seed, …
    seed : int, of the order of the examples
    threads, cpu, versions : what it ran on
    iterations : whole steps done, also those of an epoch that was not finished
    seconds : dict, where the time went: compile, data, forward, backward, update, evaluate; a network of small layers that goes
        forward and backward at once has both in backward
    earlier_seconds : those of them that were spent before the run went on from a checkpoint, in all
    stopped : "" after all epochs, else "interrupt" (Ctrl-C), "nonfinite", "callback" (it asked to stop) or "error"
    """

    def __init__(self, **settings):
        machine = info()
        self.settings = settings
        self.seed = settings.get("seed")
        self.threads = get_threads()
        self.cpu, self.versions = machine["cpu"], machine["versions"]
        self.iterations = 0
        self.seconds = {}
        self.earlier_seconds = 0.0
        self.stopped = ""
        self._rows = []

    def add(self, metrics, seconds, images, lr=None):
        """Append an epoch: metrics by name, seconds by phase, the number of images trained on, and the last learning rate."""
        work = sum(seconds[phase] for phase in PHASES)
        training = work - seconds["evaluate"]
        row = {"epoch": len(self._rows) + 1, **{name: metrics.get(name) for name in METRICS}, "lr": lr, "seconds": work}
        row["images_per_second"] = images / training if training > 0 else None
        row["compile_seconds"] = seconds["compile"]
        self._rows.append({**row, **{f"{phase}_seconds": seconds[phase] for phase in PHASES}})
        return self._rows[-1]

    def go_on(self, rows, iterations):
        """Take over what a run had recorded before its checkpoint."""
        self._rows, self.iterations = [dict(row) for row in rows], iterations

    @property
    def history(self):
        """{"loss": […], …}; metrics that were never measured are left out."""
        columns = {name: [row[name] for row in self._rows] for name in METRICS}
        return {name: values for name, values in columns.items() if any(value is not None for value in values)}

    @property
    def epoch(self):
        """[0, 1, …], as Keras counts."""
        return list(range(len(self._rows)))

    def rows(self):
        """One dict for each whole epoch (counted from 1) with the keys of `COLUMNS`; None where nothing was measured.

        `seconds` is the epoch with its validation, `images_per_second` is without; compilation is in neither.
        """
        return [dict(row) for row in self._rows]

    def to_csv(self, path=None):
        """The rows as CSV text with a header line; written to `path` if given (all or nothing)."""
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return delivered(text.getvalue(), path)

    def to_json(self, path=None):
        """Rows, settings, machine and versions as JSON text; written to `path` if given (all or nothing)."""
        names = ("settings", "stopped", "iterations", "seconds", "earlier_seconds", "threads", "cpu", "versions")
        record = {"schema": 1, **{name: getattr(self, name) for name in names}, "rows": self._rows}
        return delivered(json.dumps(finite(record), indent=2, ensure_ascii=False) + "\n", path)

    def _table(self):
        notes = (f"stopped: {self.stopped}, after {thousands(self.iterations)} iterations",) if self.stopped else ()
        return Table(TABLE, tuple(self._rows), notes=notes)

    def __str__(self):
        return str(self._table())

    def __repr__(self):
        last = self._rows[-1] if self._rows else {}
        metrics = "".join(f", {name} {last[name]:.4f}" for name in METRICS if last.get(name) is not None)
        return f"<History: {len(self._rows)} epochs{metrics}{', stopped: ' if self.stopped else ''}{self.stopped}>"

    def _repr_html_(self):
        return self._table().html()


def delivered(text, path):
    """`text`, also written to `path`."""
    if path is not None:
        atomic_write(path, text.encode())
    return text


def finite(value):
    """`value` with None for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value
