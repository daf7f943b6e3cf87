"""How many threads kernels use, and where a threading layer would kill the process if nobody took care.

Numba's mask of threads belongs to the calling Python thread, so the wanted number is kept here and applied at each launch.
"""

import functools
import os
import sys
import threading
import warnings

from fastconv.errors import FastconvWarning, OptionError
from fastconv.machine.cpu import physical_cores

__all__ = ["get_threads", "set_threads", "threading_layer"]


class State:
    """What launches depend on; one per process."""

    def __init__(self):
        self.wanted = None  # threads chosen by the user; None: the default
        self.forked_from_omp = False
        self.warned = False
        self.workqueue_lock = threading.RLock()  # the layer aborts the process when two threads enter it


STATE = State()


@functools.cache
def numba_threads():
    """Numba's threads functions, its layer started: (get, set, the most threads, name of the layer)."""
    from numba import config
    from numba.np.ufunc import parallel

    parallel._launch_threads()
    return parallel._get_num_threads, parallel._set_num_threads, config.NUMBA_NUM_THREADS, parallel.threading_layer()


def threading_layer():
    """ "omp", "tbb" or "workqueue" once a kernel has run; None before."""
    if numba_threads.cache_info().currsize:
        return numba_threads()[3]
    return None


@functools.cache
def most_threads():
    """The most threads that can be asked for; Numba fixes it when it is imported."""
    if "numba" in sys.modules:
        return sys.modules["numba"].config.NUMBA_NUM_THREADS
    given = os.environ.get("NUMBA_NUM_THREADS", "")
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(given) if given.isdecimal() else affinity


def default_threads():
    """FASTCONV_THREADS, or the physical cores that this process may use."""
    given = os.environ.get("FASTCONV_THREADS")
    if given is None:
        return min(physical_cores(), most_threads())
    if not given.isdecimal() or not 1 <= int(given) <= most_threads():
        raise OptionError(
            f"FASTCONV_THREADS: got {given!r}; needed a number from 1 to {most_threads()}; correct or unset the variable"
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
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= most_threads():
        raise OptionError(
            f"threads: got {n!r}; needed a whole number from 1 to {most_threads()}; for more, set NUMBA_NUM_THREADS before Python starts"
        )
    STATE.wanted = n


def must_be_serial():
    """True where parallel code would kill the process or hide an error: a child forked after GNU OpenMP started; bounds checks."""
    if STATE.forked_from_omp and not STATE.warned:
        STATE.warned = True
        warnings.warn(
            "this process was forked after OpenMP had started, so fastconv runs on one thread here; "
            'use the "spawn" start method, or NUMBA_THREADING_LAYER=workqueue',
            FastconvWarning,
            stacklevel=4,
        )
    return STATE.forked_from_omp or BOUNDS_CHECKED


BOUNDS_CHECKED = os.environ.get("NUMBA_BOUNDSCHECK", "0") not in ("", "0")  # an IndexError gets out of a serial kernel only


def after_fork_in_child():
    STATE.workqueue_lock = threading.RLock()
    layer = getattr(sys.modules.get("numba.np.ufunc.parallel"), "_threading_layer", None)
    STATE.forked_from_omp = STATE.forked_from_omp or layer == "omp"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork_in_child)
