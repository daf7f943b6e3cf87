"""Layers: parameters, shapes and what to remember for the gradient; the arithmetic is in `fastconv.functional`."""

from fastconv.layers.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Swish, Tanh
from fastconv.layers.base import Layer
from fastconv.layers.block import Block
from fastconv.layers.branches import Add, Concat, Residual
from fastconv.layers.conv import Conv2D, DepthwiseConv2D
from fastconv.layers.dense import Dense, Flatten
from fastconv.layers.dropout import Dropout, SpatialDropout2D
from fastconv.layers.norm import BatchNorm, Normalize
from fastconv.layers.op import Op
from fastconv.layers.pool import (
    AdaptiveAvgPool2D,
    AdaptiveMaxPool2D,
    AvgPool2D,
    GlobalAvgPool2D,
    GlobalMaxPool2D,
    MaxPool2D,
)
from fastconv.layers.resize import UpSampling2D, ZeroPad2D
from fastconv.layers.response import LocalResponseNorm
from fastconv.layers.separable import SeparableConv2D
from fastconv.layers.transpose import Conv2DTranspose

__all__ = [
    "ELU",
    "GELU",
    "LAYERS",
    "AdaptiveAvgPool2D",
    "AdaptiveMaxPool2D",
    "Add",
    "AvgPool2D",
    "BatchNorm",
    "Block",
    "Concat",
    "Conv2D",
    "Conv2DTranspose",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "Layer",
    "LeakyReLU",
    "LocalResponseNorm",
    "MaxPool2D",
    "Normalize",
    "Op",
    "ReLU",
    "Residual",
    "SeparableConv2D",
    "Sigmoid",
    "Softmax",
    "SpatialDropout2D",
    "Swish",
    "Tanh",
    "UpSampling2D",
    "ZeroPad2D",
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
        ELU,
        GELU,
        Swish,
        SpatialDropout2D,
        AdaptiveAvgPool2D,
        AdaptiveMaxPool2D,
        GlobalMaxPool2D,
        Conv2DTranspose,
        DepthwiseConv2D,
        SeparableConv2D,
        LocalResponseNorm,
        ZeroPad2D,
        UpSampling2D,
        Add,
        Residual,
        Concat,
    )
}
