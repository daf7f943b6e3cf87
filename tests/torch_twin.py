"""The same calls in PyTorch: NHWC arrays in, results and their gradients out.  Importing it needs PyTorch."""

import functools

import numpy as np
import torch
import torch.nn.functional as TF


def small(call):
    """On one thread, as the arrays are small; set at each call, since Numba sets the number of the OpenMP that both share."""

    @functools.wraps(call)
    def alone(*arguments):
        torch.set_num_threads(1)
        return call(*arguments)

    return alone


def nchw(a):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 1)))


def nhwc(t):
    return np.moveaxis(t.detach().numpy(), 1, -1)


def oihw(w):
    return torch.from_numpy(np.ascontiguousarray(w.transpose(3, 2, 0, 1)))


def hwio(t):
    return t.detach().numpy().transpose(2, 3, 1, 0)


@small
def conv2d(case, x, w, b, dy):
    """y, dx, dw, db of one case."""
    x, w, b = nchw(x).requires_grad_(), oihw(w).requires_grad_(), torch.from_numpy(b).requires_grad_()
    (top, bottom), (left, right) = case.walk.pad
    padded = TF.pad(x, (left, right, top, bottom), mode=case.pad_mode) if any((top, bottom, left, right)) else x
    turned = w.flip(2, 3) if case.flip else w
    y = TF.conv2d(padded, turned, b, stride=case.stride, dilation=case.dilation, groups=case.groups)
    dx, dw, db = torch.autograd.grad(y, (x, w, b), nchw(dy))
    return nhwc(y), nhwc(dx), hwio(dw), db.numpy()


@small
def max_pool2d(case, x, dy):
    """y, dx; PyTorch knows one padding per axis, so the case is `symmetric`."""
    x = nchw(x).requires_grad_()
    pad = tuple(before for before, _ in case.pad)
    y = TF.max_pool2d(x, case.size, case.stride, pad, ceil_mode=case.ceil_mode)
    return nhwc(y), nhwc(torch.autograd.grad(y, x, nchw(dy))[0])


@small
def avg_pool2d(case, x, dy):
    """y, dx; PyTorch knows one padding per axis, so the case is `symmetric`."""
    x = nchw(x).requires_grad_()
    pad = tuple(before for before, _ in case.pad)
    y = TF.avg_pool2d(x, case.size, case.stride, pad, ceil_mode=case.ceil_mode, count_include_pad=case.count_include_pad)
    return nhwc(y), nhwc(torch.autograd.grad(y, x, nchw(dy))[0])
