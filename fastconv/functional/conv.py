"""Convolution and its two gradients."""

import numpy as np

from fastconv import plans
from fastconv.errors import DTypeError, OptionError, ShapeError
from fastconv.functional.arrays import (
    as_array,
    check_layout,
    deliver,
    frozen,
    image_shape,
    images,
    ready,
    result,
    result_dtype,
    sizes_of,
)
from fastconv.kernels.codes import ACTIVATIONS
from fastconv.machine import require_memory

__all__ = ["PreparedWeights", "conv2d", "conv2d_bias_grad", "conv2d_input_grad", "conv2d_weight_grad", "plan", "prepare"]

LARGE = 1 << 28  # bytes of workspace above which the free memory is looked up first
NO_BIAS = {}  # (channels, dtype) -> zeros


class PreparedWeights:
    """Weights together with their packed forms; accepted wherever `w` is, for any batch and image size.

    It keeps a copy of `w`: later changes of the array do not reach it (with copy=False they do, but not what is packed already;
    those of `made_by` are kept as they are packed only).
    """

    def __init__(self, w, layout="NHWC", *, copy=True):
        w = w.w if type(w) is PreparedWeights else filters(as_array(w, "w"), layout)
        w = ready(w, result_dtype(w))
        own = w.copy() if copy else w.view()
        own.flags.writeable = False
        self._keep(own, None, own.shape, own.dtype)

    def _keep(self, own, source, shape, dtype):
        self._own, self._source, self.shape, self.dtype, self.forms = own, source, shape, dtype, {}

    @classmethod
    def made_by(cls, source, shape, dtype):
        """Weights (KH, KW, C / groups, O) that source() makes anew for every packed form: they take no memory beside these."""
        weights = cls.__new__(cls)
        weights._keep(None, source, shape, dtype)
        return weights

    @property
    def w(self):
        """The weights themselves, not to be written."""
        return self._source() if self._own is None else self._own

    def packed(self, plan):
        """The form that `plan` needs, made at its first use."""
        form = self.forms.get(plan.packing)
        if form is None:
            form = self.forms[plan.packing] = plan.pack(ready(self.w, plan.dtype), kept=True)
        return form


def filters(w, layout):
    """Weights of any accepted rank as a (KH, KW, C / groups, O) view."""
    if w.ndim == 2:
        return w[:, :, None, None]
    if w.ndim != 4:
        form = "(KH, KW, C / groups, O)" if layout == "NHWC" else "(O, C / groups, KH, KW)"
        raise ShapeError(f"w: got {w.ndim} axes, shape {w.shape}; needed {form}, or (KH, KW) for an (H, W) image")
    return w.transpose(2, 3, 1, 0) if layout == "NCHW" else w


def weights(w, rank, layout):
    """(HWIO view or PreparedWeights, shape)."""
    if type(w) is PreparedWeights:
        return w
    w = as_array(w, "w")
    if (w.ndim == 2) != (rank == 2):
        raise ShapeError(
            f"x has {rank} axes, w {w.ndim} (shape {w.shape}); a (KH, KW) filter goes with an (H, W) image: "
            f"{fitting(rank, layout)}"
        )
    return filters(w, layout)


def fitting(rank, layout):
    """What to do where a filter has two axes and images of `rank` axes more, or the other way round, in words."""
    if rank == 2:
        return "x[..., None] is one image of one channel" if layout == "NHWC" else "x[None] is one image of one channel"
    if layout == "NCHW":
        return "w[None, None] is one for one channel"
    alone = "x[..., 0] is the first channel by itself, " if rank == 3 else ""
    return f"{alone}fastconv.edges.on_channels(w, of=3) is a filter for 3 channels"


def packed_weights(w, plan):
    return w.packed(plan) if type(w) is PreparedWeights else plan.pack(ready(w, plan.dtype))


def bias(b, channels, dtype):
    """`b` (O,) or zeros, for the kernels."""
    if b is None:
        if (channels, dtype) not in NO_BIAS:
            NO_BIAS[channels, dtype] = np.zeros(channels, dtype)
        return NO_BIAS[channels, dtype]
    b = as_array(b, "b")
    if b.shape != (channels,):
        raise ShapeError(f"b: got shape {b.shape}; needed ({channels},), one number for each filter")
    return ready(b, dtype)


def activation_code(activation):
    try:
        return ACTIVATIONS[activation]
    except (KeyError, TypeError):
        names = ", ".join(f'"{name}"' for name in ACTIVATIONS if name)
        raise OptionError(f"activation: got {activation!r}; needed None, {names}") from None


def check_workspace(plan):
    if plan.workspace > LARGE:
        require_memory(plan.workspace, f"the workspace of {plan.algorithm}")


