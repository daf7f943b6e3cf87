"""Where compiled kernels are kept between runs, and how they get there and back safely.

Numba's own disk cache keys an entry by the source of one function, so it would load parallel code for a serial twin and stale
code after a change in a called file, and its index and data files can be crossed by two processes.  Here every (kernel, flags,
signature) is one file, written whole and renamed into place, that starts with the SHA-256 of its contents; the folder depends on
everything that code generation depends on.  Whatever is wrong with a file, it is compiled again.
"""

import functools
import hashlib
import importlib.metadata
import os
import pickle
import stat
import sys
import tempfile
import threading
import time
import uuid
import warnings
from pathlib import Path

from fastconv.errors import FastconvWarning
from fastconv.machine.cpu import target

__all__ = ["KernelCache", "cache_folder", "compile_seconds"]

NOT_IN_CODE = ("NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR")


def fingerprint():
    """A hash of the kernel sources, the versions, the CPU and the Numba settings: all that shapes the generated code."""
    digest = hashlib.sha256()
    package = Path(__file__).parent.parent
    for source in sorted([*package.glob("kernels/*.py"), *package.glob("machine/*.py")]):
        digest.update(source.name.encode() + source.read_bytes())
    settings = {k: v for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k not in NOT_IN_CODE}
    versions = [importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy")]
    digest.update(repr((versions, sys.version, sys.platform, target(), settings)).encode())
    return digest.hexdigest()[:24]


def candidates():
    """Places for the cache, best first."""
    if chosen := os.environ.get("FASTCONV_CACHE_DIR"):
        yield Path(chosen)
    else:
        import platformdirs

        yield Path(platformdirs.user_cache_dir("fastconv", appauthor=False))
    yield Path(tempfile.gettempdir()) / f"fastconv-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"


def is_ours(folder):
    """A cache holds code to be run: nobody else may own the folder or be able to write into it."""
    if not hasattr(os, "getuid"):
        return True
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def usable(folder):
    """Make `folder`, private to this user, and try to write there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not is_ours(folder):
            return False
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: no home folder can be found
        return False
    return True


@functools.cache
def cache_folder():
    """The folder of this exact machine and version, or None (with one warning) where nothing can be written."""
    for place in candidates():
        folder = place / fingerprint()
        if usable(place) and usable(folder):
            return folder
    warn_once(
        "no folder for compiled kernels can be written; each run compiles again. Set FASTCONV_CACHE_DIR to a private folder"
    )
    return None


@functools.cache
def warn_once(message):
    warnings.warn(message, FastconvWarning, stacklevel=2)


class CompileClock:
    """Seconds spent compiling in this process; a kernel compiled while another is being compiled is not counted twice."""

    def __init__(self):
        self.total = 0.0
        self.open = threading.local()

    def start(self):
        self.open.starts = [*getattr(self.open, "starts", ()), time.perf_counter()]

    def stop(self):
        *outer, started = self.open.starts
        self.open.starts = outer
        if not outer:
            self.total += time.perf_counter() - started


CLOCK = CompileClock()


def compile_seconds():
    """Seconds that this process has spent compiling kernels so far (loading them from the cache is not counted)."""
    return CLOCK.total


class KernelCache:
    """The disk cache of one dispatcher, in the form that Numba asks for (numba.core.caching._Cache)."""

    def __init__(self, name, flags):
        self.name, self.flags = name, flags

    @property
    def cache_path(self):
        return str(cache_folder())

    def path(self, sig):
        key = hashlib.sha256(repr((self.name, self.flags, str(sig))).encode()).hexdigest()[:32]
        return cache_folder() / f"{self.name}.{key}"

    def load_overload(self, sig, target_context):
        """The compiled function, or None: then Numba compiles, and calls `save_overload`."""
        target_context.refresh()
        loaded = None if cache_folder() is None else self._load(sig, target_context)
        if loaded is None:
            CLOCK.start()
        return loaded

    def _load(self, sig, target_context):
        from numba.core.compiler import CompileResult

        path = self.path(sig)
        try:
            contents = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(contents[32:]).digest() == contents[:32]:
            try:
                return CompileResult._rebuild(target_context, *pickle.loads(contents[32:]))
            except Exception:  # whatever the reason, the kernel can be compiled again
                pass
        path.unlink(missing_ok=True)
        return None

    def save_overload(self, sig, compiled):
        CLOCK.stop()
        if cache_folder() is None or compiled.library.has_dynamic_globals:
            return
        from numba.core.serialize import dumps

        contents = dumps(compiled._reduce())
        path = self.path(sig)
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            draft.write_bytes(hashlib.sha256(contents).digest() + contents)
            os.replace(draft, path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            warn_once(f"a compiled kernel could not be kept ({error}); the next run compiles it again")

    def enable(self):
        """Asked for by Numba's interface; this cache is always on."""

    def disable(self):
        """Asked for by Numba's interface; `cache_folder()` decides instead."""

    def flush(self):
        """Asked for by Numba's interface; entries of another version lie in another folder."""
