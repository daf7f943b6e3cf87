"""How threads share tasks: each one is taken once, whoever comes, and a thread begins with its own."""

import numpy as np
import pytest
from numba import prange

from fastconv.kernels.sharing import done, fresh_turns, next_task, wait_for
from fastconv.machine import kernel


@kernel()
def take_all(taken, done_before, turns):
    """Every thread takes tasks until there are none; done_before[thread] says how many were done when it went on."""
    for thread in prange(len(done_before)):
        task = next_task(turns, 0, thread, len(taken))
        while task < len(taken):
            taken[task] += 1
            done(turns, 1)
            task = next_task(turns, 0, thread, len(taken))
        wait_for(turns, 1, len(taken))
        done_before[thread] = taken.sum()


@pytest.mark.parametrize("count", (0, 1, 2, 3, 7, 1000))
@pytest.mark.parametrize("threads", (1, 2, 3, 8))
@pytest.mark.parametrize("run", (take_all, take_all.alone), ids=("all threads", "one thread"))
def test_each_task_is_taken_once_and_all_are_done_before_anyone_goes_on(run, threads, count):
    taken, done_before = np.zeros(count, np.int64), np.zeros(threads, np.int64)
    run(taken, done_before, fresh_turns(2, threads))
    assert (taken == 1).all()
    assert (done_before == count).all()


def test_a_thread_begins_with_its_own_run_then_takes_from_the_others():
    turns, tasks = fresh_turns(1, 3), []
    for thread in (1, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0):
        tasks.append(one_task(turns, thread, 9))
    assert tasks == [3, 4, 5, 6, 0, 1, 2, 7, 8, 9, 9]


@kernel(parallel=False)
def one_task(turns, thread, count):
    return next_task(turns, 0, thread, count)
