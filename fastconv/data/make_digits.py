"""Make the embedded digits from MNIST: python -m fastconv.data.make_digits FOLDER [TARGET]

FOLDER holds MNIST's four files.  Every 6th training image and every 5th test image are written to TARGET (default: into this
package) in the format of the original.  The same zlib gives the same bytes every time.
"""

import argparse
import gzip
import hashlib
import io
import struct
from pathlib import Path

import numpy as np

from fastconv.data.digits import FOLDER
from fastconv.data.mnist import mnist
from fastconv.files import atomic_write

__all__ = ["make_digits"]

STEPS = {"train": 6, "t10k": 5}


def make_digits(source, target=FOLDER):
    """Write the four embedded files from the MNIST folder `source`; returns their paths.  DataError when MNIST is not there."""
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for (part, step), (images, labels) in zip(STEPS.items(), mnist(source), strict=True):
        for kind, array in (("images-idx3", images[::step, ..., 0]), ("labels-idx1", labels[::step])):
            paths.append(target / f"{part}-{kind}-ubyte.gz")
            atomic_write(paths[-1], idx_gz(array))
    return paths


def idx_gz(array):
    """An array of bytes as a gzipped IDX file, without the date and the name that gzip would add."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as file:
        file.write(header + array.astype(np.uint8).tobytes())
    return buffer.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="FOLDER", help="folder of MNIST's four files, plain or .gz")
    parser.add_argument("target", metavar="TARGET", nargs="?", default=FOLDER, help="folder to write to")
    arguments = parser.parse_args()
    for path in make_digits(arguments.source, arguments.target):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size:>9,}  {path}")


if __name__ == "__main__":
    main()
