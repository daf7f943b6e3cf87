"""The one decorator of every compiled loop."""

import functools
import threading

from fastconv.machine.cache import KernelCache
from fastconv.machine.threads import STATE, get_threads, must_be_serial, numba_threads

__all__ = ["Kernel", "kernel"]

FUSED = ("contract",)  # a * b + c may be rounded once; NaN, infinities, signed zeros and the order of sums stay as written
BUILD = threading.RLock()


class Kernel:
    """A function compiled at its first call: on all cores, or by its serial twin where threads would be fatal.

    `kernel.py_func` is the Python function itself, to read or to step through in a debugger.
    """

    def __init__(self, py_func, parallel, fastmath):
        self.py_func = py_func
        self.is_parallel = parallel
        self.fastmath = frozenset(fastmath)
        functools.update_wrapper(self, py_func)

    def _compiled(self, parallel):
        import numba

        with BUILD:
            options = {"parallel": parallel, "fastmath": set(self.fastmath), "error_model": "numpy", "nogil": True}
            dispatcher = numba.njit(**options)(self.py_func)
            name = f"{self.py_func.__module__.rpartition('.')[2]}.{self.py_func.__name__}"
            dispatcher._cache = KernelCache(name, f"{sorted(self.fastmath)} parallel={parallel}")
            return dispatcher

    @functools.cached_property
    def parallel(self):
        return self._compiled(True)

    @functools.cached_property
    def serial(self):
        return self._compiled(False)

    def __call__(self, *args):
        if not self.is_parallel or must_be_serial():
            return self.serial(*args)
        get, put, _, layer = numba_threads()
        wanted, mask = get_threads(), get()
        if layer == "workqueue":
            STATE.workqueue_lock.acquire()
        if mask != wanted:
            put(wanted)
        try:
            return self.parallel(*args)
        finally:
            if mask != wanted:
                put(mask)
            if layer == "workqueue":
                STATE.workqueue_lock.release()


def kernel(*, parallel=True, fastmath=FUSED):
    """Decorate a loop nest: `@kernel()` runs its `prange` loops on all cores, `@kernel(parallel=False)` on one."""

    def decorate(py_func):
        return Kernel(py_func, parallel, fastmath)

    return decorate
