"""Every count of a network, as text, HTML, CSV and JSON of the same numbers."""

import csv
import io
import json
from dataclasses import asdict, replace

from fastconv.display.page import page
from fastconv.display.table import sizes
from fastconv.files import atomic_write
from fastconv.geometry import whole
from fastconv.layers.block import Block
from fastconv.layers.values import flag
from fastconv.models import ledger
from fastconv.models.forecast import chained, forecast
from fastconv.models.summary_table import notes, summary_table

__all__ = ["Summary"]

SCHEMA = 1  # of the JSON form; grows when a member changes its meaning
FIELD = ("size", "jump", "start")


class Summary:
    """What `net.summary()` returns: prints as a table, shows as HTML in notebooks.

    Parameters
    ----------
    expand_nested : a row for each layer inside a block too, where otherwise the block's own row has the sums; HTML has both
    batch : images; memory and predicted times are those of the whole batch, everything else of one image
    training : memory and times with gradients
    plan : adds algorithm and predicted time of each convolution and dense layer here; runs one convolution to learn how fast
    dense : adds the weights that a dense layer would have in the place of each convolution

    Attributes
    ----------
    rows : tuple of LayerRow, the input first        totals : Totals        memory : Memory
    expand_nested, batch, training, plan, dense : as given
    forecasts : {layer name: Forecast} with `plan`, else empty
    """

    def __init__(self, net, expand_nested=False, *, batch=1, training=False, plan=False, dense=False):
        self.title = net.name or "Sequential"
        self.dtype = net.dtype.name
        self.batch, self.training = whole(batch, "batch", 1), flag(training, "training")
        self.dense, self.expand_nested = flag(dense, "dense"), flag(expand_nested, "expand_nested")
        self.folded, self.opened = ledger.rows(net), ledger.rows(net, True)
        self.rows = self.opened if expand_nested else self.folded
        self.totals = ledger.totals(self.rows, net.dtype.itemsize)
        self.memory = ledger.memory(self.totals, net.dtype.itemsize, self.batch, self.training)
        self.plan = flag(plan, "plan")
        self.forecasts = self._forecasts(net) if plan else {}
        self.chain = chained(net, self.batch, self.training) if plan else ()

    def _forecasts(self, net):
        """{layer name: Forecast} of all convolutions; the first layer with parameters needs no gradient of its input."""
        found, below = {}, False
        for layer, shape in every_layer(net.layers):
            if one := forecast(layer, shape, self.batch, self.training, needs_dx=below):
                found[layer.label] = one
            below = below or bool(layer.parameter_shapes(shape))
        return found

    @property
    def seconds(self):
        """Predicted time of all convolutions, None without `plan`."""
        return sum(one.seconds for one in self.forecasts.values()) if self.plan else None

    def table(self):
        """The rows as a `display.table.Table`."""
        return summary_table(self, self.rows)

    def notes(self):
        """The conventions, with this network's numbers, and pixels that are never read."""
        return notes(self)

    def text(self, width=None, plain=None):
        """The table as text, `width` characters wide (the terminal's by default); `plain`: ASCII only."""
        width = None if width is None else whole(width, "width", 1)
        return self.table().text(width, plain)

    def to_json(self, path=None):
        """The same numbers as JSON text: {"schema", "name", "dtype", "layers": […], "totals", "memory"}.

        With `plan` also "forecasts" and "seconds".  Written to `path` if given, all or nothing.
        """
        found = {
            "schema": SCHEMA,
            "name": self.title,
            "dtype": self.dtype,
            "layers": [asdict(row) for row in self.rows],
            "totals": asdict(self.totals),
            "memory": asdict(self.memory),
        }
        if self.plan:
            found["forecasts"] = {name: asdict(one) for name, one in self.forecasts.items()}
            found["seconds"] = self.seconds
        return delivered(json.dumps(found, ensure_ascii=False, indent=2), path)

    def to_csv(self, path=None):
        """One line for each row, with plain numbers; written to `path` if given."""
        text = io.StringIO()
        rows = [self._flat(row) for row in self.rows]
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return delivered(text.getvalue(), path)

    def _flat(self, row):
        """A LayerRow without values inside values."""
        flat = {name: value for name, value in asdict(row).items() if name not in ("field", "unread", "output_shape")}
        flat["output"] = sizes(row.output_shape)
        for axis, name in enumerate(("height", "width")):
            flat |= {f"{key}_{name}": getattr(row.field[axis], key) if row.field else None for key in FIELD}
            flat[f"unread_{name}"] = row.unread[axis]
        if self.plan:
            one = self.forecasts.get(row.name)
            flat |= {"algorithms": " ".join(one.algorithms) if one else None, "seconds": one.seconds if one else None}
        return flat

    def to_html(self, path=None):
        """A whole HTML document, blocks to be opened by a click; written to `path` if given."""
        return delivered(page(self.title, f'<div class="table">{self._repr_html_()}</div>'), path)

    def __str__(self):
        return self.text()

    __repr__ = __str__

    def _repr_html_(self):
        return summary_table(self, foldable(self.folded, self.opened)).html()


def every_layer(layers):
    """(layer, its input shape) of all plain layers, those inside blocks in the order of their branches."""
    for layer in layers:
        yield from plain_layers(layer, layer.input_shape)


def plain_layers(layer, shape):
    if not isinstance(layer, Block):
        yield layer, shape
    for branch in layer.places(shape) if isinstance(layer, Block) else ():
        for inner, inner_shape in branch:
            yield from plain_layers(inner, inner_shape)


def foldable(folded, opened):
    """Each row of `folded`, and behind a block the rows that it stands for, one deeper."""
    rest = iter(opened)
    for row in folded:
        inside = []
        for other in rest:
            if other.depth == 0:
                break
            inside.append(other)
        yield row
        if inside:
            yield from (*inside, replace(other, depth=1, parent=None))


def delivered(text, path):
    """`text`, also written to `path`."""
    if path is not None:
        atomic_write(path, text.encode())
    return text
