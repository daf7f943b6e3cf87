"""Callbacks: plain objects with any of Keras's hooks."""

from fastconv.errors import OptionError, TrainingError

__all__ = ["HOOKS", "Hooks"]

HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",  # Keras's older names of the two above; called at the same moments
    "on_batch_end",
    "on_test_begin",  # around the validation
    "on_test_end",
)
OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class Hooks:
    """The hooks of all callbacks of a run, called in the order given.

    on_train_begin(logs), on_train_end(logs), on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs),
    on_train_batch_begin(batch, logs), on_train_batch_end(batch, logs), on_test_begin(logs), on_test_end(logs); epochs and batches
    count from 0, logs is a dict.  A callback with `set_trainer(trainer)` gets the trainer first; `trainer.stop_training = True`
    ends the run after the epoch.

    A callback that remembers something says so with `get_state()`, a dict of numbers, text and arrays, and takes it back with
    `set_state(state)`: then a run that is resumed from a checkpoint goes on to the same bits.  `on_train_begin` comes before
    that; an epoch that goes on in its middle has no second `on_epoch_begin`.
    """

    def __init__(self, callbacks, trainer):
        self.callbacks = callbacks = tuple(callbacks)
        for i, callback in enumerate(callbacks):
            if isinstance(callback, type) or not any(hasattr(callback, name) for name in HOOKS):
                raise OptionError(f"callbacks[{i}]: got {callback!r}; needed an object with one of {', '.join(HOOKS)}")
        self._hooks = {name: [(c, getattr(c, name)) for c in callbacks if hasattr(c, name)] for name in HOOKS}
        for name, older in OLDER.items():
            self._hooks[name] += self._hooks[older]
        self.empty = not callbacks
        for callback in callbacks:
            if hasattr(callback, "set_trainer"):
                call(callback, callback.set_trainer, trainer)

    def __call__(self, name, *where, **logs):
        """Call one hook of every callback that has it, each with a dict of its own."""
        for callback, hook in self._hooks[name]:
            call(callback, hook, *where, dict(logs))

    def states(self):
        """What each callback remembers; None of those that say nothing."""
        return [callback.get_state() if hasattr(callback, "get_state") else None for callback in self.callbacks]

    def set_states(self, states):
        """Give back what `states` gave."""
        for callback, state in zip(self.callbacks, states, strict=False):
            if state is not None and hasattr(callback, "set_state"):
                call(callback, callback.set_state, state)


def call(callback, hook, *arguments):
    """One hook; an exception in it becomes a TrainingError that names it."""
    try:
        hook(*arguments)
    except Exception as error:
        raise TrainingError(
            f"callback {type(callback).__name__}.{hook.__name__} raised {type(error).__name__}: {error}; the network is as the "
            f"last whole step left it"
        ) from error
