"""What `train` and `warmup` make of a data set and a model: images, a network that fits them, and settings."""

from dataclasses import replace
from inspect import signature

from fastconv.cli.models import CLASSIFIERS
from fastconv.errors import DataError, OptionError

__all__ = ["DATA_SETS", "OPTIMIZERS", "SHAPES", "build", "default_model", "images_of", "optimizer_of", "recipe_for"]

SHAPES = {"digits": (28, 28, 1), "mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
DATA_SETS = tuple(SHAPES)
MADE_FOR = {("cifar10", "airbench"): "cifar", ("cifar10", "convnetjs_cifar"): "convnetjs"}  # names of recipes
CLASSES = 10
PYTHON_WAY_OUT = "; give folder="  # where the data functions tell what a Python caller can do
# and the learning rate where none is given
OPTIMIZERS = {
    "adam": 1e-3,
    "adamw": 1e-3,
    "sgd": 0.1,
    "momentum": 0.02,
    "nesterov": 0.02,
    "adagrad": 0.01,
    "adadelta": 1.0,
    "windowgrad": 0.01,
    "rmsprop": 1e-3,
}


def images_of(data_set, folder=None, download=False):
    """(x_train, y_train), (x_test, y_test) of one of `DATA_SETS`."""
    from fastconv import data

    if data_set == "digits":
        return data.digits()
    try:
        return getattr(data, data_set)(folder, download)
    except DataError as error:
        what, not_found, _ = str(error).partition(PYTHON_WAY_OUT)
        if not not_found:
            raise
        raise DataError(f"{what}; give --data FOLDER, set FASTCONV_DATA, or add --download") from None


def build(model, data_set, normalize, *, width=None, dtype="float32", seed=0):
    """A network of the zoo for the images of a data set, with `width` times as many channels as it is known with.

    LeNet-5 pads 28×28 to the 32×32 that it was drawn for.
    """
    from fastconv.models import ZOO

    shape = SHAPES[data_set]
    options = {"padding": "same"} if model == "lenet5" and shape[0] < 32 else {}
    if width is not None:
        options["width"] = known_with(model, width)
    return ZOO[model](shape, CLASSES, normalize=normalize, dtype=dtype, seed=seed, **options)


def known_with(model, width):
    """`width`, refused for a network whose numbers of channels are what it is known by."""
    from fastconv.models import ZOO

    wide = [name for name in CLASSIFIERS if "width" in signature(ZOO[name]).parameters]
    if model not in wide:
        raise OptionError(f"width: got {width:g} for {model}, which has one width; {', '.join(wide)} take one")
    return width


def default_model(data_set):
    """The network that learns a data set where none is named."""
    return "airbench" if data_set == "cifar10" else "lenet5"


def recipe_for(data_set, x, model=None):
    """Settings that work without being asked for: tuned ones where there are, else plain ones with this data's own mean."""
    from fastconv.training import RECIPES, Adam

    name = MADE_FOR.get((data_set, model), data_set)
    if name in RECIPES:
        return RECIPES[name]
    return replace(RECIPES["digits"], normalize=statistics(x), optimizer=Adam(1e-3), epochs=5, batch_size=64, augment=None)


def statistics(x):
    """(mean, std) of each channel of images in bytes, or of the only one; from counts, so that no large copy is made."""
    import numpy as np

    counts = np.stack([np.bincount(x[..., c].ravel(), minlength=256) for c in range(x.shape[-1])])
    values = np.arange(256)
    mean = counts @ values / counts.sum(1)
    std = np.sqrt(counts @ values**2 / counts.sum(1) - mean**2)
    return (mean.item(), std.item()) if len(mean) == 1 else (tuple(mean.tolist()), tuple(std.tolist()))


def optimizer_of(name, lr, default):
    """The optimizer of a name of `OPTIMIZERS`, or the recipe's; with another learning rate if one is given."""
    from fastconv.training import OPTIMIZERS as KINDS
    from fastconv.training import SGD

    if name is None or name == type(default).__name__.lower() == "adam":
        return default if lr is None else replace(default, lr=lr)
    lr = OPTIMIZERS[name] if lr is None else lr
    if name in ("momentum", "nesterov"):
        return SGD(lr, momentum=0.9, nesterov=name == "nesterov")
    return KINDS[name](lr)
