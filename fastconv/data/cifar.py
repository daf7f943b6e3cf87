"""CIFAR-10: 50,000 + 10,000 colour images of 32×32, from the authors' binary version or from a zip of JPEG files.

The binary version has six files of 10,000 records: one byte of label, then 1,024 bytes of red, of green and of blue, each row by
row.  The authors' "Python version" holds pickles, which can run any code when they are opened, and is not read.
"""

import gzip
import os
import tarfile
import zlib
from itertools import islice

import numpy as np

from fastconv.data.cifar_zip import ZIP_NAME, read_zip
from fastconv.data.download import RemoteFile, fetch
from fastconv.data.folders import home, not_found, places
from fastconv.errors import DataError

__all__ = ["cifar10"]

PER_FILE = 10_000
RECORD = 1 + 3 * 32 * 32
FILE_SIZE = PER_FILE * RECORD
BATCHES = ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin")
SUBFOLDER = "cifar-10-batches-bin"
MEMBERS = 100  # read no more of an archive that should have nine
LARGEST_TAR = 250_000_000  # bytes unpacked; the real one has 184,400,000
SOURCE = "https://www.cs.toronto.edu/~kriz/"
ARCHIVE = RemoteFile("cifar-10-binary.tar.gz", 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")


def cifar10(folder=None, download=False, *, _base_url=None):
    """CIFAR-10: small colour photographs in ten classes (`class_names("cifar10")`), 50,000 for training and 10,000 for testing.

    Parameters
    ----------
    folder : where the data lie, or its sub-folder `cifar10`; default FASTCONV_DATA, then the user's cache.  Read are, the first
        that is there: the six .bin files, `cifar-10-binary.tar.gz`, and `cifar10-jpeg.zip` (members train/CLASS/NNNN.jpg; needs
        Pillow, some 10 s the first time, decoded images are kept in the cache; its images are in the order 0000 of each class,
        0001 of each class, …, since the zip has no other)
    download : True fetches `cifar-10-binary.tar.gz`, 170 MB, checked by its SHA-256, when nothing was found (extra `data`)

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : new arrays, images uint8 (N, 32, 32, 3) from 0 to 255, labels int64 (N,)

    Raises
    ------
    DataError : files missing, damaged, or not CIFAR-10;  MissingExtraError : Pillow or pooch is needed

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """
    searched = places("cifar10", folder)
    reader = next(filter(None, map(reader_for, searched)), None)
    if reader is None and download:
        fetch([ARCHIVE], home("cifar10", folder), _base_url or SOURCE)
        reader = reader_for(home("cifar10", folder))
    if reader is None:
        wanted = f"{BATCHES[0]} … {BATCHES[-1]}, {ARCHIVE.name} or {ZIP_NAME}"
        raise not_found("cifar10", searched, wanted, pickles_hint(searched))
    return reader()


def reader_for(place):
    """A function that reads what this folder holds, or None."""
    for folder in (place, place / SUBFOLDER):
        if all(os.path.isfile(folder / name) for name in BATCHES):
            return lambda: read_folder(folder)
    if os.path.isfile(place / ARCHIVE.name):
        return lambda: read_tar(place / ARCHIVE.name)
    return (lambda: read_zip(place / ZIP_NAME)) if os.path.isfile(place / ZIP_NAME) else None


def pickles_hint(searched):
    """A word to those who have the version that is not read."""
    names = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
    found = any(os.path.exists(place / name) for place in searched for name in names)
    return " (the Python version that is there consists of pickles, which can run code, and is not read)" if found else ""


def empty_sets():
    return tuple((np.empty((n, 32, 32, 3), np.uint8), np.empty(n, np.int64)) for n in (5 * PER_FILE, PER_FILE))


def store(sets, name, data, source):
    """Decode the records of one batch file into its place in the arrays."""
    if len(data) != FILE_SIZE:
        raise DataError(f"{source}: {name} has {len(data):,} bytes; needed {FILE_SIZE:,}; delete it and get it again")
    records = np.frombuffer(data, np.uint8).reshape(PER_FILE, RECORD)
    if records[:, 0].max() > 9:
        raise DataError(f"{source}: {name} holds label {records[:, 0].max()}; needed 0 to 9; delete it and get it again")
    images, labels = sets[name == BATCHES[-1]]
    start = BATCHES.index(name) * PER_FILE % len(labels)  # the test file is alone in its arrays
    images[start : start + PER_FILE] = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels[start : start + PER_FILE] = records[:, 0]


def read_folder(folder):
    sets = empty_sets()
    for name in BATCHES:
        try:
            with open(folder / name, "rb") as file:
                store(sets, name, file.read(FILE_SIZE + 1), folder)
        except OSError as error:
            raise DataError(f"{folder / name}: cannot be read ({error.strerror})") from error
    return sets


class Limited:
    """A stream that ends in an error after `limit` bytes: an archive that unpacks to terabytes is given up early."""

    def __init__(self, stream, limit):
        self.stream, self.left = stream, limit

    def read(self, size):
        block = self.stream.read(min(size, self.left + 1))
        self.left -= len(block)
        if self.left < 0:
            raise tarfile.ReadError("unpacks to far more than CIFAR-10")
        return block


def read_tar(path):
    """Both sets of the archive; its six batch files are read into memory by name, and nothing is ever unpacked to the disk."""
    sets, missing = empty_sets(), set(BATCHES)
    for name, data in tar_batches(path):
        if name not in missing:
            raise DataError(f"{path}: has {name} twice; nobody can know which is meant; delete it and get it again")
        store(sets, name, data, path)
        missing.remove(name)
    if missing:
        raise DataError(f"{path}: lacks {', '.join(sorted(missing))} of {FILE_SIZE:,} bytes; delete it and get it again")
    return sets


def tar_batches(path):
    """(name, bytes) of each batch file of the archive, in its order."""
    try:
        with gzip.open(path) as unpacked:
            stream = Limited(unpacked, LARGEST_TAR)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in islice(archive, MEMBERS):
                    folder, _, name = member.name.rpartition("/")
                    if folder == SUBFOLDER and name in BATCHES and member.isreg() and member.size == FILE_SIZE:
                        yield name, archive.extractfile(member).read()
            while stream.read(1 << 16):  # gzip compares its checksum only at the very end
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and get it again") from error
