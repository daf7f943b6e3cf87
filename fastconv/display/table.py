"""Tables: rows of values in; aligned text, HTML or JSON out.  Knows nothing of what the rows are about."""

import html
import itertools
import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Column", "Table", "sizes", "thousands"]

GAP = "  "
DEPTH = "depth"
NBSP = "\u00a0"  # a space where a cell is not broken; shown as a space
FOLDING = "<style>tbody.inside{display:none} tbody:has(input.opens:checked)+tbody.inside{display:table-row-group}</style>"
PLAIN = str.maketrans({"·": "*", "×": "x", "─": "-", "–": "-", "²": "^2"})  # for terminals that cannot show these


def thousands(value):
    """1234567 as "1,234,567"; None as nothing."""
    return "" if value is None else f"{value:,}"


def sizes(shape):
    """(28, 28, 6) as "28×28×6"; None as nothing."""
    return "" if shape is None else "×".join(map(str, shape))


@dataclass(frozen=True)
class Column:
    """One column: `key` finds the value in a row, `show` makes text of it.

    Where a table is too wide, `extra` columns are left out; then the cells of `spare` columns break at spaces; where that is not
    enough these columns are left out too and the others break.
    """

    key: str
    title: str
    align: str = "left"
    show: Callable = str
    spare: bool = False
    extra: bool = False

    def cell(self, row):
        """Text of one row; "" where the row has no such value."""
        return printable(self.show(row[self.key])) if self.key in row else ""


