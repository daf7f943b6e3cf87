"""How the threads of a launch share its tasks: each begins with a run of its own, then helps the others.

So a thread meets the same memory again in every call, and in one layer after another: to fetch it from the cache of another core
costs more than many a small layer computes.  And all end together, also where one wakes up late, shares its core with another
process or has a slower one.  Who does a task changes no bit of its results.
"""

import numpy as np
from numba.extending import register_jitable

from fastconv.kernels.atomics import count_up, wait_until

__all__ = ["done", "fresh_turns", "next_task", "wait_for"]

LINE = 8  # numbers of a cache line: counters of two threads share none


def fresh_turns(kinds, threads):
    """Counters at 0, for so many kinds of tasks: of each, how many of every thread's run are taken, or how many are done."""
    return np.zeros((kinds, threads, LINE), np.int64)


@register_jitable
def next_task(turns, kind, thread, count):
    """A task from 0 to count - 1 that no other thread gets, from the thread's own run while there is one; else `count`."""
    threads = turns.shape[1]
    for step in range(threads):
        owner = (np.intp(thread) + step) % threads  # the index of a prange has no sign
        first, end = count * owner // threads, count * (owner + 1) // threads
        if turns[kind, owner, 0] < end - first:  # a look costs less than counting up what another core has just counted
            task = first + count_up(turns, (kind * threads + owner) * LINE)
            if task < end:
                return task
    return count


@register_jitable
def done(turns, kind):
    """One more task of a kind is done."""
    count_up(turns, kind * turns.shape[1] * LINE)


@register_jitable
def wait_for(turns, kind, count):
    """Returns when `count` tasks are done, with all that they wrote.

    Only for tasks that have all been taken: whoever took one is at work on it, and waits for nobody.
    """
    wait_until(turns, kind * turns.shape[1] * LINE, count)
