"""fastconv: convolution, pooling and their gradients on the CPU, in Python that Numba compiles.

>>> import numpy as np
>>> import fastconv as fc
>>> fc.conv2d(np.ones((1, 28, 28, 1), np.float32), np.ones((5, 5, 1, 6), np.float32), padding="same").shape
(1, 28, 28, 6)

Arrays are (N, H, W, C), weights (KH, KW, C / groups, O).  Everything is loaded at its first use: importing the package neither
compiles, nor starts threads, nor imports Numba.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "functional": """
        conv2d conv2d_input_grad conv2d_weight_grad conv2d_bias_grad conv2d_transpose prepare plan PreparedWeights
        max_pool2d max_pool2d_grad avg_pool2d avg_pool2d_grad global_avg_pool2d global_avg_pool2d_grad dense dense_grad
        relu relu_grad leaky_relu leaky_relu_grad sigmoid sigmoid_grad tanh tanh_grad softmax softmax_grad
        batch_norm batch_norm_train batch_norm_grad local_response_norm local_response_norm_grad
        zero_pad2d zero_pad2d_grad upsample2d upsample2d_grad conv2d_transpose_grad elu elu_grad gelu gelu_grad swish
        swish_grad adaptive_avg_pool2d adaptive_avg_pool2d_grad adaptive_max_pool2d adaptive_max_pool2d_grad""",
    "machine": "set_threads get_threads info",
    "geometry": "connection_matrix design ReceptiveField",
    "plans": "set_workspace_limit",
    "layers": """
        Layer Normalize Conv2D DepthwiseConv2D SeparableConv2D Conv2DTranspose Dense Flatten MaxPool2D AvgPool2D
        GlobalAvgPool2D GlobalMaxPool2D AdaptiveAvgPool2D AdaptiveMaxPool2D ReLU LeakyReLU ELU GELU Swish Sigmoid Tanh
        Softmax Dropout SpatialDropout2D BatchNorm LocalResponseNorm ZeroPad2D UpSampling2D Add Residual Concat""",
    "models": "Ensemble Sequential load to_convolutional",
    "training": "Checkpoint Evaluation History Trainer evaluate",
    "gradient_check": "gradcheck",
    "tuning": "autotune Tuned load_tuned",
    "teaching": "explain",
    "errors": """
        FastconvError ShapeError DTypeError OptionError DataError ModelFileError TrainingError MemoryLimitError
        MissingExtraError FastconvWarning""",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
_MODULES = {
    "data": "data",
    "edges": "edges",
    "errors": "errors",
    "functional": "functional",
    "geometry": "geometry",
    "layers": "layers",
    "models": "models",
    "callbacks": "training.callbacks",
    "optim": "training.optimizers",
    "losses": "training.losses",
    "machine": "machine",
    "metrics": "training.metrics",
    "plans": "plans",
    "training": "training",
    "viz": "viz",
}

__all__ = sorted([*_HOME, *_MODULES, "__version__"])


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f"fastconv.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"fastconv.{_MODULES[name]}")
    else:
        raise AttributeError(f"module 'fastconv' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return __all__
