"""The most multiply-adds this machine can do: independent chains that never leave the registers."""

import numpy as np
from numba import prange

from fastconv.kernels.intrinsics import emits
from fastconv.machine import kernel

__all__ = ["CHAINS", "multiply_add"]

CHAINS = 12  # more than latency times pipes of any current core, fewer than the registers of any


@emits()
def chains(v, numbers, offset, rounds):
    """numbers[offset ...] <- CHAINS vectors, each multiplied and added to itself `rounds` times."""
    start = v.at(numbers, offset)
    registers = [v.variable(v.load(v.at(start, i * v.lanes))) for i in range(CHAINS)]
    factor, term = v.constant(0.5), v.constant(1.0)
    with v.loop(rounds):
        for register in registers:
            v.builder.store(v.multiply_add(v.builder.load(register), factor, term), register)
    for i, register in enumerate(registers):
        v.store(v.builder.load(register), v.at(start, i * v.lanes))


@kernel()
def multiply_add(numbers, rounds):
    """One task a row of `numbers` (at least CHAINS vectors long)."""
    flat = numbers.reshape(-1)
    for task in prange(len(numbers)):
        t = np.intp(task)
        chains(flat, t * numbers.shape[1], rounds)
