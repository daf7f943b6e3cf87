"""How compiled kernels get to disk and back safely.

Numba's own disk cache keys an entry by the source of one function, so it would load parallel code for a serial twin and stale
code after a change in a called file, and its index and data files can be crossed by two processes.  Here every (kernel, flags,
signature) is one file, written whole and renamed into place, that starts with the SHA-256 of its contents.  Whatever is wrong
with a file, the kernel is compiled again.
"""

import contextlib
import hashlib
import os
import pickle
import uuid
from pathlib import Path

from fastconv.machine.folder import PACKAGE, cache_folder, distrust, is_up_to_date
from fastconv.machine.warning import warn_once

__all__ = ["KernelCache"]

DIGEST = 32  # bytes of a SHA-256
PLAIN = (int, float, str, bytes, type(None))


def source_of(py_func):
    """What the folder's name does not say about a function's source: nothing for ours, a hash of the file for all others.

    None where there is no file, as in a notebook.
    """
    file = Path(py_func.__code__.co_filename)
    if PACKAGE in file.parents:
        return ""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def closure_of(py_func):
    """(plain values in the closure, is there anything else?): compiled as constants, they make another kernel of one source."""
    values = []
    for cell in py_func.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that has no value yet
            values.append(cell.cell_contents)
    constants = [value for value in values if isinstance(value, PLAIN)]
    return constants, len(constants) < len(values)


class KernelCache:
    """The disk cache of one dispatcher, in the form that Numba asks for (numba.core.caching._Cache).

    A kernel is known by its module, its two names and the plain values of its closure: functions of one `__name__` that are made
    by two others differ in their `__qualname__`, a generated function in its `__name__`.  One whose closure holds functions or
    other things is kept only if it was given a `__name__` of its own.
    """

    def __init__(self, py_func, **flags):
        self.name = f"{py_func.__module__.rpartition('.')[2]}.{py_func.__name__}"
        constants, has_more = closure_of(py_func)
        is_named = py_func.__name__ != py_func.__code__.co_name
        self.source = source_of(py_func) if is_named or not has_more else None
        names = py_func.__module__, py_func.__qualname__, py_func.__name__
        self.key = (*names, constants, self.source, sorted(flags.items()))

    @property
    def cache_path(self):
        return str(cache_folder())

    def path(self, sig, target_context):
        """The file of one signature, or None where nothing can be kept."""
        folder = cache_folder()
        if folder is None or self.source is None or not is_up_to_date():
            return None
        from numba import config

        key = (*self.key, str(sig), target_context.codegen().magic_tuple(), config.BOUNDSCHECK)
        shown = self.name[:120]  # for people; file systems take 255 characters, the key has the whole name
        return folder / f"{shown}.{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}"

    def load_overload(self, sig, target_context):
        """The compiled function, or None: then Numba compiles, and calls `save_overload`."""
        target_context.refresh()
        path = self.path(sig, target_context)
        if path is None or not os.path.exists(path):  # unlike path.exists(), False also where looking is forbidden
            return None
        try:
            return rebuilt(path, target_context)
        except Exception:  # whatever the reason, the kernel can be compiled again
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def save_overload(self, sig, compiled):
        """Keep what was compiled; a failure costs the next run a compilation, this one nothing."""
        path = self.path(sig, compiled.target_context)
        if path is None or compiled.library.has_dynamic_globals:
            return
        try:
            keep(path, compiled)
        except Exception as error:
            if not path.is_file():  # Windows does not replace a file that another process is reading
                warn_once("save", f"a compiled kernel could not be kept, so the next run compiles it again: {error}")

    def enable(self):
        """Asked for by Numba's interface; this cache is always on."""

    def disable(self):
        """Asked for by Numba's interface; `cache_folder()` decides instead."""

    def flush(self):
        """Asked for by Numba's interface; entries of another version lie in another folder."""


def rebuilt(path, target_context):
    """The compiled function in the file `path`; ValueError if it is not exactly what was written, by this user."""
    from numba.core.compiler import CompileResult

    with path.open("rb") as file:
        contents = file.read()
        if distrust(os.fstat(file.fileno())) or hashlib.sha256(contents[DIGEST:]).digest() != contents[:DIGEST]:
            raise ValueError("damaged, or written by somebody else")
    return CompileResult._rebuild(target_context, *pickle.loads(contents[DIGEST:]))


def keep(path, compiled):
    """Write the file `path` whole, or not at all."""
    from numba.core.serialize import dumps

    contents = dumps(compiled._reduce())
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(hashlib.sha256(contents).digest() + contents)
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
