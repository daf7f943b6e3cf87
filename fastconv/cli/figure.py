"""Edge images as one picture file (matplotlib, extra `viz`)."""

import io
from pathlib import Path

import numpy as np

from fastconv.cli.pictures import grey
from fastconv.cli.usage import UsageError
from fastconv.errors import MissingExtraError
from fastconv.files import atomic_write

__all__ = ["save"]

PER_ROW = 4
KINDS = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


def save(path, title, image, answers):
    """The image and each answer, all or nothing into `path`; zero is white, red positive, blue negative."""
    kind = KINDS.get(Path(path).suffix.lower())
    if kind is None:
        raise UsageError(f"--save: got {path!r}; needed a name that ends in {', '.join(KINDS)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError.of("--save", "matplotlib", "viz") from None
    rows = -(-(1 + len(answers)) // PER_ROW)
    figure = Figure(figsize=(3 * PER_ROW, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, PER_ROW, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    shown = image.astype(np.uint8) if image.ndim == 3 and image.shape[2] == 3 else grey(image)
    axes[0].imshow(shown, cmap="gray")
    axes[0].set_title(f"{Path(title).name}  {image.shape[0]}×{image.shape[1]}", parse_math=False)
    for axis, (name, y) in zip(axes[1:], answers.items(), strict=False):
        draw(axis, name, y)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=100)
    atomic_write(path, buffer.getvalue())


def draw(axis, name, y):
    """One answer, its colours symmetric about zero."""
    limit = float(abs(y).max()) or 1.0
    drawn = axis.imshow(y, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set_title(name)
    axis.figure.colorbar(drawn, ax=axis, shrink=0.75)
