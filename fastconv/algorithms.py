"""The complete list of algorithms, `ALGORITHMS`: what each can serve, what it costs, where it is and how exact.

Dispatch, `plan`, the tests and the benchmark all read it.
"""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np

from fastconv import costs, machine, workspaces
from fastconv.kernels.group_sizes import WIDE

__all__ = ["ALGORITHMS", "DIRECTIONS", "NAMES", "Algorithm", "Route"]

GROUP_VALUES = 1 << 16  # of an image, its gradient and the weights, for each image of a group
DIRECTIONS = ("forward", "input_grad", "weight_grad")


@dataclass(frozen=True)
class Route:
    """One direction of one algorithm."""

    fits: Callable  # (geo, dtype) -> None, or the reason why not
    cost: Callable  # (geo, dtype, cpu) -> half cycles of one core
    run: str  # function in kernels/, imported at the first run
    _: KW_ONLY
    pack: str | None = None  # function (geo, w) in kernels/ that arranges weights to be kept; None: as they are
    workspace: Callable = lambda geo, itemsize: 0  # bytes beside input, output and weights
    growth: int = 1  # error bound in units of terms * eps * sum of absolute values (above 1: of a whole tile, its largest sum)
    only_if_asked: Callable = lambda geo, dtype: None  # the reason why "auto" never takes it, or None
    pack_once: str | None = None  # the same for weights that are used once
    pools: Callable = lambda geo: False  # whether `run` takes a y of half as many rows and columns, for 2x2 max pooling


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


WINOGRAD_OFF = machine.is_set_to("FASTCONV_WINOGRAD", "0", "1")  # read once: plans are remembered


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


def small_winograd(fits, backward):
    """`fits` for four neighbouring results of filters 3 or 5 wide."""

    def both(geo, dtype):
        if geo.kw not in (3, 5) or geo.sw != 1:
            return "F(4) of images as lanes is for filters 3 or 5 wide at stride 1"
        if (across := geo.w if backward else geo.q) < WIDE:
            return f"F(4) of images as lanes takes rows of {WIDE} results and more; these have {across}"
        return "switched off by FASTCONV_WINOGRAD=0" if WINOGRAD_OFF else fits(geo, dtype)

    return both


def batch_weights_fit(geo, dtype):
    values = math.prod(geo.padded_shape[1:]) + geo.p * geo.q * geo.o + geo.kh * geo.kw * geo.c * geo.o
    if values > GROUP_VALUES:
        return f"{values:,} values of an image do not stay in the cache for a group of images; at most {GROUP_VALUES:,} do"
    return batch_fits(geo, dtype)


def no_batch(geo, dtype):
    return "weight gradients of images as lanes are not done by Winograd's algorithm"


def winograd_pools(geo):
    """Whether 2x2 windows of results lie whole in its tiles, which have 6 - taps + 1 of them on a side."""
    return geo.at_stride_one.kh % 2 == 1 and geo.p % 2 == geo.q % 2 == 0 and geo.dh == geo.dw == 1


def by_winograd(cost, run, workspace, pack=None, **more):
    return Route(winograd_fits, cost, run, pack=pack, workspace=workspace, growth=4, only_if_asked=less_accurate, **more)


def in_groups(backward, winograd):
    """Images as lanes, by the sums or by F(4) along rows."""
    fits, name = (batch_grad_fits, "input_grad") if backward else (batch_fits, "forward")
    return Route(
        small_winograd(fits, backward) if winograd else fits,
        costs.batch(backward, winograd),
        f"batch.winograd_{name}" if winograd else f"batch.{name}",
        workspace=workspaces.batch(backward, winograd),
        growth=4 if winograd else 1,
        only_if_asked=few_images,
    )


ALGORITHMS = (
    Algorithm(
        "winograd",
        forward=by_winograd(
            costs.winograd(False),
            "winograd.forward",
            workspaces.winograd(False),
            "winograd_filters.transform_filters",
            pools=winograd_pools,
        ),
        input_grad=by_winograd(
            costs.winograd(True), "winograd.input_grad", workspaces.winograd(True), "winograd_filters.transform_exchanged"
        ),
        weight_grad=by_winograd(costs.winograd_weights, "winograd_weights.weight_grad", workspaces.winograd_sums),
    ),
    Algorithm(
        "batch_winograd",
        forward=in_groups(backward=False, winograd=True),
        input_grad=in_groups(backward=True, winograd=True),
        weight_grad=Route(no_batch, costs.batch(False, True), ""),
    ),
    Algorithm(
        "batch",
        forward=in_groups(backward=False, winograd=False),
        input_grad=in_groups(backward=True, winograd=False),
        weight_grad=Route(
            batch_weights_fit,
            costs.batch_weights,
            "batch_weights.weight_grad",
            workspace=workspaces.batch_sums,
            only_if_asked=few_images,
        ),
    ),
    Algorithm(
        "depthwise",
        forward=Route(one_filter_a_channel, costs.depthwise, "depthwise.forward", workspace=workspaces.unlike_zeros),
        input_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.input_grad", workspace=workspaces.unlike_zeros),
        weight_grad=Route(one_filter_a_channel, costs.depthwise, "depthwise.weight_grad", workspace=workspaces.depthwise_sums),
    ),
    Algorithm(
        "pointwise",
        forward=Route(few_pixels, costs.pointwise, "pointwise.forward", workspace=workspaces.channel_sums),
        input_grad=Route(forward_only, costs.pointwise, ""),
        weight_grad=Route(forward_only, costs.pointwise, ""),
    ),
    Algorithm(
        "tiled",
        forward=Route(
            always,
            costs.tiled(costs.filters),
            "tiled.forward",
            pack="packing.pack_panels",
            workspace=workspaces.tiled(False),
        ),
        input_grad=Route(
            always,
            costs.tiled(costs.inputs, costs.TURNED, backward=True),
            "tiled.input_grad",
            pack="packing.pack_flipped",
            workspace=workspaces.tiled(True),
        ),
        weight_grad=Route(always, costs.tiled_weights, "tiled_weights.weight_grad", workspace=workspaces.tiled_sums),
    ),
    Algorithm(
        "im2col",
        forward=Route(
            always,
            costs.im2col(costs.filters),
            "im2col.forward",
            pack="im2col.by_group",
            workspace=workspaces.im2col,
            pack_once="im2col.by_group",
        ),
        input_grad=Route(
            always,
            costs.im2col(costs.inputs, turned=10),
            "im2col.input_grad",
            pack="im2col.by_group_transposed",
            workspace=workspaces.im2col_input_grad,
            pack_once="im2col.by_group_transposed",
        ),
        weight_grad=Route(always, costs.im2col(costs.filters), "im2col.weight_grad", workspace=workspaces.im2col_sums),
        flushes=False,
    ),
    Algorithm(
        "direct",
        forward=Route(always, costs.direct(costs.filters), "direct.forward", workspace=workspaces.direct),
        input_grad=Route(
            always,
            costs.direct(costs.inputs),
            "direct.input_grad",
            pack="direct.swap_channels",
            workspace=workspaces.direct_input_grad,
            pack_once="direct.swap_channels",
        ),
        weight_grad=Route(always, costs.direct(costs.filters), "direct.weight_grad", workspace=workspaces.direct_sums),
        flushes=False,
    ),
)
NAMES = tuple(algorithm.name for algorithm in ALGORITHMS)
