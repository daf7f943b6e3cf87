"""Callbacks: plain objects with any of Keras's hooks."""

from fastconv.errors import OptionError, TrainingError

__all__ = ["HOOKS", "Hooks"]

HOOKS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end")


class Hooks:
    """The hooks of all callbacks of a run, called in the order given.

    on_train_begin(logs), on_train_end(logs), on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs), on_batch_begin(batch, logs),
    on_batch_end(batch, logs); epochs and batches count from 0, logs is a dict.  A callback with `set_trainer(trainer)` gets the
    trainer first; `trainer.stop_training = True` ends the run after the epoch.
    """

    def __init__(self, callbacks, trainer):
        callbacks = tuple(callbacks)
        for i, callback in enumerate(callbacks):
            if isinstance(callback, type) or not any(hasattr(callback, name) for name in HOOKS):
                raise OptionError(f"callbacks[{i}]: got {callback!r}; needed an object with one of {', '.join(HOOKS)}")
        self._hooks = {name: [(c, getattr(c, name)) for c in callbacks if hasattr(c, name)] for name in HOOKS}
        for callback in callbacks:
            if hasattr(callback, "set_trainer"):
                call(callback, callback.set_trainer, trainer)

    def __call__(self, name, *where, **logs):
        """Call one hook of every callback that has it, each with a dict of its own."""
        for callback, hook in self._hooks[name]:
            call(callback, hook, *where, dict(logs))


def call(callback, hook, *arguments):
    """One hook; an exception in it becomes a TrainingError that names it."""
    try:
        hook(*arguments)
    except Exception as error:
        raise TrainingError(
            f"callback {type(callback).__name__}.{hook.__name__} raised {type(error).__name__}: {error}; the network is as the "
            f"last whole step left it"
        ) from error
