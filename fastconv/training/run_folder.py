"""What a training run leaves behind in a folder, so that it can be looked at later without the data.

model.safetensors        the network, as `net.save` writes it
history.json             settings, a row for each epoch, machine and versions
history.csv              the rows
evaluation.safetensors   probabilities and labels of the test images, and the worst mistakes with their images
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from fastconv.errors import DataError, FastconvError, OptionError, ShapeError
from fastconv.files import atomic_write
from fastconv.models import Sequential, load
from fastconv.models.sequential import checked_network
from fastconv.training.evaluation import Evaluation
from fastconv.training.history import History

__all__ = ["StoredRun", "load_run", "save_run"]

MODEL, HISTORY, ROWS, ANSWERS = "model.safetensors", "history.json", "history.csv", "evaluation.safetensors"
KEY = "fastconv"
MISTAKES = 40
TENSORS = {"probabilities": 2, "labels": 1, "mistakes": 1, "images": 4}  # and their axes


@dataclass(frozen=True)
class StoredRun:
    """A run as `load_run` finds it.

    `history` is the record of `History.to_json` as a dict, `mistakes` the numbers of the examples in `images`, the surest
    mistake first; `evaluation` is None where the run had no test images.
    """

    net: Sequential
    history: dict
    evaluation: Evaluation | None
    mistakes: np.ndarray | None
    images: np.ndarray | None


def save_run(folder, net, history, x=None, evaluation=None):
    """Store a run in `folder`, which is made if it is not there; files of an earlier run are replaced, each all or nothing.

    Parameters
    ----------
    net, history : the trained network, and what `Trainer.fit` returned
    x : the images or rows behind `evaluation`, (N, height, width, channels) or (N, features); the worst mistakes are kept
    evaluation : of the test images, from `evaluate`

    Raises OptionError or ShapeError for other things than these, and FastconvError where the folder cannot be written.
    """
    checked_network(net, "net")
    if not isinstance(history, History):
        raise OptionError(f"history: got {history!r:.80}; needed what Trainer.fit returned, trainer.history")
    if evaluation is not None and (x is None or len(x) != len(evaluation.labels)):
        given = "none" if x is None else f"{len(x):,}"
        raise ShapeError(f"x: got {given}; needed the {len(evaluation.labels):,} images that the evaluation is of")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FastconvError(f"{folder}: cannot be made ({error.strerror}); give another folder") from None
    if evaluation is None:
        (folder / ANSWERS).unlink(missing_ok=True)  # those of another network
    net.save(folder / MODEL)
    history.to_json(folder / HISTORY)
    history.to_csv(folder / ROWS)
    if evaluation is not None:
        atomic_write(folder / ANSWERS, answers(evaluation, np.asarray(x)))


def answers(evaluation, x):
    """The evaluation as the bytes of a safetensors file."""
    from safetensors.numpy import save

    worst, x = evaluation.mistakes(MISTAKES), x if x.ndim > 2 else x.reshape(len(x), 1, -1)
    tensors = {
        "probabilities": np.ascontiguousarray(evaluation.probabilities),
        "labels": evaluation.labels,
        "mistakes": worst,
        "images": np.ascontiguousarray(x[worst]).reshape(len(worst), *x.shape[1:3], prod(x.shape[3:])),
    }
    return save(tensors, metadata={KEY: json.dumps({"classes": evaluation.classes}, ensure_ascii=False)})


def load_run(folder):
    """The `StoredRun` in a folder that `save_run` filled.

    Raises ModelFileError or DataError, in one line, for a folder without a run and for files that are damaged or lie.
    """
    folder = Path(folder)
    if not (folder / MODEL).is_file():
        raise DataError(f"{folder}: holds no run (no {MODEL}); needed a folder that fastconv train --run FOLDER has filled")
    net = load(folder / MODEL)
    evaluation = read_answers(folder / ANSWERS) if (folder / ANSWERS).is_file() else (None, None, None)
    return StoredRun(net, read_history(folder / HISTORY), *evaluation)


def read_history(path):
    """The record of a run as a dict with `rows`, a list of dicts, and `settings`, a dict."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kinds = all(isinstance(found.get(name) or {}, dict) for name in ("settings", "versions"))
        sound = kinds and "settings" in found and all(map(is_row, found["rows"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); needed the history of a run") from None
    if not sound:
        raise DataError(f"{path}: its rows are no numbers by name, or its settings none; needed the history of a run")
    return found


def is_row(row):
    """Whether this is an epoch: a number or nothing under each name, and the epoch's own."""
    numbers = all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in row.values())
    return numbers and isinstance(row["epoch"], int)


def read_answers(path):
    """(Evaluation, numbers of the mistakes, their images) of a file that `answers` wrote; checked before it is believed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in TENSORS}
            classes = tuple(json.loads((file.metadata() or {})[KEY])["classes"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); needed the answers of a run") from None
    check_answers(path, tensors, classes)
    found = Evaluation(tensors["probabilities"], tensors["labels"], classes)
    return found, tensors["mistakes"], tensors["images"]


def check_answers(path, tensors, classes):
    """Every number within its bounds, every axis as long as it should be."""
    p, labels, mistakes, images = (tensors[name] for name in TENSORS)
    sound = (
        all(array.ndim == axes for array, axes in zip(tensors.values(), TENSORS.values(), strict=True))
        and p.dtype.kind == "f"
        and labels.dtype == mistakes.dtype == np.int64
        and p.shape == (len(labels), len(classes))
        and len(mistakes) == len(images)
        and all(isinstance(name, str) for name in classes)
        and len(labels) > 0
        and within(labels, len(classes))
        and within(mistakes, len(labels))
    )
    if not sound:
        raise DataError(f"{path}: its arrays do not fit together; needed the answers of a run")


def within(numbers, limit):
    return bool(((numbers >= 0) & (numbers < limit)).all())


def reason(error):
    """An exception's own words, in one line."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
