"""Where data sets lie: the folder given, else FASTCONV_DATA, else the user's cache; each with or without a sub-folder."""

import os
from pathlib import Path

from fastconv.errors import DataError, OptionError

__all__ = ["at_home", "home", "not_found", "places"]


def places(name, folder=None):
    """The folders to search for data set `name`, best first: its own sub-folder before the folder that may hold several."""
    return [place for root in roots(folder) for place in (root / name, root)]


def home(name, folder=None):
    """The folder that a download of data set `name` goes to."""
    root = roots(folder)[0]
    return root if root.name == name else root / name


def roots(folder):
    if folder is not None:
        try:
            return [at_home(folder)]
        except TypeError:
            raise OptionError(f"folder: got {folder!r}; needed a path, or None for FASTCONV_DATA and the user's cache") from None
    import platformdirs

    chosen = os.environ.get("FASTCONV_DATA")
    cache = Path(platformdirs.user_cache_dir("fastconv", appauthor=False), "data")
    return [at_home(chosen), cache] if chosen else [cache]


def at_home(path):
    """`path` with the home folder for a "~" at its beginning; DataError where there is none of that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise DataError(f"{path}: there is no such home folder; needed the path of a folder") from None


def not_found(name, searched, wanted, hint=""):
    """The error for a data set that is in none of the folders `searched`."""
    where = ", ".join(map(str, searched))
    way_out = f"give folder=, set FASTCONV_DATA, or fetch it once with fastconv.data.{name}(download=True)"
    return DataError(f"{name}: not found in {where}; needed {wanted}{hint}; {way_out}")
