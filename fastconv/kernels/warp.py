"""Images read between their pixels."""

from fastconv.machine import kernel

__all__ = ["affine"]


@kernel(parallel=False)
def affine(frame, maps, y):
    """y[n,i,j] = image n at (m0 i + m1 j + m2, m3 i + m4 j + m5), m = maps[n], between the four pixels around, in float32:

    (1-a)(1-b) f[r,c] + (1-a) b f[r,c+1] + a (1-b) f[r+1,c] + a b f[r+1,c+1],  r + a = row, c + b = column

    `frame` has zeros around the image, one before and two after it: what lies outside is 0.  On one core and without Python's
    lock: a batch is made while the one before is in use.
    """
    N, H, W, C = y.shape
    kind, flat, row_step = frame.dtype.type, frame.reshape(-1), (W + 3) * C
    one, lowest, high, wide = kind(1), kind(-1), kind(H), kind(W)
    for n in range(N):
        m0, m1, m2, m3, m4, m5 = maps[n, 0], maps[n, 1], maps[n, 2], maps[n, 3], maps[n, 4], maps[n, 5]
        for i in range(H):
            for j in range(W):
                row, column = m0 * kind(i) + m1 * kind(j) + m2, m3 * kind(i) + m4 * kind(j) + m5
                row, column = min(max(row, lowest), high) + one, min(max(column, lowest), wide) + one
                r, c = int(row), int(column)
                a, b = row - kind(r), column - kind(c)
                at = (n * (H + 3) + r) * row_step + c * C
                for k in range(at, at + C):
                    upper = flat[k] + b * (flat[k + C] - flat[k])
                    lower = flat[k + row_step] + b * (flat[k + row_step + C] - flat[k + row_step])
                    y[n, i, j, k - at] = upper + a * (lower - upper)
