"""Numerical gradients: what a small change of each number really does, beside what the backward pass says."""

from dataclasses import dataclass
from math import inf, isnan

import numpy as np

from fastconv.display.table import Column, Table, sizes
from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array
from fastconv.geometry import whole
from fastconv.layers import Layer
from fastconv.layers.block import untrained
from fastconv.models import Sequential
from fastconv.training.losses import find_loss
from fastconv.training.step import restore, volatile

__all__ = ["GradientReport", "gradcheck"]

EPS = np.finfo(np.float64).eps
SMALL = (
    1e-4  # of the largest derivative of all arrays: what is smaller may be nothing but rounding, as of a bias before BatchNorm
)


def gradcheck(subject, x, y=None, *, loss="softmax_cross_entropy", points=50, step=1e-4, tolerance=1e-6, seed=0):
    """Compare the gradients of a network, layer or function with differences, in float64.

    With f(h) the value after one number is changed by h, the numerical derivative is the central difference
    D(h) = (f(h) - f(-h)) / 2h, improved by a second step size: (4 D(h/2) - D(h)) / 3.  At a kink (ReLU at 0, two equal maxima)
    there is no derivative to compare with: where D(h) and D(h/2) disagree, or where the slopes on both sides differ by an amount
    that does not shrink with h, the point is skipped and counted.

    Parameters
    ----------
    subject : Sequential or Layer, of which a float64 copy is checked (running in training mode, with the same dropout mask each
        time; what is frozen stays so and has no row); or a function x -> (value, gradient with respect to x), such as
        `lambda p: fc.losses.hinge(p, labels)`
    x : ndarray, the input at which to check, with the batch axis
    y : targets for `loss` of the output; None: f is the sum of the output times fixed random numbers
    loss : as in `Trainer`
    points : how many numbers of each array to check, drawn from `seed`
    step : h, relative to numbers above 1
    tolerance : largest relative error with which `report.passed` is True

    Returns
    -------
    GradientReport : prints as a table, a row for the input and for each parameter

    >>> report = gradcheck(lambda x: (float((x**3).sum()), 3 * x**2), np.array([1.0, -2.0, 0.5]))
    >>> report.passed, report.largest < 1e-9
    (True, True)
    """
    points, random = whole(points, "points", 1), np.random.default_rng(seed)
    arrays, value, gradients = prepare(subject, x, y, loss, random)
    found = gradients()
    least = SMALL * max(np.abs(found[name]).max(initial=0) for name in arrays)
    rows = [check(name, array, found[name], least, value, points, step, random) for name, array in arrays.items()]
    return GradientReport(tuple(rows), tolerance)


def prepare(subject, x, y, loss, random):
    """({name: float64 array to change in place}, function that gives f, function that gives {name: gradient})."""
    x = np.array(as_array(x, "x"), np.float64)
    if isinstance(subject, (Sequential, Layer)):
        return of_network(twin(subject, x), x, y, find_loss(loss), random)
    if callable(subject):
        checked_pair(subject(x))
        return {"x": x}, lambda: float(subject(x)[0]), lambda: {"x": np.asarray(subject(x)[1])}
    raise OptionError(
        f"subject: got {type(subject).__name__}; needed a Sequential, a layer, or a function x -> (value, gradient)"
    )


def checked_pair(found):
    """OptionError where a function did not give (value, gradient)."""
    if not isinstance(found, (tuple, list)) or len(found) != 2 or np.size(found[0]) != 1:
        raise OptionError(
            f"subject: the function gave {found!r:.80}; needed (value, gradient), such as lambda x: ((x**2).sum(), 2 * x)"
        )


def twin(subject, x):
    """A float64 copy, as a Sequential."""
    layers = subject.layers if isinstance(subject, Sequential) else [subject]
    copies = [untrained(layer) for layer in layers]
    net = Sequential(copies, input_shape=x.shape[1:], dtype="float64", seed=getattr(subject, "seed", 0))
    for old, new in zip(layers, copies, strict=True):
        if old.input_shape is not None:
            new.set_params(**old.arrays)
    return net


def of_network(net, x, y, loss, random):
    """`prepare` for a network."""
    weights = random.standard_normal((len(x), *net.output_shape))
    if y is not None:
        y = loss.targets(y, weights.shape)
    before = volatile(net)

    def forward():
        restore(before)  # the same dropout mask each time
        for layer in net.layers:
            layer.touch()
        out = net.forward(x, training=True)
        value, dy = (float((out * weights).sum()), weights) if y is None else loss.function(out, y)
        return value + net.penalty(), dy

    def gradients():
        found = {"x": net.backward(forward()[1], needs_dx=True)}
        return found | {name: g.copy() for name, (_, g) in trained(net).items()}

    parameters = {name: p for name, (p, _) in trained(net).items()}
    return {"x": x, **parameters}, lambda: forward()[0], gradients


