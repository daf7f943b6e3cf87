"""Losses: how wrong predictions are, as one number, and the gradient of that number with respect to the predictions.

Each takes the network's raw outputs (logits, scores) and the targets, and returns (mean over the batch as a Python float,
gradient in the dtype and shape of the predictions).  `LOSSES` is the complete list that a `Trainer` knows by name.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, result_dtype
from fastconv.functional.softmax import cross_entropy
from fastconv.layers.values import fraction
from fastconv.training.checks import callable_with
from fastconv.training.labels import as_targets, binary_targets, class_labels, same_shape

__all__ = [
    "LOSSES",
    "Loss",
    "binary_cross_entropy",
    "find_loss",
    "hinge",
    "label_smoothed",
    "mean_squared_error",
    "softmax_cross_entropy",
]

FEW = 256  # numbers that Python adds before NumPy has begun


def softmax_cross_entropy(scores, labels, *, label_smoothing=0.0):
    """L = -mean_n sum_k t[n,k] log p[n,k],  p = softmax(scores), t = onehot(y);  dL/dscores = (p - t) / N.

    With `label_smoothing` a, t = (1 - a) onehot(y) + a / classes [Szegedy et al. 2016, arXiv:1512.00567, section 7].
    The largest score of each row is subtracted first, so nothing overflows [Bishop 2006, 4.3.4; CS231n, "linear classify"].

    Parameters
    ----------
    scores : ndarray (N, classes), or (…, classes) with a label for each position
    labels : integers (N,), or one-hot rows (N, classes)
    label_smoothing : 0 to 1, the share that all classes divide equally; a `Trainer` takes it as `loss=label_smoothed(0.1)`

    Returns
    -------
    (loss in nats, gradient like scores)

    Raises
    ------
    ShapeError, DTypeError, DataError : labels that do not fit; see `labels.class_labels`
    OptionError : label_smoothing that is no number from 0 to 1

    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 4), np.float32), [3])
    >>> round(loss, 4), gradient
    (1.3863, array([[ 0.25,  0.25,  0.25, -0.75]], dtype=float32))
    """
    a = fraction(label_smoothing, "label_smoothing", 0, 1)
    scores = floating(scores)
    labels = class_labels(labels, scores.shape)
    losses, gradient = cross_entropy(scores, labels, a)
    return mean(losses), gradient


def hinge(scores, labels):
    """L = mean_n sum_{k != y} max(0, s[n,k] - s[n,y] + 1);  dL/ds[n,k] = [margin > 0] / N,  dL/ds[n,y] = -(their sum).

    The multi-class support vector machine of Weston and Watkins 1999 as CS231n teaches it, margin 1, without regularisation.
    Arguments, results and errors as in `softmax_cross_entropy`.

    >>> hinge(np.array([[3.2, 5.1, -1.7]]), [0])[0].__round__(6)
    2.9
    """
    scores = floating(scores)
    labels = class_labels(labels, scores.shape)
    margins = scores - np.take_along_axis(scores, labels[..., None], -1) + 1
    np.maximum(margins, 0, out=margins)
    add_at(margins, labels, -1)  # the label's own margin is exactly 1
    gradient = (margins > 0).astype(scores.dtype)
    add_at(gradient, labels, -gradient.sum(-1))
    gradient /= max(labels.size, 1)
    return mean(margins.sum(-1)), gradient


def binary_cross_entropy(logits, targets):
    """L = mean(-t log p - (1 - t) log(1 - p)),  p = sigmoid(z);  dL/dz = (p - t) / count.

    Computed as max(z, 0) - z t + log(1 + exp(-|z|)), where no exponential can overflow.

    Parameters
    ----------
    logits : ndarray (N,), (N, 1), or (N, outputs) for several yes/no questions at once
    targets : 0 or 1 (any type) for each logit; (N,) and (N, 1) go together

    Returns
    -------
    (loss in nats, gradient like logits)

    Raises
    ------
    ShapeError, DataError : targets of another shape, or neither 0 nor 1

    >>> loss, gradient = binary_cross_entropy(np.array([[0.0]]), [1])
    >>> round(loss, 4), gradient
    (0.6931, array([[-0.5]]))
    """
    z = floating(logits)
    t = binary_targets(targets, z.shape).astype(z.dtype)
    small = np.exp(-np.abs(z))
    losses = np.maximum(z, 0) - z * t + np.log1p(small)
    sigmoid = np.where(z >= 0, 1, small) / (1 + small)
    return mean(losses), (sigmoid - t) / max(z.size, 1)


def mean_squared_error(predictions, targets):
    """L = mean((p - t)^2) over all elements;  dL/dp = 2 (p - t) / count.

    Targets have the shape of the predictions; (N,) and (N, 1) go together, anything else is a ShapeError, never broadcast.

    >>> mean_squared_error(np.array([1.0, 2.0]), [1.0, 4.0])
    (2.0, array([ 0., -2.]))
    """
    p = floating(predictions)
    difference = p - same_shape(targets, p.shape).astype(p.dtype)
    return mean(difference * difference), difference * (2 / max(p.size, 1))


def floating(predictions):
    """Predictions as a float32 or float64 array."""
    predictions = as_array(predictions, "predictions")
    return predictions.astype(result_dtype(predictions), copy=False)


def add_at(rows, labels, value):
    """rows[n, labels[n]] += value, in place; `rows` is contiguous."""
    flat = rows.reshape(-1, rows.shape[-1])
    flat[np.arange(len(flat)), labels.reshape(-1)] += np.ravel(value)


def mean(values):
    """The mean as a float, summed in float64; 0 for an empty batch."""
    if 0 < values.size <= FEW:
        return sum(values.reshape(-1).tolist()) / values.size
    return float(values.sum(dtype=np.float64)) / max(values.size, 1)


def best_class(scores, labels):
    """True where the highest score is the label's; the first of equal ones counts."""
    return scores.argmax(-1) == labels


