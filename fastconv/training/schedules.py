"""Learning-rate schedules: functions from how much of the run is done (0 to 1) to a factor on the optimizer's lr."""

from math import cos, pi

from fastconv.errors import OptionError

__all__ = ["SCHEDULES", "cosine", "find_schedule", "linear", "one_cycle"]


def linear(done):
    """From 1 down to 0 in a straight line: 1 - done."""
    return 1.0 - done


def cosine(done):
    """From 1 down to 0 along half a cosine: (1 + cos(pi done)) / 2.  Loshchilov and Hutter 2017, arXiv:1608.03983."""
    return (1.0 + cos(pi * done)) / 2


def one_cycle(done, warm_up=0.2):
    """Up from 0 to 1 during the first `warm_up`, then down to 0, in straight lines.  After Smith 2018, arXiv:1803.09820.

    >>> [one_cycle(done) for done in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return done / warm_up if done < warm_up else (1.0 - done) / (1.0 - warm_up)


SCHEDULES = {schedule.__name__: schedule for schedule in (linear, cosine, one_cycle)}


def find_schedule(schedule):
    """The function of a name; functions are taken as they are, None stays None (the rate never changes)."""
    if schedule is None or callable(schedule):
        return schedule
    if schedule in SCHEDULES:
        return SCHEDULES[schedule]
    raise OptionError(f"schedule: got {schedule!r}; needed one of {', '.join(SCHEDULES)}, a function of 0 … 1, or None")
