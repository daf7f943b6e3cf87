"""What happens around the compilation of a kernel: its seconds are counted, its symbols get names of their own, and what it
calls is only linked (`linking`).

Numba numbers the functions it compiles, from 1 in every process, and makes the numbers part of the symbols.  Two processes may so
give one name to two different functions; a third that loads both from the cache would run one of them in place of the other
(numba#10486).  Kernels therefore take random numbers.
"""

import functools
import itertools
import os
import time

from fastconv.machine.linking import Linking, is_part

__all__ = ["compile_seconds", "watch_compilation"]


class Compilation:
    """The compilations under way, an inner one inside an outer one; Numba's compiler lock guards all of this."""

    def __init__(self):
        self.seconds = 0.0
        self.depth = 0
        self.started = 0.0
        self.usual_numbers = None

    def start(self, identity):
        self.depth += 1
        if self.depth == 1:
            self.started, self.usual_numbers = time.perf_counter(), identity._unique_ids
            identity._unique_ids = itertools.count(int.from_bytes(os.urandom(7)))

    def stop(self, identity):
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.started
            identity._unique_ids = self.usual_numbers


COMPILATION = Compilation()


def compile_seconds():
    """Seconds that this process has spent compiling kernels so far (loading them from the cache is not counted)."""
    return COMPILATION.seconds


@functools.cache
def watch_compilation(cache_type):
    """From now on follow the compilation of every dispatcher whose cache is a `cache_type`, and of all that it calls; also of
    those that fail."""
    from numba.core import event
    from numba.core.bytecode import FunctionIdentity

    linking = Linking()

    class Listener(event.Listener):
        def on_start(self, event):
            dispatcher = event.data["dispatcher"]
            is_kernel = isinstance(getattr(dispatcher, "_cache", None), cache_type)
            if is_kernel or COMPILATION.depth:
                only_linked = not is_kernel and is_part(dispatcher)
                COMPILATION.start(FunctionIdentity)
                linking.begin(only_linked)

        def on_end(self, event):
            if COMPILATION.depth:
                try:
                    linking.end()
                finally:
                    COMPILATION.stop(FunctionIdentity)

    event.register("numba:compile", Listener())
