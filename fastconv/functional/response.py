"""Local response normalisation across channels  [Krizhevsky, Sutskever and Hinton 2012, section 3.3]."""

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.functional.arrays import as_array, ready, result_dtype
from fastconv.geometry import whole

__all__ = ["local_response_norm", "local_response_norm_grad"]

BLOCK = 1 << 15  # numbers of a piece, which stays in the cache from the squares to the quotient


def local_response_norm(x, size=5, *, alpha=1e-4, beta=0.75, k=2.0):
    """y[c] = x[c] / (k + alpha sum x[c']²)^beta, c' from c - size // 2 to c + (size - 1) // 2 as far as there are channels.

    x (..., C), channels last.  This is the paper's formula; PyTorch and Caffe divide alpha by size, so their alpha is size times
    as large: fc.local_response_norm(x, 5, alpha=a / 5) is torch.nn.functional.local_response_norm(x, 5, alpha=a, k=2).

    >>> local_response_norm([[3.0, 4.0]], 1, alpha=1.0, beta=0.5, k=0.0)
    array([[1., 1.]])
    """
    x = inputs(x, size, k)
    y = np.empty_like(x)
    windows = Windows(x, size // 2, (size - 1) // 2)
    for block, target in blocks(x, y):
        d = scales(windows, block, alpha, k)
        np.divide(block, power(d, beta), out=target)
    return y


def local_response_norm_grad(dy, x, size=5, *, alpha=1e-4, beta=0.75, k=2.0):
    """Gradient of `local_response_norm`, from dy and its input x.

    With d = k + alpha sum x² as above, and the sum over all c' whose window holds c,

        dx[c] = dy[c] / d[c]^beta - 2 alpha beta x[c] sum dy[c'] x[c'] / d[c']^(beta + 1)
    """
    x, dy = inputs(x, size, k), as_array(dy, "dy")
    if dy.shape != x.shape:
        raise ShapeError(f"dy: got shape {dy.shape}; needed that of x, {x.shape}")
    dy, dx = ready(dy, x.dtype), np.empty_like(x)
    windows, holders = Windows(x, size // 2, (size - 1) // 2), Windows(x, (size - 1) // 2, size // 2)
    for values, gradients, target in blocks(x, dy, dx):
        d = scales(windows, values, alpha, k)
        np.divide(gradients, power(d, beta), out=target)
        np.divide(values, d, out=d)
        target -= x.dtype.type(2 * alpha * beta) * values * holders.sums(target, d)
    return dx


def inputs(x, size, k):
    x = as_array(x, "x")
    whole(size, "size", 1)
    if not k >= 0:
        raise OptionError(f"k: got {k!r}; needed a number of at least 0")
    if x.ndim < 2:
        raise ShapeError(f"x: got {x.ndim} axes, shape {x.shape}; needed a batch axis and channels last")
    return ready(x, result_dtype(x))


def pixels_of_a_block(x):
    return max(1, BLOCK // max(1, x.shape[-1]))


def blocks(*arrays):
    """Pieces of arrays of one shape, as (pixels, channels)."""
    rows, step = [array.reshape(-1, array.shape[-1]) for array in arrays], pixels_of_a_block(arrays[0])
    for start in range(0, len(rows[0]), step):
        yield [array[start : start + step] for array in rows]


class Windows:
    """Sums over the channels c - before ... c + after, a block of pixels at a time, in memory that is used again.

    With zeros between the pixels a shift of the whole memory never brings in a neighbour's channels.
    """

    def __init__(self, x, before, after):
        self.before, self.channels, self.reach = before, x.shape[-1], before + after
        self.padded = np.zeros((pixels_of_a_block(x) + 1, self.channels + self.reach), x.dtype)
        self.total = np.empty(self.padded.size, x.dtype)

    def sums(self, a, b):
        """The sums of a b, both (pixels, channels); the array is overwritten by the next call."""
        pixels, flat = len(a), self.padded.reshape(-1)
        count = pixels * self.padded.shape[1]
        total = self.total[:count]
        np.multiply(a, b, out=self.padded[:pixels, self.before : self.before + self.channels])
        total[:] = flat[:count]
        for shift in range(1, self.reach + 1):
            total += flat[shift : shift + count]
        return total.reshape(pixels, -1)[:, : self.channels]


def scales(windows, x, alpha, k):
    """d = k + alpha sum x²."""
    d = windows.sums(x, x) * x.dtype.type(alpha)
    d += x.dtype.type(k)
    return d


def power(d, beta):
    """d^beta; of the usual 0.75 by two square roots, which are several times faster."""
    if beta != 0.75:
        return d ** d.dtype.type(beta)
    root = np.sqrt(d)
    return root * np.sqrt(root)
