"""The only place where an algorithm is chosen.

The choice follows from shape, dtype, CPU and direction alone, never from the number of threads or from a clock, so that the same
call always sums in the same order.  `ALGORITHMS` is the complete list; dispatch, `plan`, the tests and the benchmark all read it.
"""

import functools
import importlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv import costs, machine
from fastconv.chains import chain_blocks
from fastconv.errors import OptionError
from fastconv.geometry import ConvGeometry

__all__ = ["ALGORITHMS", "Algorithm", "ChainPlan", "ConvPlan", "Route", "conv_plan", "plan_chain"]

GROUP_VALUES = 1 << 16  # of an image, its gradient and the weights, for each image of a group
DIRECTIONS = ("forward", "input_grad", "weight_grad")


@dataclass(frozen=True)
class Route:
    """One direction of one algorithm."""

    fits: Callable  # (geo, dtype) -> None, or the reason why not
    cost: Callable  # (geo, dtype, cpu) -> cycles of one core
    run: str  # function in kernels/, imported at the first run
    pack: str | None = None  # function (geo, w) in kernels/ that arranges the weights
    workspace: Callable = lambda geo, itemsize: 0  # bytes beside input, output and packed weights
    growth: int = 1  # error bound in units of terms * eps * sum of absolute values (above 1: of a whole tile, its largest sum)
    only_if_asked: Callable = lambda geo, dtype: None  # the reason why "auto" never takes it, or None
    pack_once: str | None = None  # instead of `pack` where the weights are used once


@dataclass(frozen=True)
class Algorithm:
    name: str
    forward: Route
    input_grad: Route
    weight_grad: Route
    flushes: bool = True  # whether denormal numbers count as zero


def always(geo, dtype):
    return None


def one_filter_a_channel(geo, dtype):
    if geo.groups == geo.c == geo.o:
        return None
    return f"groups={geo.groups} for {geo.c} channels and {geo.o} filters; depthwise needs one group and filter for each channel"


WINOGRAD_OFF = os.environ.get("FASTCONV_WINOGRAD") == "0"  # read once: plans are remembered


def winograd_fits(geo, dtype):
    if (geo.kh, geo.kw, geo.sh, geo.sw) not in ((3, 3, 1, 1), (5, 5, 1, 1)):
        return "Winograd needs a filter of 3x3 or 5x5 and stride 1"
    if geo.groups > 1 and min(geo.c, geo.o) < 4 * geo.groups:
        return "Winograd needs groups of at least 4 channels: in smaller ones its transforms round more than they save"
    return "switched off by FASTCONV_WINOGRAD=0" if WINOGRAD_OFF else None


def winograd_weights_fit(geo, dtype):
    if (geo.kh, geo.dh, geo.dw, geo.groups) != (3, 1, 1, 1):
        return "Winograd's weight gradient needs a 3x3 filter, dilation 1 and one group"
    return winograd_fits(geo, dtype)


def less_accurate(geo, dtype):
    return "float64 is chosen for accuracy, Winograd rounds more" if dtype == np.float64 else None


def batch_fits(geo, dtype):
    """Groups of images as lanes: for the plainest of calls."""
    if dtype != np.float32:
        return "groups of images are made for float32"
    if (geo.groups, geo.dh, geo.dw) != (1, 1, 1) or (geo.is_padded and geo.pad_mode != "constant"):
        return "groups of images take one group of channels, no dilation and zeros for padding"
    return None


def few_images(geo, dtype):
    lanes = machine.cpu().vector_bytes // 4
    return f"a batch of {geo.n}; a group has {lanes} images" if 2 * geo.n < lanes else None


def batch_grad_fits(geo, dtype):
    if geo.sh > 1 or geo.sw > 1 or any(max(pad) >= k for pad, k in zip(geo.pads, (geo.kh, geo.kw), strict=True)):
        return "the gradient of the input takes stride 1 and padding less than the filter"
    return batch_fits(geo, dtype)


def small_winograd(fits):
    """`fits` for 2x2 outputs of square filters of 3 or 5."""

    def both(geo, dtype):
        if (geo.kh, geo.kw, geo.sh, geo.sw) not in ((3, 3, 1, 1), (5, 5, 1, 1)):
            return "F(2x2) of images as lanes is for filters of 3x3 and 5x5 at stride 1"
        return "switched off by FASTCONV_WINOGRAD=0" if WINOGRAD_OFF else fits(geo, dtype)

    return both


def batch_weights_fit(geo, dtype):
    values = math.prod(geo.padded_shape[1:]) + geo.p * geo.q * geo.o + geo.kh * geo.kw * geo.c * geo.o
    if values > GROUP_VALUES:
        return f"{values:,} values of an image do not stay in the cache for a group of images; at most {GROUP_VALUES:,} do"
    return batch_fits(geo, dtype)


