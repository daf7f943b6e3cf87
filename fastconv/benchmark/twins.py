"""Networks of ours as PyTorch's modules, to be timed beside them; weights are PyTorch's own."""

from fastconv.errors import OptionError

__all__ = ["twin"]


def twin(net):
    """A `torch.nn.Module` with the layers of `net`, each PyTorch's own."""
    return sequence(net.layers)


def sequence(layers):
    from torch import nn

    modules = [module for layer in layers for module in (module_of(layer), *activation_of(layer)) if module is not None]
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def activation_of(layer):
    from torch import nn

    makers = {
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky_relu": lambda: nn.LeakyReLU(0.01),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
    }
    activation = getattr(layer, "activation", None)
    return [makers[activation]()] if activation else []


def module_of(layer):
    """The module of one layer without its activation; None for what does nothing here."""
    from torch import nn

    makers = {
        "relu": lambda: nn.ReLU(inplace=True),
        "flatten": nn.Flatten,
        "dropout": lambda: nn.Dropout(layer.rate),
        "batch_norm": lambda: nn.BatchNorm2d(layer.input_shape[-1], layer.eps, layer.momentum),
        "local_response_norm": lambda: nn.LocalResponseNorm(layer.size, layer.alpha * layer.size, layer.beta, layer.k),
        "dense": lambda: nn.Linear(layer.input_shape[0], layer.units),
        "conv2d": lambda: convolution(layer),
        "depthwise_conv2d": lambda: convolution(layer),
        "max_pool2d": lambda: nn.MaxPool2d(layer.size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode),
        "avg_pool2d": lambda: nn.AvgPool2d(layer.size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad),
        "global_avg_pool2d": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "global_max_pool2d": lambda: nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()),
        "residual": lambda: joined(layer.branches, lambda outputs: outputs[0] + outputs[1]),
        "concat": lambda: joined(layer.branches, side_by_side),
        "normalize": lambda: None,
    }
    if layer.kind not in makers:
        raise OptionError(f"{layer.label}: PyTorch's twin of {layer.kind} is not written; known are {', '.join(makers)}")
    return makers[layer.kind]()


def convolution(layer):
    """With PyTorch's padding, or rows and columns of zeros before it where that knows only one number a side."""
    from torch import nn

    shape, (rows, cols) = layer.input_shape, layer.geometry(layer.input_shape).pads
    even = rows[0] == rows[1] and cols[0] == cols[1]
    groups, bias = layer.options["groups"], "b" in layer.parameter_shapes(shape)
    filters = layer.output_shape_for(shape)[-1]
    padding = (rows[0], cols[0]) if even else 0
    module = nn.Conv2d(shape[-1], filters, layer.size, layer.stride, padding, layer.dilation, groups, bias)
    return module if even else nn.Sequential(nn.ZeroPad2d((*cols, *rows)), module)


def side_by_side(outputs):
    import torch

    return torch.cat(outputs, dim=1)


def joined(branches, join):
    """A module whose branches all see the input."""
    from torch import nn

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([sequence(branch) if branch else nn.Identity() for branch in branches])

        def forward(self, x):
            return join([branch(x) for branch in self.branches])

    return Joined()
