"""A tree of values and arrays in one .safetensors file, whole or not at all, with a digest of every byte that counts.

Dicts, lists, text, numbers and arrays go in and come out; tuples come out as lists.  Nothing in the file is ever executed, and
a reader needs nothing of ours: the arrays are tensors, the rest is JSON, the bytes of one more tensor (a header has its limit).
"""

import hashlib
import json

import numpy as np

from fastconv.errors import ModelFileError, OptionError
from fastconv.files import atomic_write

__all__ = ["read", "write"]

DTYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8", "bool": "BOOL"}
ARRAY = "$array"  # {ARRAY: name} stands in the JSON where an array was
TREE = "$tree"  # the tensor with the JSON
ALIGNED = 8  # bytes, the start of the first tensor


def write(path, kind, tree):
    """Write `tree` to `path` as a file of this `kind`; FastconvError as `files.atomic_write`, OptionError for other values."""
    arrays = {}
    text = json.dumps(taken_apart(tree, kind, arrays), ensure_ascii=False)
    arrays[TREE] = np.frombuffer(text.encode(), np.uint8)
    header, offset = {"__metadata__": {"kind": kind, "digest": digest(arrays)}}, 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % ALIGNED)

    def fill(file):
        file.write(len(head).to_bytes(8, "little") + head)
        for array in arrays.values():
            file.write(octets(array))

    atomic_write(path, fill)


def read(path, kind):
    """The tree in a file that `write` wrote; ModelFileError, in one line, for any other file and for a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != kind:
                raise ModelFileError(f"{path} is no {kind} of fastconv")
            if TREE not in file.keys():  # noqa: SIM118 (the file is no dict)
                raise ModelFileError(f"{path} is a {kind} of another form, which this version of fastconv does not read")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ModelFileError(f"{path} is damaged or no safetensors file ({error})") from None
    if digest(arrays) != metadata.get("digest"):
        raise ModelFileError(f"{path} is damaged: its content does not have the digest that was written with it")
    return put_together(json.loads(arrays.pop(TREE).tobytes()), arrays)


def digest(arrays):
    """Of every array: name, type, shape, bytes."""
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype.name} {array.shape}".encode())
        found.update(octets(array))
    return found.hexdigest()


def octets(array):
    """The bytes of a C-contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8).data


def taken_apart(value, where, arrays):
    """`value` as JSON holds it; its arrays go to `arrays` under the name of their place."""
    if isinstance(value, dict):
        return {str(key): taken_apart(item, f"{where}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [taken_apart(item, f"{where}/{i}", arrays) for i, item in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
        arrays[where] = np.ascontiguousarray(value)
        return {ARRAY: where}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise OptionError(f"{where}: got {type(value).__name__}; needed numbers, text, arrays, and lists and dicts of them")


def put_together(value, arrays):
    """The inverse of `taken_apart`."""
    if isinstance(value, dict):
        return arrays[value[ARRAY]] if value.keys() == {ARRAY} else {k: put_together(v, arrays) for k, v in value.items()}
    return [put_together(item, arrays) for item in value] if isinstance(value, list) else value
