"""Progress of a run: a bar where there is a terminal to draw it, and one plain row for each epoch everywhere."""

import os
import sys
from time import monotonic

from fastconv.errors import OptionError

__all__ = ["Progress"]

# title, key of the value, width, digits after the point; None: text as it is
COLUMNS = (
    ("epoch", "epoch", 7, None),
    ("loss", "loss", 9, 4),
    ("accuracy", "accuracy", 9, 4),
    ("val_loss", "val_loss", 9, 4),
    ("val_accuracy", "val_accuracy", 13, 4),
    ("seconds", "seconds", 8, 2),
    ("images/s", "images_per_second", 10, 0),
)
REDRAW = 0.1  # seconds between two drawings of the bar


class Progress:
    """Shows a run on `stream` (default: the standard error, so that results on the standard output stay clean).

    verbose : 0 nothing, 1 rows and, on a terminal, a bar; 2 rows only.  FASTCONV_QUIET in the environment means 0.  No bar, and
        no control character, where the stream is no terminal or TERM is "dumb"; NO_COLOR is respected.
    epochs, iterations : what 100 % is: epochs of so many iterations
    """

    def __init__(self, epochs, iterations, *, verbose=1, stream=None):
        if verbose not in (0, 1, 2):
            raise OptionError(f"verbose: got {verbose!r}; needed 0 (silent), 1 (bar and rows) or 2 (rows)")
        self.stream = sys.stderr if stream is None else stream
        self.epochs, self.iterations = epochs, iterations
        self.verbose = 0 if quiet() or self.stream is None else verbose
        self._bar = None
        self._drawn = 0.0
        self._titled = False

    def __enter__(self):
        if self.verbose == 1 and drawable(self.stream):
            self._bar = Bar(self.stream, self.epochs * self.iterations)
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text):
        """One line of text."""
        if not self.verbose:
            return
        text = in_charset(text, self.stream)
        if self._bar is not None:
            self._bar.line(text)
        else:
            self.stream.write(f"{text}\n")
            self.stream.flush()

    def row(self, values):
        """One epoch: a dict with values for `COLUMNS`; "-" where one is missing or None.  The titles come before the first."""
        if not self._titled:
            self.say("".join(title.rjust(width) for title, _, width, _ in COLUMNS))
            self._titled = True
        values = {**values, "epoch": f"{values['epoch']}/{self.epochs}"}
        self.say("".join(cell(values.get(key), digits).rjust(width) for _, key, width, digits in COLUMNS))

    def iteration(self, done, text):
        """Move the bar to `done` iterations of the run, with a few words beside it."""
        if self._bar is not None and (monotonic() - self._drawn > REDRAW or done == self.epochs * self.iterations):
            self._bar.move(done, text)
            self._drawn = monotonic()


class Bar:
    """A rich progress bar, drawn only when it is told to: no thread of its own, so nothing runs beside the kernels."""

    def __init__(self, stream, total):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._console = Console(file=stream, highlight=False, markup=False)
        self._progress = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
        self._task = self._progress.add_task("compiling kernels, or loading them from the cache", total=total)
        self._progress.start()
        self._progress.refresh()

    def line(self, text):
        """Print a line above the bar, never broken by its width."""
        self._console.print(text, soft_wrap=True)

    def move(self, done, text):
        self._progress.update(self._task, completed=done, description=text, refresh=True)

    def close(self):
        self._progress.stop()


def quiet():
    """Whether FASTCONV_QUIET asks for silence."""
    return os.environ.get("FASTCONV_QUIET", "") not in ("", "0")


def drawable(stream):
    """Whether a bar can be drawn on `stream`."""
    terminal = getattr(stream, "isatty", None)
    return bool(terminal and terminal()) and os.environ.get("TERM") != "dumb"


def cell(value, digits):
    """A value as text."""
    if value is None:
        return "-"
    return value if digits is None else f"{value:,.{digits}f}"


def in_charset(text, stream):
    """`text` with "?" for characters that `stream` cannot take."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