@dataclass(frozen=True)
class Table:
    """Columns over rows (dicts), a foot of further rows under a rule, and notes below.

    A row that belongs to an earlier one says so with a number above 0 under the key `DEPTH`: HTML folds it away until that is
    opened, text shows it like any other.

    >>> print(Table((Column("n", "name"), Column("v", "value", "right")), ({"n": "a", "v": 1}, {"n": "bc", "v": 20})))
    name  value
    ───────────
    a         1
    bc       20
    """

    columns: tuple
    rows: tuple
    foot: tuple = ()
    notes: tuple = ()
    title: str = ""

    def text(self, width=None, plain=None):
        """Aligned text, at most `width` characters wide where words allow it (default: the terminal's, or 100).

        `plain` replaces signs outside ASCII; by default when the standard output cannot show them.
        """
        width = width or shutil.get_terminal_size((100, 24)).columns
        layout = Layout.fitting(self.columns, (*self.rows, *self.foot), width)
        title = [printable(self.title)] if self.title else []
        foot = [layout.rule, *layout.lines(self.foot)] if self.foot else []
        notes = [line.replace(NBSP, " ") for note in self.notes for line in textwrap.wrap(printable(note), width)]
        return in_ascii("\n".join([*title, *layout.head, layout.rule, *layout.lines(self.rows), *foot, *notes]), plain)

    def html(self):
        """A self-contained <table>; every text is escaped."""
        head = "".join(f"<th style='text-align:{c.align}'>{html.escape(c.title)}</th>" for c in self.columns)
        foot = "".join(self._html_row(row) for row in self.foot)
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<table>{caption}<thead><tr>{head}</tr></thead>{self._html_body()}<tfoot>{foot}</tfoot></table>{notes}"

    def _html_body(self):
        """Rows in one <tbody>, or each that can be opened with those that belong to it."""
        groups = []
        for row in self.rows:
            if row.get(DEPTH) and groups:
                groups[-1].append(row)
            else:
                groups.append([row])
        if all(len(group) == 1 for group in groups):
            return f"<tbody>{''.join(self._html_row(row) for row in self.rows)}</tbody>"
        return FOLDING + "".join(map(self._html_group, groups))

    def _html_group(self, rows):
        first, *inside = rows
        if not inside:
            return f"<tbody>{self._html_row(first)}</tbody>"
        hidden = "".join(self._html_row(row) for row in inside)
        opener = "<label><input type=checkbox class=opens> "
        return f"<tbody>{self._html_row(first, opener)}</tbody><tbody class=inside>{hidden}</tbody>"

    def _html_row(self, row, opener=""):
        """One row, with `opener` before the text of its first cell."""
        texts = [html.escape(c.cell(row)) for c in self.columns]
        indent = len(texts[0]) - len(texts[0].lstrip(NBSP))
        texts = [text.replace(NBSP, " ") for text in texts]
        texts[0] = f"{opener}{texts[0]}</label>" if opener else "&nbsp;" * 3 * indent + texts[0].lstrip()
        breaks = ["; white-space:normal; min-width:15em" if c.spare else "" for c in self.columns]
        cells = (f"<td style='text-align:{c.align}{b}'>{t}</td>" for c, b, t in zip(self.columns, breaks, texts, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    def json(self, **extra):
        """JSON text of the rows as they were given, with `extra` members beside them."""
        return json.dumps({**extra, "rows": list(self.rows)}, ensure_ascii=False, indent=2)

    def __str__(self):
        return self.text()

    def _repr_html_(self):
        return self.html()


@dataclass(frozen=True)
class Layout:
    """Columns with the width of each."""

    columns: tuple
    widths: tuple

    @classmethod
    def fitting(cls, columns, rows, width):
        """All columns if they fit, else without the extra and then the spare ones; the others are narrowed as words allow."""
        layout = cls.narrowed(columns, rows, width, [False] * len(columns))
        if len(layout.rule) <= width:
            return layout
        columns = tuple(c for c in columns if not c.extra)
        layout = cls.narrowed(columns, rows, width, [c.spare for c in columns])
        if len(layout.rule) <= width:
            return layout
        columns = tuple(c for c in columns if not c.spare)
        return cls.narrowed(columns, rows, width, [True] * len(columns))

    @classmethod
    def narrowed(cls, columns, rows, width, may_break):
        """The widest cells of columns that may break are broken until the whole fits or no word is left to move."""
        cells = [[c.title, *map(c.cell, rows)] for c in columns]
        widths = [max(map(columns_of, column)) for column in cells]
        least = [max(columns_of(word) for cell in column for word in cell.split(" ")) for column in cells]
        for _ in range(sum(widths) + len(GAP) * (len(widths) - 1) - width):
            wide = [i for i in range(len(widths)) if may_break[i] and widths[i] > least[i]]
            if wide:
                widths[max(wide, key=widths.__getitem__)] -= 1
        return cls(columns, tuple(widths))

    @property
    def rule(self):
        return "─" * (sum(self.widths) + len(GAP) * (len(self.widths) - 1))

    @property
    def head(self):
        return self._broken([c.title for c in self.columns])

    def lines(self, rows):
        """Text lines of the rows."""
        return [line for row in rows for line in self._broken([c.cell(row) for c in self.columns])]

    def _broken(self, cells):
        """One row as lines, more than one where a cell is broken."""
        broken = [break_words(cell, width) for cell, width in zip(cells, self.widths, strict=True)]
        filled = (
            [pad(text, width, c.align) for text, width, c in zip(line, self.widths, self.columns, strict=True)]
            for line in itertools.zip_longest(*broken, fillvalue="")
        )
        return [GAP.join(line).rstrip() for line in filled]


def printable(text):
    """`text` with control characters spelled out: a name from a file must not move the cursor."""
    return "".join(c if c.isprintable() or c == NBSP else c.encode("unicode_escape").decode() for c in text)


def in_ascii(text, plain=None):
    """`text` in characters that the standard output can show."""
    if plain is None:
        try:
            text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
            plain = False
        except (UnicodeEncodeError, LookupError):
            plain = True
    return text.translate(PLAIN).encode("ascii", "backslashreplace").decode() if plain else text


def columns_of(text):
    """Terminal columns that `text` takes: two for wide East Asian characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text, width, align):
    """`text` filled up to `width` columns."""
    room = " " * (width - columns_of(text))
    return (room + text if align == "right" else text + room).replace(NBSP, " ")


def break_words(text, width):
    """`text` in lines of at most `width` columns, broken at spaces; a longer word stays whole."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and columns_of(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
