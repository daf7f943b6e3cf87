"""Decoded images, kept between runs: a convenience that may be missing, stale or damaged at any time.

stamp      32 bytes: SHA-256 of what the images were decoded from, and with
checksum   4 bytes: CRC-32 of all that follows, least significant byte first
images     uint8, array after array, row-major

Whatever is wrong with such a file, the images are decoded again; whatever keeps it from being written, nobody is bothered.
"""

import contextlib
import os
import zlib
from math import prod
from pathlib import Path

import numpy as np

from fastconv.errors import FastconvError
from fastconv.files import atomic_write

__all__ = ["keep", "kept"]

HEAD = 32 + 4


def place(name):
    """Where the images called `name` are kept: in FASTCONV_CACHE_DIR, or in the user's cache."""
    import platformdirs

    chosen = os.environ.get("FASTCONV_CACHE_DIR") or platformdirs.user_cache_dir("fastconv", appauthor=False)
    return Path(chosen).expanduser() / "images" / f"{name}.bin"


def kept(name, stamp, shapes):
    """New uint8 arrays of these `shapes` as `keep` stored them under the same name and stamp, or None."""
    arrays = [np.empty(shape, np.uint8) for shape in shapes]
    try:
        with open(place(name), "rb") as file:
            head = file.read(HEAD)
            if head[:32] != stamp or os.fstat(file.fileno()).st_size != HEAD + sum(map(prod, shapes)):
                return None
            whole = all(file.readinto(array.reshape(-1)) == array.size for array in arrays)
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None
    return arrays if whole and head[32:] == checksum(arrays) else None


def keep(name, stamp, arrays):
    """Store contiguous uint8 arrays for `kept`, all or nothing; where that cannot be done, nothing happens."""

    def write(file):
        file.write(stamp + checksum(arrays))
        for array in arrays:
            file.write(array.reshape(-1))

    with contextlib.suppress(OSError, RuntimeError, FastconvError):
        path = place(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(path, write)


def checksum(arrays):
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array.reshape(-1), crc)
    return crc.to_bytes(4, "little")
