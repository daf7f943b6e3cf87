"""Callbacks that write files: the table of epochs, and networks."""

import os

from fastconv.errors import FastconvError, OptionError
from fastconv.training.callbacks.base import Callback
from fastconv.training.callbacks.monitor import Best, Watching
from fastconv.training.checkpoint import note

__all__ = ["CSVLogger", "ModelCheckpoint"]


class CSVLogger(Callback):
    """After each epoch the whole history as CSV in one file, all or nothing; the columns are those of `History.rows`."""

    def __init__(self, filename):
        self.filename = os.fspath(filename)

    def on_epoch_end(self, epoch, logs):
        """Write the file."""
        written(self.trainer.history.to_csv, self.filename)


class ModelCheckpoint(Watching):
    """After each epoch the network, as `net.save` writes it.

    filepath : ends in ".safetensors"; may hold {epoch} (from 1) and metrics: "net-{epoch:02d}-{val_loss:.3f}.safetensors"
    save_best_only : only where the metric `monitor` is better than ever (mode "auto", "min" or "max")

    A file that cannot be written is a FastconvWarning, and training goes on.  It holds a network for use; a run goes on from
    `fit(checkpoint=…)`.
    """

    remembered = ("best",)

    def __init__(self, filepath, monitor="val_loss", *, save_best_only=False, mode="auto"):
        self.filepath, self.save_best_only = os.fspath(filepath), save_best_only
        if not self.filepath.endswith(".safetensors"):
            raise OptionError(f'filepath: got {self.filepath!r}; models are safetensors files: end it in ".safetensors"')
        self._best = Best(monitor, mode)

    def on_epoch_end(self, epoch, logs):
        """Write the network, if it is to be."""
        if self.save_best_only and not self._best.improved(self._best.read(logs)):
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(("epoch", *logs))
            raise OptionError(f"filepath: {self.filepath!r} cannot be filled in ({error}); there are {known}") from None
        written(self.net.save, path)


def written(write, path):
    """Write a file; a failure is a note, not the end of the run."""
    try:
        write(path)
    except OptionError:
        raise
    except FastconvError as error:
        note(f"{error}; training goes on")
