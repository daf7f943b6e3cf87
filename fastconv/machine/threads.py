"""How many threads kernels use, and where a threading layer would kill the process if nobody took care.

Numba's mask of threads belongs to the calling Python thread, so the wanted number is kept here and applied at each launch.
"""

import ctypes
import operator
import os
import sys
import threading
from contextlib import contextmanager

from fastconv.errors import OptionError
from fastconv.machine.limits import physical_cores
from fastconv.machine.warning import warn_once

__all__ = ["get_threads", "set_threads", "threading_layer", "whole_after_fork"]

SPINS = {"GOMP_SPINCOUNT": "10000"}  # 0.1 to 0.5 ms, by how long the CPU pauses


class State:
    """What launches depend on; one per process."""

    def __init__(self):
        self.wanted = None  # threads chosen by the user; None: the default
        self.layer = None  # "omp", "tbb" or "workqueue", once it has started
        self.is_free = False  # it has started, and takes calls from any thread at any time
        self.get_mask = self.set_mask = None  # Numba's functions for the number of threads of the calling Python thread
        self.is_checked = False  # indices are checked
        self.is_orphan = False  # forked after GNU OpenMP had started
        self.launching = threading.RLock()  # two callers at once abort workqueue; a launch under way breaks TBB in a forked child
        self.building = threading.RLock()


STATE = State()


def start_layer():
    """Start Numba's threads, once."""
    from numba import config
    from numba.np.ufunc import parallel

    try:
        with short_spins():
            parallel._launch_threads()
    except ValueError as error:
        raise OptionError(
            f"NUMBA_THREADING_LAYER: got {config.THREADING_LAYER!r} ({str(error).splitlines()[0]}); needed a layer that is "
            'installed: "omp", "workqueue", or "tbb" after pip install tbb; or unset the variable'
        ) from error
    STATE.wanted = min(get_threads(), config.NUMBA_NUM_THREADS)
    STATE.get_mask = without_release(parallel._get_num_threads, ctypes.c_int)
    STATE.set_mask = without_release(parallel._set_num_threads, None, ctypes.c_int)
    STATE.is_checked = bool(config.BOUNDSCHECK)
    STATE.layer = parallel.threading_layer()
    STATE.is_free = STATE.layer == "omp" and not must_be_serial()


def without_release(function, *kinds):
    """The same C function, called without giving up the GIL in between: that would take longer than the function."""
    return ctypes.PYFUNCTYPE(*kinds)(ctypes.cast(function, ctypes.c_void_p).value)


@contextmanager
def short_spins():
    """Threads of GNU OpenMP that wait spin for part of a millisecond: from one launch to the next, since to wake a sleeping one
    takes 30 to 60 us where the CPU is a virtual one, and no longer: its own count, up to 15 ms, makes training on busy cores
    several times slower.  The library reads the variable when it is loaded; what the user has set stays."""
    if SPINS.keys() & os.environ.keys() or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ.update(SPINS)
    try:
        yield
    finally:
        for name in SPINS:
            os.environ.pop(name, None)


def must_be_serial():
    """Would parallel code kill the process, or hide an error?  An IndexError gets out of a serial kernel only."""
    return STATE.is_orphan or STATE.is_checked


def threading_layer():
    """ "omp", "tbb" or "workqueue" once a kernel has run; None before."""
    return STATE.layer


def most_threads():
    """The most threads that can be asked for; Numba fixes it when it is imported."""
    config = getattr(sys.modules.get("numba"), "config", None)
    if config is not None:
        return config.NUMBA_NUM_THREADS
    given = os.environ.get("NUMBA_NUM_THREADS", "")
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(given) if given.isdecimal() else affinity


def default_threads():
    """FASTCONV_THREADS, or the physical cores that this process may use."""
    given, most = os.environ.get("FASTCONV_THREADS"), most_threads()
    if not given:
        return min(physical_cores(), most)
    if not given.isdecimal() or not 1 <= int(given) <= most:
        raise OptionError(
            f"FASTCONV_THREADS: got {given!r}; needed a whole number from 1 to {most}; correct or unset the variable"
        )
    return int(given)


def get_threads():
    """Threads that the next call uses."""
    if STATE.wanted is None:
        STATE.wanted = default_threads()
    return STATE.wanted


def set_threads(n):
    """Use `n` threads from the next call on, in every Python thread; results do not depend on it, bit for bit.

    Raises OptionError if `n` is not a whole number from 1 to the number Numba started with.
    """
    most = most_threads()
    try:
        count = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = 0
    if not 1 <= count <= most:
        raise OptionError(
            f"threads: got {n!r}; needed a whole number from 1 to {most}; for more, set NUMBA_NUM_THREADS before Python starts"
        )
    STATE.wanted = count


def is_foreign():
    """Is the calling thread one that Python did not start, such as a worker inside a parallel loop of the caller's?"""
    return isinstance(threading.current_thread(), threading._DummyThread)


def warn_of_fork():
    warn_once(
        "fork",
        "this process was forked after OpenMP had started, so fastconv runs on one thread here; "
        'use multiprocessing.get_context("spawn"), or NUMBA_THREADING_LAYER=workqueue',
    )


GUARDED = [STATE.launching, STATE.building]  # locks that nobody else holds while a child is made: what they guard is whole there
HELD = []


def whole_after_fork(lock):
    """`lock`, which a child of `os.fork` finds free, and what it guards as no other thread was just changing it."""
    GUARDED.append(lock)
    return lock


def before_fork():
    """Wait until no other thread launches a locked layer or compiles: in the child it would never end."""
    compiler = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
    for lock in (*GUARDED, compiler):
        if lock is not None:
            lock.acquire()
            HELD.append(lock)


def after_fork():
    while HELD:
        HELD.pop().release()


def after_fork_in_child():
    after_fork()
    if getattr(sys.modules.get("numba.np.ufunc.parallel"), "_threading_layer", None) == "omp":
        STATE.is_orphan, STATE.is_free = True, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before_fork, after_in_parent=after_fork, after_in_child=after_fork_in_child)
