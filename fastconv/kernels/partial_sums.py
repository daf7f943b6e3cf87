"""Partial sums of gradients, one for each block of `blocks.py`, and their sum as a tree: same bits for any number of threads."""

import numpy as np
from numba import prange

from fastconv.kernels import aligned
from fastconv.machine import kernel

__all__ = ["add_blocks", "partial_sums"]

CHUNK = 1 << 13  # numbers of a task
FEW = 1 << 15  # numbers that NumPy has added before a second thread has woken up


def partial_sums(blocks, total):
    """(blocks, *total.shape) to be filled and then given to `add_blocks`; a single one is `total` itself."""
    return total[np.newaxis] if blocks == 1 else aligned.workspace((blocks, *total.shape), total.dtype)


@kernel()
def add_chunks(parts, total):
    """total = the sum over the first axis of `parts`, which is used up."""
    B, size = parts.shape
    for task in prange((size + CHUNK - 1) // CHUNK):  # a task owns a chunk of total
        first = np.intp(task) * CHUNK
        last, count = min(size, first + CHUNK), B
        while count > 1:
            half = count // 2
            for b in range(half):
                mine, other = parts[b, first:last], parts[count - half + b, first:last]
                for i in range(mine.size):
                    mine[i] += other[i]
            count -= half
        total[first:last] = parts[0, first:last]


def add_blocks(parts, total):
    """total = the sum over the first axis of `parts`, as a tree of pairs; `parts` is used up."""
    if len(parts) == 1:
        if not np.may_share_memory(parts, total):
            total[...] = parts[0]
    elif parts.size > FEW:
        add_chunks(parts.reshape(len(parts), -1), total.reshape(-1))
    else:
        count = len(parts)
        while count > 1:
            half = count // 2
            parts[:half] += parts[count - half : count]
            count -= half
        total[...] = parts[0]