def conv2d(
    x,
    w,
    b=None,
    *,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    activation=None,
    layout="NHWC",
    algorithm="auto",
    out=None,
):
    """Cross-correlate images with a bank of filters: y[n,p,q,o] = b[o] + sum_ijc x[n, p*s + i*d, q*s + j*d, c] * w[i,j,c,o].

    Parameters
    ----------
    x : array (N, H, W, C); one image (H, W, C); or (H, W), which goes with a filter (KH, KW)
    w : array (KH, KW, C / groups, O), or `PreparedWeights`
    b : array (O,), optional
    stride, dilation : int or (vertical, horizontal), in pixels
    padding : "valid" (none), "same" (output = ceil(n / stride), the odd pixel after), "full", pixels, (vertical, horizontal),
        or ((top, bottom), (left, right))
    groups : filters of group g read the channels of group g only
    pad_mode : what padding shows: "constant" (zero), "reflect", "replicate" or "circular"
    flip : rotate the filters by 180 degrees first, the convolution of mathematics
    activation : None, "relu", "leaky_relu" (slope 0.01), "sigmoid" or "tanh", applied to the result
    layout : "NCHW" takes x (N, C, H, W) and w (O, C / groups, KH, KW), and gives y (N, O, P, Q)
    algorithm : "auto", or a name of `fastconv.plans.ALGORITHMS`
    out : array to write the result into

    Returns
    -------
    y : array (N, P, Q, O) of dtype result_type(x, w, float32), in the rank of x; P and Q from `geometry.output_size`

    A NaN or an infinity reaches the results whose window holds it; where a Winograd algorithm runs, those of the same tile, too.

    Raises
    ------
    ShapeError, DTypeError, OptionError, MemoryLimitError

    Examples
    --------
    >>> step = np.repeat([[10.0, 10, 10, 0, 0, 0]], 6, axis=0)
    >>> conv2d(step, [[1, 0, -1]] * 3)[0]
    array([ 0., 30., 30.,  0.])

    The relation of sizes is arXiv:1603.07285; what deep learning calls convolution is a correlation (Goodfellow, Bengio and
    Courville, Deep Learning, equation 9.6).
    """
    x = as_array(x, "x")
    rank, x = x.ndim, images(x, "x", layout)
    w = weights(w, rank, layout)
    dtype = result_dtype(x, w)
    options = frozen(stride, padding, dilation, groups, pad_mode, flip, algorithm)
    plan = plans.conv_plan(x.shape, w.shape, dtype, "forward", *options)
    code = activation_code(activation)
    check_workspace(plan)
    x, geo = ready(x, dtype), plan.geometry
    y, copy_to = result(out, geo.y_shape, dtype, rank == 4 and layout == "NHWC", x, w, b)
    offsets = bias(b, geo.o, dtype)
    if geo.n:
        plan.run(geo, x, packed_weights(w, plan), offsets, code, y)
    return deliver(y, copy_to, rank, layout)


def conv2d_input_grad(
    dy,
    w,
    x_shape,
    *,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    layout="NHWC",
    algorithm="auto",
    out=None,
):
    """Gradient of `conv2d` with respect to x: dx[n,h,w,c] = sum of dy[n,p,q,o] * w[i,j,c,o] over the windows that see (h, w).

    Parameters
    ----------
    dy : array (N, P, Q, O), the gradient with respect to y before its activation
    w, and the options : as they were given to `conv2d`
    x_shape : tuple, the shape of x

    Returns
    -------
    dx : array of shape `x_shape`, without the axes that dy lacks

    Raises
    ------
    ShapeError, DTypeError, OptionError, MemoryLimitError
    """
    dy = as_array(dy, "dy")
    rank, dy = dy.ndim, images(dy, "dy", layout)
    w = weights(w, rank, layout)
    dtype = result_dtype(dy, w)
    options = frozen(stride, padding, dilation, groups, pad_mode, flip, algorithm)
    plan = plans.conv_plan(image_shape(x_shape, "x_shape", layout), w.shape, dtype, "input_grad", *options)
    geo = plan.geometry
    check_gradient(dy.shape, geo.y_shape)
    check_workspace(plan)
    dy = ready(dy, dtype)
    dx, copy_to = result(out, geo.x_shape, dtype, rank == 4 and layout == "NHWC", dy, w)
    if geo.n:
        plan.run(geo, dy, packed_weights(w, plan), dx)
    return deliver(dx, copy_to, rank, layout)


