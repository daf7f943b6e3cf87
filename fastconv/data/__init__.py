"""Data sets as arrays: `(x_train, y_train), (x_test, y_test)`, images uint8 (N, H, W, C), labels int64 (N,).

`digits` comes with the package.  `mnist`, `fashion_mnist` and `cifar10` are read from a folder (argument or FASTCONV_DATA), and
fetched only when asked to: `mnist(download=True)`.  `image_folder` reads pictures of your own, a folder for each class.
"""

from fastconv.data.cifar import cifar10
from fastconv.data.classes import class_names
from fastconv.data.digits import digits
from fastconv.data.image_folder import image_folder
from fastconv.data.mnist import fashion_mnist, mnist

__all__ = ["cifar10", "class_names", "digits", "fashion_mnist", "image_folder", "mnist"]
