"""The base of callbacks, and one made of functions."""

from fastconv.errors import OptionError
from fastconv.training.hooks import HOOKS

__all__ = ["Callback", "LambdaCallback"]


class Callback:
    """A callback that knows its trainer.  Define any of the hooks; the rest is skipped, so that a step pays for none.

    Attributes
    ----------
    trainer : the `Trainer`, from the beginning of `fit` on; `trainer.stop_training = True` ends the run after the epoch
    model : the same, as callbacks for Keras call it
    net : its network

    What has to survive a break goes through `get_state` and `set_state`; `remembered` names attributes for which that is done.
    """

    remembered = ()
    trainer = model = None

    def set_trainer(self, trainer):
        """Called by `fit`."""
        self.trainer = self.model = trainer

    @property
    def net(self):
        """The network that is trained."""
        return self.trainer.net

    def get_state(self):
        """The attributes that `remembered` names, for a checkpoint."""
        return {name: getattr(self, name) for name in self.remembered}

    def set_state(self, state):
        """Take back what `get_state` gave."""
        for name in self.remembered:
            setattr(self, name, state[name])


class LambdaCallback:
    """Functions as a callback: LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"])).

    OptionError: a name that is no hook, or what cannot be called.
    """

    def __init__(self, **functions):
        for name, function in functions.items():
            if name not in HOOKS or not callable(function):
                raise OptionError(f"{name}: got {function!r}; needed a function under the name of a hook: {', '.join(HOOKS)}")
            setattr(self, name, function)
