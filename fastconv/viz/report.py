"""A training run as one HTML page: no script, nothing fetched, everything inside."""

import io
from html import escape
from pathlib import Path

import numpy as np

from fastconv.display.page import page
from fastconv.display.png import as_bytes, data_uri
from fastconv.display.table import Column, Table, thousands
from fastconv.errors import OptionError
from fastconv.files import atomic_write
from fastconv.training.history import TABLE
from fastconv.training.run_folder import load_run
from fastconv.viz.figures import convolution, curves
from fastconv.viz.tiles import filter_tiles, map_tiles

__all__ = ["report"]

SHOWN = 32  # mistakes
FILTERS = 64
LAYERS, MAPS = 12, 16  # shown of a network, and channels of each
SHORT = 3  # letters of a class name; longer ones stand upright above the matrix
MANY = 40  # classes; of more the matrix is left out
LONG = 12  # epochs; a longer table is folded
STYLE = """<style>
.facts{display:flex;flex-wrap:wrap;gap:.6rem 2.2rem;margin:1rem 0 0;padding:0}
.facts div{min-width:6rem} .facts dt{opacity:.7;font-size:.8rem} .facts dd{margin:0;font-size:1.3rem;font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.4rem,1fr));gap:.8rem;max-width:62rem}
.tiles.small{grid-template-columns:repeat(auto-fill,minmax(3.6rem,1fr));gap:.5rem}
.tiles figure{margin:0;font-size:.78rem;line-height:1.25;text-align:center;overflow-wrap:anywhere}
.tiles img{width:100%;image-rendering:pixelated;border-radius:3px;display:block;margin-bottom:.2rem}
.matrix td{text-align:right;padding:.25rem .45rem;min-width:2.1rem} .matrix th{font-weight:400;padding:.25rem .45rem}
.matrix thead th{border:0;vertical-align:bottom} .matrix thead th span{writing-mode:vertical-rl;transform:rotate(180deg)}
.matrix tbody th{text-align:right} .matrix thead th.short span{writing-mode:horizontal-tb;transform:none}
.curves{display:flex;flex-wrap:wrap;gap:1rem} .curves svg{width:30rem;max-width:100%;height:auto;background:#fff}
summary{cursor:pointer;opacity:.8}
</style>"""


def report(folder, path=None):
    """Write the run in `folder` (`fastconv train --run FOLDER`, or `fastconv.training.save_run`) as one HTML file.

    path : where to; default `folder`/report.html.  Returns it

    The page has the facts, learning curves, epochs, accuracy of each class, the confusion matrix, the worst mistakes, the
    filters of the first convolution, what the layers make of the worst mistake, and the network's summary.

    Raises
    ------
    DataError, ModelFileError : no run there, or files that are damaged;  MissingExtraError : matplotlib is needed (extra `viz`)
    FastconvError : the page cannot be written
    """
    run = load_run(folder)
    path = Path(folder, "report.html") if path is None else Path(path)
    atomic_write(path, document(run).encode())
    return path


def document(run):
    """The page of a `StoredRun`."""
    title = run.net.name or "A network"
    parts = [STYLE, f"<h1>{escape(title)}</h1>", facts(run), *learning(run), *answers(run), *first_filters(run.net), *maps(run)]
    summary = run.net.summary()
    parts += ["<h2>Network</h2>", f'<div class="table">{summary._repr_html_()}</div>', "<h2>Settings</h2>", settings(run)]
    return page(title, *parts)


def facts(run):
    """The numbers that one wants to know first."""
    rows, stopped = run.history["rows"], run.history.get("stopped")
    found = {}
    if run.evaluation is not None:
        found["test accuracy"] = f"{run.evaluation.accuracy:.2%}"
        found["test images"] = f"{len(run.evaluation.labels):,}"
    found["parameters"] = f"{run.net.n_parameters:,}"
    found["epochs"] = f"{len(rows)}" + (f" (stopped: {stopped})" if stopped else "")
    seconds = [row["seconds"] for row in rows if isinstance(row.get("seconds"), (int, float))]
    if seconds:
        found["training"] = f"{sum(seconds):,.1f} s"
    items = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in found.items())
    return f'<dl class="facts">{items}</dl>'


def learning(run):
    """Curves, and the table of epochs."""
    rows = run.history["rows"]
    if not rows:
        return
    yield "<h2>Learning</h2>"
    drawn = [svg(curves(rows, [name])) for name in ("loss", "accuracy") if any(row.get(name) is not None for row in rows)]
    yield f'<figure class="curves">{"".join(drawn)}</figure>'
    columns = tuple(column for column in TABLE if any(row.get(column.key) is not None for row in rows))
    table = f'<div class="table">{Table(columns, tuple(rows)).html()}</div>'
    yield table if len(rows) <= LONG else f"<details><summary>{len(rows)} epochs</summary>{table}</details>"


