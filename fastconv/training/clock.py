"""Where the time of a run goes: laps of one stopwatch, compilation taken out of each and counted by itself."""

from time import perf_counter

from fastconv.machine import compile_seconds

__all__ = ["NO_CLOCK", "PHASES", "Clock"]

PHASES = ("data", "forward", "backward", "update", "evaluate")


class Clock:
    """`seconds` per phase, and "compile"; `lap(phase)` adds the time since the last lap to a phase."""

    def __init__(self):
        self.seconds = dict.fromkeys(("compile", *PHASES), 0.0)
        self.restart()

    def restart(self):
        """Forget the time since the last lap."""
        self._time, self._compiled = perf_counter(), compile_seconds()

    def lap(self, phase):
        """Book the time since the last lap, less what was spent compiling."""
        time, compiled = perf_counter(), compile_seconds()
        compiling = compiled - self._compiled
        self.seconds["compile"] += compiling
        self.seconds[phase] += max(time - self._time - compiling, 0.0)
        self._time, self._compiled = time, compiled

    def since(self, earlier):
        """Seconds of each phase beyond those of `earlier`, a copy of `seconds`."""
        return {phase: self.seconds[phase] - earlier[phase] for phase in self.seconds}


class Unwatched(Clock):
    """Counts nothing."""

    def lap(self, phase):
        """Nothing."""


NO_CLOCK = Unwatched()  # of a step by itself
