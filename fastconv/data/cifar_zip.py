"""CIFAR-10 as a zip of JPEG files: train/CLASS/0000.jpg … 4999.jpg and test/CLASS/0000.jpg … 0999.jpg for the ten classes."""

import hashlib
import io
import os
import zipfile
import zlib

import numpy as np

from fastconv.data.classes import class_names
from fastconv.data.kept import keep, kept
from fastconv.errors import DataError, MissingExtraError

__all__ = ["ZIP_NAME", "read_zip"]

ZIP_NAME = "cifar10-jpeg.zip"
PER_CLASS = {"train": 5_000, "test": 1_000}
LARGEST_DIRECTORY = 10_000_000  # bytes; 60,000 names need about 5,000,000
LARGEST_IMAGE = 65_536  # bytes; a 32×32 JPEG has about 1,000


def read_zip(path):
    """Both sets of the zip, the images in the order 0000 of each class, 0001 of each class, …: any slice is balanced.

    Members are read into memory by the names above and nothing else is looked at.  The decoded images are kept for the next time
    (`fastconv.data.kept`), as long as the zip lists the same members with the same checksums.  Raises DataError for a member that
    is missing, twice there, too large, encrypted, or not a 32×32 colour JPEG; MissingExtraError without Pillow.
    """
    try:
        import PIL
    except ImportError:
        raise MissingExtraError.of(f"Reading {path.name}", "Pillow", "data") from None
    classes = len(class_names("cifar10"))
    try:
        stamp = hashlib.sha256(directory(path) + f"Pillow {PIL.__version__}".encode()).digest()
        images = kept("cifar10-jpeg", stamp, [(count * classes, 32, 32, 3) for count in PER_CLASS.values()])
        if images is None:
            images = decoded(path)
            keep("cifar10-jpeg", stamp, images)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, UnicodeError, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and get it again") from error
    labels = [np.tile(np.arange(classes, dtype=np.int64), count) for count in PER_CLASS.values()]
    return tuple(zip(images, labels, strict=True))


def decoded(path):
    """The images of both sets."""
    with zipfile.ZipFile(path) as archive:
        members = by_name(archive, path)
        return [read_set(archive, members, part, per_class, path) for part, per_class in PER_CLASS.items()]


def directory(path):
    """The end of the zip, with names, sizes and checksums of all members; one that is huge is refused before it is read.

    The last 22 bytes say its size.
    """
    with open(path, "rb") as file:
        file.seek(-42, os.SEEK_END)
        locator, end = file.read(20), file.read(22)
    if end[:4] != b"PK\5\6" or locator[:4] == b"PK\6\7":
        raise DataError(f"{path}: does not end as a zip of 60,000 files does (cut short, with a comment, or zip64); get it again")
    size = int.from_bytes(end[12:16], "little")
    if size > LARGEST_DIRECTORY:
        raise DataError(f"{path}: says that its directory has {size:,} bytes; needed at most {LARGEST_DIRECTORY:,}")
    with open(path, "rb") as file:
        file.seek(-min(size + 22, os.path.getsize(path)), os.SEEK_END)
        return file.read()


def by_name(archive, path):
    members = archive.infolist()
    named = {member.filename: member for member in members}
    if len(named) != len(members):
        raise DataError(f"{path}: has {len(members) - len(named):,} names twice; nobody can know which is meant; get it again")
    return named


def read_set(archive, members, part, per_class, path):
    classes = class_names("cifar10")
    images = np.empty((per_class * len(classes), 32, 32, 3), np.uint8)
    for position in range(len(images)):
        number, label = divmod(position, len(classes))
        name = f"{part}/{classes[label]}/{number:04d}.jpg"
        images[position] = decode(read_member(archive, members.get(name), name, path), name, path)
    return images


def read_member(archive, member, name, path):
    if member is None:
        raise DataError(f"{path}: lacks {name}; needed {PER_CLASS['train']:,} + {PER_CLASS['test']:,} images of every class")
    plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not member.flag_bits & 1
    if not plain or member.file_size > LARGEST_IMAGE:
        kind = f"{member.file_size:,} bytes long" if plain else "encrypted or compressed in an unusual way"
        raise DataError(f"{path}: {name} is {kind}; needed a stored or deflated file of at most {LARGEST_IMAGE:,} bytes")
    return archive.read(member)


def decode(data, name, path):
    """One 32×32 colour JPEG as an array; its size is known from the header, before anything is decoded."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if (image.size, image.mode) == ((32, 32), "RGB"):
                return np.asarray(image)
            found = f"{image.size[0]}×{image.size[1]} {image.mode}"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {name} is no readable JPEG ({error}); get the zip again") from error
    raise DataError(f"{path}: {name} is {found}; needed 32×32 RGB")
