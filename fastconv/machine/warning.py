"""Warnings that are given once and point at the user's own line."""

import os
import sys
import warnings

from fastconv.errors import FastconvWarning

__all__ = ["warn_once"]

PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
NUMBA = f"{os.sep}numba{os.sep}"  # it calls back while it compiles
SAID = set()


def warn_once(subject, message):
    """A FastconvWarning, the first time in this process for `subject`, at the innermost line that is neither ours nor Numba's."""
    if subject in SAID:
        return
    SAID.add(subject)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and (frame.f_code.co_filename.startswith(PACKAGE) or NUMBA in frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, FastconvWarning, stacklevel=level)
