"""Small networks that go through the cache as one chain, and what float64 loops say of them, layer by layer."""

import copy
import functools

import numpy as np

import fastconv as fc
import oracle
from fastconv import models, plans

LANES = fc.machine.cpu().vector_bytes // 4
BATCH = 2 * LANES + 3  # two whole groups and a part of one


def conv(filters, size, pool=False, relu=True, **options):
    layers = [fc.Conv2D(filters, size, activation="relu" if relu else None, **options)]
    return layers + [fc.MaxPool2D(2)] * pool


def dense(*units):
    return [fc.Flatten(), *(fc.Dense(n, activation="relu") for n in units[:-1]), fc.Dense(units[-1])]


NETS = {
    "lenet5": lambda: ((14, 14, 3), conv(6, 5, True) + conv(16, 3, True) + dense(12, 8, 10)),
    "5x5 padded": lambda: ((8, 8, 3), conv(16, 5, True, padding=2) + conv(20, 5, True, padding="same") + dense(10)),
    "windows in parts": lambda: ((17, 28, 8), conv(16, 3, True) + conv(8, 5) + dense(3)),
    "no pooling": lambda: ((7, 9, 2), conv(5, 3) + conv(7, (2, 3), stride=2) + dense(4)),
    "no relu": lambda: ((9, 8, 1), conv(3, 3, True, relu=False) + conv(4, 2, relu=False) + dense(3)),
    "no bias": lambda: ((6, 6, 4), conv(9, 3, True, padding=1, bias=False) + dense(5)),
    "strided": lambda: ((13, 11, 3), conv(10, 3, stride=2, padding=1) + conv(17, 3, True, padding=1) + dense(2)),
    "odd": lambda: ((11, 9, 5), conv(12, (4, 1), True, padding=((1, 0), (2, 1))) + conv(3, 1)),
    "wide": lambda: ((6, 6, 30), conv(32, 3, True, padding=1) + conv(31, 3, padding=1) + dense(33)),
    "relu at the end": lambda: ((8, 8, 2), [*conv(3, 3, True), fc.Flatten(), fc.Dense(6, activation="relu")]),
    "two relus at the end": lambda: ((8, 8, 2), [*conv(3, 3, True), *dense(9, 6), fc.ReLU()]),
    "only convolutions": lambda: ((8, 8, 2), conv(4, 3) + conv(8, 3, True)),
}


def built(name, seed=0, **options):
    """The network of a name with random biases, so that nothing is zero by chance."""
    shape, layers = NETS[name]()
    layers = [copy.deepcopy(layer) for layer in layers]
    net, rng = fc.Sequential(layers, input_shape=shape, seed=seed, **options), np.random.default_rng(seed)
    for layer in net.layers:
        if "b" in layer.arrays:
            layer.set_params(b=0.1 * rng.standard_normal(layer.arrays["b"].shape))
    return net


@functools.cache
def images(name, batch=BATCH):
    return np.random.default_rng(1).standard_normal((batch, *NETS[name]()[0])).astype(np.float32)


def plain(net, x, dy=None):
    """y, and {"conv2d_1.w": gradient, …} for dy, in float64 by the oracle."""
    values, backward = x.astype(np.float64), []
    for layer in net.layers:
        before, arrays = values, {name: array.astype(np.float64) for name, array in layer.arrays.items()}
        if isinstance(layer, fc.Conv2D):
            options = {name: layer.options[name] for name in ("stride", "padding")}
            values = oracle.conv2d(before, arrays["w"], **options) + arrays.get("b", 0)
        elif isinstance(layer, fc.MaxPool2D):
            values, options = oracle.max_pool2d(before, 2)[0], None
        elif isinstance(layer, fc.Dense):
            values, options = before @ arrays["w"] + arrays["b"], None
        else:
            values, options = before if isinstance(layer, fc.ReLU) else before.reshape(len(x), -1), None
        if is_rectified(layer):
            values = np.maximum(values, 0)
        backward.append((layer, arrays, before, values, options))
    return values, {} if dy is None else gradients(backward, dy.astype(np.float64))


def is_rectified(layer):
    return layer.activation == "relu" or isinstance(layer, fc.ReLU)


def gradients(backward, dy):
    found = {}
    for layer, arrays, before, values, options in reversed(backward):
        dy = dy.reshape(values.shape) * (values > 0 if is_rectified(layer) else 1)
        if "b" in arrays:
            found[f"{layer.name}.b"] = dy.sum(tuple(range(dy.ndim - 1)))
        if isinstance(layer, fc.Conv2D):
            found[f"{layer.name}.w"] = oracle.conv2d_weight_grad(dy, before, arrays["w"].shape, **options)
            dy = oracle.conv2d_input_grad(dy, arrays["w"], before.shape, **options)
        elif isinstance(layer, fc.MaxPool2D):
            dy = oracle.max_pool2d_grad(dy, before, 2)
        elif isinstance(layer, fc.Dense):
            found[f"{layer.name}.w"] = before.T @ dy
            dy = dy @ arrays["w"].T
        else:
            dy = dy.reshape(before.shape)
    return found


def close(got, exact, name=""):
    assert got.shape == exact.shape
    assert abs(got - exact).max() <= 2e-5 * abs(exact).max(), name


def one_step(net, x):
    """Output and gradients of one pass for a fixed gradient of the output."""
    y = net.forward(x, training=True)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    net.backward(dy)
    return y, dy, {f"{layer.name}.{name}": g.copy() for layer in net.layers for name, g in layer.grads.items()}


def planned(net, mode, batch=BATCH):
    return plans.plan_chain(models.lower(net, batch, mode), net.dtype, mode)
