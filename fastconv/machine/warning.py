"""Warnings that are given once and point at the user's own line."""

import os
import sys
import warnings

from fastconv.errors import FastconvWarning

__all__ = ["is_set_to", "warn_once"]

PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
NUMBA = f"{os.sep}numba{os.sep}"  # it calls back while it compiles
SAID = set()


def is_set_to(variable, word, usual):
    """Whether an environment variable has this value; one that is neither this nor the `usual` one is warned about."""
    given = os.environ.get(variable, usual)
    if given not in (word, usual, ""):
        warn_once(
            variable, f"{variable}: got {given!r}, which changes nothing; needed {word!r}, or {usual!r} as it is without it"
        )
    return given == word


def warn_once(subject, message):
    """A FastconvWarning, the first time in this process for `subject`, at the innermost line that is neither ours nor Numba's."""
    if subject in SAID:
        return
    SAID.add(subject)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and (frame.f_code.co_filename.startswith(PACKAGE) or NUMBA in frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FastconvWarning, stacklevel=level)
