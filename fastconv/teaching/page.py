"""An `Explanation` as a page: a list of blocks (lines, grids, sums), then the same blocks as text or as HTML."""

import shutil
import textwrap
from dataclasses import dataclass
from html import escape
from math import isfinite

import numpy as np

from fastconv.display.table import in_ascii, sizes
from fastconv.teaching.formula import SIDES, formula, meaning, sizes_text, subject

__all__ = ["html", "text"]

GRID = 8  # a grid with more rows or columns is shown in part
FULL_SUM = 25  # products that are written out
FULL_PARTS = 4  # channels (images, filters) whose grids are shown
SUMS = 16  # lines of the table of sums


@dataclass(frozen=True)
class Grids:
    """Rows of texts under titles, side by side."""

    titles: tuple
    tables: tuple


@dataclass(frozen=True)
class Sums:
    """(name, number) lines; the last is their total."""

    rows: tuple


def number(value):
    """Integers in full, others with four significant digits."""
    value = float(value) + 0.0  # + 0.0: no minus zero
    if isfinite(value) and value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.4g}"


def blocks(found):
    """The page, from the answer down to the sum: strings, `Grids` and `Sums`."""
    yield f"{found.element} = {number(found.value)}" + subject(found)
    yield sizes_text(found)
    yield formula(found)
    yield from meaning(found)
    shown = found.parts if len(found.parts) <= FULL_PARTS else found.parts[: FULL_PARTS // 2]
    for part in shown:
        yield from part_blocks(found, part)
    if len(shown) < len(found.parts):
        yield f"The other {len(found.parts) - len(shown):,} {SIDES[found.of][2]}s in the same way."
    if len(found.parts) > 1 or found.bias is not None or found.activation:
        yield Sums(tuple(sum_rows(found)))
    if found.activation:
        yield f"{found.activation}({number(found.before)}) = {number(found.value)}"
    if has_fractions(found):
        yield "Fractions are shown with four digits; the sum is computed from all of them."


def has_fractions(found):
    """Whether some number of the page is rounded."""
    return any(not np.array_equal(side, np.round(side)) for part in found.parts for side in (part.left, part.right))


def part_blocks(found, part):
    """The three grids of one part and its sum."""
    left, right, what = SIDES[found.of]
    if not part.left.size:
        return
    if len(found.parts) > 1:
        yield ""
        yield f"{what} {part.index}"
    tables = (cells(part.left, part.padding), cells(part.right), cells(part.products))
    yield Grids((left, right, f"{left} · {right}"), tables)
    if max(part.left.shape) > GRID:
        yield f"({sizes(part.left.shape)} numbers each, shown in part)"
    yield written_out(part) if part.left.size <= FULL_SUM else counted(part)


def cells(values, padding=None):
    """A grid as rows of texts: padding in brackets, a large grid without its middle."""
    texts = [[number(value) for value in row] for row in values]
    if padding is not None:
        texts = [
            [f"[{cell}]" if outside else cell for cell, outside in zip(*row, strict=True)]
            for row in zip(texts, padding, strict=True)
        ]
    width = len(texts[0])
    return tuple(map(tuple, fold([fold(row, "…") for row in texts], ["…"] * min(width, GRID))))


def fold(items, dots):
    """`items`, or the first ones, `dots` and the last one."""
    return items if len(items) <= GRID else [*items[: GRID - 2], dots, items[-1]]


def written_out(part):
    """3·1 + 0·0 + 1·(-1) = 2"""
    pairs = zip(part.left.flat, part.right.flat, strict=True)
    return " + ".join(f"{factor(a)}·{factor(b)}" for a, b in pairs) + f" = {number(part.sum)}"


def factor(value):
    """A number that may stand behind a sign."""
    return f"({number(value)})" if value < 0 else number(value)


def counted(part):
    """Many products in one sentence."""
    products = part.products
    above, below = products[products > 0], products[products < 0]
    return (
        f"{products.size:,} products: {above.size:,} above zero make {number(above.sum())}, {below.size:,} below zero make "
        f"{number(below.sum())}, {products.size - above.size - below.size:,} are zero; together {number(part.sum)}"
    )


def sum_rows(found):
    """The sum of each part, folded where there are many, the bias and the total."""
    what, parts = SIDES[found.of][2], found.parts
    shown = parts if len(parts) <= SUMS else parts[: SUMS - 1]
    yield from ((f"{what} {part.index}", number(part.sum)) for part in shown)
    if rest := parts[len(shown) :]:
        yield f"{len(rest):,} more {what}s", number(sum(part.sum for part in rest))
    if found.bias is not None:
        yield f"bias b[{found.place['o']}]", number(found.bias)
    yield "before the activation" if found.activation else found.element, number(found.before)


# The blocks as text


def text(found, width=None, plain=None):
    """Lines of at most `width` characters where words allow it."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    lines = []
    for block in blocks(found):
        lines += block_lines(block, width)
    return in_ascii("\n".join(line.rstrip() for line in lines).rstrip(), plain)


def block_lines(block, width):
    if isinstance(block, Grids):
        return grid_lines(block, width)
    if isinstance(block, Sums):
        return sum_lines(block)
    return textwrap.wrap(block, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) or [""]


def grid_lines(block, width):
    """The grids side by side, or one below the other where they are too wide."""
    drawn = [draw(title, table) for title, table in zip(block.titles, block.tables, strict=True)]
    if sum(len(lines[0]) for lines in drawn) + 3 * len(drawn) > width:
        return ["", *(f"  {line}" for lines in drawn for line in [*lines, ""])]
    return ["", *("  " + "   ".join(row) for row in zip(*drawn, strict=True)), ""]


def draw(title, table):
    """One grid as lines of equal width, its title first."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    width = max(len(title), len(rows[0]))
    return [title.ljust(width), *(row.ljust(width) for row in rows)]


def sum_lines(block):
    """An addition as it is written by hand."""
    names, values = zip(*block.rows, strict=True)
    left, right = max(map(len, names)), max(map(len, values))
    lines = [f"  {name:<{left}}  {value:>{right}}" for name, value in block.rows]
    return ["", *lines[:-1], f"  {'─' * (left + 2 + right)}", lines[-1], ""]


# The blocks as HTML


def html(found):
    """A self-contained fragment; every text is escaped."""
    return "".join(map(block_html, blocks(found)))


def block_html(block):
    if isinstance(block, Grids):
        pairs = zip(block.titles, block.tables, strict=True)
        return "<div style='display:flex;gap:2em'>" + "".join(table_html(table, title) for title, table in pairs) + "</div>"
    if isinstance(block, Sums):
        return table_html(block.rows)
    return f"<p>{escape(block)}</p>" if block else ""


def table_html(rows, title=""):
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    body = "".join("<tr>" + "".join(map(cell_html, row)) + "</tr>" for row in rows)
    return f"<table style='text-align:right'>{caption}<tbody>{body}</tbody></table>"


def cell_html(cell):
    shade = " style='background:#8884'" if cell.startswith("[") else ""
    return f"<td{shade}>{escape(cell)}</td>"
