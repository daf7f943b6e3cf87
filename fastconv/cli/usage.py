"""Values of options: from text, and refused as usage errors (exit code 2)."""

from argparse import ArgumentTypeError
from contextlib import contextmanager

from fastconv.errors import OptionError, ShapeError

__all__ = ["UsageError", "as_options", "index", "natural", "padding", "positive", "sizes"]


class UsageError(OptionError):
    """An option of the command line that cannot be."""

    exit_code = 2


@contextmanager
def as_options(args, **options):
    """Errors about arguments become usage errors: "weight_decay: got …" is "--weight-decay: got …" to who typed it.  `options`
    has the name of an option where that of the argument is another one."""
    try:
        yield
    except UsageError:
        raise
    except (OptionError, ShapeError) as error:
        name, _, what = str(error).partition(": ")
        name = options.get(name, name)
        raise UsageError(f"--{name.replace('_', '-')}: {what}" if hasattr(args, name) else str(error)) from error


def whole(text, least):
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or number < least:
        raise ArgumentTypeError(f"got {text!r}; needed a whole number of at least {least}")
    return number


def positive(text):
    """A whole number from 1 on."""
    return whole(text, 1)


def natural(text):
    """A whole number from 0 on."""
    return whole(text, 0)


def index(text):
    """ "3,4,0" as (3, 4, 0)."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ArgumentTypeError(f"got {text!r}; needed whole numbers such as 3,4,0") from None


def padding(text):
    """A word, a number of pixels, or "1,2" as (1, 2), vertical and horizontal."""
    if text in ("valid", "same", "full"):
        return text
    numbers = text.split(",")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise ArgumentTypeError(f"got {text!r}; needed valid, same, full, or pixels: 1, or 1,2 for vertical and horizontal")
    return int(text) if len(numbers) == 1 else tuple(map(int, numbers))


def sizes(text):
    """ "28x28x1" as (28, 28, 1)."""
    numbers = text.lower().replace("×", "x").split("x")
    if len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise ArgumentTypeError(f"got {text!r}; needed HEIGHTxWIDTHxCHANNELS, such as 28x28x1")
    return tuple(map(int, numbers))
