"""Which layers of a network go through the cache together, a group of images at a time, and why the others do not.

Such a chain is made of blocks: convolutions with the ReLU and the 2x2 maximum behind them, then dense layers.  It pays where
channels are few: the vectors are filled by images, no value leaves the cache, and no thread waits between layers.  In a training
step that saves so much that small networks go as a chain even where few images fill a part of each vector only.
"""

from dataclasses import dataclass, replace
from math import prod

from fastconv.geometry import ConvGeometry

__all__ = ["Block", "chain_blocks"]

MOST_CHANNELS = 32  # of a convolution; wider ones fill the vectors by themselves
MOST_WEIGHTS = 1 << 17  # of a dense layer, so that they stay in the cache while the groups go by
MOST_VALUES = 1 << 17  # of one image, between all layers
FEW_MACS = 4_000_000  # of the convolutions of one image: up to here a training step is faster as a chain even with one image


@dataclass(frozen=True)
class Block:
    """One step of a chain: a convolution and what follows it, or a dense layer (`geometry` None)."""

    layer: str
    geometry: ConvGeometry | None
    relu: bool
    out: tuple  # rows, columns, channels of the result
    pooled: bool = False

    @property
    def units(self):
        return self.out[2]


def chain_blocks(ops, lanes, training):
    """(first op, op behind the last, blocks, {position: reason}) of the chain in a program of Ops; no blocks if there is none."""
    reasons, first, end, blocks = {}, 0, 0, ()
    while end < len(ops) and not blocks:
        first, (end, blocks, why) = end, longest(ops, end, training)
        reasons = why | reasons
        if len(blocks) == 1 and not blocks[0].pooled:
            reasons |= dict.fromkeys(range(first, end), "a convolution by itself goes the way that its own plan says")
            blocks = ()
    if blocks:
        reasons = {position: reason for position, reason in reasons.items() if not first <= position < end}
        reasons |= dict.fromkeys(range(end + 1, len(ops)), "behind the end of the chain")
        if reason := reason_against(blocks, ops[first].in_shape[0], lanes, training):
            reasons, blocks = reasons | dict.fromkeys(range(first, end), reason), ()
    return first, end, blocks, reasons


def reason_against(blocks, images, lanes, training):
    """Why these blocks, or so few images, are better left to the layers; None if they are not."""
    if (values := sum(prod(block.out) for block in blocks)) > MOST_VALUES:
        return f"{values:,} values of an image between its layers do not stay in the cache"
    work = sum(block.geometry.macs for block in blocks if block.geometry)
    if 2 * images >= lanes or (training and work <= FEW_MACS):
        return None
    more = f", fewer only up to {FEW_MACS:,} multiply-adds of an image ({work:,})" if training else ""
    return f"a batch of {images}; a chain takes groups of {lanes} images{more}"


def longest(ops, first, training):
    """(op behind the last, blocks, {position: reason}) of the chain that begins with the op `first`, if one does."""
    extended = begun(ops[first], training, any(before.learns for before in ops[:first]))
    if isinstance(extended, str):
        return first + 1, (), {first: extended}
    end, blocks = first + 1, extended
    while end < len(ops):
        extended = continued(blocks, ops[end], ops[end - 1])
        if isinstance(extended, str):
            return end, blocks, {end: extended}
        blocks, end = extended, end + 1
    return end, blocks, {}


def begun(op, training, has_to_pass):
    """The blocks of a chain that begins with `op`, or the reason why none does."""
    if op.kind != "conv2d":
        return "a chain begins with a convolution"
    if training and has_to_pass:
        return "a layer before it learns: the gradient that it needs would take a second forward pass"
    if training and not op.learns:
        return "frozen: a chain that begins here would compute its gradients for nothing"
    return with_convolution((), op)


def continued(blocks, op, before):
    """The blocks with what `op` adds behind the op `before` it, or the reason why it cannot."""
    flat = before.kind in ("flatten", "dense")
    if op.kind == "flatten":
        return blocks
    if op.kind == "conv2d" and not flat:
        return with_convolution(blocks, op)
    if op.kind == "max_pool2d":
        return with_pooling(blocks, op, before)
    return with_dense(blocks, op) if op.kind == "dense" and flat else "no chain takes this kind of layer here"


def with_convolution(blocks, op):
    geo = op.geometry
    if (geo.groups, geo.dh, geo.dw, geo.pad_mode, geo.flip) != (1, 1, 1, "constant", False):
        return "a convolution in a chain has one group, no dilation and pads with zeros"
    if op.activation not in (None, "relu"):
        return f"{op.activation}; a chain knows relu"
    if max(geo.c, geo.o) > MOST_CHANNELS:
        return f"{geo.c} -> {geo.o} channels fill the vectors by themselves (from {MOST_CHANNELS + 1} on)"
    return (*blocks, Block(op.layer, replace(geo, n=1), op.activation == "relu", op.out_shape[1:]))


def with_pooling(blocks, op, before):
    geo = op.geometry
    if before.kind != "conv2d":
        return "pooling in a chain is part of the convolution before it"
    if (geo.kh, geo.kw, geo.sh, geo.sw, geo.pads) != (2, 2, 2, 2, ((0, 0), (0, 0))) or 2 * geo.p > geo.h or 2 * geo.q > geo.w:
        return "pooling in a chain has windows of 2x2 pixels that neither overlap nor pass the edge"
    return (*blocks[:-1], replace(blocks[-1], pooled=True, out=op.out_shape[1:]))


def with_dense(blocks, op):
    if op.activation not in (None, "relu"):
        return f"{op.activation}; a chain knows relu"
    if (weights := prod((*op.in_shape[1:], op.out_shape[1]))) > MOST_WEIGHTS:
        return f"its {weights:,} weights do not stay in the cache"
    return (*blocks, Block(op.layer, None, op.activation == "relu", (1, 1, op.out_shape[1])))
