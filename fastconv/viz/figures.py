"""One figure for each question that training raises: does it learn, what is mistaken for what, what do the filters look for?"""

import numpy as np

from fastconv.display.png import as_bytes
from fastconv.errors import MissingExtraError, OptionError, ShapeError
from fastconv.geometry import ConvGeometry
from fastconv.models.sequential import checked_network
from fastconv.training.evaluation import Evaluation
from fastconv.viz.tiles import filter_tiles, map_tiles

__all__ = ["activations", "confusion", "curves", "filters", "mistakes"]

TRAIN, HELD_OUT = "#1f6fb4", "#d9660a"
MOST = 64  # pictures in one figure
PER_ROW = 8
COUNTED, NAMED = 30, 60  # classes of a confusion matrix up to which its numbers, and its names, can be read


def new_figure(width, height):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError.of("Drawing", "matplotlib", "viz") from None
    return Figure(figsize=(width, height), layout="constrained")


def curves(history, names=("loss", "accuracy")):
    """Loss and accuracy over the epochs, of the training images and, where there are any, of those held out.

    history : a `History`, or the rows of one (dicts with epoch, loss, accuracy, val_loss, val_accuracy)
    names : those to draw, side by side; what was never measured is left out
    """
    if not (hasattr(history, "rows") or hasattr(history, "__iter__")):
        raise OptionError(f"history: got {history!r:.80}; needed what Trainer.fit returned")
    rows = history.rows() if hasattr(history, "rows") else list(history)
    asked = names
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    if not names:
        raise OptionError(f"history: got no epoch with any of {', '.join(asked)}; needed a whole epoch, and what it measured")
    figure = new_figure(4.6 * len(names), 3.1)
    for axis, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for key, colour, label in ((name, TRAIN, "training"), (f"val_{name}", HELD_OUT, "held out")):
            points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, label=label, marker="o", markersize=3, linewidth=1.6)
        plain(axis, name)
    return figure


def plain(axis, name):
    """What every curve's axes look like."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axis.set_title(name.capitalize(), loc="left", fontsize=11)
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(color="#8883", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    if name == "accuracy":
        axis.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))


def confusion(evaluation):
    """The confusion matrix of an `Evaluation`: rows are the true classes, columns the answers; shades within each row."""
    counts = checked_evaluation(evaluation).confusion
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = min(max(3.5, 0.5 * len(counts) + 1.5), 16)
    figure = new_figure(size, size)
    axis = figure.subplots()
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(counts) <= NAMED:
        axis.set_xticks(range(len(counts)), evaluation.classes, rotation=45, ha="right")
        axis.set_yticks(range(len(counts)), evaluation.classes)
    axis.set_xlabel("answer"), axis.set_ylabel("truth")
    for i, j in np.argwhere(counts) if len(counts) <= COUNTED else ():
        axis.text(
            j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=8, color="white" if share[i, j] > 0.5 else "black"
        )
    return figure


def filters(net, layer=None):
    """The filters of a convolution (default: the first), as pictures.

    Filters of three channels are shown in colour, mid-grey is zero; of others each input channel by itself, up to 64 pictures.

    layer : name or number of a convolution; of one inside a block such as "residual_1.conv2d_2"
    """
    layer = convolution(net, layer)
    tiles, titles = filter_tiles(layer.params["w"], MOST)
    return grid(tiles, titles, f"{layer.label}: {layer.settings()}")


def activations(net, x, layer=None):
    """What each channel of a layer answers to one image x (height, width, channels), bright where it answers most.

    layer : name or number; default: the first convolution.  Up to 64 channels
    """
    x, net = np.asarray(x), checked_network(net, "net")
    if x.shape != net.input_shape:
        raise ShapeError(f"x: got shape {x.shape}; needed one image, {net.input_shape}")
    wanted = convolution(net) if layer is None else named(net, layer)
    y = next(y for step, y in net.trace(x[None]) if step is wanted)[0]
    if y.ndim != 3:
        raise ShapeError(f"layer: {wanted.label} gives {y.shape}; needed maps, (height, width, channels)")
    tiles, titles = map_tiles(y, MOST)
    return grid([as_bytes(x), *tiles], ["image", *titles], f"{wanted.label}: {wanted.settings()}")


def mistakes(evaluation, x, most=24):
    """The images that were answered wrongly with the most certainty; x are all images behind the `Evaluation`."""
    labels = checked_evaluation(evaluation).labels
    if len(x) != len(labels):
        raise ShapeError(f"x: got {len(x):,} images; needed the {len(labels):,} that the evaluation is of")
    numbers = evaluation.mistakes(most)
    if not len(numbers):
        raise OptionError("evaluation: has no mistakes to show")
    classes = evaluation.classes
    answers = evaluation.probabilities[numbers].argmax(1)
    titles = [f"{classes[t]} → {classes[a]}" for t, a in zip(evaluation.labels[numbers], answers, strict=True)]
    return grid([as_bytes(np.asarray(x[n])) for n in numbers], titles, "Mistakes: truth → answer, the surest first")


def checked_evaluation(value):
    """`value` if it is an Evaluation, else OptionError."""
    if not isinstance(value, Evaluation):
        raise OptionError(f"evaluation: got {value!r:.80}; needed what fastconv.evaluate(net, x, y) returns")
    return value


def named(net, layer):
    """The layer of a name, or of a number."""
    found = {step.name: step for step in net.layers} | dict(enumerate(net.layers))
    if layer not in found:
        raise OptionError(f"layer: got {layer!r}; needed one of {', '.join(step.name for step in net.layers)}, or a number")
    return found[layer]


def convolution(net, layer=None):
    """A layer with filters: the one that is named, or the first."""
    checked_network(net, "net")
    inside = {step.label: step for step in net.walk()}  # also those of blocks
    steps = inside.values() if layer is None else [inside[layer] if layer in inside else named(net, layer)]
    for step in steps:
        if isinstance(step.geometry(step.input_shape), ConvGeometry) and "w" in step.parameter_shapes(step.input_shape):
            return step
    what = "the network has" if layer is None else f"{layer} is"
    raise OptionError(f"layer: {what} no convolution; needed one of its own filters")


def grid(tiles, titles, title):
    """Pictures in rows, pixels shown as squares."""
    columns = min(PER_ROW, len(tiles))
    rows = -(-len(tiles) // columns)
    figure = new_figure(max(1.25 * columns, 4), 1.4 * rows + 0.5)
    figure.suptitle(title, fontsize=10, parse_math=False)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, tile, text in zip(axes, tiles, titles, strict=False):
        axis.imshow(tile.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set_title(text, fontsize=8, parse_math=False)
    return figure
