"""Checks of settings that several parts of training share: what came, what was needed, one way out."""

import os
import tempfile
from inspect import signature
from pathlib import Path

from fastconv.errors import FastconvError, OptionError, ShapeError
from fastconv.functional.arrays import number

__all__ = ["callable_with", "file_name", "images_only", "number", "takes", "writable"]


def callable_with(value, name, needed, arguments=1, keywords=()):
    """`value` if it can be called with so many arguments, else OptionError; a class is refused, for it makes an object first."""
    if isinstance(value, type):
        raise OptionError(f"{name}: got the class {value.__name__}; needed {needed}; make an object of it: {value.__name__}(…)")
    if not callable(value):
        raise OptionError(f"{name}: got {value!r}; needed {needed}")
    if not takes(value, arguments, keywords):
        what = f"{arguments} argument{'s' if arguments > 1 else ''}{''.join(f' and {keyword}=' for keyword in keywords)}"
        raise OptionError(f"{name}: got {value!r}, which cannot be called with {what}; needed {needed}")
    return value


def takes(function, arguments, keywords=()):
    """Whether a function can be called with so many arguments; True where it does not tell."""
    try:
        found = signature(function)
    except (TypeError, ValueError):  # some that are written in C
        return True
    try:
        found.bind(*range(arguments), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def file_name(value, name, such_as):
    """The name of a file or folder as text, else OptionError."""
    found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else ""
    if not (isinstance(found, str) and found):
        raise OptionError(f'{name}: got {value!r}; needed a name, such as "{such_as}"')
    return found


def writable(folder, name):
    """Make a folder where it is missing; FastconvError where it cannot be written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        what = f"{name}: {folder} is no folder that can be written ({error.strerror})"
        raise FastconvError(f"{what}; give another one") from None


def images_only(x, what):
    """ShapeError where x is not (N, H, W, C)."""
    if x.ndim != 4:
        raise ShapeError(f"{what}: got examples of shape {x.shape}; needed images (N, H, W, C); leave it out for rows of numbers")
