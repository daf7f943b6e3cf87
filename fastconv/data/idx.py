"""The IDX format of MNIST and its relatives: bytes with a tiny header, plain or in gzip.

0  0  type  n      type 8: unsigned bytes; n: number of axes
n sizes            unsigned, 4 bytes each, most significant first
the elements       row-major
"""

import gzip
import math
import struct
import zlib

import numpy as np

from fastconv.errors import DataError

__all__ = ["read_idx", "read_images", "read_labels"]

UNSIGNED_BYTES = 8


def read_images(path, count, height=28, width=28):
    """Grey images of an IDX file as a new uint8 array (count, height, width, 1)."""
    return read_idx(path, (count, height, width))[..., None]


def read_labels(path, count, classes=10):
    """Labels of an IDX file as a new int64 array (count,), each from 0 to classes - 1."""
    labels = read_idx(path, (count,)).astype(np.int64)
    if labels.max(initial=0) >= classes:
        raise DataError(f"{path}: holds label {labels.max()}; needed labels from 0 to {classes - 1}; get the file again")
    return labels


def read_idx(path, shape):
    """The unsigned bytes of one IDX file (gzip when it ends in .gz), which must hold exactly `shape`.

    Nothing is allocated before the header has been found right, and nothing is read beyond what it announces.  Raises DataError
    that names the file for one that is missing, cut short, too long, damaged, or of another kind.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            return read_elements(file, path, shape)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and get it again") from error


def read_elements(file, path, shape):
    check_header(file.read(4 + 4 * len(shape)), path, shape)
    array = np.empty(shape, np.uint8)
    got = file.readinto(memoryview(array).cast("B"))
    if got != array.nbytes or file.read(1):  # the read past the end also makes gzip compare its checksum
        amount = f"ends after {got:,}" if got < array.nbytes else "goes on after"
        raise DataError(f"{path}: {amount} of {math.prod(shape):,} bytes of data; delete it and get it again")
    return array


def check_header(header, path, shape):
    magic = bytes([0, 0, UNSIGNED_BYTES, len(shape)])
    if header[:4] != magic:
        raise DataError(
            f"{path}: begins with {header[:4].hex(' ')}; needed {magic.hex(' ')}, an IDX file of bytes with {len(shape)} axes"
        )
    if len(header) < 4 + 4 * len(shape):
        raise DataError(f"{path}: ends inside its header of {4 + 4 * len(shape)} bytes; delete it and get it again")
    sizes = struct.unpack(f">{len(shape)}I", header[4:])
    if sizes != shape:
        raise DataError(f"{path}: says that it holds {sizes}; needed {shape}; give the folder of the original files")
