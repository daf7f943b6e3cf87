"""Ctrl-C that waits for the end of a step, so that it never leaves half-updated weights."""

import signal
import threading

__all__ = ["Interrupts"]


class Interrupts:
    """While open, the first SIGINT only sets `pending`; a second one raises KeyboardInterrupt wherever the program is.

    Signals reach the main thread alone: elsewhere, and where SIGINT is ignored (`nohup`) or was not set from Python, this
    changes nothing and `pending` stays False.  The handler that was there before is back after the `with` block, and after the
    second signal.
    """

    def __init__(self):
        self.pending = False
        self._previous = None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._received)
        return self

    def __exit__(self, *error):
        self._restore()

    def _received(self, number, frame):
        if self.pending:
            self._restore()
            raise KeyboardInterrupt
        self.pending = True

    def _restore(self):
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
