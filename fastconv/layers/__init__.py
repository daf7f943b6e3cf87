"""Layers: parameters, shapes and what to remember for the gradient; the arithmetic is in `fastconv.functional`."""

from fastconv.layers.activations import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from fastconv.layers.base import Layer
from fastconv.layers.block import Block
from fastconv.layers.branches import Add, Concat, Residual
from fastconv.layers.conv import Conv2D
from fastconv.layers.dense import Dense, Flatten
from fastconv.layers.dropout import Dropout
from fastconv.layers.norm import BatchNorm, Normalize
from fastconv.layers.op import Op
from fastconv.layers.pool import AvgPool2D, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "LAYERS",
    "Add",
    "AvgPool2D",
    "BatchNorm",
    "Block",
    "Concat",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "Normalize",
    "Op",
    "ReLU",
    "Residual",
    "Sigmoid",
    "Softmax",
    "Tanh",
]

LAYERS = {
    layer.__name__: layer
    for layer in (
        Normalize,
        Conv2D,
        MaxPool2D,
        AvgPool2D,
        GlobalAvgPool2D,
        Dense,
        Flatten,
        ReLU,
        LeakyReLU,
        Sigmoid,
        Tanh,
        Softmax,
        Dropout,
        BatchNorm,
        Add,
        Residual,
        Concat,
    )
}
