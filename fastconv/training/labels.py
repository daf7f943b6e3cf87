"""Labels: whatever form they come in, checked once and brought to one form."""

import numpy as np

from fastconv.errors import DataError, DTypeError, ShapeError
from fastconv.functional.arrays import as_array

__all__ = ["as_targets", "binary_targets", "class_labels", "same_shape"]


def as_targets(y):
    """`y` as an array of real numbers; DTypeError for anything else, such as names of classes, which are to be numbered."""
    try:
        return as_array(y, "y")
    except DTypeError:
        if y is None:
            message = "y: got None; needed a target for each example: class numbers 0 ... K-1, or what the loss takes"
            raise DTypeError(message) from None
        first = next(iter(np.ravel(y)), None)
        if not isinstance(first, (str, bytes)):
            raise
    message = f"y: got text such as {str(first)!r}; needed numbers: number the classes 0 ... K-1"
    raise DTypeError(f"{message}, such as by names, y = np.unique(y, return_inverse=True)")


def class_labels(labels, shape):
    """Class numbers as int64 of shape `shape[:-1]`, for scores of `shape` (…, classes).

    Takes whole numbers of any type, the same with one more axis of length 1 (as Keras' CIFAR-10 has them), or one-hot rows.

    >>> class_labels([[0, 0, 1], [1, 0, 0]], (2, 3))
    array([2, 0])

    Raises
    ------
    ShapeError : neither a number nor a row for each set of scores
    DTypeError : numbers that are not whole
    DataError : a number that is no class, a row that is not one-hot; the message has the first bad index
    """
    labels, shape = as_targets(labels), tuple(shape)
    classes = shape[-1] if len(shape) > 1 else 0
    if classes < 2:
        raise ShapeError(
            f"predictions: got shape {shape}; needed (N, classes) with at least 2 classes; a network with one output takes "
            f'loss="binary_cross_entropy"'
        )
    if labels.shape == shape:
        return one_hot_classes(labels)
    if labels.shape == (*shape[:-1], 1):
        labels = labels[..., 0]
    if labels.shape != shape[:-1]:
        raise ShapeError(f"y: got shape {labels.shape}; needed {shape[:-1]} (class numbers) or {shape} (one-hot rows)")
    numbers = whole_numbers(labels)
    if numbers.size and numbers.view(np.uint64).max() >= classes:  # read without a sign, negative numbers are the largest
        at = first((numbers < 0) | (numbers >= classes))
        raise DataError(f"y{show(at)}: got class {numbers[at]}; the network has {classes} classes, 0 to {classes - 1}")
    return numbers


def one_hot_classes(rows):
    """The column of the one in each row."""
    bad = ((rows != 0) & (rows != 1)).any(-1) | (rows.sum(-1) != 1)
    if bad.any():
        at = first(bad)
        raise DataError(f"y{show(at)}: got {rows[at].tolist()}; needed a one-hot row, a single 1 among zeros, or class numbers")
    return rows.argmax(-1)


def whole_numbers(labels):
    """`labels` as int64; DTypeError if that would change one."""
    if labels.dtype.kind == "f":
        bad = (labels != np.trunc(labels)) | ~np.isfinite(labels)
        if bad.any():
            raise DTypeError(f"y{show(first(bad))}: got {labels[first(bad)]}; class numbers are whole: pass integers")
    return labels.astype(np.int64, copy=False)


def binary_targets(targets, shape):
    """0 and 1 of `shape`, the shape of the logits; an axis of length 1 may be missing or too many.

    Raises ShapeError, or DataError with the first index that is neither 0 nor 1.
    """
    targets = same_shape(targets, shape)
    bad = (targets != 0) & (targets != 1)
    if bad.any():
        raise DataError(f"y{show(first(bad))}: got {targets[first(bad)]}; needed 0 or 1 for each output of the network")
    return targets


def same_shape(targets, shape):
    """Targets of the very shape of the predictions; an axis of length 1 at the end may be missing or too many."""
    targets, shape = as_targets(targets), tuple(shape)
    if targets.shape != shape and without_last_one(targets.shape) == without_last_one(shape):
        targets = targets.reshape(shape)
    if targets.shape != shape:
        raise ShapeError(f"y: got shape {targets.shape}; needed {shape}, a number for each output of the network")
    return targets


def without_last_one(shape):
    """(5, 1) as (5,)."""
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def first(bad):
    """Index of the first True."""
    return tuple(int(i) for i in np.unravel_index(bad.argmax(), bad.shape))


def show(index):
    """(3,) as "[3]"."""
    return str(list(index))
