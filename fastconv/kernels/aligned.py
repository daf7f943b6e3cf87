"""Arrays on whole cache lines: a vector that lies across two of them costs twice as much to load and to store.

NumPy aligns to 16 bytes.  Workspaces take the memory of earlier ones: the C library gives back to the system what a call has
freed, and to get it anew costs a page fault for every 4 KiB, in a small layer more time than the arithmetic.
"""

import math
import threading
from ctypes import addressof, c_char
from sys import getrefcount

import numpy as np

__all__ = ["LINE", "MOST_KEPT", "empty", "workspace", "zeros"]

LINE = 64  # bytes of a cache line, or a divisor of its size
LEAST_KEPT, MOST_KEPT = 1 << 16, 8 << 20  # bytes of a block that is kept
ALL_KEPT = 16 << 20  # bytes of all blocks of a thread


class Kept(threading.local):
    """The blocks of memory for workspaces of one thread, in the order of their last use."""

    def __init__(self):
        self.blocks = []


KEPT = Kept()


def placed(shape, dtype, block):
    """An array from the first whole line of `block` on."""
    address = addressof(c_char.from_buffer(block))  # block.ctypes.data takes six times as long
    return np.ndarray(shape, dtype, block, -address % LINE)


def bytes_of(shape, dtype):
    """With those before the first line."""
    return (math.prod(shape) if isinstance(shape, tuple) else shape) * np.dtype(dtype).itemsize + LINE


def empty(shape, dtype):
    return placed(shape, dtype, np.empty(bytes_of(shape, dtype), np.uint8))


def zeros(shape, dtype):
    return placed(shape, dtype, np.zeros(bytes_of(shape, dtype), np.uint8))


def workspace(shape, dtype):
    """As `empty`, for what is forgotten when a call is over.  A block is free again when no array in it is left."""
    size = bytes_of(shape, dtype)
    if not LEAST_KEPT <= size <= MOST_KEPT:
        return empty(shape, dtype)
    blocks, KEPT.blocks = KEPT.blocks, []  # what a signal handler calls in between finds none
    try:
        block = free_block(blocks, size)
        if block is None:
            block = new_block(blocks, size)
        array = placed(shape, dtype, block)
        blocks.append(block)
        return array
    finally:
        KEPT.blocks = blocks


def references(blocks):
    """How often each is referred to."""
    return [getrefcount(block) for block in blocks]


[ALONE] = references([bytearray(1)])  # those of a block in which no array lives


def free_block(blocks, size):
    """The smallest fitting block in which no array lives, taken out of `blocks`, or None."""
    found = None
    for i, count in enumerate(references(blocks)):
        if count == ALONE and size <= len(blocks[i]) <= 2 * size and (found is None or len(blocks[i]) < len(blocks[found])):
            found = i
    return None if found is None else blocks.pop(found)


def new_block(blocks, size):
    """One more, for which the oldest go."""
    while sum(map(len, blocks)) > ALL_KEPT - size:
        del blocks[0]
    return np.empty(size, np.uint8)
