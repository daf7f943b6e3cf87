"""Constructor arguments: checked, and in the two forms in which they are kept (hashable) and saved (JSON)."""

from math import isfinite

from fastconv.errors import OptionError

__all__ = ["flag", "fraction", "frozen", "plain"]


def flag(value, name):
    """`value` if it is True or False, else OptionError."""
    if not isinstance(value, bool):
        raise OptionError(f"{name}: got {value!r}; needed True or False")
    return value


def fraction(value, name, least, limit):
    """`value` as a float, least <= value <= limit, else OptionError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (isfinite(value) and least <= value <= limit):
        raise OptionError(f"{name}: got {value!r}; needed a number from {least} to {limit}")
    return float(value)


def frozen(value):
    """`value` with tuples for lists, so that it can be compared and hashed."""
    return tuple(frozen(v) for v in value) if isinstance(value, (tuple, list)) else value


def plain(value):
    """`value` with lists for tuples and Python numbers for NumPy's: what JSON can hold."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value
