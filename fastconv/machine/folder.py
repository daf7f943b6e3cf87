"""The folder where compiled kernels are kept: which one, and whether it may be trusted.

Its name depends on all that decides what code is generated: the sources of kernels/ and machine/, the versions, the CPU and the
Numba settings.  So an upgrade, an edit or another machine never meets code of another kind.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import os
import stat
import sys
import tempfile
from pathlib import Path

from fastconv.machine.cpu import KEEP_DENORMALS, cpu
from fastconv.machine.warning import warn_once

__all__ = ["PACKAGE", "cache_folder", "distrust", "is_up_to_date"]

PACKAGE = Path(__file__).parent.parent
COMPILED = ("kernels", "machine")  # the parts of the package that are compiled, or decide how
NOT_IN_CODE = ("NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY", "NUMBA_CACHE_DIR")


def stamps():
    """{file: (time of change, size)} for the sources; empty where they cannot be read, as inside a zip file."""
    try:
        found = [(file, file.stat()) for part in COMPILED for file in sorted((PACKAGE / part).glob("*.py"))]
    except OSError:
        return {}
    return {file: (status.st_mtime_ns, status.st_size) for file, status in found}


AT_IMPORT = stamps()  # kernels are imported later, so what they say is what this stands for, as long as nothing changes


def is_up_to_date():
    """Does the folder's name still stand for the sources?  After an edit of a running program nothing is kept or loaded."""
    return bool(AT_IMPORT) and stamps() == AT_IMPORT


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a frozen program
        return importlib.import_module(name).__version__


@functools.cache
def fingerprint():
    """A hash of all that shapes the generated code."""
    digest = hashlib.sha256()
    for file in AT_IMPORT:
        digest.update(f"{file.parent.name}/{file.name}".encode() + file.read_bytes())
    settings = {k: v for k, v in sorted(os.environ.items()) if k.startswith("NUMBA_") and k not in NOT_IN_CODE}
    versions = [version(name) for name in ("numba", "llvmlite", "numpy")]
    digest.update(repr((versions, sys.version, sys.platform, cpu(), KEEP_DENORMALS, settings)).encode())
    return digest.hexdigest()[:24]


def chosen_folder():
    return Path(os.environ["FASTCONV_CACHE_DIR"]).expanduser().absolute()


def user_folder():
    import platformdirs

    folder = Path(platformdirs.user_cache_dir("fastconv", appauthor=False))
    if not folder.is_absolute():  # "~" could not be resolved
        raise RuntimeError("this user has no home folder")
    return folder


def temporary_folder():
    return Path(tempfile.gettempdir()).absolute() / f"fastconv-{os.geteuid() if hasattr(os, 'geteuid') else 'cache'}"


def distrust(found):
    """Why code may not be run from a folder or file with this `os.stat`, or None: nobody else may own it or write to it."""
    if not hasattr(os, "geteuid"):
        return None  # Windows: the folders are the user's own
    if found.st_uid not in (os.geteuid(), 0):
        return "belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be changed by other users; chmod 700 makes it private"
    return None


def prepared(place):
    """The folder of this fingerprint in `place`, private to this user; an OSError says why it cannot be used."""
    folder = place / fingerprint()
    for part in (place, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
        if reason := distrust(part.stat()):
            raise PermissionError(f"{part} {reason}")
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        if not any(folder.iterdir()):  # what was compiled before, for an image of a machine, say, can be read at least
            raise
    return folder


@functools.cache
def choice():
    """(folder or None, what to warn of or None)."""
    places = [user_folder, temporary_folder]
    if os.environ.get("FASTCONV_CACHE_DIR"):
        places.insert(0, chosen_folder)
    problems = []
    for place in places if AT_IMPORT else ():
        try:
            folder = prepared(place())
        except (OSError, RuntimeError) as error:
            problems.append(str(error))
            continue
        return folder, f"compiled kernels are kept in {folder.parent}, because {problems[0]}" if problems else None
    problem = "; ".join(problems) or "the sources of fastconv cannot be read"
    return None, f"compiled kernels cannot be kept, so each run compiles again: {problem}"


def cache_folder():
    """The folder for this exact machine and version, or None where there is none; a warning, once, if it is not the usual one."""
    folder, problem = choice()
    if problem:
        warn_once("folder", f"{problem}; set FASTCONV_CACHE_DIR to a private folder")
    return folder
