"""Constructor arguments: checked, and in the two forms in which they are kept (hashable) and saved (JSON)."""

from fastconv.errors import OptionError
from fastconv.functional.arrays import number

__all__ = ["flag", "fraction", "frozen", "layer_name", "plain", "settled"]


def flag(value, name):
    """`value` as a bool if it is True or False, Python's or NumPy's, else OptionError."""
    found = plain(value)
    if not isinstance(found, bool):
        raise OptionError(f"{name}: got {value!r}; needed True or False")
    return found


def layer_name(value):
    """`value` if it can be the name of a layer, which is a part of its arrays' names, else OptionError."""
    if value is not None and not (isinstance(value, str) and value):
        raise OptionError(f'name: got {value!r:.80}; needed text, such as "first", or None for a name by the kind of layer')
    if value is not None and "." in value:
        raise OptionError(f"name: got {value!r:.80}; needed one without a dot, which stands between a block and its layers")
    return value


def fraction(value, name, least, limit):
    """`value` as a float, least <= value <= limit, else OptionError."""
    return number(value, name, f"a number from {least} to {limit}", lambda given: least <= given <= limit)


def frozen(value):
    """`value` with tuples for lists, so that it can be compared and hashed."""
    return tuple(frozen(v) for v in value) if isinstance(value, (tuple, list)) else value


def plain(value):
    """`value` with lists for tuples and Python numbers for NumPy's: what JSON can hold."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def settled(value):
    """`value` as a layer keeps it, hashable: Python's numbers, tuples."""
    return frozen(plain(value))
