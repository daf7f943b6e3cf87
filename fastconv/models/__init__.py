"""Networks: a chain of layers, its counts, its file; and the zoo, a file a family."""

from fastconv.models.airbench import airbench, begin_airbench
from fastconv.models.alexnet import alexnet, zfnet
from fastconv.models.alphago import alphago_policy
from fastconv.models.compare import compare
from fastconv.models.convnetjs import convnetjs_cifar
from fastconv.models.convolutional import to_convolutional
from fastconv.models.course import cat_or_not, course39, ten_filters
from fastconv.models.ensemble import Ensemble
from fastconv.models.googlenet import googlenet
from fastconv.models.ledger import LayerRow, Memory, Totals
from fastconv.models.lenet import lenet5
from fastconv.models.mobilenet import mobilenet_v1
from fastconv.models.program import Op, lower
from fastconv.models.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from fastconv.models.resnet_cifar import resnet20, resnet56
from fastconv.models.sequential import Sequential, load
from fastconv.models.small_cifar import small_cifar
from fastconv.models.small_mnist import small_mnist
from fastconv.models.summary import Summary
from fastconv.models.tiny_vgg import tiny_vgg
from fastconv.models.vgg import vgg16, vgg19
from fastconv.models.weights_file import save
from fastconv.models.whitening import whiten, whitening_filters

__all__ = [
    "ZOO",
    "Ensemble",
    "LayerRow",
    "Memory",
    "Op",
    "Sequential",
    "Summary",
    "Totals",
    "airbench",
    "alexnet",
    "alphago_policy",
    "begin_airbench",
    "cat_or_not",
    "compare",
    "convnetjs_cifar",
    "course39",
    "googlenet",
    "lenet5",
    "load",
    "lower",
    "mobilenet_v1",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet152",
    "save",
    "small_cifar",
    "small_mnist",
    "ten_filters",
    "tiny_vgg",
    "to_convolutional",
    "vgg16",
    "vgg19",
    "whiten",
    "whitening_filters",
    "zfnet",
]

# Networks by the name that the command line knows; each builder works without arguments.
BUILDERS = (
    *(lenet5, small_mnist, convnetjs_cifar, tiny_vgg, ten_filters, course39, cat_or_not),
    *(alexnet, zfnet, vgg16, vgg19, googlenet, resnet18, resnet34, resnet50, resnet101, resnet152),
    *(airbench, small_cifar, resnet20, resnet56, mobilenet_v1, alphago_policy),
)
ZOO = {builder.__name__: builder for builder in BUILDERS}
