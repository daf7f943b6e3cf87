"""Memory that a pass over a network uses again and again, so that inference allocates nothing but its result."""

from math import prod

import numpy as np

__all__ = ["Space"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


class Space:
    """Arrays on loan for passes that all ask for the same arrays in the same order: one network, one batch size.

    `take` one, `give` it back when its last reader is done: the next `take` may get the same memory.  Who got what is written
    down in the first pass that comes to its end; those that follow get the same arrays again, without a thought, since between
    two kernels every microsecond counts.  One pass at a time uses a Space.  Views of a lent array count as that array.
    """

    def __init__(self):
        self.free = []  # (bytes, memory), smallest first
        self.lent = {}  # id of memory -> (bytes, memory)
        self.tape = []  # arrays in the order in which they were taken
        self.replay = None  # an iterator over the finished tape

    @property
    def bytes(self):
        """All memory that it holds."""
        return sum(size for size, _ in (*self.free, *self.lent.values()))

    def take(self, shape, dtype):
        """An array of unknown content, C-contiguous."""
        if self.replay is not None:
            return next(self.replay)
        needed = prod(shape) * dtype.itemsize
        at = next((i for i, (size, _) in enumerate(self.free) if size >= needed), None)
        size, memory = self.free.pop(at) if at is not None else (needed, np.empty(needed + ALIGNMENT, np.uint8))
        self.lent[id(memory)] = size, memory
        start = -memory.ctypes.data % ALIGNMENT
        self.tape.append(memory[start : start + needed].view(dtype).reshape(shape))
        return self.tape[-1]

    def give(self, array, *readers):
        """Take back the memory behind an array, unless one of `readers` is a view of it; one from elsewhere is left alone."""
        if self.replay is None and id(array.base) in self.lent:
            if any(np.may_share_memory(array, reader) for reader in readers):
                return
            self.free.append(self.lent.pop(id(array.base)))
            self.free.sort(key=lambda piece: piece[0])

    def owns(self, array):
        """Whether an array lies in memory of this Space."""
        return any(array.base is memory for _, memory in (*self.free, *self.lent.values()))

    def finish(self):
        """At the end of a pass: the next one gets the same arrays."""
        self.replay = iter(self.tape)
        self.free += self.lent.values()
        self.lent.clear()
