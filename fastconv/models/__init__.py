"""Networks: a chain of layers, its counts, its file; and the zoo, a file a family."""

from fastconv.models.convnetjs import convnetjs_cifar
from fastconv.models.course import cat_or_not, course39, ten_filters
from fastconv.models.ledger import LayerRow, Totals
from fastconv.models.lenet import lenet5
from fastconv.models.program import Op, lower
from fastconv.models.sequential import Sequential, load
from fastconv.models.small_mnist import small_mnist
from fastconv.models.summary import Summary
from fastconv.models.tiny_vgg import tiny_vgg
from fastconv.models.weights_file import save

__all__ = [
    "ZOO",
    "LayerRow",
    "Op",
    "Sequential",
    "Summary",
    "Totals",
    "cat_or_not",
    "convnetjs_cifar",
    "course39",
    "lenet5",
    "load",
    "lower",
    "save",
    "small_mnist",
    "ten_filters",
    "tiny_vgg",
]

# Networks by the name that the command line knows; each builder works without arguments.
BUILDERS = (lenet5, small_mnist, convnetjs_cifar, tiny_vgg, ten_filters, course39, cat_or_not)
ZOO = {builder.__name__: builder for builder in BUILDERS}
