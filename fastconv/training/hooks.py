"""Callbacks: plain objects with any of Keras's hooks."""

from collections import defaultdict

from fastconv.errors import FastconvError, OptionError, TrainingError

__all__ = ["HOOKS", "Hooks", "as_callbacks"]

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
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_epoch_over",  # not Keras's: behind the last on_epoch_end and before the checkpoint, also where an exception came between
)
OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class Hooks:
    """The hooks of all callbacks of a run, called in the order given.

    on_train_begin(logs), on_train_end(logs), on_epoch_begin(epoch, logs), on_epoch_end(epoch, logs),
    on_train_batch_begin(batch, logs), on_train_batch_end(batch, logs), on_test_begin(logs), on_test_end(logs),
    on_test_batch_begin(batch, logs), on_test_batch_end(batch, logs), and, not Keras's, on_epoch_over(epoch, logs), when all have
    had their on_epoch_end; epochs and batches count from 0, logs is a dict.

    Before the run a callback gets what it has a method for: `set_trainer(trainer)`; `set_model(trainer)`, as Keras calls it (the
    network is `model.net`); `set_params({"epochs": …, "steps": …, "verbose": …, "metrics": …})`; `check_run(epochs, metrics)`, to
    refuse with an OptionError what cannot work, such as a metric that is not among `metrics`, the names in the logs of
    on_epoch_end.  `trainer.stop_training = True` ends the run after the epoch, and so does `model.stop_training = True`.

    A callback that remembers something says so with `get_state()`, a dict of numbers, text and arrays, and takes it back with
    `set_state(state)`: then a run that is resumed from a checkpoint goes on to the same bits.  `on_train_begin` comes before
    that; an epoch that goes on in its middle has no second `on_epoch_begin`.
    """

    def __init__(self, callbacks, trainer):
        self.trainer, self.callbacks = trainer, as_callbacks(callbacks)
        self._hooks = {name: [(c, getattr(c, name)) for c in self.callbacks if hasattr(c, name)] for name in HOOKS}
        for name, older in OLDER.items():  # Keras's own base calls the older one from the newer
            self._hooks[name] += [(c, hook) for c, hook in self._hooks[older] if not hasattr(c, name)]
        self._hooks["on_epoch_over"].reverse()  # what the first one exchanged last comes back last
        self._hooks["on_train_end"].sort(key=lambda pair: not getattr(pair[0], "leaves_a_mean", False))  # others may know better
        self.empty = not self.callbacks
        for name in ("set_trainer", "set_model"):
            self.prepare(name, trainer)

    def begin(self, epochs, steps, verbose, metrics):
        """What the run is going to be; a callback may refuse it."""
        self.prepare("set_params", {"epochs": epochs, "steps": steps, "verbose": verbose, "metrics": list(metrics)})
        self.prepare("check_run", epochs, tuple(metrics))

    def prepare(self, name, *arguments):
        """Call what is no hook of every callback that has it; an error of ours gets the place of the callback."""
        for i, callback in enumerate(self.callbacks):
            try:
                getattr(callback, name, ignored)(*arguments)
            except FastconvError as error:
                raise type(error)(f"callbacks[{i}], {type(callback).__name__}: {error}") from None
            except Exception as error:
                raise raised(callback, name, error, "nothing was trained") from error

    def __call__(self, name, *where, **logs):
        """Call one hook of every callback that has it, each with a dict of its own."""
        for callback, hook in self._hooks[name]:
            self.call(callback, name, hook, *where, dict(logs))

    def call(self, callback, name, hook, *arguments):
        """One hook; an exception in it becomes a TrainingError that names it."""
        try:
            hook(*arguments)
        except Exception as error:
            done = self.trainer.history is not None and self.trainer.history.iterations
            left = "the network is as the last whole step left it" if done else "no step was done"
            raise raised(callback, name, error, left) from error

    def states(self):
        """What each callback remembers; None of those that say nothing."""
        return [callback.get_state() if hasattr(callback, "get_state") else None for callback in self.callbacks]

    def names(self):
        """What each callback is called: its class, and what it watches."""
        return [f"{type(c).__name__}({c.watched})" if hasattr(c, "watched") else type(c).__name__ for c in self.callbacks]

    def set_states(self, names, states):
        """Give back what `states` gave under these names: to the first of a name that of the first, and so on; new ones begin."""
        waiting = defaultdict(list)
        for name, state in zip(names, states, strict=True):
            waiting[name].append(state)
        for name, callback in zip(self.names(), self.callbacks, strict=True):
            state = waiting[name].pop(0) if waiting[name] else None
            if state is not None and hasattr(callback, "set_state"):
                self.call(callback, "set_state", callback.set_state, state)


def as_callbacks(callbacks):
    """Callbacks as a tuple: several, a single one, or None for none; OptionError for what is none."""
    if callbacks is None:
        return ()
    if is_callback(callbacks) or isinstance(callbacks, (type, str)) or not hasattr(callbacks, "__iter__"):
        callbacks = (callbacks,)
    found = tuple(callbacks)
    for i, callback in enumerate(found):
        if isinstance(callback, type):
            what = f"callbacks[{i}]: got the class {callback.__name__}; needed an object"
            raise OptionError(f"{what}; make one: {callback.__name__}(…)")
        if not is_callback(callback):
            raise OptionError(f"callbacks[{i}]: got {callback!r}; needed an object with one of {', '.join(HOOKS)}")
    return found


def is_callback(value):
    """Whether it has a hook."""
    return any(hasattr(value, name) for name in HOOKS)


def ignored(*arguments):
    """In the place of a method that a callback has not."""


def raised(callback, name, error, left):
    """The TrainingError for an exception in a callback."""
    what = f"callback {type(callback).__name__}.{name} raised {type(error).__name__}: {error}"
    return TrainingError(f"{what}{keras_hint(error)}; {left}")


def keras_hint(error):
    """A way out where a callback looked for Keras's model."""
    if not isinstance(error, AttributeError):
        return ""
    if error.name in ("model", "trainer"):
        return f"; derive it from fastconv.callbacks.Callback, where self.{error.name}.stop_training = True ends the run"
    if hasattr(error.obj, "stop_training"):
        return "; Keras's model is the Trainer here, and the network is its net"
    return ""