def conv2d_weight_grad(
    dy,
    x,
    w_shape,
    *,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    layout="NHWC",
    algorithm="auto",
    out=None,
):
    """Gradient of `conv2d` with respect to w: dw[i,j,c,o] = sum_npq x[n, p*s + i*d, q*s + j*d, c] * dy[n,p,q,o].

    Parameters
    ----------
    dy : array (N, P, Q, O), the gradient with respect to y before its activation
    x, and the options : as they were given to `conv2d`
    w_shape : tuple, the shape of w

    Returns
    -------
    dw : array of shape `w_shape`.  The sum is cut into fixed blocks, so it does not depend on the number of threads.

    Raises
    ------
    ShapeError, DTypeError, OptionError, MemoryLimitError
    """
    dy, x = as_array(dy, "dy"), as_array(x, "x")
    rank, dy, x = x.ndim, images(dy, "dy", layout), images(x, "x", layout)
    dtype = result_dtype(dy, x)
    options = frozen(stride, padding, dilation, groups, pad_mode, flip, algorithm)
    plan = plans.conv_plan(x.shape, filter_shape(w_shape, rank, layout), dtype, "weight_grad", *options)
    geo = plan.geometry
    check_gradient(dy.shape, geo.y_shape)
    check_workspace(plan)
    x, dy = ready(x, dtype), ready(dy, dtype)
    dw, copy_to = result(out, geo.w_shape, dtype, rank != 2 and layout == "NHWC" and not flip, x, dy)
    if geo.n:
        plan.run(geo, x, dy, dw)
    else:
        dw[...] = 0
    return deliver(callers_filters(dw, flip, rank, layout), copy_to, 4, "NHWC")


def conv2d_bias_grad(dy, *, layout="NHWC"):
    """Gradient of `conv2d` with respect to b: the sum of dy (N, P, Q, O) over all but the channels.  Returns (O,)."""
    from fastconv.kernels.elementwise import sum_pixels

    dy = images(as_array(dy, "dy"), "dy", layout)
    return sum_pixels(ready(dy, result_dtype(dy)))


def callers_filters(dw, flip, rank, layout):
    """HWIO weights in the caller's form, C-contiguous."""
    if flip:
        dw = dw[::-1, ::-1]
    if rank == 2:
        dw = dw[:, :, 0, 0]
    elif layout == "NCHW":
        dw = dw.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(dw)


def filter_shape(w_shape, rank, layout):
    """HWIO shape of the weights from the caller's form."""
    shape = sizes_of(w_shape, "w_shape")
    if len(shape) == 4 and rank != 2 and layout == "NHWC":
        return shape
    return weights(np.broadcast_to(np.float32(0), shape), rank, layout).shape


def check_gradient(got, needed):
    if got != needed:
        raise ShapeError(
            f"dy: got {got}, as (N, P, Q, O); these shapes and options make an output of {needed}: pass a dy of that shape"
        )


def prepare(
    w,
    x_shape,
    *,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    layout="NHWC",
    algorithm="auto",
):
    """Weights packed for `conv2d` on images of `x_shape`: pays where the same weights are used many times.

    Returns `PreparedWeights`, accepted wherever `w` is; for another direction or shape it packs what it lacks by itself.
    """
    prepared = PreparedWeights(w, layout)
    options = frozen(stride, padding, dilation, groups, pad_mode, flip, algorithm)
    shape = image_shape(x_shape, "x_shape", layout)
    prepared.packed(plans.conv_plan(shape, prepared.shape, prepared.dtype, "forward", *options))
    return prepared


def plan(
    x_shape,
    w_shape,
    *,
    stride=1,
    padding="valid",
    dilation=1,
    groups=1,
    pad_mode="constant",
    flip=False,
    layout="NHWC",
    algorithm="auto",
    dtype="float32",
    direction="forward",
):
    """What `conv2d` or one of its gradients would run for these shapes, and why: a `ConvPlan`, to print or to read.

    Compiles nothing and computes nothing.  `direction` is "forward", "input_grad" or "weight_grad"; the rest as in `conv2d`.
    """
    check_layout(layout)
    if not isinstance(direction, str):
        raise OptionError(f"direction: got {direction!r}; needed the name of one, such as forward")
    x4 = image_shape(x_shape, "x_shape", layout)
    hwio = filter_shape(w_shape, len(x_shape), layout)
    options = frozen(stride, padding, dilation, groups, pad_mode, flip, algorithm)
    return plans.conv_plan(x4, hwio, plan_dtype(dtype), direction, *options)


def plan_dtype(dtype):
    """What `conv2d` computes in for inputs of `dtype`."""
    try:
        return result_dtype(as_array(np.empty(0, dtype), "dtype"))
    except TypeError:
        raise DTypeError(f"dtype: got {dtype!r}; needed the name of a type of real numbers, such as float32") from None