def right_side(logits, targets):
    """True where p > 1/2 (logit > 0) answers as the target does."""
    return (logits > 0) == (targets > 0)


@dataclass(frozen=True)
class Loss:
    """A loss and what belongs to it.

    function(predictions, targets) -> (mean, gradient); targets(given, predictions' shape) -> checked array, or an error;
    output: what `predict` applies ("softmax", "sigmoid", "linear"), None to leave that to the network;
    hits(predictions, checked targets) -> array of bool whose mean is the accuracy, None where there is no such thing.
    """

    name: str
    function: Callable
    targets: Callable
    output: str | None
    hits: Callable | None

    @property
    def smoothing(self):
        """The label_smoothing of a `softmax_cross_entropy`, which a chain of small layers computes itself; None for others."""
        found = self.function
        if found is softmax_cross_entropy:
            return 0.0
        if isinstance(found, partial) and found.func is softmax_cross_entropy and found.keywords.keys() == {"label_smoothing"}:
            return None if found.args else fraction(found.keywords["label_smoothing"], "label_smoothing", 0, 1)
        return None


LOSSES = {
    loss.name: loss
    for loss in (
        Loss("softmax_cross_entropy", softmax_cross_entropy, class_labels, "softmax", best_class),
        Loss("binary_cross_entropy", binary_cross_entropy, binary_targets, "sigmoid", right_side),
        Loss("hinge", hinge, class_labels, "linear", best_class),
        Loss("mean_squared_error", mean_squared_error, same_shape, "linear", None),
    )
}


def label_smoothed(amount=0.1):
    """The `Loss` for a `Trainer` that is `softmax_cross_entropy` with this label_smoothing, in evaluation too, as in Keras.

    >>> label_smoothed(0.2).name
    'softmax_cross_entropy(label_smoothing=0.2)'
    """
    amount = fraction(amount, "label_smoothing", 0, 1)
    plain = LOSSES["softmax_cross_entropy"]
    name = f"{plain.name}(label_smoothing={amount:g})"
    return replace(plain, name=name, function=partial(plain.function, label_smoothing=amount))


def find_loss(loss):
    """The `Loss` of a name, or one that is given; a function (predictions, targets) -> (value, gradient) is taken as it is, with
    targets unchecked."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in LOSSES:
        return LOSSES[loss]
    needed = f"one of {', '.join(LOSSES)}, or a function (predictions, targets) that returns (loss, gradient)"
    name = getattr(callable_with(loss, "loss", needed, 2), "__name__", "loss")
    known = LOSSES.get(name)
    return known if known and known.function is loss else Loss(name, partial(own, loss), unchecked, None, None)


def own(loss, predictions, targets):
    """What a loss of the user's own returns, if it is a number and a gradient."""
    found = loss(predictions, targets)
    if not (isinstance(found, (tuple, list)) and len(found) == 2):
        raise OptionError(f"loss: got {type(found).__name__} from {loss!r}; needed a pair: return loss, gradient")
    value, gradient = found
    gradient = as_array(gradient, "loss: gradient")
    if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
        raise OptionError(f"loss: got {value!r} as the value; needed one number, the mean over the batch: float(losses.mean())")
    if gradient.shape != predictions.shape:
        raise ShapeError(f"loss: got a gradient of shape {gradient.shape}; needed {predictions.shape}, that of the predictions")
    return float(value), gradient


def unchecked(targets, shape):
    """Targets for a loss of the user's own, who alone knows what they are."""
    return as_targets(targets)
