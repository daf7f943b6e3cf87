"""How time is taken: functions in turns, and the machine's own peak beside them."""

import statistics
import time

import numpy as np

from fastconv import machine

__all__ = ["clocked", "measure", "peak_gflops"]

PAUSE = 0.03  # seconds; the spinning threads of either library have gone to sleep by then
BLOCK = 0.025  # seconds of calls in one turn
TURNS = 5


def measure(functions, turns=TURNS, block=BLOCK):
    """Median seconds of each of `functions` (name -> callable), which take turns.  All have been called once before."""
    times = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            time.sleep(PAUSE)
            function()
            stop, calls = time.perf_counter() + block, 0
            while calls < 3 or time.perf_counter() < stop:
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
                calls += 1
    return {name: statistics.median(spent) for name, spent in times.items()}


def peak_gflops(threads):
    """float32 GFLOP/s that `threads` cores reach on multiply-adds that never leave their registers: the best of ten runs."""
    from fastconv.kernels import peak

    lanes = machine.cpu().vector_bytes // 4
    numbers, rounds = np.ones((threads, peak.CHAINS * lanes), np.float32), 400_000
    peak.multiply_add(numbers, 1)
    best = min(clocked(lambda: peak.multiply_add(numbers, rounds)) for _ in range(10))
    return 2 * numbers.size * rounds / best / 1e9


def clocked(function):
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
