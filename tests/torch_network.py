"""Our networks, run by PyTorch: the same weights, each layer by PyTorch's own operation.  Importing it needs PyTorch."""

import numpy as np
import torch
import torch.nn.functional as TF

import fastconv as fc

ACTIVATIONS = {None: lambda t: t, "relu": TF.relu, "leaky_relu": TF.leaky_relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}


class TorchNetwork:
    """The network `net` in PyTorch; images (N, H, W, C) in and out."""

    def __init__(self, net):
        self.net = net
        self.arrays = {name: torch.from_numpy(array) for name, array in net.get_weights().items()}
        trained = {f"{layer.name}.{name}" for layer in net.layers for name in layer.parameter_shapes(layer.input_shape)}
        for name in trained:
            self.arrays[name].requires_grad_()

    def __call__(self, t, training=False):
        """Output for a tensor t (N, C, H, W) or (N, features)."""
        for layer in self.net.layers:
            t = self.through(layer, t, training)
        return t

    def forward(self, x):
        """The same for arrays."""
        with torch.no_grad():
            return to_nhwc(self(to_nchw(x)))

    def gradients(self, x, dy):
        """(output, {"x": …, "conv2d_1.w": …}) of a training pass."""
        t = to_nchw(x).requires_grad_()
        y = self(t, training=True)
        names = [name for name, array in self.arrays.items() if array.requires_grad]
        found = torch.autograd.grad(y, [t, *(self.arrays[name] for name in names)], to_nchw(dy))
        gradients = {name: g.numpy() for name, g in zip(names, found[1:], strict=True)}
        return to_nhwc(y.detach()), {"x": to_nhwc(found[0]), **gradients}

    def array(self, layer, name):
        return self.arrays.get(f"{layer.label}.{name}")

    def through(self, layer, t, training):
        """One layer."""
        if isinstance(layer, fc.layers.Block):
            return self.block(layer, [self.branch(branch, t, training) for branch in layer.branches])
        kind = layer.kind
        if kind in ("conv2d", "depthwise_conv2d"):
            return self.convolution(layer, t)
        if kind == "dense":
            return ACTIVATIONS[layer.activation](TF.linear(t, self.array(layer, "w").T, self.array(layer, "b")))
        if kind == "batch_norm":
            mean, var = self.array(layer, "mean").clone(), self.array(layer, "var").clone()
            scale, shift = self.array(layer, "scale"), self.array(layer, "shift")
            return TF.batch_norm(t, mean, var, scale, shift, training=training, eps=layer.eps)
        return SIMPLE[kind](layer, t)

    def branch(self, layers, t, training):
        for layer in layers:
            t = self.through(layer, t, training)
        return t

    def block(self, block, outputs):
        if isinstance(block, fc.Concat):
            return torch.cat(outputs, dim=1)
        return ACTIVATIONS[block.activation](sum(outputs)) if isinstance(block, fc.Add) else outputs[0]

    def convolution(self, layer, t):
        (top, bottom), (left, right) = layer.geometry(layer.input_shape).pads
        w = self.array(layer, "w").permute(3, 2, 0, 1)
        groups = layer.options["groups"]
        t = TF.pad(t, (left, right, top, bottom))
        t = TF.conv2d(t, w, self.array(layer, "b"), layer.stride, dilation=layer.dilation, groups=groups)
        return ACTIVATIONS[layer.activation](t)


def max_pool(layer, t):
    return TF.max_pool2d(t, layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)


def avg_pool(layer, t):
    include = layer.count_include_pad
    return TF.avg_pool2d(t, layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode, count_include_pad=include)


def zero_pad(layer, t):
    first, last = layer.channels if isinstance(layer.channels, tuple) else (layer.channels,) * 2
    pad = layer.padding
    return TF.pad(t, (pad, pad, pad, pad, first, last))


SIMPLE = {
    "flatten": lambda layer, t: t.permute(0, 2, 3, 1).flatten(1),
    "dropout": lambda layer, t: t,
    "relu": lambda layer, t: TF.relu(t),
    "max_pool2d": max_pool,
    "avg_pool2d": avg_pool,
    "zero_pad2d": zero_pad,
    "global_avg_pool2d": lambda layer, t: t.mean(dim=(2, 3)),
    "global_max_pool2d": lambda layer, t: t.amax(dim=(2, 3)),
    "local_response_norm": lambda layer, t: TF.local_response_norm(t, layer.size, layer.alpha * layer.size, layer.beta, layer.k),
}


def to_nchw(a):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 1) if a.ndim == 4 else a))


def to_nhwc(t):
    return np.moveaxis(t.numpy(), 1, -1) if t.ndim == 4 else t.numpy()
