"""Networks by the name that a command line gives: a file, or one of the zoo."""

from pathlib import Path

from fastconv.cli.usage import UsageError
from fastconv.errors import ModelFileError

__all__ = ["CLASSIFIERS", "find_model", "known_classes", "named_after"]

# of the zoo, those that end in a choice of classes and are made for small images
CLASSIFIERS = (
    "lenet5",
    "small_mnist",
    "convnetjs_cifar",
    "tiny_vgg",
    "course39",
    "airbench",
    "small_cifar",
    "resnet20",
    "resnet56",
)
SUFFIX = ".safetensors"


def find_model(text, input_shape=None):
    """The network of a file, or a fresh one of the zoo (for images of `input_shape`)."""
    from fastconv.models import ZOO, load

    if text in ZOO:
        return ZOO[text]() if input_shape is None else ZOO[text](input_shape)
    if not text.endswith(SUFFIX) and not Path(text).exists():
        raise ModelFileError(f"{text}: no such model; needed a {SUFFIX} file or one of {', '.join(ZOO)}")
    if input_shape is not None:
        raise UsageError(f"--input: {text} has its input shape already; the option is for {', '.join(ZOO)}")
    return load(text)


def named_after(net, data_set):
    """Put the data set into the network's name, which is saved with it and tells `predict` the names of the classes."""
    net.name = f"{net.name} on {data_set}"


def known_classes(net):
    """The network's own class names, those of the data set that its name tells, or numbers."""
    from fastconv.data.classes import CLASS_NAMES

    if net.classes is not None:
        return net.classes
    data_set = (net.name or "").rpartition(" on ")[2]
    count = max(net.output_shape[-1], 2)
    names = CLASS_NAMES.get(data_set, ())
    return names if len(names) == count else tuple(map(str, range(count)))
