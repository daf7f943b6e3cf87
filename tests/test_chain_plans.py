"""Which layers go as a chain, and why others do not."""

import copy

import numpy as np
import pytest

import fastconv as fc
from chain_nets import BATCH, built, close, conv, images, one_step, plain, planned
from fastconv import models, plans


def test_a_training_chain_begins_behind_frozen_layers():
    net = built("lenet5")
    assert planned(net, "training").chains[0][0] == 0
    net.layers[0].trainable = False
    plan = planned(net, "training")
    assert plan.blocks[0].layer == "conv2d_2"
    assert "frozen" in str(plan)
    assert planned(net, "inference").chains[0][0] == 0


def test_what_is_frozen_may_change_between_steps():
    net, x = built("lenet5"), images("lenet5")
    for frozen in (True, False, True):
        net.layers[0].trainable = not frozen
        _, dy, grads = one_step(net, x)
        exact = plain(net, x, dy)[1]
        close(grads["conv2d_2.w"], exact["conv2d_2.w"])
        if not frozen:
            close(grads["conv2d_1.w"], exact["conv2d_1.w"])
    assert len([key for key in net._steps if key[1]]) == 1  # the memory of a step is not kept for each of them


REASONS = {
    "channels fill the vectors": (64, [fc.Conv2D(80, 3)], {}),
    "one group, no dilation": (64, [fc.Conv2D(4, 3, dilation=2)], {}),
    "tanh; a chain knows relu": (64, [fc.Conv2D(4, 3, activation="tanh")], {}),
    "windows of 2x2 pixels": (64, [fc.Conv2D(4, 3), fc.MaxPool2D(3)], {}),
    "part of the convolution before it": (64, [fc.Conv2D(4, 3), fc.MaxPool2D(2), fc.MaxPool2D(2)], {}),
    "weights do not stay": (64, [fc.Conv2D(4, 3), fc.Flatten(), fc.Dense(2000)], {}),
    "no chain takes this kind": (64, [fc.Conv2D(4, 3), fc.BatchNorm()], {}),
    "begins with a convolution": (64, [fc.MaxPool2D(2), fc.Conv2D(4, 3)], {}),
    "a layer before it learns": (64, [fc.BatchNorm(), fc.Conv2D(4, 3)], {}),
    "chains compute in float32": (64, [fc.Conv2D(4, 3)], {"dtype": "float64"}),
    "do not stay in the cache": (64, [fc.Conv2D(32, 3), fc.Conv2D(4, 3)], {"input_shape": (80, 80, 3)}),
    "a convolution by itself": (64, [fc.Conv2D(4, 3), fc.BatchNorm()], {}),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_plan_says_why_a_layer_goes_by_itself(reason):
    batch, layers, options = REASONS[reason]
    net = fc.Sequential([copy.deepcopy(layer) for layer in layers], **{"input_shape": (16, 16, 1)} | options)
    plan = planned(net, "training", batch)
    assert reason in str(plan)


def test_a_small_network_learns_from_few_images_in_a_chain():
    assert planned(built("lenet5"), "training", 1).chains
    large = fc.Sequential([*conv(32, 3), *conv(32, 3), fc.Flatten(), fc.Dense(3)], input_shape=(32, 32, 3))
    for net, mode in ((built("lenet5"), "inference"), (large, "training")):
        assert not (plan := planned(net, mode, 1)).chains and "a batch of 1" in str(plan)
    assert planned(large, "training").chains


def test_a_dtype_may_be_a_name():
    ops = models.lower(built("lenet5"), BATCH, "inference")
    assert (
        plans.plan_chain(ops, "float32") == plans.plan_chain(ops, np.dtype(np.float32))
        and plans.plan_chain(ops, "float32").chains
    )
    assert not plans.plan_chain(ops, "float64").chains


def test_no_images_are_no_chain():
    net = built("lenet5")
    none = images("lenet5")[:0]
    assert net.forward(none, training=True).shape == (0, 10)
    for layer in net.layers:
        for g in layer.gradients.values():
            g[...] = 1
    net.backward(np.zeros((0, 10), np.float32))
    assert not any(g.any() for layer in net.layers for g in layer.grads.values())
    assert net.forward_backward(none, np.zeros(0, np.int64)) is None
