"""Calls to be measured, each with what it is called, what it computes, and the same in PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastconv import functional as F
from fastconv.benchmark import peers
from fastconv.benchmark.shapes import NETWORKS, POOLINGS, normal

__all__ = ["WHAT", "Task", "convolution", "networks", "poolings"]

WHAT = ("forward", "input_grad", "weight_grad", "pooling", "networks")
LR = 1e-4


@dataclass(frozen=True)
class Task:
    """One line of a report; `call` and `peers` are made when they are needed: (call), {"nchw": call, "nhwc": call}."""

    name: str
    what: str
    algorithm: str
    flops: int  # 0 where nobody counts them
    make: Callable
    make_peers: Callable


def convolution(case, direction, prepared=False):
    """The whole call that a user makes, packing, padding and the new array included; weights `prepared` as a layer keeps them."""
    plan = case.plan(direction)

    def make():
        x, w, b, dy = case.arrays()
        if prepared:
            w = F.prepare(w, case.x_shape, **case.options)
        calls = {
            "forward": lambda: F.conv2d(x, w, b, **case.options),
            "input_grad": lambda: F.conv2d_input_grad(dy, w, case.x_shape, **case.options),
            "weight_grad": lambda: F.conv2d_weight_grad(dy, x, case.w_shape, **case.options),
        }
        return calls[direction]

    what = f"{direction}, prepared" if prepared else direction
    flops = 2 * plan.geometry.macs
    return Task(case.name, what, plan.algorithm, flops, make, lambda: peers.convolution(case, direction))


def poolings(cases=POOLINGS):
    """Maximum and mean, forward and backward."""
    return [pooling(case, kind, backward) for kind in ("max", "avg") for backward in (False, True) for case in cases]


def pooling(case, kind, backward):
    def gradient():
        y = F.max_pool2d(case.images(), case.size, **case.options)
        return normal(np.random.default_rng(1), y.shape)

    def make():
        x, dy = case.images(), gradient()
        if kind == "max":
            argmax = F.max_pool2d(x, case.size, return_argmax=True, **case.options)[1]
            forward = lambda: F.max_pool2d(x, case.size, **case.options)  # noqa: E731
            return (lambda: F.max_pool2d_grad(dy, x, case.size, argmax=argmax, **case.options)) if backward else forward
        forward = lambda: F.avg_pool2d(x, case.size, **case.options)  # noqa: E731
        return (lambda: F.avg_pool2d_grad(dy, x.shape, case.size, **case.options)) if backward else forward

    what = f"{kind} pool" + " gradient" * backward
    return Task(case.name, what, "", 0, make, lambda: peers.pooling(case, kind, gradient(), backward))


def networks(cases=NETWORKS):
    """Forward passes and training steps of networks of the zoo."""
    return [network(case) for case in cases]


def network(case):
    from fastconv import models
    from fastconv.training import Trainer, optimizers

    def build():
        return getattr(models, case.name)(**dict(case.options))

    net = build()  # without weights: those that are measured are gone with their measurement
    random, totals = np.random.default_rng(0), net.summary().totals
    x = normal(random, (case.batch, *net.input_shape))
    y = random.integers(0, net.output_shape[-1], case.batch)

    def make():
        measured = build()
        if not case.training:
            return lambda: measured.forward(x)
        trainer = Trainer(measured, optimizers.SGD(LR, momentum=0.9))
        return lambda: trainer.step(x, y)

    what = "training step" if case.training else "forward"
    flops = (6 if case.training else 2) * case.batch * totals.macs
    return Task(case.title, what, "", flops, make, lambda: peers.network(net, x, y, LR, case.training))
