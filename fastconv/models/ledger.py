"""The counts of a network, a row for each layer, from shapes alone.

Conventions: activations and MACs are those of one image; a MAC is one multiply and one add, so FLOPs = 2 MACs; only convolutions
and dense layers are counted in MACs.  Parameters are weights, biases, scales and shifts; running statistics are buffers.  The
activations of a network are those of its input and of every layer that makes an array of its own (a flattened view makes none).
A block is one row with the sums of all layers inside it and its own output, or, expanded, a row for each of them and one for
what joins them.
"""

from dataclasses import dataclass, replace
from math import prod

from fastconv.geometry import ReceptiveField
from fastconv.layers.block import Block

__all__ = ["LayerRow", "Memory", "Totals", "memory", "rows", "totals"]


@dataclass(frozen=True)
class LayerRow:
    """Everything that is counted of one layer.

    `field` holds the receptive fields (height, width) of one unit, None where a unit sees the whole input; `unread` the rows and
    columns at the bottom and right of the layer's input that no window reads.  `frozen` parameters are not trained.  `as_dense`
    has the weights, without biases, of a dense layer in the place of a convolution.  `depth` is 1 for a layer inside a block, 2
    in a block inside a block, and `parent` the name of that block; a block's own row follows those of its layers.
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
    frozen: int = 0
    as_dense: int = 0
    depth: int = 0
    parent: str | None = None


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


@dataclass(frozen=True)
class Memory:
    """Bytes by convention: every activation of the batch is there at once; training adds the gradient of each and of each weight.

    What an optimizer keeps is not in it: as much as the trainable parameters for momentum, twice that for Adam.
    """

    batch: int
    training: bool
    activations: int
    activation_gradients: int
    parameters: int
    parameter_gradients: int
    total: int


def rows(net, expand_nested=False):
    """(input row, one row for each layer); with `expand_nested` also one for each layer inside a block."""
    fields = (ReceptiveField(), ReceptiveField()) if len(net.input_shape) == 3 else None
    size = prod(net.input_shape)
    first = LayerRow("input", "Input", "", net.input_shape, size, size * net.dtype.itemsize, field=fields)
    return (first, *chain_rows([(layer, layer.input_shape) for layer in net.layers], fields, expand_nested))


def chain_rows(places, fields, expand_nested, depth=0, parent=None):
    """The rows of layers one after the other, `fields` those in front of the first."""
    found = []
    for layer, shape in places:
        inside = [chain_rows(branch, fields, True, depth + 1, layer.label) for branch in branches_of(layer, shape)]
        fields = layer.fields_after(fields, shape)
        own = replace(layer_row(layer, shape, fields), depth=depth, parent=parent)
        if inside and not expand_nested:
            own = summed(own, [row for branch in inside for row in branch])
        found += [*(row for branch in inside for row in branch if expand_nested), own]
    return found


def branches_of(layer, shape):
    """The places inside a block, branch by branch; none in a simple layer."""
    return layer.places(shape) if isinstance(layer, Block) else ()


def layer_row(layer, shape, fields):
    """The row of one layer for inputs of `shape`; of a block, what its joint alone adds."""
    output = layer.output_shape_for(shape)
    geometry = layer.geometry(shape)
    row = LayerRow(
        name=layer.label,
        type=type(layer).__name__,
        settings=layer.settings(),
        output_shape=output,
        activations=prod(output),
        activation_bytes=prod(output) * layer.dtype.itemsize,
        trainable=layer.trainable,
        field=fields,
        unread=geometry.unread if geometry else (0, 0),
        shares_memory=layer.shares_memory,
    )
    if isinstance(layer, Block):
        return row
    parameters, macs = sum(map(prod, layer.parameter_shapes(shape).values())), layer.macs(shape)
    return replace(
        row,
        formula=layer.formula(shape),
        parameters=parameters,
        frozen=0 if layer.trainable else parameters,
        buffers=sum(map(prod, layer.buffer_shapes(shape).values())),
        macs=macs,
        as_dense=prod(shape) * prod(output) if geometry and macs else 0,
    )


def summed(block, inside):
    """The row of a block that stays folded."""
    own = [row for row in inside if not row.shares_memory]
    sums = {name: sum(getattr(row, name) for row in inside) for name in ("parameters", "frozen", "buffers", "macs", "as_dense")}
    arrays = {name: getattr(block, name) + sum(getattr(row, name) for row in own) for name in ("activations", "activation_bytes")}
    formula = " + ".join(row.formula for row in inside if row.parameters) or "0"
    return replace(block, formula=formula, **sums, **arrays)


def totals(rows, itemsize):
    """Sums over `rows`; `itemsize` bytes for each number."""
    parameters = sum(row.parameters for row in rows)
    frozen = sum(row.frozen for row in rows)
    buffers = sum(row.buffers for row in rows)
    activations = sum(row.activations for row in rows if not row.shares_memory)
    macs = sum(row.macs for row in rows)
    return Totals(
        parameters=parameters,
        trainable=parameters - frozen,
        frozen=frozen,
        buffers=buffers,
        parameter_bytes=parameters * itemsize,
        activations=activations,
        activation_bytes=activations * itemsize,
        macs=macs,
        flops=2 * macs,
    )


def memory(totals, itemsize, batch, training):
    """`Memory` of a batch of numbers of `itemsize` bytes."""
    activations = batch * totals.activation_bytes
    gradients = totals.trainable * itemsize if training else 0
    doubled = activations if training else 0
    total = activations + doubled + totals.parameter_bytes + gradients
    return Memory(batch, training, activations, doubled, totals.parameter_bytes, gradients, total)
