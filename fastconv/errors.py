"""Everything that fastconv raises or warns about on purpose.

Each error is also the built-in error a caller would expect (`ValueError`, `TypeError`, …), so plain `except ValueError` keeps
working.  `exit_code` is what the command line ends with when the error reaches it.
"""

__all__ = [
    "DTypeError",
    "DataError",
    "FastconvError",
    "FastconvWarning",
    "MemoryLimitError",
    "MissingExtraError",
    "ModelFileError",
    "OptionError",
    "ShapeError",
    "TrainingError",
]


class FastconvError(Exception):
    """Base of all errors below: one clear line, no traceback needed to understand it."""

    exit_code = 3


class ShapeError(FastconvError, ValueError):
    """Sizes that do not fit together."""


class DTypeError(FastconvError, TypeError):
    """An array, or an element type, that cannot be computed with."""


class OptionError(FastconvError, ValueError):
    """An argument outside its allowed values, or options that exclude each other."""


class DataError(FastconvError, ValueError):
    """A data set that is missing, damaged or not what it claims to be."""


class ModelFileError(FastconvError, ValueError):
    """A model file that cannot be trusted or understood."""


class TrainingError(FastconvError, RuntimeError):
    """Training that cannot go on, such as a loss that is not finite."""

    exit_code = 4


class MemoryLimitError(FastconvError, MemoryError):
    """A call that needs more memory than there is."""

    exit_code = 5


class MissingExtraError(FastconvError, ImportError):
    """A feature whose optional packages are not installed."""

    exit_code = 5

    @classmethod
    def of(cls, feature, package, extra):
        return cls(f'{feature} needs {package}, which is not installed; run: pip install "fastconv[{extra}]"')


class FastconvWarning(UserWarning):
    """Something works, but not as well as it could."""
