"""The one decorator of every compiled loop."""

import functools

from fastconv.machine.cache import KernelCache
from fastconv.machine.compilation import watch_compilation
from fastconv.machine.threads import STATE, is_foreign, must_be_serial, start_layer, warn_of_fork

__all__ = ["Kernel", "kernel"]

FUSED = ("contract",)  # a * b + c may be rounded once; NaN, infinities, signed zeros and the order of sums stay as written
# of every kernel; no_cfunc_wrapper: a second entry, for callers in C, would take as long to compile again
OPTIONS = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}


class Kernel:
    """A function compiled at its first call: on all cores, or by its serial twin where threads would be fatal.

    `kernel.py_func` is the Python function itself, to read.  A debugger can step through what calls no
    intrinsic, which exists only in compiled code: `direct.py`, `im2col.py`.
    """

    def __init__(self, py_func, parallel, fastmath):
        self.py_func = py_func
        self.is_parallel = parallel
        self.fastmath = frozenset(fastmath)
        self.twins = {}
        functools.update_wrapper(self, py_func)

    def _twin(self, parallel):
        """The dispatcher of Numba; one of each kind, whoever comes first."""
        import numba

        with STATE.building:
            if parallel not in self.twins:
                watch_compilation(KernelCache)
                dispatcher = numba.njit(parallel=parallel, fastmath=set(self.fastmath), **OPTIONS)(self.py_func)
                dispatcher._cache = KernelCache(self.py_func, parallel=parallel, fastmath=sorted(self.fastmath))
                self.twins[parallel] = dispatcher
            return self.twins[parallel]

    @functools.cached_property
    def parallel(self):
        return self._twin(True)

    @functools.cached_property
    def serial(self):
        return self._twin(False)

    def __call__(self, *args):
        if not (STATE.is_free and self.is_parallel):
            return self._carefully(args)
        wanted, mask = STATE.wanted, STATE.get_mask()
        return self.parallel(*args) if wanted == mask else self._masked(args, wanted, mask)

    def alone(self, *args):
        """The same call on one thread: for work that is done before a second thread has woken up."""
        return self._masked(args, 1, STATE.get_mask()) if STATE.is_free and self.is_parallel else self(*args)

    def _masked(self, args, wanted, mask):
        """With our number of threads; Numba's own for this Python thread is the caller's business."""
        try:
            STATE.set_mask(wanted)
            return self.parallel(*args)
        finally:
            STATE.set_mask(mask)

    def _carefully(self, args):
        """The first call, and layers that take one caller at a time or none at all."""
        if not self.is_parallel:
            return self.serial(*args)
        if STATE.layer is None:
            start_layer()
        if STATE.is_orphan:
            warn_of_fork()
        if must_be_serial() or (STATE.layer == "workqueue" and is_foreign()):
            return self.serial(*args)
        with STATE.launching:
            return self._masked(args, STATE.wanted, STATE.get_mask())


def kernel(*, parallel=True, fastmath=FUSED):
    """Decorate a loop nest: `@kernel()` runs its `prange` loops on all cores, `@kernel(parallel=False)` on one."""

    def decorate(py_func):
        return Kernel(py_func, parallel, fastmath)

    return decorate
