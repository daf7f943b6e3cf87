"""Learning-rate schedules: functions from how much of the run is done (0 to 1) to a factor on the optimizer's lr."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from fastconv.errors import OptionError
from fastconv.training.checks import callable_with, number

__all__ = ["SCHEDULES", "Step", "WarmUp", "cosine", "factor_at", "find_schedule", "linear", "one_cycle"]


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


def rising(parts):
    """Parts of a run as a tuple, else OptionError."""
    needed = "rising parts of the run between 0 and 1, such as (0.5, 0.75)"
    if isinstance(parts, str) or not hasattr(parts, "__iter__"):
        raise OptionError(f"at: got {parts!r}; needed {needed}")
    found = tuple(number(part, "at", needed, lambda part: 0 < part < 1) for part in parts)
    if list(found) != sorted(found):
        raise OptionError(f"at: got {found}; needed {needed}")
    return found


@dataclass(frozen=True)
class Step:
    """1 at first, times `factor` at each of the parts `at` of the run.

    The default is that of He et al. 2016, arXiv:1512.03385, section 4.2: divided by 10 at 32k and 48k of 64k iterations.

    >>> [round(Step()(done), 4) for done in (0, 0.49, 0.5, 0.75, 1)]
    [1.0, 1.0, 0.1, 0.01, 0.01]
    """

    at: tuple = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self):
        object.__setattr__(self, "at", rising(self.at))
        number(self.factor, "factor", "a number from 0 to 1, such as 0.1", lambda factor: 0 <= factor <= 1)

    def __call__(self, done):
        """The factor when so much of the run is done."""
        return self.factor ** bisect_right(self.at, done)


@dataclass(frozen=True)
class WarmUp:
    """Up from 0 to 1 in a straight line during the first `part` of the run; the rest is the schedule `then`, None for 1.

    Goyal et al. 2017, arXiv:1706.02677, section 2.2.

    >>> [round(WarmUp(0.1)(done), 3) for done in (0, 0.05, 0.1, 0.55, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    part: float = 0.05
    then: str | Callable | None = "cosine"

    def __post_init__(self):
        number(self.part, "part", "a part of the run between 0 and 1, such as 0.05", lambda part: 0 < part < 1)
        find_schedule(self.then)

    def __call__(self, done):
        """The factor when so much of the run is done."""
        if done < self.part:
            return done / self.part
        then = find_schedule(self.then)
        return 1.0 if then is None else then((done - self.part) / (1 - self.part))


SCHEDULES = {"linear": linear, "cosine": cosine, "one_cycle": one_cycle, "step": Step()}


def find_schedule(schedule):
    """The function of a name; functions are taken as they are, None stays None (the rate never changes)."""
    if schedule is None:
        return None
    if isinstance(schedule, str) and schedule in SCHEDULES:
        return SCHEDULES[schedule]
    return callable_with(schedule, "schedule", f"one of {', '.join(SCHEDULES)}, a function of 0 … 1, or None")


def factor_at(schedule, done):
    """What a schedule says when so much of the run is done; OptionError where that is no number."""
    needed = f"a number of at least 0 to multiply the learning rate by when {done:.3g} of the run is done"
    return number(schedule(done), "schedule", needed, lambda factor: factor >= 0)


SCHEDULES["warm_up"] = WarmUp()
