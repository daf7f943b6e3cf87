"""What a network gets right and wrong, class by class."""

from dataclasses import dataclass

import numpy as np

from fastconv.display.table import Column, Table, thousands
from fastconv.errors import OptionError
from fastconv.layers import Dense
from fastconv.models import Sequential
from fastconv.training.batches import images
from fastconv.training.labels import binary_targets, class_labels
from fastconv.training.metrics import confusion_matrix, ranks, top_k_accuracy
from fastconv.training.views import answers

__all__ = ["Evaluation", "evaluate"]

ROUNDING = 1e-5
SIGMOID = 'with net.output = "sigmoid" predict gives it'


@dataclass(frozen=True)
class Evaluation:
    """The answers of a network to labelled examples; prints as a table of the classes.

    Attributes
    ----------
    probabilities : (N, classes), as `predict` gives them       labels : int64 (N,)
    classes : tuple of names
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: tuple

    @classmethod
    def of(cls, probabilities, y, classes=None):
        """From what `predict` answered, (N, classes) or one probability each, and the right answers; errors as in `evaluate`."""
        p = np.asarray(probabilities)
        if p.ndim == 2 and p.shape[1] == 1:
            if ((p < -ROUNDING) | (p > 1 + ROUNDING)).any():
                raise OptionError(
                    f"probabilities: got {p.min():.6g} to {p.max():.6g}; needed 0 to 1, the probability of class 1: {SIGMOID}"
                )
            labels = binary_targets(y, (len(p),)).astype(np.int64)
            p = np.concatenate([1 - p, p], axis=1)
        else:
            labels = class_labels(y, p.shape)
        return cls(p, labels, class_names(classes, p.shape[1]))

    @property
    def accuracy(self):
        """Fraction of right answers."""
        return self.top_k(1)

    def top_k(self, k=5):
        """Fraction of the examples whose class is among the k most probable."""
        return top_k_accuracy(self.probabilities, self.labels, k)

    @property
    def confusion(self):
        """counts[i, j]: examples of class i taken for class j; int64."""
        return confusion_matrix(self.probabilities, self.labels)

    def mistakes(self, most=None):
        """Numbers of the examples that were answered wrongly, the surest answer first; at most `most`."""
        wrong = np.flatnonzero(ranks(self.probabilities, self.labels) > 0)
        sure = np.nan_to_num(self.probabilities[wrong].max(1), nan=-np.inf)
        return wrong[np.argsort(-sure, kind="stable")][:most]

    def mixed_up(self, most=20):
        """[(truth, answer, times), …] of the pairs of classes that were taken for each other, the most frequent first."""
        counts = self.confusion * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-counts, axis=None, kind="stable")[:most]
        pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
        return [(self.classes[i], self.classes[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]

    def rows(self):
        """A dict for each class: its name, images, right ones, accuracy (recall), precision, and what it is most taken for.

        None where there is nothing to divide by, or no mistake.
        """
        counts = self.confusion
        return [class_row(counts, label, self.classes) for label in range(len(self.classes))]

    def table(self):
        """`rows` as a `display.table.Table`."""
        columns = (
            Column("class", "class"),
            Column("images", "images", "right", thousands),
            Column("right", "right", "right", thousands),
            Column("accuracy", "accuracy", "right", percent),
            Column("precision", "precision", "right", percent),
            Column("taken_for", "most often taken for"),
        )
        rows = tuple({**row, "taken_for": confused(row)} for row in self.rows())
        right = int(np.trace(self.confusion))
        foot = {"class": "total", "images": len(self.labels), "right": right, "accuracy": self.accuracy}
        notes = [
            "Accuracy: of the images of a class, those that were recognised (recall).  Precision: of the images taken for a "
            "class, those that are of it."
        ]
        if len(self.classes) > 5:
            notes.append(f"Among the five most probable classes: {self.top_k(5):.2%}.")
        return Table(columns, rows, (foot,), tuple(notes))

    def __str__(self):
        return str(self.table())

    def __repr__(self):
        return f"<Evaluation: {len(self.labels):,} examples, {len(self.classes)} classes, accuracy {self.accuracy:.4f}>"

    def _repr_html_(self):
        return self.table().html()


def evaluate(net, x, y, *, classes=None, batch_size=256, views=None):
    """Ask a network, or an `Ensemble`, about labelled examples.

    Parameters
    ----------
    net : something with `predict` whose answers are class probabilities, or one probability (yes or no)
    x : (N, *net.input_shape)       y : class numbers or one-hot rows, (N,)
    classes : names in the order of the labels; default: `net.classes`, or their numbers
    batch_size : images computed at a time
    views : such as `Views(flip=True)`: judged are the mean answers to several views of each image

    Returns
    -------
    Evaluation

    Raises
    ------
    ShapeError, DTypeError, DataError : x or y does not fit the network
    OptionError : `net` is no network, its one output no probability, or there are not as many names as classes
    """
    if isinstance(net, type) or not (hasattr(net, "predict") and hasattr(net, "input_shape")):
        raise OptionError(f"net: got {net!r}; needed a network or an Ensemble; of a Trainer pass trainer.net")
    if isinstance(net, Sequential) and net.output_shape == (1,) and net.output == "linear" and type(net.layers[-1]) is Dense:
        raise OptionError(f"net: its one output is a raw score; needed the probability of class 1: {SIGMOID}")
    names = getattr(net, "classes", None) if classes is None else classes
    return Evaluation.of(answers(net, images(x, net.input_shape), batch_size, views), y, names)


def class_names(classes, count):
    """Names of so many classes as a tuple, their numbers for None; OptionError for another number of names."""
    if classes is None:
        return tuple(map(str, range(count)))
    if isinstance(classes, str) or not hasattr(classes, "__iter__"):
        raise OptionError(f'classes: got {classes!r}; needed the names of {count} classes, such as ["cat", "dog"]')
    names = tuple(map(str, classes))
    if len(names) != count:
        raise OptionError(f"classes: got {len(names)} names; the network has {count} classes")
    return names


def class_row(counts, label, classes):
    images, taken, right = int(counts[label].sum()), int(counts[:, label].sum()), int(counts[label, label])
    wrong = counts[label].copy()
    wrong[label] = 0
    other = int(wrong.argmax())
    return {
        "class": classes[label],
        "images": images,
        "right": right,
        "accuracy": right / images if images else None,
        "precision": right / taken if taken else None,
        "taken_for": classes[other] if wrong[other] else None,
        "times": int(wrong[other]),
    }


def confused(row):
    return f"{row['taken_for']} ({row['times']:,})" if row["taken_for"] is not None else ""


def percent(value):
    return "" if value is None else f"{value:.2%}"
