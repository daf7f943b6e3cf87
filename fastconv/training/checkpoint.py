"""Checkpoints: a run on the disk, from which it goes on to the same bits."""

import contextlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from fastconv.errors import FastconvError, FastconvWarning, ModelFileError, OptionError
from fastconv.geometry import whole
from fastconv.training import tensors_file
from fastconv.training.checks import file_name, writable
from fastconv.training.durations import seconds

__all__ = ["Checkpoint", "Checkpoints", "known_resume"]

KIND, FORMAT = "checkpoint", 1
NAME = re.compile(r"step-(\d{10})\.safetensors")
TEMPORARY = ".fastconv-*.tmp"  # what a process that was killed in `atomic_write` leaves


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often `Trainer.fit` writes a checkpoint; a folder's name alone means Checkpoint(folder).

    folder : of this run alone; made if it is missing.  Each file, "step-0000000120.safetensors" after 120 iterations, has
        everything: weights, running statistics, optimizer state, random state, epoch and step, history, state of callbacks
    every : "epoch" (after its callbacks), a number of iterations, or a time such as "30s", "5min"; there is always one after
        each epoch, and one when Ctrl-C stops the run
    keep : how many files stay, the newest ones

    A checkpoint that cannot be written (a full disk) is a FastconvWarning, the older ones stay and training goes on.
    """

    folder: str
    every: str | int = "epoch"
    keep: int = 2

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(file_name(self.folder, "checkpoint", "run")))
        whole(self.keep, "checkpoint: keep", 1)
        if isinstance(self.every, str) and self.every != "epoch":
            seconds(self.every, "checkpoint: every")
        elif not isinstance(self.every, str):
            whole(self.every, "checkpoint: every", 1)


class Checkpoints:
    """The files of one run."""

    def __init__(self, settings):
        self.settings = settings if isinstance(settings, Checkpoint) else Checkpoint(settings)
        self.folder, every = self.settings.folder, self.settings.every
        self._steps = None if isinstance(every, str) else every
        self._seconds = seconds(every, "every") if isinstance(every, str) and every != "epoch" else None
        self._last = monotonic()

    def files(self):
        """The checkpoints, oldest first."""
        found = [path for path in self.folder.glob("step-*.safetensors") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name)

    def open(self, resume):
        """Make the folder; what the newest checkpoint that can be read holds, None where the run begins.

        resume : False (there must be none), "auto" (go on from one, if there is one) or True (there must be one)
        """
        resume = known_resume(resume)
        writable(self.folder, "checkpoint")
        found = self.files()
        if found and not resume:
            raise OptionError(
                f'checkpoint: {self.folder} holds a run ({found[-1].name}); resume="auto" goes on with it, another folder or '
                f"deleting its files begins anew"
            )
        if resume is True and not found:
            raise OptionError(f'resume: {self.folder} holds no checkpoint; resume="auto" begins a run where there is none')
        self.sweep()
        return self.newest(found) if found else None

    def sweep(self):
        """Remove what a killed process left behind."""
        for path in self.folder.glob(TEMPORARY):
            with contextlib.suppress(OSError):
                path.unlink()

    def newest(self, found):
        """(path, content) of the newest file that can be read, with a warning for each newer one that cannot."""
        for path in reversed(found):
            try:
                return path, self.checked(path, tensors_file.read(path, KIND))
            except ModelFileError as error:
                problem = error
                note(f"{error}; it is left aside, an older checkpoint is taken if there is one")
        raise ModelFileError(f"resume: no checkpoint in {self.folder} can be read ({problem}); delete them to begin anew")

    def checked(self, path, tree):
        """The content of a file, if it is in the form that this version writes."""
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise ModelFileError(f"{path} is a checkpoint of another form; this version of fastconv reads form {FORMAT}")
        return tree

    def due(self, iterations):
        """Whether one is to be written in the middle of an epoch, after so many iterations."""
        if self._steps is not None:
            return iterations % self._steps == 0
        return self._seconds is not None and monotonic() - self._last >= self._seconds

    def write(self, iterations, tree):
        """Write a checkpoint and remove the oldest; whether that worked."""
        self._last = monotonic()
        try:
            tensors_file.write(self.folder / f"step-{iterations:010}.safetensors", KIND, {"format": FORMAT, **tree})
        except OptionError:  # a state that no file can hold: the program is wrong, not the disk
            raise
        except FastconvError as error:
            note(f"no checkpoint after {iterations:,} iterations: {error}; training goes on, older checkpoints are untouched")
            return False
        for path in self.files()[: -self.settings.keep]:
            with contextlib.suppress(OSError):
                path.unlink()
        return True


def known_resume(resume):
    """`resume` if it is one of its three values, else OptionError."""
    if not (isinstance(resume, bool) or (isinstance(resume, str) and resume == "auto")):
        raise OptionError(f'resume: got {resume!r}; needed "auto", True or False')
    return resume


def note(text):
    """Something that the person should know, though nothing has to stop."""
    warnings.warn(text, FastconvWarning, stacklevel=2)
