"""The counts of a network, a row for each layer, from shapes alone.

Conventions: activations and MACs are those of one image; a MAC is one multiply and one add, so FLOPs = 2 MACs; only convolutions
and dense layers are counted in MACs.  Parameters are weights, biases, scales and shifts; running statistics are buffers.  The
activations of a network are those of its input and of every layer that makes an array of its own (a flattened view makes none).
"""

from dataclasses import dataclass
from math import prod

from fastconv.geometry import ReceptiveField

__all__ = ["LayerRow", "Totals", "rows", "totals"]


@dataclass(frozen=True)
class LayerRow:
    """Everything that is counted of one layer.

    `field` holds the receptive fields (height, width) of one unit, None where a unit sees the whole input; `unread` the rows and
    columns at the bottom and right of the layer's input that no window reads.
    """

    name: str
    type: str
    settings: str
    output_shape: tuple
    activations: int
    activation_bytes: int
    formula: str = "0"
    parameters: int = 0
    trainable: bool = True
    buffers: int = 0
    macs: int = 0
    field: tuple[ReceptiveField, ReceptiveField] | None = None
    unread: tuple[int, int] = (0, 0)
    shares_memory: bool = False


@dataclass(frozen=True)
class Totals:
    """Sums over the rows of a network."""

    parameters: int
    trainable: int
    frozen: int
    buffers: int
    parameter_bytes: int
    activations: int
    activation_bytes: int
    macs: int
    flops: int


def rows(net):
    """(input row, one row for each layer)."""
    fields = (ReceptiveField(), ReceptiveField()) if len(net.input_shape) == 3 else None
    size = prod(net.input_shape)
    found = [LayerRow("input", "Input", "", net.input_shape, size, size * net.dtype.itemsize, field=fields)]
    for layer in net.layers:
        fields = next_fields(layer, fields)
        found.append(layer_row(layer, fields))
    return tuple(found)


def next_fields(layer, fields):
    """Receptive fields behind a layer, None once a unit sees everything."""
    window = layer.window(layer.input_shape)
    if fields is None or window is None:
        return None
    return tuple(field.after(*axis) for field, axis in zip(fields, window, strict=True))


def layer_row(layer, fields):
    """The row of one layer in its place."""
    shape = layer.input_shape
    output = layer.output_shape_for(shape)
    geometry = layer.geometry(shape)
    return LayerRow(
        name=layer.name,
        type=type(layer).__name__,
        settings=layer.settings(),
        output_shape=output,
        activations=prod(output),
        activation_bytes=prod(output) * layer.dtype.itemsize,
        formula=layer.formula(shape),
        parameters=sum(map(prod, layer.parameter_shapes(shape).values())),
        trainable=layer.trainable,
        buffers=sum(map(prod, layer.buffer_shapes(shape).values())),
        macs=layer.macs(shape),
        field=fields,
        unread=geometry.unread if geometry else (0, 0),
        shares_memory=layer.shares_memory,
    )


def totals(rows, itemsize):
    """Sums over `rows`; `itemsize` bytes for each number."""
    parameters = sum(row.parameters for row in rows)
    trainable = sum(row.parameters for row in rows if row.trainable)
    buffers = sum(row.buffers for row in rows)
    activations = sum(row.activations for row in rows if not row.shares_memory)
    macs = sum(row.macs for row in rows)
    return Totals(
        parameters=parameters,
        trainable=trainable,
        frozen=parameters - trainable,
        buffers=buffers,
        parameter_bytes=parameters * itemsize,
        activations=activations,
        activation_bytes=activations * itemsize,
        macs=macs,
        flops=2 * macs,
    )
