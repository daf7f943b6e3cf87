"""Arrays that lie between NaN: what reads beside them spoils its result, what writes beside them is seen."""

import numpy as np

ROOM = 64  # numbers before and behind each array


class Guards:
    """Makes arrays, with bands of NaN around them, and looks after the bands; a stand-in for `fastconv.kernels.aligned`."""

    def __init__(self):
        self.bands = []

    def empty(self, shape, dtype, shift=0):
        """NaN inside, too: a result must not depend on what a workspace held before; `shift` numbers from a whole cache line."""
        shape = (shape,) if np.isscalar(shape) else tuple(shape)
        size = int(np.prod(shape))
        flat = np.full(size + 2 * ROOM + 64, np.nan, dtype)
        start = ROOM + -(flat.ctypes.data // flat.itemsize) % (64 // flat.itemsize) + shift
        self.bands += flat[:start], flat[start + size :]
        return flat[start : start + size].reshape(shape)

    def zeros(self, shape, dtype):
        return self.holding(np.zeros(shape, dtype))

    def holding(self, array, shift=0):
        """A copy of `array`."""
        copy = self.empty(array.shape, array.dtype, shift)
        copy[...] = array
        return copy

    def watch(self, monkeypatch):
        """From now on the workspaces of all kernels come from here."""
        from fastconv.kernels import aligned, batch

        monkeypatch.setattr(aligned, "empty", self.empty)
        monkeypatch.setattr(aligned, "workspace", self.empty)
        monkeypatch.setattr(aligned, "zeros", self.zeros)
        monkeypatch.setattr(batch, "POOL", [])

    def assert_intact(self):
        spoiled = sum(not np.isnan(band).all() for band in self.bands)
        assert not spoiled, f"{spoiled} of {len(self.bands)} bands were written to"
        self.bands.clear()
