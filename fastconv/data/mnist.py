"""MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28×28 in four IDX files of the same names."""

import os

from fastconv.data.download import RemoteFile, fetch
from fastconv.data.folders import home, not_found, places
from fastconv.data.idx import read_images, read_labels
from fastconv.errors import DataError

__all__ = ["fashion_mnist", "mnist"]

TRAIN, TEST = 60_000, 10_000
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

# Compressed sizes and SHA-256 of the published files, the same on every mirror.
FILES = {
    "mnist": (
        RemoteFile(NAMES[0] + ".gz", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        RemoteFile(NAMES[1] + ".gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        RemoteFile(NAMES[2] + ".gz", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        RemoteFile(NAMES[3] + ".gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "fashion_mnist": (
        RemoteFile(NAMES[0] + ".gz", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        RemoteFile(NAMES[1] + ".gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        RemoteFile(NAMES[2] + ".gz", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        RemoteFile(NAMES[3] + ".gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
}
SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",  # PyTorch's mirror of yann.lecun.com/exdb/mnist
    "fashion_mnist": "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
}
# Both sets use the same file names, so a folder can hold the wrong one; the first training labels tell them apart.
FIRST_LABELS = {"mnist": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "fashion_mnist": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]}


def mnist(folder=None, download=False, *, _base_url=None):
    """MNIST: handwritten digits, 60,000 for training and 10,000 for testing.

    Parameters
    ----------
    folder : where the four IDX files lie (plain or .gz), or its sub-folder `mnist`; default FASTCONV_DATA, then the user's cache
    download : True fetches what is missing, 11.6 MB, each file checked by its SHA-256 (needs the extra `data`)

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : new arrays, images uint8 (N, 28, 28, 1) from 0 to 255, labels int64 (N,)

    Raises
    ------
    DataError : files missing, damaged, or not MNIST

    Source: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist; available under CC BY-SA 3.0.
    """
    return load("mnist", folder, download, _base_url)


def fashion_mnist(folder=None, download=False, *, _base_url=None):
    """Fashion-MNIST: pictures of clothes in the format of MNIST, 60,000 for training and 10,000 for testing.

    Parameters, result and errors as `mnist`; the sub-folder is `fashion_mnist`, the download 30.9 MB.

    Source: Xiao, Rasul and Vollgraf, https://github.com/zalandoresearch/fashion-mnist, arXiv:1708.07747; MIT licence.
    """
    return load("fashion_mnist", folder, download, _base_url)


def load(name, folder, download, base_url):
    searched = places(name, folder)
    found = next(filter(None, map(four_files, searched)), None)
    if found is None and download:
        fetch(FILES[name], home(name, folder), base_url or SOURCES[name])
        found = four_files(home(name, folder))
    if found is None:
        raise not_found(name, searched, f"{', '.join(NAMES)} (each plain or .gz)")
    y_train = read_labels(found[1], TRAIN)
    refuse_the_other(name, y_train[:10].tolist(), found[1])
    return (read_images(found[0], TRAIN), y_train), (read_images(found[2], TEST), read_labels(found[3], TEST))


def four_files(place):
    """The paths of the four files when this folder has them all, else None."""
    paths = [next(filter(os.path.isfile, (place / name, place / f"{name}.gz")), None) for name in NAMES]
    return None if None in paths else paths


def refuse_the_other(name, first, path):
    for other, labels in FIRST_LABELS.items():
        if other != name and first == labels:
            raise DataError(f"{path}: this is {other}, not {name}; put each set in a folder of its name below the folder given")
