"""What a command says: results on the standard output, messages on the standard error."""

import json
import re
import sys
import warnings

from fastconv.errors import FastconvWarning

__all__ = ["Output"]

SCHEMA = 1  # of every JSON form; grows when a member changes its meaning
SHOW_WARNING = warnings.showwarning


class Output:
    """`as_json`: the result is one JSON document instead of text; `quiet`: no messages, only results and errors."""

    def __init__(self, as_json=False, quiet=False):
        self.as_json, self.quiet = as_json, quiet

    def result(self, text, **members):
        """The result: `text`, or with --json its `members`."""
        if self.as_json:
            self.document({"schema": SCHEMA, **members})
        else:
            self.text(text)

    def text(self, text):
        """Text on the standard output, in characters that it can show."""
        from fastconv.display.table import in_ascii

        print(in_ascii(str(text)))

    def document(self, value):
        """One JSON document, from its value or from its text."""
        value = json.loads(value) if isinstance(value, str) else value
        text = indented(value, ensure_ascii=False)
        try:
            text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            text = indented(value, ensure_ascii=True)
        print(text)

    def message(self, text):
        """A line for the person at the terminal."""
        if not self.quiet:
            self.error_line(text)

    def error(self, line):
        """Why the command failed; said also with --quiet."""
        self.error_line(f"fastconv: {line}")

    def warning(self, message, category, filename, lineno, file=None, line=None):
        """In the place of `warnings.showwarning`: our own warnings in one line, others as Python shows them."""
        if not issubclass(category, FastconvWarning):
            SHOW_WARNING(message, category, filename, lineno, file, line)
        else:
            self.message(f"fastconv: note: {message}")

    def compiled(self):
        """Say how long kernels were compiled, if any were."""
        from fastconv.machine import compile_seconds

        if compile_seconds() > 0.1:
            self.message(f"(compiled kernels in {compile_seconds():.1f} s; the next run finds them in the cache)")

    def error_line(self, text):
        """A line on the standard error, in characters that it can show; a file's name cannot move the cursor."""
        from fastconv.display.table import printable

        if sys.stderr is not None:
            encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
            print(printable(text).encode(encoding, "replace").decode(encoding), file=sys.stderr, flush=True)

    def flush(self):
        """Find out now, not at the interpreter's end, whether everything could be written."""
        if sys.stdout is not None:
            sys.stdout.flush()


def indented(value, ensure_ascii):
    """JSON text with a line for each member, but rows of numbers in one line (no JSON string holds a line break)."""
    text = json.dumps(value, indent=2, ensure_ascii=ensure_ascii)
    return re.sub(r"\[\s[^\[\]{}]*\]", in_one_line, text)


def in_one_line(row):
    return re.sub(r"\n\s*", " ", row[0]).replace("[ ", "[", 1).removesuffix(" ]") + "]"
