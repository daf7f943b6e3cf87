"""The public array operations: each checks, asks `plans`, launches kernels.  Arrays in, new arrays out; inputs never change."""

from fastconv.functional.activations import (
    activate,
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    tanh,
    tanh_grad,
)
from fastconv.functional.adaptive import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    adaptive_max_pool2d,
    adaptive_max_pool2d_grad,
)
from fastconv.functional.conv import (
    PreparedWeights,
    conv2d,
    conv2d_bias_grad,
    conv2d_input_grad,
    conv2d_weight_grad,
    plan,
    prepare,
)
from fastconv.functional.dense import dense, dense_grad
from fastconv.functional.join import add, concat, split_channels
from fastconv.functional.norm import batch_norm, batch_norm_grad, batch_norm_train
from fastconv.functional.pool import (
    avg_pool2d,
    avg_pool2d_grad,
    global_avg_pool2d,
    global_avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from fastconv.functional.resize import upsample2d, upsample2d_grad, zero_pad2d, zero_pad2d_grad
from fastconv.functional.response import local_response_norm, local_response_norm_grad
from fastconv.functional.smooth import elu, elu_grad, gelu, gelu_grad, swish, swish_grad
from fastconv.functional.softmax import softmax, softmax_grad
from fastconv.functional.transpose import conv2d_transpose, conv2d_transpose_grad

__all__ = [
    "PreparedWeights",
    "activate",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_grad",
    "add",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_grad",
    "batch_norm_train",
    "concat",
    "conv2d",
    "conv2d_bias_grad",
    "conv2d_input_grad",
    "conv2d_transpose",
    "conv2d_transpose_grad",
    "conv2d_weight_grad",
    "dense",
    "dense_grad",
    "elu",
    "elu_grad",
    "gelu",
    "gelu_grad",
    "global_avg_pool2d",
    "global_avg_pool2d_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "local_response_norm",
    "local_response_norm_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "plan",
    "prepare",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_grad",
    "split_channels",
    "swish",
    "swish_grad",
    "tanh",
    "tanh_grad",
    "upsample2d",
    "upsample2d_grad",
    "zero_pad2d",
    "zero_pad2d_grad",
]
