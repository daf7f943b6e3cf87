"""Transposed convolution: the input gradient of a convolution, used as a layer that enlarges images."""

from fastconv import plans
from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, deliver, freeze, images, ready, result, result_dtype
from fastconv.functional.conv import (
    PreparedWeights,
    bias,
    check_workspace,
    conv2d,
    conv2d_bias_grad,
    conv2d_weight_grad,
    weights,
)
from fastconv.geometry import image_sizes, kernel_span, pair, resolve_padding, whole

__all__ = ["check_groups", "conv2d_transpose", "conv2d_transpose_grad", "output_shape"]


def conv2d_transpose(
    x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, layout="NHWC", algorithm="auto", out=None
):
    """Spread every pixel of x over a window of y: y[n, h*s + i*d - pad, v*s + j*d - pad, o] += x[n,h,v,c] * w[i,j,c,o].

    The output has (H - 1) * stride - before - after + dilation * (kernel - 1) + 1 + output_padding rows, columns alike; with
    padding="same" it has H * stride.

    Parameters
    ----------
    x : array (N, H, W, C), one image (H, W, C), or (H, W) with a filter (KH, KW)
    w : array (KH, KW, C / groups, O); with layout="NCHW" (O, C / groups, KH, KW).
        PyTorch stores (C, O, KH, KW): for groups=1 that is w.permute(2, 3, 0, 1) here
    output_padding : int or (vertical, horizontal), less than stride: rows and columns more at the bottom and right
    b, stride, padding, dilation, groups, layout, algorithm, out : as in `conv2d`

    Returns
    -------
    y : array (N, P, Q, O)

    Raises
    ------
    ShapeError, DTypeError, OptionError, MemoryLimitError

    Source: Dumoulin and Visin, arXiv:1603.07285, chapter 4.
    """
    x = as_array(x, "x")
    rank, x = x.ndim, images(x, "x", layout)
    image_sizes(x.shape)
    w = w.w if type(w) is PreparedWeights else weights(w, rank, layout)
    dtype = result_dtype(x, w)
    groups = whole(groups, "groups", 1)
    adjoint = exchange_channels(w, x.shape[3], groups)
    y_shape, pads = output_shape(x.shape, w.shape, pair(stride, "stride"), padding, output_padding, pair(dilation, "dilation"))
    plan = plans.conv_plan(
        y_shape, adjoint.shape, dtype, "input_grad", freeze(stride), pads, freeze(dilation), groups, "constant", False, algorithm
    )
    check_workspace(plan)
    x = ready(x, dtype)
    y, copy_to = result(out, y_shape, dtype, rank == 4 and layout == "NHWC", x, w, b)
    if plan.geometry.n:
        plan.run(plan.geometry, x, plan.pack(ready(adjoint, dtype)), y)
    y += bias(b, y_shape[3], dtype)
    return deliver(y, copy_to, rank, layout)


def conv2d_transpose_grad(dy, x, w, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, needs_dx=True):
    """Gradients of `conv2d_transpose`: (dx or None, dw, db) from dy (N, P, Q, O), with x, w and the options that it was given.

    dx is the convolution of dy that `conv2d_transpose` is the input gradient of, dw its weight gradient with the parts of image
    and gradient exchanged, db the sum of dy over all but the channels.
    """
    dy, x, w = as_array(dy, "dy"), as_array(x, "x"), w.w if type(w) is PreparedWeights else as_array(w, "w")
    groups = whole(groups, "groups", 1)
    if w.ndim != 4:
        raise ShapeError(f"w: got {w.ndim} axes, shape {w.shape}; needed (KH, KW, C / groups, O)")
    image_sizes(x.shape)
    adjoint = exchange_channels(w, x.shape[3], groups)
    y_shape, pads = output_shape(x.shape, w.shape, pair(stride, "stride"), padding, output_padding, pair(dilation, "dilation"))
    if dy.shape != y_shape:
        raise ShapeError(f"dy: got {dy.shape}; these shapes and options make an output of {y_shape}: pass a dy of that shape")
    options = {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}
    dw = exchange_channels(conv2d_weight_grad(x, dy, adjoint.shape, **options), w.shape[3], groups)
    return conv2d(dy, adjoint, **options) if needs_dx else None, dw, conv2d_bias_grad(dy)


def exchange_channels(w, channels, groups):
    """Weights of the convolution whose input gradient this is: (KH, KW, O / groups, C)."""
    kh, kw, _, o = w.shape
    check_groups(channels, w.shape, groups)
    return w.reshape(kh, kw, -1, groups, o // groups).transpose(0, 1, 4, 3, 2).reshape(kh, kw, o // groups, channels)


def check_groups(channels, w_shape, groups):
    """ShapeError where filters (KH, KW, C / groups, O) do not fit the channels of x."""
    *_, c, o = w_shape
    if c * groups != channels or o % groups:
        raise ShapeError(
            f"x has {channels} channels, w {c} (axis 2) and {o} filters (axis 3) for groups={groups}: needed "
            f"{channels // groups or 1} channels and a multiple of {groups} filters; w is (KH, KW, C / groups, O)"
        )


def output_shape(x_shape, w_shape, strides, padding, output_padding, dilations):
    """(shape of y, four-sided padding of the convolution that leads back to x)."""
    n, h, w, _ = x_shape
    extra = pair(output_padding, "output_padding", least=0)
    if any(e >= s for e, s in zip(extra, strides, strict=True)):
        raise OptionError(f"output_padding: got {output_padding!r}; needed less than the stride {strides}")
    if padding == "full":
        raise OptionError('padding: got "full"; a transposed convolution takes "valid", "same", a number, (h, w) or four sides')
    if padding == "same":
        if any(extra):
            raise OptionError(f'output_padding: got {output_padding!r} with padding="same", which says the size; needed 0')
        sizes = (h * strides[0], w * strides[1])
        return (n, *sizes, w_shape[3]), resolve_padding("same", sizes, w_shape[:2], strides, dilations)
    pads = resolve_padding(padding, (h, w), w_shape[:2], strides, dilations)
    axes = zip(("height", "width"), (h, w), w_shape[:2], strides, pads, dilations, extra, strict=True)
    return (n, *(enlarged(*axis) for axis in axes), w_shape[3]), pads


def enlarged(axis, size, kernel, stride, pad, dilation, extra):
    length = (size - 1) * stride + kernel_span(kernel, dilation) - sum(pad) + extra
    if length < 1:
        raise ShapeError(
            f"{axis}: ({size} - 1) * {stride} + {kernel_span(kernel, dilation)} - {sum(pad)} + {extra} = {length} pixels; "
            f"needed at least 1: use {1 - length} less padding or a larger input"
        )
    return length
