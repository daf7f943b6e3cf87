"""A network in one .safetensors file: its arrays as tensors, its architecture as JSON in the header.  Nothing else is ever read.

A file is not trusted.  Everything that it claims is checked before anything of that size is allocated: the format, every layer
and setting, the names, shapes and types of all tensors, and that all numbers are finite.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import contextmanager

import numpy as np

from fastconv.errors import FastconvError, ModelFileError, OptionError
from fastconv.models import architecture

__all__ = ["read", "save"]

SUFFIX = ".safetensors"
KEY = "fastconv"  # of the header's metadata; the only one, so that the same network gives the same bytes
DTYPES = {"float32": "F32", "float64": "F64"}
MOST_HEADER = 16 << 20  # bytes
FOREIGN = {
    b"PK\3\4": "is a zip archive, such as PyTorch's .pt, Keras's .keras or NumPy's .npz",
    b"\x89HDF": "is an HDF5 file, such as Keras's .h5",
    b"\x80": "is a pickle, which can run any code when it is opened, and is not opened",
}


def save(net, path):
    """Write `net` to `path` (must end in ".safetensors"), all or nothing.

    OptionError: another suffix, or a layer whose constructor arguments JSON cannot hold.
    """
    from safetensors.numpy import save as to_bytes

    from fastconv.files import atomic_write

    path = file_name(path)
    if not path.endswith(SUFFIX):
        raise OptionError(f'path: got {path!r}; models are safetensors files: name it "{os.path.splitext(path)[0]}{SUFFIX}"')
    header = architecture.to_json(net)
    atomic_write(path, to_bytes(net.get_weights(), metadata={KEY: header}))


def read(path, network, layers, allow_nonfinite):
    """The network of class `network` in a file that `save` wrote; everything is checked before anything is allocated."""
    path, layers = file_name(path), own_layers(layers)
    with naming(path), opened(path) as file:
        check_header(path)
        net = architecture.from_json(header_of(file), network, layers, limit=os.path.getsize(path))
        check_tensors(file, net)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
        if not allow_nonfinite:
            check_finite(weights)
        try:
            net.set_weights(weights, allow_nonfinite=True)
        except FastconvError as error:
            raise ModelFileError(f"holds weights that its network refuses: {error}") from None
    return net


def file_name(path):
    """`path`, of any kind that names a file, as text."""
    try:
        return os.fsdecode(path)
    except TypeError:
        raise OptionError(f'path: got {path!r:.80}; needed the name of a file, such as "model{SUFFIX}"') from None


def own_layers(layers):
    """`layers` as a dict of classes by name, or OptionError."""
    if layers is not None and not isinstance(layers, Mapping):
        raise OptionError(f'layers: got {layers!r:.80}; needed classes by name, such as {{"Scale": Scale}}')
    return dict(layers or {})


@contextmanager
def naming(path):
    """Put the file's name in front of what is wrong with it."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


@contextmanager
def opened(path):
    """The file's checked header and its tensors, read on demand; structural lies are refused by safetensors itself."""
    from safetensors import SafetensorError, safe_open

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ModelFileError("is not a regular file; needed a model saved by net.save")
        with safe_open(path, framework="numpy") as file:
            yield file
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}; needed a model saved by net.save") from None
    except SafetensorError as error:
        what = foreign(path) or f"is damaged or no safetensors file ({error})"
        raise ModelFileError(f"{what}; needed a model saved by net.save") from None


def foreign(path):
    """What a file of another kind is, in words; None where its beginning tells nothing."""
    with open(path, "rb") as file:
        start = file.read(4)
    return next((words for magic, words in FOREIGN.items() if start.startswith(magic)), None)


def check_header(path):
    """No tensor named twice, which safetensors lets pass, and no header that is longer than any network's."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MOST_HEADER:
            raise ModelFileError(f"has a header of {size:,} bytes; at most {MOST_HEADER:,} are read")
        try:
            json.loads(file.read(size), object_pairs_hook=architecture.members)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"has a header that cannot be trusted: {error}; needed a model saved by net.save") from None


def chosen(only, names, weights):
    """Those of `names`, layers of a network, whose `weights` are wanted; OptionError where there are none."""
    if isinstance(only, str) or not (callable(only) or isinstance(only, Iterable)):
        hint = f'; pass a list, ["{only}"]' if isinstance(only, str) else ""
        raise OptionError(f"only: got {only!r:.80}; needed a list of names, or a function of a name{hint}")
    there = {key.partition(".")[0] for key in weights}
    wanted = [name for name in names if name in there and only(name)] if callable(only) else list(only)
    missing = [name for name in wanted if name not in there or name not in names]
    if missing or not wanted:
        hint = f"no layer {missing[0]!r} with weights in both" if missing else "no layer is wanted"
        common = ", ".join(name for name in names if name in there) or "none"
        raise OptionError(f"only: got {only!r:.80}: {hint}; needed a list of some of: {common}")
    return wanted


def header_of(file):
    """The JSON text with the architecture."""
    header = (file.metadata() or {}).get(KEY)
    if header is None:
        raise ModelFileError(f'holds tensors but no network (no "{KEY}" in its metadata); needed a model saved by net.save')
    return header


def check_finite(weights):
    """No NaN, no infinity."""
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelFileError(f"tensor {name!r} has NaN or infinite values; load(…, allow_nonfinite=True) takes them anyway")


def check_tensors(file, net):
    """Names, shapes and types of all tensors against what the architecture needs."""
    needed = {f"{layer.name}.{name}": tuple(shape) for layer in net.layers for name, shape in layer.array_shapes().items()}
    found = set(file.keys())
    for name in sorted(found ^ needed.keys()):
        raise ModelFileError(f"tensor {name!r} is " + ("missing" if name in needed else "not part of its network"))
    for name, shape in needed.items():
        tensor = file.get_slice(name)
        got = tuple(tensor.get_shape()), tensor.get_dtype()
        if got != (shape, DTYPES[net.dtype.name]):
            raise ModelFileError(f"tensor {name!r} is {got[1]} {got[0]}; its network needs {DTYPES[net.dtype.name]} {shape}")
