"""Lengths of time as people write them."""

import re
from math import isfinite

from fastconv.errors import OptionError

__all__ = ["in_words", "seconds"]

UNITS = {"": 1, "s": 1, "min": 60, "h": 3600}


def seconds(value, name):
    """Seconds from "90s", "1.5min", "2h" or a number; OptionError for anything else, and for 0 and less.

    >>> seconds("1.5min", "budget"), seconds(90, "budget")
    (90.0, 90.0)
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(s|min|h|)\s*", str(value))
    length = float(found[1]) * UNITS[found[2]] if found and not isinstance(value, bool) else 0.0
    if not (isfinite(length) and length > 0):
        raise OptionError(f'{name}: got {value!r}; needed a time above 0, such as "60s", "5min" or "1.5h"')
    return length


def in_words(length):
    """
    >>> in_words(0.31), in_words(42.4), in_words(600), in_words(8000)
    ('0.3 s', '42 s', '10 min', '2 h 13 min')
    """
    if length < 99.5:
        return f"{length:.0f} s" if length >= 9.95 else f"{length:.1f} s"
    minutes = round(length / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
