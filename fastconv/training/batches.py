"""Examples, checked once, and mini-batches of them in a seeded order."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite

import numpy as np

from fastconv.errors import DataError, OptionError, ShapeError
from fastconv.functional.activations import are_many
from fastconv.functional.arrays import as_array
from fastconv.functional.updates import Together, sum_of_squares
from fastconv.geometry import whole
from fastconv.layers.values import flag
from fastconv.models.inputs import hint, needed
from fastconv.training.crops import augmentation
from fastconv.training.labels import as_targets

__all__ = ["Batches", "Place", "examples", "refuse_nonfinite", "split"]

SHUFFLE, SPLIT, AUGMENT, IMAGE = 0, 1, 2, 3  # the random streams of a run; see `generator`
CHUNK = 1024  # images looked at together, so that a check of all images needs little memory


def generator(seed, stream, *numbers):
    """Random numbers that depend on the seed, the stream and some numbers (the epoch, the step) alone.

    The entropy (seed, "train") keeps them apart from the streams of a network with the same seed.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, int.from_bytes(b"train")], spawn_key=(stream, *numbers)))


def examples(x, y, net, loss, finite=True):
    """(x, y) ready for batches: x (N, *net.input_shape) of any real dtype, y as the loss wants it.

    Grey images (N, H, W) are taken where the network has one channel.  With `finite` False nobody looks at the numbers of x.

    Raises
    ------
    ShapeError : x does not fit the network, or the lengths differ
    DataError : no examples, an input that is NaN or infinite (with its index), a label that is no class
    DTypeError : not numbers
    """
    x, y = images(x, net.input_shape), as_targets(y)
    if not len(x):
        raise DataError("x: got 0 examples; needed at least one")
    if y.ndim == 0 or len(y) != len(x):
        raise ShapeError(f"y: got {len(y) if y.ndim else 'one number'}, x has {len(x):,} examples; needed a label for each")
    if finite:
        refuse_nonfinite(x, "x")
    y = loss.targets(y, (len(y), *net.output_shape))
    refuse_nonfinite(y, "y")
    return np.ascontiguousarray(x), y


def images(x, shape):
    """x as (N, *shape); a missing channel axis is added."""
    x = as_array(x, "x")
    if x.ndim == 3 and (*x.shape[1:], 1) == tuple(shape):
        x = x[..., None]
    if x.ndim == 0 or x.shape[1:] != tuple(shape):
        raise ShapeError(f"x: got shape {x.shape}; needed {needed(shape)}{hint(x.shape, shape)}")
    return x


def refuse_nonfinite(array, name):
    """DataError with the index of the first NaN or infinite value."""
    if array.dtype.kind != "f" or isfinite(total(array)):
        return
    for start in range(0, len(array), CHUNK):
        bad = ~np.isfinite(array[start : start + CHUNK])
        if bad.any():
            first = [int(i) for i in np.unravel_index(bad.argmax(), bad.shape)]
            first[0] += start
            raise DataError(f"{name}: example {first[0]} is not finite, {array[tuple(first)]} at {first}; remove or repair it")


def total(array):
    """A sum that one number that is not finite makes so, as overflow may."""
    if are_many(array) and array.dtype in (np.float32, np.float64) and array.flags.carray:
        return sum_of_squares([array], Together())
    with np.errstate(all="ignore"):
        return array.sum(dtype=np.result_type(array, np.float32))


def split(validation, count, seed):
    """(rows to train on, rows held out) for a fraction of `count` examples, drawn from the seed: the same ones at each call."""
    held = round(validation * count) if 0 < validation < 1 else 0
    if not 0 < held < count:
        raise OptionError(
            f"validation: got {validation!r} of {count} examples; needed (x, y), or a fraction between 0 and 1 that leaves "
            f"examples on both sides"
        )
    order = generator(seed, SPLIT, 0).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def one_ahead(function, items):
    """function(item) for each item; while one result is in use, a background thread works on the next."""
    with ThreadPoolExecutor(1, "fastconv-batches") as pool:
        ready = None
        for item in items:
            following = pool.submit(function, item)
            if ready is not None:
                yield ready.result()
            ready = following
        if ready is not None:
            yield ready.result()


