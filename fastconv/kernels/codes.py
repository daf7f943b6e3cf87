"""The numbers by which kernels know an activation; needs no Numba, so that layers can check names early."""

__all__ = ["ACTIVATIONS", "LEAKY_SLOPE"]

NONE, RELU, LEAKY_RELU, SIGMOID, TANH = range(5)
ACTIVATIONS = {None: NONE, "relu": RELU, "leaky_relu": LEAKY_RELU, "sigmoid": SIGMOID, "tanh": TANH}
LEAKY_SLOPE = 0.01