def svg(figure):
    """A figure as the text of an <svg>, its letters as outlines, so that it looks the same everywhere."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "fastconv"}):  # the same names inside, and so the same page, each time
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def answers(run):
    """Classes, confusion and mistakes."""
    if run.evaluation is None:
        return
    few = len(run.evaluation.classes) <= MANY
    yield "<h2>Classes</h2>"
    table = f'<div class="table">{run.evaluation._repr_html_()}</div>'
    yield table if few else f"<details><summary>{len(run.evaluation.classes)} classes</summary>{table}</details>"
    yield "<h2>What is taken for what</h2>"
    yield f'<div class="table">{matrix(run.evaluation) if few else mixed_up(run.evaluation)}</div>'
    if few:
        yield "<p class=note>Rows: the truth; columns: the answer.  The stronger the colour, the larger the share of the row.</p>"
    if len(run.mistakes):
        yield "<h2>Worst mistakes</h2>"
        yield "<p class=note>Truth → answer, and how sure the network was; the surest first.</p>"
        yield tiles([mistake(run, place) for place in range(min(SHOWN, len(run.mistakes)))])


def mixed_up(evaluation):
    """The most frequent mistakes, where a matrix would be too large to look at."""
    columns = Column("truth", "truth"), Column("answer", "answer"), Column("times", "times", "right", thousands)
    return Table(
        columns, tuple(dict(zip(("truth", "answer", "times"), pair, strict=True)) for pair in evaluation.mixed_up())
    ).html()


def matrix(evaluation):
    """The confusion matrix as a table with shaded cells."""
    counts, classes = evaluation.confusion, [escape(name) for name in evaluation.classes]
    kind = " class=short" if max(map(len, evaluation.classes)) <= SHORT else ""
    head = "".join(f"<th{kind}><span>{name}</span></th>" for name in classes)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(cell(count, row.sum(), i == j) for j, count in enumerate(row))}</tr>"
        for i, (name, row) in enumerate(zip(classes, counts, strict=True))
    )
    return f'<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def cell(count, total, right):
    """One number: blue on the diagonal, red beside it, as strong as the square root of its share, so that a few are seen."""
    if not count:
        return "<td></td>"
    strength = 0.08 + 0.62 * float(count / total) ** 0.5
    colour = "37,111,190" if right else "214,69,34"
    return f'<td style="background:rgba({colour},{strength:.2f})">{count:,}</td>'


def mistake(run, place):
    """(picture, words) of one mistake."""
    number = run.mistakes[place]
    found, classes = run.evaluation.probabilities[number], run.evaluation.classes
    answer = int(found.argmax())
    truth = classes[run.evaluation.labels[number]]
    return picture(run.images[place]), f"{truth} → {classes[answer]}, {found[answer]:.0%}"


def picture(image):
    """Any image as bytes in one or three channels."""
    return as_bytes(image if image.shape[2] in (1, 3) else image.mean(2))


def tiles(pairs, kind=""):
    """Pictures with words below."""
    figures = (f'<figure><img src="{data_uri(pixels)}" alt="{escape(words)}">{escape(words)}</figure>' for pixels, words in pairs)
    return f'<div class="tiles {kind}">{"".join(figures)}</div>'


def first_filters(net):
    """The filters of the first convolution, where there is one."""
    try:
        layer = convolution(net)
    except OptionError:
        return
    pairs = list(zip(*filter_tiles(np.asarray(layer.params["w"]), FILTERS), strict=True))
    yield f"<h2>Filters of {escape(layer.label)}</h2>"
    yield "<p class=note>One scale for all: mid-grey is zero, white the largest weight, black the same below zero.</p>"
    yield tiles(pairs, "small")


def maps(run):
    """What layers that look at windows, and blocks, make of the worst mistake: a row of feature maps each."""
    if run.images is None or not len(run.images) or run.images[0].shape != run.net.input_shape:
        return
    pixels, words = mistake(run, 0)
    yield "<h2>Through the network</h2>"
    yield f"<p class=note>The worst mistake ({escape(words)}), bright where a channel answers most; one scale for each layer.</p>"
    yield tiles([(pixels, "image")], "small")
    seen = [(layer, y[0]) for layer, y in run.net.trace(run.images[:1]) if y.ndim == 4 and is_shown(layer)]
    for layer, y in seen[:LAYERS]:
        pairs = list(zip(*map_tiles(y, MAPS), strict=True))
        more = f", {len(pairs)} of {y.shape[2]} channels" if y.shape[2] > len(pairs) else ""
        yield f"<p>{escape(layer.label)}: {y.shape[0]}×{y.shape[1]}{more}</p>"
        yield tiles(pairs, "small")
    if len(seen) > LAYERS:
        yield f"<p class=note>{len(seen) - LAYERS} more layers are not shown.</p>"


def is_shown(layer):
    return bool(layer.nested) or layer.geometry(layer.input_shape) is not None


def settings(run):
    """How to repeat it."""
    known = {**run.history["settings"], "threads": run.history.get("threads"), "cpu": run.history.get("cpu")}
    known |= run.history.get("versions") or {}
    rows = tuple({"name": name, "value": str(value)} for name, value in known.items() if value is not None)
    return f'<div class="table">{Table((Column("name", "setting"), Column("value", "value")), rows).html()}</div>'
