"""The complete list of algorithms, `ALGORITHMS`: what each can serve, what it costs, where it is and how exact.

Dispatch, `plan`, the tests and the benchmark all read it.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv import costs, machine, workspaces

__all__ = ["ALGORITHMS", "DIRECTIONS", "NAMES", "Algorithm", "Route"]

GROUP_VALUES = 1 << 16  # of an image, its gradient and the weights, for each image of a group
DIRECTIONS = ("forward", "input_grad", "weight_grad")


@dataclass(frozen=True)
class Route:
    """One direction of one algorithm."""

    fits: Callable  # (geo, dtype) -> None, or the reason why not
    cost: Callable  # (geo, dtype, cpu) -> cycles of one core
    run: str  # function in kernels/, imported at the first run
    pack: str | None = None  # function (geo, w) in kernels/ that arranges weights to be kept; None: as they are
    workspace: Callable = lambda geo, itemsize: 0  # bytes beside input, output and weights
    growth: int = 1  # error bound in units of terms * eps * sum of absolute values (above 1: of a whole tile, its largest sum)
    only_if_asked: Callable = lambda geo, dtype: None  # the reason why "auto" never takes it, or None
    pack_once: str | None = None  # the same for weights that are used once


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


MOST_PIXELS = 32  # that "pointwise" takes: more are worth arranging the weights


def few_pixels(geo, dtype):
    if (geo.kh, geo.kw, geo.sh, geo.sw, geo.groups, geo.is_padded) != (1, 1, 1, 1, 1, False):
        return "pointwise is for 1x1 filters at stride 1, without padding and groups"
    pixels = geo.n * geo.p * geo.q
    return (
        f"{pixels} pixels; pointwise is for at most {MOST_PIXELS}, such as dense layers of few examples"
        if pixels > MOST_PIXELS
        else None
    )


def forward_only(geo, dtype):
    return "pointwise is for the forward pass"


WINOGRAD_OFF = os.environ.get("FASTCONV_WINOGRAD") == "0"  # read once: plans are remembered


def winograd_fits(geo, dtype):
    flat = geo.at_stride_one
    if flat.kh != flat.kw or not 2 <= flat.kh <= 5:
        return "Winograd needs a square filter of 2x2 to 5x5, counted in strides"
    if flat is not geo and (geo.groups, geo.dh, geo.dw) != (1, 1, 1):
        return "Winograd needs stride 1 where there are groups or a dilation"
    if geo.groups > 1 and min(geo.c, geo.o) < 4 * geo.groups:
        return "Winograd needs groups of at least 4 channels: in smaller ones its transforms round more than they save"
    return "switched off by FASTCONV_WINOGRAD=0" if WINOGRAD_OFF else None


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
            "winograd_filters.transform_filters",
            workspaces.winograd(False),
            4,
            less_accurate,
        ),
        input_grad=Route(
            winograd_fits,
            costs.winograd(True),
            "winograd.input_grad",
            "winograd_filters.transform_exchanged",
            workspaces.winograd(True),
            4,
            less_accurate,
        ),
        weight_grad=Route(
            winograd_fits,
            costs.winograd_weights,
            "winograd_weights.weight_grad",
            None,
            workspaces.winograd_sums,
            4,
            less_accurate,
        ),
    ),
    Algorithm(
        "batch_winograd",
        forward=Route(
            small_winograd(batch_fits),
            costs.batch(False, True),
            "batch.winograd_forward",
            None,
            workspaces.batch(False, True),
            4,
            few_images,
        ),
        input_grad=Route(
            small_winograd(batch_grad_fits),
            costs.batch(True, True),
            "batch.winograd_input_grad",
            None,
            workspaces.batch(True, True),
            4,
            few_images,
        ),
        weight_grad=Route(no_batch, costs.batch(False, True), ""),
    ),
    Algorithm(
        "batch",
        forward=Route(
            batch_fits, costs.batch(False, False), "batch.forward", None, workspaces.batch(False, False), 1, few_images
        ),
        input_grad=Route(
            batch_grad_fits, costs.batch(True, False), "batch.input_grad", None, workspaces.batch(True, False), 1, few_images
        ),
        weight_grad=Route(
            batch_weights_fit, costs.batch_weights, "batch_weights.weight_grad", None, workspaces.batch_sums, 1, few_images
        ),
    ),
    Algorithm(
        "depthwise",
        forward=Route(one_filter_a_channel, costs.depthwise, "depthwise.forward", None, workspaces.unlike_zeros),
        input_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.input_grad", None, workspaces.unlike_zeros),
        weight_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.weight_grad", None, workspaces.depthwise_sums),
    ),
    Algorithm(
        "pointwise",
        forward=Route(few_pixels, costs.pointwise, "pointwise.forward", None, workspaces.channel_sums),
        input_grad=Route(forward_only, costs.pointwise, ""),
        weight_grad=Route(forward_only, costs.pointwise, ""),
    ),
    Algorithm(
        "tiled",
        forward=Route(
            always,
            costs.tiled(costs.filters),
            "tiled.forward",
            "packing.pack_panels",
            workspaces.tiled(False),
        ),
        input_grad=Route(
            always,
            costs.tiled(costs.inputs, costs.TURNED),
            "tiled.input_grad",
            "packing.pack_flipped",
            workspaces.tiled(True),
        ),
        weight_grad=Route(always, costs.tiled_weights, "tiled_weights.weight_grad", None, workspaces.tiled_sums),
    ),
    Algorithm(
        "im2col",
        forward=Route(
            always,
            costs.im2col(costs.filters),
            "im2col.forward",
            "im2col.by_group",
            workspaces.im2col,
            pack_once="im2col.by_group",
        ),
        input_grad=Route(
            always,
            costs.im2col(costs.inputs, turned=10),
            "im2col.input_grad",
            "im2col.by_group_transposed",
            workspaces.im2col_input_grad,
            pack_once="im2col.by_group_transposed",
        ),
        weight_grad=Route(always, costs.im2col(costs.filters), "im2col.weight_grad", None, workspaces.im2col_sums),
        flushes=False,
    ),
    Algorithm(
        "direct",
        forward=Route(always, costs.direct(costs.filters), "direct.forward", None, workspaces.direct),
        input_grad=Route(
            always,
            costs.direct(costs.inputs),
            "direct.input_grad",
            "direct.swap_channels",
            workspaces.direct_input_grad,
            pack_once="direct.swap_channels",
        ),
        weight_grad=Route(always, costs.direct(costs.filters), "direct.weight_grad", None, workspaces.direct_sums),
        flushes=False,
    ),
)
NAMES = tuple(algorithm.name for algorithm in ALGORITHMS)