def trained(net):
    """{name: (parameter, gradient)} of all layers that are not frozen."""
    return {f"{layer.name}.{name}": pair for layer in net.layers for name, pair in layer.trainable_arrays().items()}


def check(name, array, gradient, least, value, points, step, random):
    """The `Row` of one array; derivatives below `least`, or far below the largest of the array, count as of that size."""
    if gradient.shape != array.shape:
        raise ShapeError(f"gradient of {name}: got shape {gradient.shape}; needed that of {name}, {array.shape}")
    least = max(1e-3 * np.abs(gradient).max(initial=0), least) or 1e-6
    chosen = np.sort(random.choice(array.size, min(points, array.size), replace=False))
    errors, skipped = [], 0
    for i in chosen:
        at = np.unravel_index(i, array.shape)
        numerical = derivative(array, at, value, step * max(1.0, abs(array[at])))
        if numerical is None:
            skipped += 1
            continue
        size = max(abs(numerical), abs(gradient[at]), least)
        error = float(abs(numerical - gradient[at]) / size)
        errors.append((inf if isnan(error) else error, tuple(map(int, at)), float(gradient[at]), numerical))
    return Row(name, array.shape, len(chosen), skipped, *max(errors, default=(None, None, None, None)))


def derivative(array, at, value, h):
    """df / d array[at] from four neighbours, or None where f has a kink between them."""
    here = value()
    d, bend = differences(array, at, value, h, here)
    d2, bend2 = differences(array, at, value, h / 2, here)
    noise = 1e-5 * max(abs(d), abs(d2)) + 100 * EPS * max(abs(here), 1e-300) / h
    kink = abs(d - d2) > noise or (bend2 > noise and bend2 > 0.75 * bend)
    return None if kink else float((4 * d2 - d) / 3)


def differences(array, at, value, h, here):
    """(central difference, difference of the slopes on both sides) for a step of h; the array is as before afterwards."""
    old = array[at]
    array[at] = old + h
    above = value()
    array[at] = old - h
    below = value()
    array[at] = old
    return (above - below) / (2 * h), abs(above - 2 * here + below) / h


@dataclass(frozen=True)
class Row:
    """One array: `checked` points, of which `skipped` at kinks; the largest relative error, where, and both derivatives there.

    The last four are None where every point was at a kink.
    """

    name: str
    shape: tuple
    checked: int
    skipped: int
    error: float | None
    at: tuple | None
    analytic: float | None
    numerical: float | None


COLUMNS = (
    Column("name", "array"),
    Column("shape", "shape", "right", sizes),
    Column("checked", "points", "right"),
    Column("skipped", "at kinks", "right"),
    Column("error", "largest error", "right", lambda e: "-" if e is None else f"{e:.1e}"),
    Column("at", "at", "left", lambda at: "" if at is None else ",".join(map(str, at))),
    Column("analytic", "backward", "right", lambda v: "" if v is None else f"{v:.6g}"),
    Column("numerical", "numerical", "right", lambda v: "" if v is None else f"{v:.6g}"),
)


@dataclass(frozen=True)
class GradientReport:
    """Rows for the input "x" and each parameter; prints as a table."""

    rows: tuple
    tolerance: float

    @property
    def largest(self):
        """The largest relative error of all points that were compared."""
        return max((row.error for row in self.rows if row.error is not None), default=0.0)

    @property
    def skipped(self):
        """The fraction of points that were at kinks."""
        return sum(row.skipped for row in self.rows) / max(sum(row.checked for row in self.rows), 1)

    @property
    def passed(self):
        """Whether every array with elements had a point to compare, and no error is above the tolerance."""
        return self.largest <= self.tolerance and all(row.error is not None for row in self.rows if row.checked)

    def _table(self):
        verdict = (
            f"{'passed' if self.passed else 'FAILED'}: largest relative error {self.largest:.1e}, allowed {self.tolerance:.0e}"
        )
        kinks = f"; {self.skipped:.1%} of the points are at kinks and were not compared" if self.skipped else ""
        return Table(COLUMNS, tuple(vars(row) for row in self.rows), notes=(verdict + kinks,))

    def __str__(self):
        return str(self._table())

    __repr__ = __str__

    def _repr_html_(self):
        return self._table().html()