def no_batch(geo, dtype):
    return "weight gradients of images as lanes are not done by Winograd's algorithm"


ALGORITHMS = (
    Algorithm(
        "winograd",
        forward=Route(
            winograd_fits,
            costs.winograd(False),
            "winograd.forward",
            "winograd.transform_filters",
            costs.winograd_bytes,
            4,
            less_accurate,
            "winograd.filters_for_one_call",
        ),
        input_grad=Route(
            winograd_fits,
            costs.winograd(True),
            "winograd.input_grad",
            "winograd.transform_exchanged",
            costs.winograd_bytes,
            4,
            less_accurate,
            "winograd.exchanged_for_one_call",
        ),
        weight_grad=Route(
            winograd_weights_fit,
            costs.winograd_weights,
            "winograd_weights.weight_grad",
            None,
            costs.winograd_weight_bytes,
            4,
            less_accurate,
        ),
    ),
    Algorithm(
        "batch_winograd",
        forward=Route(
            small_winograd(batch_fits), costs.batch(False, True), "batch.winograd_forward", None, costs.batch_bytes, 4, few_images
        ),
        input_grad=Route(
            small_winograd(batch_grad_fits),
            costs.batch(True, True),
            "batch.winograd_input_grad",
            None,
            costs.batch_bytes,
            4,
            few_images,
        ),
        weight_grad=Route(no_batch, costs.batch(False, True), ""),
    ),
    Algorithm(
        "batch",
        forward=Route(batch_fits, costs.batch(False, False), "batch.forward", None, costs.batch_bytes, 1, few_images),
        input_grad=Route(batch_grad_fits, costs.batch(True, False), "batch.input_grad", None, costs.batch_bytes, 1, few_images),
        weight_grad=Route(
            batch_weights_fit, costs.batch_weights, "batch_weights.weight_grad", None, costs.batch_weight_bytes, 1, few_images
        ),
    ),
    Algorithm(
        "depthwise",
        forward=Route(one_filter_a_channel, costs.depthwise, "depthwise.forward", None, costs.copied_bytes),
        input_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.input_grad", "depthwise.flipped", costs.copied_bytes),
        weight_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.weight_grad", None, costs.sum_bytes),
    ),
    Algorithm(
        "tiled",
        forward=Route(always, costs.tiled(costs.filters), "tiled.forward", "tiled.pack_panels", costs.copied_bytes),
        input_grad=Route(always, costs.tiled(costs.inputs), "tiled.input_grad", "tiled.pack_flipped", costs.copied_bytes),
        weight_grad=Route(always, costs.tiled(costs.filters, packed=0), "tiled.weight_grad", None, costs.sum_bytes),
    ),
    Algorithm(
        "im2col",
        forward=Route(always, costs.im2col(costs.filters), "im2col.forward", "im2col.by_group", costs.window_bytes),
        input_grad=Route(
            always, costs.im2col(costs.inputs), "im2col.input_grad", "im2col.by_group_transposed", costs.window_bytes
        ),
        weight_grad=Route(always, costs.im2col(costs.filters), "im2col.weight_grad", None, costs.window_bytes),
        flushes=False,
    ),
    Algorithm(
        "direct",
        forward=Route(always, costs.direct(costs.filters), "direct.forward", None, costs.padded_bytes),
        input_grad=Route(always, costs.direct(costs.inputs), "direct.input_grad", "direct.swap_channels", costs.padded_bytes),
        weight_grad=Route(always, costs.direct(costs.filters), "direct.weight_grad", None, costs.block_bytes),
        flushes=False,
    ),
)
NAMES = tuple(algorithm.name for algorithm in ALGORITHMS)


@functools.cache
def resolve(path):
    """The function behind "module.function" in kernels/; this is where Numba is first imported."""
    module, _, name = path.partition(".")
    return getattr(importlib.import_module(f"fastconv.kernels.{module}"), name)


