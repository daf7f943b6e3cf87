"""What every operation must give: float64 NumPy, one filter tap at a time.

This file imports nothing of fastconv and is never made clever.  Sizes are N H W C (images), KH KW (filter), P Q (output rows and
columns) and O (output channels); weights are (KH, KW, C/groups, O).  `test_oracle.py` holds it against seven plain loops.
"""

import numpy as np

# ---- shapes and padding


def pair(value):
    return (value, value) if np.isscalar(value) else tuple(value)


def pads(padding, size, kernel, stride=1, dilation=1):
    """((top, bottom), (left, right)) for every way to ask for padding; the arguments are pairs."""
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding == "full":
        return tuple((d * (k - 1), d * (k - 1)) for k, d in zip(kernel, dilation, strict=True))
    if padding == "same":
        return tuple(same_pad(*axis) for axis in zip(size, kernel, stride, dilation, strict=True))
    return tuple(pair(side) for side in pair(padding))


def same_pad(size, kernel, stride, dilation):
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return (total // 2, total - total // 2)  # the odd pixel goes after


def output_size(size, pad, kernel, stride, dilation=1):
    return (size + sum(pad) - (dilation * (kernel - 1) + 1)) // stride + 1


def sources(size, pad, mode):
    """For each position of the padded axis, the pixel that it shows; -1 where it shows zero."""
    position = np.arange(-pad[0], size + pad[1])
    if mode == "circular":
        return position % size
    if mode == "replicate":
        return np.clip(position, 0, size - 1)
    if mode == "reflect":  # the border pixel itself is not repeated
        return abs((size - 1) - abs((size - 1) - position)) if size > 1 else position * 0
    return np.where((position >= 0) & (position < size), position, -1)


def pad_images(x, pad, mode):
    rows, cols = sources(x.shape[1], pad[0], mode), sources(x.shape[2], pad[1], mode)
    padded = x[:, rows][:, :, cols].astype(np.float64)
    padded[:, rows < 0] = 0
    padded[:, :, cols < 0] = 0
    return padded


def fold_back(padded, x_shape, pad, mode):
    """The gradient of pad_images: each padded position gives its value to the pixel that it showed."""
    dx = np.zeros(x_shape)
    for r, h in enumerate(sources(x_shape[1], pad[0], mode)):
        for s, w in enumerate(sources(x_shape[2], pad[1], mode)):
            if h >= 0 and w >= 0:
                dx[:, h, w] += padded[:, r, s]
    return dx


class Walk:
    """The taps of one convolution: which slice of the padded image each filter tap multiplies."""

    def __init__(self, x_shape, w_shape, stride=1, padding="valid", dilation=1, groups=1, pad_mode="constant", flip=False):
        size, self.kernel = x_shape[1:3], w_shape[:2]
        self.stride, self.dilation, self.groups, self.mode, self.flip = pair(stride), pair(dilation), groups, pad_mode, flip
        self.pad = pads(padding, size, self.kernel, self.stride, self.dilation)
        axes = zip(size, self.pad, self.kernel, self.stride, self.dilation, strict=True)
        self.out = tuple(output_size(*axis) for axis in axes)
        self.x_shape, self.w_shape = tuple(x_shape), tuple(w_shape)
        self.padded_shape = (x_shape[0], size[0] + sum(self.pad[0]), size[1] + sum(self.pad[1]), x_shape[3])

    def taps(self):
        """(i, j, window) for each filter tap; window picks (N, P, Q, C) out of the padded image."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                starts = (i * self.dilation[0], j * self.dilation[1])
                spans = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, self.out, self.stride, strict=True)]
                yield i, j, (slice(None), *spans)

    def channels(self):
        """(input channels, output channels) of each group."""
        c, o = self.w_shape[2], self.w_shape[3] // self.groups
        return [(slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)) for g in range(self.groups)]

    def turn(self, w):
        return w[::-1, ::-1] if self.flip else w


# ---- convolution


def conv2d(x, w, b=None, **options):
    """y[n,p,q,o] = b[o] + sum_ijc x[n, p*sh + i*dh, q*sw + j*dw, c] * w[i,j,c,o]"""
    walk = Walk(x.shape, w.shape, **options)
    padded, w = pad_images(x, walk.pad, walk.mode), walk.turn(np.asarray(w, np.float64))
    y = np.zeros((x.shape[0], *walk.out, w.shape[3])) + (0 if b is None else np.asarray(b, np.float64))
    for i, j, window in walk.taps():
        for c, o in walk.channels():
            y[..., o] += padded[window][..., c] @ w[i, j, :, o]
    return y


def conv2d_input_grad(dy, w, x_shape, **options):
    """dx: every tap gives dy * w back to the pixel that it read; padding folds back to the pixel that it showed."""
    walk = Walk(x_shape, w.shape, **options)
    dy, w = np.asarray(dy, np.float64), walk.turn(np.asarray(w, np.float64))
    padded = np.zeros(walk.padded_shape)
    for i, j, window in walk.taps():
        for c, o in walk.channels():
            padded[window][..., c] += dy[..., o] @ w[i, j, :, o].T
    return fold_back(padded, x_shape, walk.pad, walk.mode)


def conv2d_weight_grad(dy, x, w_shape, **options):
    """dw[i,j,c,o] = sum_npq x[n, p*sh + i*dh, q*sw + j*dw, c] * dy[n,p,q,o]"""
    walk = Walk(x.shape, w_shape, **options)
    dy, padded = np.asarray(dy, np.float64), pad_images(x, walk.pad, walk.mode)
    dw = np.zeros(w_shape)
    for i, j, window in walk.taps():
        for c, o in walk.channels():
            dw[i, j, :, o] = np.tensordot(padded[window][..., c], dy[..., o], axes=([0, 1, 2], [0, 1, 2]))
    return walk.turn(dw)


def conv2d_bias_grad(dy):
    return np.asarray(dy, np.float64).sum(axis=(0, 1, 2))


def conv2d_transpose(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Every pixel of x stamps the filter times its value on a canvas, `stride` apart; `padding` is then cut from the canvas.

    w is (KH, KW, C/groups, O), C the channels of x and O those of y; `output_padding` rows and columns are kept below and right.
    padding="same" keeps H * stride rows, the place of which is that of "same" in the convolution back to x.
    """
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    n, h, width, _ = x.shape
    kh, kw, c, outputs = w.shape
    o = outputs // groups
    stamped = ((h - 1) * sh + dh * (kh - 1) + 1, (width - 1) * sw + dw * (kw - 1) + 1)
    if padding == "same":
        p, q = h * sh, width * sw
        (top, _), (left, _) = pads("same", (p, q), (kh, kw), (sh, sw), (dh, dw))
    else:
        (top, bottom), (left, right) = pads(padding, (h, width), (kh, kw), (sh, sw), (dh, dw))
        extra = pair(output_padding)
        p, q = stamped[0] - top - bottom + extra[0], stamped[1] - left - right + extra[1]
    canvas = np.zeros((n, max(stamped[0], top + p), max(stamped[1], left + q), outputs))
    for i in range(kh):
        for j in range(kw):
            stamp = canvas[:, i * dh : i * dh + (h - 1) * sh + 1 : sh, j * dw : j * dw + (width - 1) * sw + 1 : sw]
            for g in range(groups):
                mine, theirs = slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)
                stamp[..., theirs] += x[..., mine].astype(np.float64) @ w[i, j, :, theirs].astype(np.float64)
    return canvas[:, top : top + p, left : left + q] + (0 if b is None else np.asarray(b, np.float64))


