"""Every network of the zoo in a size that runs in a moment: fewer channels, smaller images, the same layers."""

from fastconv import models

TINY = {"input_shape": (32, 32, 3), "classes": 7, "width": 1 / 16}
ALEXNET = {**TINY, "input_shape": (67, 67, 3)}
HALF = {"input_shape": (22, 20, 3), "classes": 7, "width": 0.5}
REDUCED = {
    **dict.fromkeys(("lenet5", "convnetjs_cifar", "tiny_vgg"), HALF),
    "small_mnist": {**HALF, "input_shape": (18, 16, 1)},
    "ten_filters": {},
    "course39": {"input_shape": (19, 21, 3), "classes": 7},
    "cat_or_not": {"input_shape": (36, 33, 3)},
    "alexnet": ALEXNET,
    "zfnet": {**ALEXNET, "input_shape": (65, 65, 3)},
    "vgg16": TINY,
    "vgg19": TINY,
    "googlenet": {**TINY, "input_shape": (64, 48, 3)},
    **{name: {**TINY, "input_shape": (32, 48, 3)} for name in ("resnet18", "resnet34", "resnet50")},
    **{name: {**TINY, "width": 1 / 32} for name in ("resnet101", "resnet152")},
    "airbench": {"input_shape": (16, 16, 3), "width": 0.25},
    **{name: {"input_shape": (16, 16, 3), "width": 0.5} for name in ("resnet20", "resnet56")},
    "small_cifar": {"input_shape": (16, 16, 3), "width": 0.25},
    "mobilenet_v1": TINY,
    "alphago_policy": {"input_shape": (7, 7, 8), "width": 1 / 16},
}


def reduced(name, **options):
    """The network `name`, small."""
    return models.ZOO[name](**{**REDUCED.get(name, {}), **options})
