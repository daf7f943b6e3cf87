"""How good predictions are: top-k accuracy, and who is taken for whom.

Scores are logits or probabilities (N, classes), labels class numbers or one-hot rows.  Among equal scores the class with the
lower number comes first, as in `argmax`; a row that holds NaN has no right answer.
"""

import numpy as np

from fastconv.errors import ShapeError
from fastconv.functional.arrays import as_array
from fastconv.geometry import whole
from fastconv.training.labels import class_labels

__all__ = ["confusion_matrix", "ranks", "top_k_accuracy"]


def ranks(scores, labels):
    """Place of the right class in each row: 0 where it has the highest score, 1 for the second, …; int64 (N,).

    >>> ranks([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]], [1, 0])
    array([0, 2])

    Raises ShapeError, DTypeError or DataError for scores or labels that are none.
    """
    scores, labels = checked(scores, labels)
    own = np.take_along_axis(scores, labels[:, None], 1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    found = ((scores > own) | ((scores == own) & before)).sum(1)
    return np.where(np.isnan(scores).any(1), scores.shape[1], found)


def top_k_accuracy(scores, labels, k=5):
    """Fraction of the examples whose class is among the k with the highest scores; k = 1 is the plain accuracy.

    >>> top_k_accuracy([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]], [1, 2], k=1), top_k_accuracy([[0.2, 0.5, 0.3]], [2], k=2)
    (0.5, 1.0)
    """
    found = ranks(scores, labels)
    if not len(found):
        raise ShapeError("scores: got no examples; an accuracy needs at least one")
    return float((found < whole(k, "k", 1)).mean())


def confusion_matrix(scores, labels):
    """counts[i, j]: examples of class i that got the highest score for class j; int64 (classes, classes).

    >>> confusion_matrix([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], [0, 1, 1])
    array([[1, 0],
           [1, 1]])
    """
    scores, labels = checked(scores, labels)
    counts = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(counts, (labels, scores.argmax(1)), 1)
    return counts


def checked(scores, labels):
    """Scores (N, classes) as an array, labels as int64 (N,)."""
    scores = as_array(scores, "scores")
    if scores.ndim != 2:
        raise ShapeError(f"scores: got shape {scores.shape}; needed (N, classes), as net.predict gives them")
    return scores, class_labels(labels, scores.shape)
