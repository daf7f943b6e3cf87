"""Handwritten digits that come with the package: no download, no network, no folder."""

from pathlib import Path

from fastconv.data.idx import read_images, read_labels

__all__ = ["digits"]

FOLDER = Path(__file__).parent / "embedded"
TRAIN, TEST = 10_000, 2_000


def digits():
    """Real handwritten digits, a sixth of MNIST: 10,000 for training, 2,000 for testing.

    Training images are numbers 0, 6, 12, … of MNIST's 60,000, test images numbers 0, 5, 10, … of its 10,000.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : new arrays, images uint8 (N, 28, 28, 1) from 0 (paper) to 255 (ink), labels int64 (N,)

    Source: MNIST of Yann LeCun, Corinna Cortes and Christopher Burges, http://yann.lecun.com/exdb/mnist.  LeCun and Cortes hold
    its copyright and make it available under CC BY-SA 3.0, which is the licence of the embedded files too (see
    `embedded/LICENSE.txt`).  `python -m fastconv.data.make_digits FOLDER` makes them from the original.

    >>> (x_train, y_train), (x_test, y_test) = digits()
    >>> x_train.shape, x_test.shape, y_train[:5].tolist()
    ((10000, 28, 28, 1), (2000, 28, 28, 1), [5, 1, 3, 6, 1])
    """
    return read_part("train", TRAIN), read_part("t10k", TEST)


def read_part(part, count):
    images, labels = (FOLDER / f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    return read_images(images, count), read_labels(labels, count)