@dataclass(frozen=True)
class ConvPlan:
    """What will run for one shape, and why.  Print it, or read its fields."""

    geometry: ConvGeometry
    dtype: np.dtype
    direction: str
    algorithm: str
    cycles: float  # estimate, of one core
    workspace: int  # bytes beside input, output and packed weights
    refused: tuple  # ((name, reason), ...) of the other algorithms

    @functools.cached_property
    def route(self):
        return getattr(ALGORITHMS[NAMES.index(self.algorithm)], self.direction)

    @functools.cached_property
    def run(self):
        """The kernel's entry: forward(geo, x, w, b, activation, y), input_grad(geo, dy, w, dx) or weight_grad(geo, x, dy, dw)."""
        return resolve(self.route.run)

    @property
    def packing(self):
        """What the arrangement of packed weights depends on; the image size and the batch are not in it."""
        geo = self.geometry
        return self.route.pack, geo.w_shape, geo.groups, geo.flip, self.dtype

    def pack(self, w, kept=False):
        """Contiguous HWIO weights of the plan's dtype, arranged for the kernel: for one call, or to be `kept` for many."""
        if self.geometry.flip:
            w = np.ascontiguousarray(w[::-1, ::-1])
        pack = self.route.pack if kept or not self.route.pack_once else self.route.pack_once
        return resolve(pack)(self.geometry, w) if pack else w

    def __str__(self):
        geo = self.geometry
        lines = [
            f"{self.direction}: x {geo.x_shape}, w {geo.w_shape}, y {geo.y_shape}, {self.dtype}",
            f"algorithm: {self.algorithm}, about {self.cycles / 1e6:,.3g} million cycles of one core",
            f"multiply-adds: {geo.macs:,}",
            f"workspace: {self.workspace / 2**20:,.2f} MiB",
        ]
        flushed = ALGORITHMS[NAMES.index(self.algorithm)].flushes and not machine.KEEP_DENORMALS
        lines.append(f"denormal numbers: {'count as zero (FASTCONV_DENORMALS=keep keeps them)' if flushed else 'kept'}")
        if any(geo.unread):
            lines.append(f"not read by any window: {geo.unread[0]} rows at the bottom, {geo.unread[1]} columns at the right")
        lines += [f"not {name}: {reason}" for name, reason in self.refused]
        return "\n".join(lines)


def chosen(geo, dtype, direction, wanted):
    """(name of the algorithm, cycles, refused)."""
    cpu, reasons, costs = machine.cpu(), {}, {}
    for algorithm in ALGORITHMS:
        route = getattr(algorithm, direction)
        reason = route.fits(geo, dtype)
        if reason or (wanted == "auto" and (reason := route.only_if_asked(geo, dtype))):
            reasons[algorithm.name] = reason
        else:
            costs[algorithm.name] = route.cost(geo, dtype, cpu)
    if wanted in reasons:
        raise OptionError(f'algorithm="{wanted}" cannot serve this call: {reasons[wanted]}; use algorithm="auto"')
    best = wanted if wanted != "auto" else min(costs, key=costs.get)
    for name, cost in costs.items():
        if name != best:
            reasons[name] = f"estimated {cost / 1e6:,.3g} million cycles" + (
                "" if wanted == "auto" else f', and "{wanted}" was asked for'
            )
    return best, costs[best], tuple(reasons.items())


@functools.lru_cache(maxsize=4096, typed=True)
def conv_plan(x_shape, w_shape, dtype, direction, stride, padding, dilation, groups, pad_mode, flip, algorithm):
    """The `ConvPlan` of NHWC and HWIO shapes; all arguments hashable (`functional.arrays.freeze`), each answer remembered."""
    if direction not in DIRECTIONS:
        raise OptionError(f"direction: got {direction!r}; needed one of {', '.join(DIRECTIONS)}")
    if algorithm != "auto" and algorithm not in NAMES:
        raise OptionError(f'algorithm: got {algorithm!r}; needed "auto" or one of {", ".join(NAMES)}')
    geo = ConvGeometry.of(
        x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, pad_mode=pad_mode, flip=flip
    )
    name, cycles, refused = chosen(geo, dtype, direction, algorithm)
    route = getattr(ALGORITHMS[NAMES.index(name)], direction)
    return ConvPlan(geo, dtype, direction, name, cycles, route.workspace(geo, dtype.itemsize), refused)


@dataclass(frozen=True)
class ChainPlan:
    """Which run of a network's Ops goes through the cache as one chain, and why the others go one by one."""

    chains: tuple  # ((first, last), ...) positions in the program, both included
    refused: tuple  # ((position, kind, reason), ...)
    blocks: tuple  # of the chain, as kernels/ takes them
    batch: int
    training: bool

    def ready(self):
        """The kernels' chain; its tiles are compiled, or loaded from the kernel cache, here."""
        return resolve("chain.chain_of")(self.blocks, self.batch, self.training, not WINOGRAD_OFF)

    def __str__(self):
        lines = [f"ops {first} to {last}: one chain" for first, last in self.chains]
        lines += [f"op {position} ({kind}): by itself: {reason}" for position, kind, reason in self.refused]
        return "\n".join(lines)


def plan_chain(ops, dtype, mode="inference"):
    """The `ChainPlan` of a program, a tuple of Ops as `models.program.lower` makes it for "inference" or "training"."""
    first, end, blocks, reasons = chain_blocks(ops, machine.cpu().vector_bytes // 4)
    if dtype != np.float32:
        blocks, reasons = (), dict.fromkeys(range(len(ops)), "chains compute in float32")
    refused = tuple((position, ops[position].kind, reason) for position, reason in sorted(reasons.items()))
    chains = ((first, end - 1),) if blocks else ()
    return ChainPlan(chains, refused, blocks, ops[0].in_shape[0] if ops else 0, mode == "training")
