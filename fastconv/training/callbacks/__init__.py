"""Callbacks: what happens beside the steps of a run, under Keras's names.

    stop = fc.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    trainer.fit(x, y, epochs=50, validation=0.1, callbacks=[stop, fc.callbacks.CSVLogger("run.csv")])

Any object with one of the hooks of `fastconv.training.hooks` will do; `Callback` is a base for one's own.  One that is written
for Keras finds the `Trainer` as `self.model`, and ends the run with `self.model.stop_training = True`.
"""

from fastconv.training.callbacks.averages import SWA, Lookahead, WeightAverage, fading
from fastconv.training.callbacks.base import Callback, LambdaCallback
from fastconv.training.callbacks.files import CSVLogger, ModelCheckpoint
from fastconv.training.callbacks.monitor import EarlyStopping, ReduceLROnPlateau
from fastconv.training.callbacks.rates import LearningRateScheduler
from fastconv.training.callbacks.recorder import Recorder

__all__ = [
    "SWA",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "Lookahead",
    "ModelCheckpoint",
    "Recorder",
    "ReduceLROnPlateau",
    "WeightAverage",
    "fading",
]