@dataclass(frozen=True)
class Place:
    """Where a batch is in a run: the seed, the epoch (from 0), and which rows of all examples it holds."""

    seed: int
    epoch: int
    rows: np.ndarray

    def coins(self):
        """A number in [0, 1) for each image, the same in every epoch."""
        return generator(self.seed, IMAGE).random(self.rows.max(initial=-1) + 1)[self.rows]


class Batches:
    """Mini-batches of some rows of (x, y).

    Parameters
    ----------
    x, y : ndarrays of one length
    size : int, examples in a batch; the last one has what is left
    rows : int array, which examples; None for all
    seed : int, from which order and augmentation are drawn
    shuffle : whether each epoch has an order of its own; otherwise that of `rows`
    augment : function (x, numpy Generator) -> x of the same shape, applied to each batch; None for none; another
        shape is a ShapeError.  Where it has a true attribute `wants_place`, it gets place=`Place` besides.  With one, each batch
        is made ahead on a background thread: that gained a quarter with `Warp` and nothing with cheap ones; without, it cost a
        tenth

    `len` is the number of iterations in an epoch.  A batch is valid until the next one is asked for: its memory is used again.
    """

    def __init__(self, x, y, size, *, rows=None, seed=0, shuffle=False, augment=None):
        self.x, self.y = x, y
        self.seed, self.shuffle, self.augment = seed, flag(shuffle, "shuffle"), augmentation(augment)
        self.rows = np.arange(len(x)) if rows is None else rows
        self.size = whole(size, "batch_size", 1)
        self.ahead = augment is not None
        shapes = [(min(self.size, len(self.rows)), *a.shape[1:]) for a in (x, y)]
        self._buffers = [[np.empty(s, a.dtype) for s, a in zip(shapes, (x, y), strict=True)] for _ in range(1 + self.ahead)] * 2

    def __len__(self):
        return -(-len(self.rows) // self.size)

    def epoch(self, number=0, first=0):
        """The batches (x, y) of one epoch from batch `first` on; every row once.

        The order depends on the seed and `number` alone, the augmentation of a batch on these and its place, so that an epoch
        can be taken up in its middle.
        """
        rows = generator(self.seed, SHUFFLE, number).permutation(self.rows) if self.shuffle else self.rows
        if self.ahead:
            yield from one_ahead(lambda i: self._batch(rows, number, i), range(first, len(self)))
        else:
            yield from (self._batch(rows, number, i) for i in range(first, len(self)))

    def _batch(self, rows, number, i):
        """Batch i of an epoch."""
        rows = rows[i * self.size : (i + 1) * self.size]
        # mode="clip": with the default, NumPy would gather into a second buffer first
        x, y = (
            np.take(a, rows, axis=0, out=buffer[: len(rows)], mode="clip")
            for a, buffer in zip((self.x, self.y), self._buffers[i % 2], strict=True)
        )
        return self._augmented(x, rows, number, i), y

    def _augmented(self, x, rows, number, i):
        """Images as the augmentation makes them."""
        if self.augment is None:
            return x
        place = {"place": Place(self.seed, number, rows)} if getattr(self.augment, "wants_place", False) else {}
        return like(x, self.augment(x, generator(self.seed, AUGMENT, number, i), **place))

    def sentence(self, epochs, what="images"):
        """What a batch, an iteration and an epoch are, in numbers.

        >>> print(Batches(np.zeros((10_000, 1)), np.zeros(10_000), 64).sentence(3))
        10,000 images in batches of 64: 157 iterations = 1 epoch (the last batch has 16); 3 epochs = 471 iterations
        """
        count, last = len(self.rows), len(self.rows) % self.size
        rest = f" (the last batch has {last})" if last and len(self) > 1 else ""
        text = f"{count:,} {what} in batches of {self.size}: {len(self):,} {plural('iteration', len(self))} = 1 epoch{rest}"
        return text if epochs == 1 else f"{text}; {epochs:,} epochs = {epochs * len(self):,} iterations"


def like(x, made):
    """What an augmentation made of x, if that is as many examples of the same shape."""
    if made is None:
        raise OptionError("augment: got None for a batch; needed the new images: return them")
    made = as_array(made, "augment")
    if made.shape != x.shape:
        raise ShapeError(f"augment: got shape {made.shape} for a batch of shape {x.shape}; needed the same shape")
    return made


def plural(noun, count):
    """ "iteration", or "iterations" for all counts but 1."""
    return noun if count == 1 else f"{noun}s"
