"""Callbacks that write files: the table of epochs, and networks."""

import contextlib
from pathlib import Path

from fastconv.errors import FastconvError, OptionError
from fastconv.layers.values import flag
from fastconv.training.callbacks.base import Callback
from fastconv.training.callbacks.monitor import Best, Watching
from fastconv.training.checkpoint import note
from fastconv.training.checks import file_name, writable

__all__ = ["CSVLogger", "ModelCheckpoint"]


class CSVLogger(Callback):
    """After each epoch the whole history as CSV in one file, all or nothing; the columns are those of `History.rows`."""

    def __init__(self, filename):
        self.filename = file_name(filename, "filename", "run.csv")

    def check_run(self, epochs, metrics):
        """Make the folder, or refuse it."""
        writable(Path(self.filename).parent, "filename")

    def on_epoch_end(self, epoch, logs):
        """Write the file."""
        written(self.trainer.history.to_csv, self.filename)


class ModelCheckpoint(Watching):
    """After each epoch the network, as `net.save` writes it.

    filepath : ends in ".safetensors"; may hold {epoch} (from 1) and metrics: "net-{epoch:02d}-{val_loss:.3f}.safetensors"
    save_best_only : only where the metric `monitor` is better than ever (mode "auto", "min" or "max")

    A missing folder is made when the run begins.  A file that cannot be written is a FastconvWarning, and training goes on.  It
    holds a network for use; a run goes on from `fit(checkpoint=…)`.
    """

    remembered = ("best",)

    def __init__(self, filepath, monitor="val_loss", *, save_best_only=False, mode="auto"):
        self.filepath = file_name(filepath, "filepath", "net-{epoch:02d}.safetensors")
        self.save_best_only = flag(save_best_only, "save_best_only")
        if not self.filepath.endswith(".safetensors"):
            raise OptionError(f'filepath: got {self.filepath!r}; models are safetensors files: end it in ".safetensors"')
        self._best = Best(monitor, mode)

    def check_run(self, epochs, metrics):
        """Refuse a name or a metric that cannot be; make the folder."""
        if self.save_best_only:
            super().check_run(epochs, metrics)
        writable(Path(self.path(0, dict.fromkeys(metrics, 0.0))).parent, "filepath")

    def path(self, epoch, logs):
        """The file of an epoch."""
        try:
            return self.filepath.format(epoch=epoch + 1, **logs)
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            known = ", ".join(("epoch", *logs))
            raise OptionError(f"filepath: {self.filepath!r} cannot be filled in ({error}); there are {known}") from None

    def on_epoch_end(self, epoch, logs):
        """Write the network, if it is to be."""
        if not self.save_best_only or self._best.improved(self._best.read(logs)):
            written(self.net.save, self.path(epoch, logs))


def written(write, path):
    """Write a file, its folder before it; a failure is a note, not the end of the run."""
    with contextlib.suppress(OSError):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        write(path)
    except OptionError:
        raise
    except FastconvError as error:
        note(f"{error}; training goes on")