# ---- pooling


def pool_axis(size, kernel, stride, pad, ceil_mode):
    """Number of windows; with ceil_mode a last window may hang over the end, but not start behind the last pixel."""
    slack = size + sum(pad) - kernel
    if not ceil_mode:
        return slack // stride + 1
    count = -(-slack // stride) + 1
    return count - 1 if (count - 1) * stride >= size + pad[0] else count


def pool_windows(x_shape, size, stride=None, padding=0, ceil_mode=False):
    """(P, Q), and for each tap in reading order the row of each output row and the column of each output column."""
    kernel = pair(size)
    stride = kernel if stride is None else pair(stride)
    pad = pads(padding, x_shape[1:3], kernel, stride, (1, 1))
    out = tuple(pool_axis(*axis, ceil_mode) for axis in zip(x_shape[1:3], kernel, stride, pad, strict=True))
    taps = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            taps.append((np.arange(out[0]) * stride[0] + i - pad[0][0], np.arange(out[1]) * stride[1] + j - pad[1][0]))
    return out, pad, taps


def tap_values(x, rows, cols):
    """The (N, P, Q, C) values of one tap, and the (P, Q) mask of where the tap is on a pixel that is really there."""
    inside = ((rows >= 0) & (rows < x.shape[1]))[:, None] & ((cols >= 0) & (cols < x.shape[2]))[None, :]
    values = x[:, np.clip(rows, 0, x.shape[1] - 1)][:, :, np.clip(cols, 0, x.shape[2] - 1)]
    return values.astype(np.float64), inside


def max_pool2d(x, size, **options):
    """(y, h, w): the maxima and where they were.  Padding never wins, a NaN always does, then the first in reading order."""
    out, _, taps = pool_windows(x.shape, size, **options)
    shape = (x.shape[0], *out, x.shape[3])
    best, found = np.zeros(shape), np.zeros(shape, bool)
    at_row, at_col = np.zeros(shape, int), np.zeros(shape, int)
    for rows, cols in taps:
        value, inside = tap_values(x, rows, cols)
        wins = ~found | (value > best) | (np.isnan(value) & ~np.isnan(best))
        wins &= inside[None, :, :, None]
        best = np.where(wins, value, best)
        at_row = np.where(wins, rows[:, None, None], at_row)
        at_col = np.where(wins, cols[:, None], at_col)
        found |= wins
    return best, at_row, at_col


def max_pool2d_grad(dy, x, size, **options):
    """Each window gives its gradient to the pixel that won it; overlapping windows add up."""
    _, rows, cols = max_pool2d(x, size, **options)
    dx = np.zeros(x.shape)
    n, _, _, c = np.indices(dy.shape)
    np.add.at(dx, (n, rows, cols, c), dy)
    return dx


def pool_counts(x_shape, size, count_include_pad=False, **options):
    """(P, Q): by how many pixels each average divides; with padding, those of the padded image that the window covers."""
    (p, q), pad, taps = pool_windows(x_shape, size, **options)
    before, after = (pad[0][0], pad[1][0]), (pad[0][1], pad[1][1])
    if not count_include_pad:
        before = after = (0, 0)
    count = np.zeros((p, q))
    for rows, cols in taps:
        in_rows = (rows >= -before[0]) & (rows < x_shape[1] + after[0])
        in_cols = (cols >= -before[1]) & (cols < x_shape[2] + after[1])
        count += in_rows[:, None] & in_cols[None, :]
    return count


def avg_pool2d(x, size, *, count_include_pad=False, **options):
    out, _, taps = pool_windows(x.shape, size, **options)
    total = np.zeros((x.shape[0], *out, x.shape[3]))
    for rows, cols in taps:
        value, inside = tap_values(x, rows, cols)
        total += np.where(inside[None, :, :, None], value, 0)
    return total / pool_counts(x.shape, size, count_include_pad, **options)[None, :, :, None]


def avg_pool2d_grad(dy, x_shape, size, *, count_include_pad=False, **options):
    share = np.asarray(dy, np.float64) / pool_counts(x_shape, size, count_include_pad, **options)[None, :, :, None]
    dx = np.zeros(x_shape)
    for rows, cols in pool_windows(x_shape, size, **options)[2]:
        for p, h in enumerate(rows):
            for q, w in enumerate(cols):
                if 0 <= h < x_shape[1] and 0 <= w < x_shape[2]:
                    dx[:, h, w] += share[:, p, q]
    return dx


# ---- dense, activations, batch norm


def dense(x, w, b=None):
    return np.asarray(x, np.float64) @ np.asarray(w, np.float64) + (0 if b is None else np.asarray(b, np.float64))


def dense_grad(dy, x, w):
    dy, x, w = (np.asarray(a, np.float64) for a in (dy, x, w))
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


def relu(x):
    return np.where(np.asarray(x) < 0, 0.0, x)  # NaN stays


def leaky_relu(x, slope=0.01):
    return np.where(np.asarray(x) < 0, slope * np.asarray(x, np.float64), x)


def sigmoid(x):
    e = np.exp(-abs(np.asarray(x, np.float64)))  # never overflows
    return np.where(np.asarray(x) < 0, e / (1 + e), 1 / (1 + e))


def tanh(x):
    return np.tanh(np.asarray(x, np.float64))


def softmax(x):
    x = np.asarray(x, np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_grad(dy, y):
    dy, y = np.asarray(dy, np.float64), np.asarray(y, np.float64)
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def statistics(x):
    """Mean and (biased) variance of each channel, the last axis."""
    axes, x = tuple(range(np.ndim(x) - 1)), np.asarray(x, np.float64)
    return x.mean(axis=axes), x.var(axis=axes)


def batch_norm(x, scale, shift, mean, var, eps=1e-5):
    x, scale, shift, mean, var = (np.asarray(a, np.float64) for a in (x, scale, shift, mean, var))
    return scale * (x - mean) / np.sqrt(var + eps) + shift


def batch_norm_grad(dy, x, scale, eps=1e-5):
    """(dx, dscale, dshift); mean and variance are those of x, so dx flows through them too."""
    mean, var = statistics(x)
    dy, x, scale = (np.asarray(a, np.float64) for a in (dy, x, scale))
    axes, inv = tuple(range(x.ndim - 1)), 1 / np.sqrt(var + eps)
    xhat = (x - mean) * inv
    dscale, dshift = (dy * xhat).sum(axis=axes), dy.sum(axis=axes)
    m = x.size / x.shape[-1]
    return scale * inv * (dy - dshift / m - xhat * dscale / m), dscale, dshift
