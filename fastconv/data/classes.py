"""What the labels 0, 1, 2 … of each data set mean."""

from fastconv.errors import OptionError

__all__ = ["class_names"]

DIGITS = tuple("0123456789")

CLASS_NAMES = {
    "digits": DIGITS,
    "mnist": DIGITS,
    "fashion_mnist": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}


def class_names(name):
    """The names of a data set's classes, in the order of its labels: a tuple of 10 strings.

    >>> class_names("cifar10")[3]
    'cat'

    Raises OptionError for a data set that is not known.
    """
    if name not in CLASS_NAMES:
        raise OptionError(f"name: got {name!r}; needed one of {', '.join(CLASS_NAMES)}")
    return CLASS_NAMES[name]
