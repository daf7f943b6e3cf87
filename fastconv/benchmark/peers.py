"""The same work in PyTorch, in both of its memory layouts: {"nchw": callable, "nhwc": callable}."""

import numpy as np

from fastconv.benchmark.twins import twin

__all__ = ["convolution", "network", "pooling", "torch_threads"]


def torch_threads(threads):
    """Give PyTorch the same threads; False where it is not installed.

    Imported before Numba's threads start, it has an OpenMP library of its own, whose threads wait as long as PyTorch is used to.
    """
    try:
        import torch
    except ImportError:
        return False
    torch.set_num_threads(threads)
    return True


def layouts():
    import torch

    return (("nchw", torch.contiguous_format), ("nhwc", torch.channels_last))


def images(array, form):
    """NHWC numbers as PyTorch's NCHW tensor in a memory format."""
    import torch

    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=form)


def convolution(case, direction):
    """One direction of a `Case`."""
    import torch

    x, w, b, dy = case.arrays()
    options = (case.stride, case.stride), (case.pad, case.pad), (case.dilation, case.dilation)
    calls, bias = {}, torch.from_numpy(b)
    for layout, form in layouts():
        wt = torch.from_numpy(w).permute(3, 2, 0, 1).contiguous(memory_format=form)
        calls[layout] = convolution_call(direction, images(x, form), wt, bias, images(dy, form), options, case.groups)
    return calls


def convolution_call(direction, x, w, b, dy, options, groups):
    import torch

    if direction == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, b, *options, groups)
    mask = [direction == "input_grad", direction == "weight_grad", False]
    return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *options, False, [0, 0], groups, mask)


def pooling(case, kind, dy, backward):
    """Maximum or mean of a `PoolCase`; the gradient of the maximum gets the indices that the forward pass found."""
    return {
        layout: pooling_call(kind, case, images(case.images(), form), images(dy, form), backward) for layout, form in layouts()
    }


def pooling_call(kind, case, x, dy, backward):
    import torch

    ops, window = torch.ops.aten, ([case.size] * 2, [case.stride] * 2, [case.pad] * 2)
    if not backward and kind == "max":
        return lambda: torch.nn.functional.max_pool2d(x, *window)
    if not backward:
        return lambda: ops.avg_pool2d(x, *window, False, False)
    if kind == "avg":
        return lambda: ops.avg_pool2d_backward(dy, x, *window, False, False, None)
    where = ops.max_pool2d_with_indices(x, *window)[1]
    return lambda: ops.max_pool2d_with_indices_backward(dy, x, *window, [1, 1], False, where)


def network(net, x, y, lr, training):
    """A pass of a network like `net`, in evaluation, or a step of SGD with momentum."""
    return {layout: network_call(twin(net), images(x, form), y, form, lr, training) for layout, form in layouts()}


def network_call(model, x, y, form, lr, training):
    import torch

    model, targets = model.to(memory_format=form).train(training), torch.from_numpy(np.asarray(y))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9) if training else None

    def forward():
        with torch.inference_mode():
            return model(x)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), targets).backward()
        optimizer.step()

    return step if training else forward
