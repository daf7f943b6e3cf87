"""A convolution with 2x2 max pooling behind it, in one pass over memory: for networks in evaluation mode."""

from fastconv import plans
from fastconv.functional.arrays import frozen, ready
from fastconv.functional.conv import activation_code, bias, check_workspace

__all__ = ["pooled_conv2d"]


def pooled_conv2d(x, w, b, out, *, stride, padding, dilation, groups, pad_mode, activation, algorithm="auto"):
    """`max_pool2d(conv2d(x, w, b, ...), 2)` into `out` (N, P / 2, Q / 2, O), and True; or False where the algorithm that `conv2d`
    would take, or sides P and Q that are odd, do not allow it.

    x (N, H, W, C), w `PreparedWeights`, b (O,) or None; the options as in `conv2d`.  False, too, for an x of another dtype than
    `out`.
    """
    if x.dtype != out.dtype:
        return False
    options = frozen(stride, padding, dilation, groups, pad_mode, False, algorithm)
    plan = plans.conv_plan(x.shape, w.shape, x.dtype, "forward", *options)
    if not plan.pools:
        return False
    check_workspace(plan)
    geo = plan.geometry
    if geo.n:
        plan.run(geo, ready(x, x.dtype), w.packed(plan), bias(b, geo.o, x.dtype), activation_code(activation), out)
    return True
