"""Mistakes that people make with the trainer: each is refused in one clear line before anything is trained."""

import re

import numpy as np
import pytest

import fastconv as fc
from fastconv.training import Augment, Crop, Cutout, Flip, Shift, Views, Warp
from fastconv.training.schedules import Step, WarmUp

X = np.random.default_rng(0).standard_normal((24, 8, 8, 1)).astype(np.float32)
Y = np.arange(24) % 2
ROWS = X.reshape(24, 64)


def net(*shape):
    return fc.Sequential([fc.Flatten(), fc.Dense(2)] if len(shape) > 1 else [fc.Dense(2)], input_shape=shape)


def trainer(optimizer=None, **options):
    return fc.Trainer(net(8, 8, 1), optimizer, **options)


def fit(x=X, y=Y, *, made=None, **options):
    made = made or fc.Trainer(net(*x.shape[1:]))
    return made.fit(x, y, **{"verbose": 0, "batch_size": 8, **options})


def mse(p, t):
    return float(((p - t) ** 2).mean()), 2 * (p - t) / p.size


NAMES = np.where(Y, "cat", "dog")

REFUSED = {
    # what trains what
    "optimizer by name": (lambda: trainer("adam"), "optimizer: got 'adam'; needed an optimizer such as fc.optim.Adam(1e-3)"),
    "optimizer a rate": (lambda: trainer(0.1), "optimizer: got 0.1; needed an optimizer such as"),
    "optimizer a class": (lambda: trainer(fc.optim.SGD), "optimizer: got the class SGD; needed an optimizer"),
    "no network": (lambda: fc.Trainer(None), "net: got None; needed a network such as fc.models.lenet5()"),
    "network by name": (lambda: fc.Trainer("lenet5"), "net: got 'lenet5'; needed a network"),
    "layers": (lambda: fc.Trainer([fc.Dense(2)]), "net: got ["),
    "clip_norm a bool": (lambda: trainer(clip_norm=True), "clip_norm: got True; needed a number above 0"),
    "clip_value infinite": (lambda: trainer(clip_value=np.inf), "clip_value: got inf"),
    "loss a list": (lambda: trainer(loss=["hinge"]), "loss: got ['hinge']; needed one of softmax_cross_entropy"),
    "loss of one argument": (lambda: trainer(loss=lambda p: (0.0, p)), "which cannot be called with 2 arguments"),
    "nesterov as text": (lambda: fc.optim.SGD(0.1, nesterov="no"), "nesterov: got 'no'; needed True or False"),
    # fit
    "resume auto without folder": (lambda: fit(resume="auto"), "resume: there is no folder to look in; pass checkpoint="),
    "resume a number": (lambda: fit(resume=1), "resume: got 1"),
    "both lengths": (lambda: fit(epochs=3, budget="1s"), "budget: got '1s' and epochs=3; needed one of them"),
    "validation a bool": (lambda: fit(validation=True), "validation: got bool"),
    "shuffle by batch": (lambda: fit(shuffle="batch"), "shuffle: got 'batch'; needed True or False"),
    "checkpoint a number": (lambda: fit(checkpoint=3), "checkpoint: got 3; needed a name, such as"),
    "Checkpoint of None": (lambda: fc.Checkpoint(None), "checkpoint: got None; needed a name"),
    "schedule a class": (lambda: fit(schedule=Step), "schedule: got the class Step; needed one of linear, "),
    "schedule a list": (lambda: fit(schedule=["cosine"]), "schedule: got ['cosine']; needed one of linear, "),
    "schedule of epoch and rate": (lambda: fit(schedule=lambda epoch, lr: lr), "which cannot be called with 1 argument;"),
    "schedule of nothing": (
        lambda: fit(schedule=lambda done: None),
        "schedule: got None; needed a number of at least 0 to multiply",
    ),
    "schedule below zero": (lambda: fit(schedule=lambda done: -1), "schedule: got -1; needed a number of at least 0"),
    # names of classes
    "y in words": (lambda: fit(y=NAMES), "y: got text such as 'dog'; needed numbers: number the classes 0 ... K-1"),
    "y as objects": (lambda: fit(y=NAMES.astype(object)), "y: got text such as 'dog'"),
    "y None": (lambda: fit(y=None), "y: got None; needed a target for each example"),
    # callbacks
    "callback a class": (
        lambda: fit(callbacks=[fc.callbacks.SWA]),
        "callbacks[0]: got the class SWA; needed an object; make one",
    ),
    "callbacks a class": (lambda: fit(callbacks=fc.callbacks.SWA), "callbacks[0]: got the class SWA; needed an object; make one"),
    "callbacks a number": (lambda: fit(callbacks=3), "callbacks[0]: got 3; needed an object with one of on_train_begin"),
    "callbacks by name": (lambda: fit(callbacks="early"), "callbacks[0]: got 'early'"),
    "stop without validation": (
        lambda: fit(callbacks=[fc.callbacks.EarlyStopping()]),
        "callbacks[0], EarlyStopping: monitor: got 'val_loss'; needed one of loss, accuracy; pass validation=0.1 to fit",
    ),
    "no accuracy": (
        lambda: fit(y=np.zeros((24, 2)), made=trainer(loss=mse), callbacks=[fc.callbacks.EarlyStopping("accuracy")]),
        "monitor: got 'accuracy'; needed one of loss",
    ),
    "SWA too late": (
        lambda: fit(epochs=3, callbacks=[fc.callbacks.SWA(3)]),
        "callbacks[0], SWA: start_epoch: got 3 (counted from 0) of 3 epochs, which leaves nothing to average; needed 0 to 2",
    ),
    "probe of another shape": (
        lambda: fit(callbacks=[fc.callbacks.Recorder(X[:, :7], Y)]),
        "callbacks[0], Recorder: x: got shape (24, 7, 8, 1)",
    ),
    "CSVLogger of None": (lambda: fc.callbacks.CSVLogger(None), "filename: got None; needed a name, such as"),
    "ModelCheckpoint of 3": (lambda: fc.callbacks.ModelCheckpoint(3), "filepath: got 3; needed a name, such as"),
    "save_best_only": (lambda: fc.callbacks.ModelCheckpoint("a.safetensors", save_best_only=1), "save_best_only: got 1"),
    "average by name": (lambda: fc.callbacks.WeightAverage("a"), "decay: got 'a'; needed a number from 0 to below 1"),
    "Lookahead": (lambda: fc.callbacks.Lookahead("a"), "alpha: got 'a'; needed a number above 0"),
    "factor": (lambda: fc.callbacks.ReduceLROnPlateau(factor="a"), "factor: got 'a'; needed a number between 0 and 1"),
    "min_lr": (lambda: fc.callbacks.ReduceLROnPlateau(min_lr="a"), "min_lr: got 'a'; needed a number of at least 0"),
    "min_delta": (lambda: fc.callbacks.EarlyStopping(min_delta="x"), "min_delta: got 'x'; needed a number"),
    "baseline": (lambda: fc.callbacks.EarlyStopping(baseline="x"), "baseline: got 'x'; needed a number"),
    "patience first": (lambda: fc.callbacks.EarlyStopping(5), "monitor: got 5; needed the name of a metric"),
    "restore": (lambda: fc.callbacks.EarlyStopping(restore_best_weights="yes"), "restore_best_weights: got 'yes'"),
    "rates by name": (lambda: fc.callbacks.LearningRateScheduler("step"), "schedule: got 'step'; needed a function (epoch, lr)"),
    # augmentation and views
    "augment by name": (lambda: fit(augment="flip"), "augment: got 'flip'; needed a function (images, generator) -> images"),
    "augment a list": (lambda: fit(augment=[Flip()]), "augment: got a list; needed a function"),
    "augment a class": (lambda: fit(augment=Flip), "augment: got the class Flip; needed a function"),
    "augment without generator": (lambda: fit(augment=lambda x: x), "which cannot be called with 2 arguments"),
    "class in Augment": (lambda: Augment(Crop(2), Flip), "augment: step 1: got the class Flip"),
    "other shape": (lambda: fit(augment=lambda x, r: x[:, 1:]), "augment: got shape (8, 7, 8, 1) for a batch of shape (8, 8"),
    "fewer images": (lambda: fit(augment=lambda x, r: x[1:]), "augment: got shape (7, 8, 8, 1) for a batch"),
    "nothing returned": (lambda: fit(augment=lambda x, r: None), "augment: got None for a batch; needed the new images"),
    "no numbers returned": (lambda: fit(augment=lambda x, r: x.astype(complex)), "augment: got dtype complex128"),
    **{
        f"{type(augment).__name__} of rows": (
            lambda augment=augment: fit(ROWS, augment=augment),
            f"{type(augment).__name__}: got examples of shape (8, 64); needed images (N, H, W, C)",
        )
        for augment in (Flip(), Warp(), Shift(), Crop(), Cutout())
    },
    "views of rows": (lambda: fc.Trainer(net(64)).predict(ROWS, views=Views()), "Views: got examples of shape (24, 64); needed"),
    "views by name": (lambda: trainer().evaluate(X, Y, views="flip"), "views: got 'flip'; needed a function from images"),
    "views that augment": (lambda: trainer().predict(X, views=Flip()), "which cannot be called with 1 argument;"),
    "probability": (lambda: Flip("a"), "probability: got 'a'; needed a number from 0 to 1"),
    "shift": (lambda: Warp(shift="a"), "shift: got 'a'; needed a number of at least 0"),
    "turn": (lambda: Warp(turn=np.nan), "turn: got nan"),
    "fill": (lambda: Shift(fill="a"), "fill: got 'a'; needed a number, or one for each channel"),
    "colours of fill": (lambda: fit(augment=Shift(fill=(1, 2))), "fill: got 2 numbers; needed one, or one for each channel"),
    "flip as text": (lambda: Views(flip="x"), "flip: got 'x'; needed True or False"),
    # schedules
    "at a number": (lambda: Step(at=0.5), "at: got 0.5; needed rising parts of the run"),
    "at a text": (lambda: Step(at="ab"), "at: got 'ab'; needed rising parts"),
    "at with a text": (lambda: Step(at=(0.1, "b")), "at: got 'b'; needed rising parts"),
    "factor of Step": (lambda: Step(factor="x"), "factor: got 'x'; needed a number from 0 to 1"),
    "part": (lambda: WarmUp("a"), "part: got 'a'; needed a part of the run"),
    # evaluation
    "evaluate a trainer": (lambda: fc.evaluate(trainer(), X, Y), "a network or an Ensemble; of a Trainer pass trainer.net"),
    "number of classes": (lambda: fc.evaluate(net(8, 8, 1), X, Y, classes=2), "classes: got 2; needed the names of 2 classes"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_refused_before_anything_is_trained(mistake):
    call, message = REFUSED[mistake]
    with pytest.raises(fc.FastconvError, match=re.escape(message)) as caught:
        call()
    assert not isinstance(caught.value, fc.TrainingError) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "found, message",
    [
        (1.0, "needed a pair: return loss, gradient"),
        (None, "loss: got NoneType"),
        ((np.zeros(3), np.zeros((8, 2))), "needed one number, the mean over the batch"),
        ((0.0, np.zeros((8, 1))), r"got a gradient of shape \(8, 1\); needed \(8, 2\)"),
        ((0.0, None), "loss: gradient: got dtype object"),
    ],
)
def test_a_loss_that_returns_something_else_is_named(found, message):
    with pytest.raises(fc.FastconvError, match=message):
        fit(made=trainer(loss=lambda p, t: found))


def test_numbers_of_numpy_are_numbers():
    half, one = np.float32(0.5), np.float32(1)
    made = trainer(fc.optim.SGD(np.float32(0.1), momentum=half, nesterov=np.True_), clip_norm=one, clip_value=np.int64(3))
    assert made.clip == {"norm": 1.0, "value": 3.0}
    stop = fc.callbacks.EarlyStopping(min_delta=half, restore_best_weights=np.False_)
    options = {
        "augment": Augment(Flip(half), Shift(np.int64(1), fill=half), Warp(turn=half)),
        "schedule": Step(at=np.array([half])),
    }
    history = fit(made=made, validation=half, shuffle=np.True_, callbacks=stop, **options)
    assert history.settings["images"] == 12 and history.settings["shuffle"] is True
    for make in (fc.callbacks.WeightAverage, fc.callbacks.Lookahead, WarmUp):
        make(half)
    fc.callbacks.ReduceLROnPlateau(factor=half, min_lr=half)


@pytest.mark.parametrize("callbacks", [None, (), fc.callbacks.SWA(0), [fc.callbacks.SWA(0)]], ids=("None", "()", "one", "list"))
def test_callbacks_may_be_none_or_one(callbacks):
    assert len(fit(callbacks=callbacks).rows()) == 1


def test_a_missing_folder_is_made_before_the_first_epoch(tmp_path):
    net_file, table = tmp_path / "nets" / "{epoch}" / "best.safetensors", tmp_path / "logs" / "run.csv"
    there = []
    look = fc.callbacks.LambdaCallback(on_train_begin=lambda logs: there.extend(path.name for path in tmp_path.iterdir()))
    fit(epochs=2, callbacks=[fc.callbacks.ModelCheckpoint(net_file), fc.callbacks.CSVLogger(table), look])
    assert sorted(there) == ["logs", "nets"] and table.exists()
    assert sorted(path.parent.name for path in (tmp_path / "nets").glob("*/best.safetensors")) == ["1", "2"]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    inside = tmp_path / "file" / "a.safetensors"
    for callback in (fc.callbacks.ModelCheckpoint(inside), fc.callbacks.CSVLogger(inside)):
        with pytest.raises(fc.FastconvError, match=rf"{type(callback).__name__}: file.*is no folder that can be written"):
            fit(callbacks=callback)


# What is said about numbers that are not finite


def test_the_learning_rate_is_not_blamed_for_the_input():
    with pytest.raises(fc.TrainingError, match=r"the input is not finite; .*look at what augment makes of them") as caught:
        fit(augment=lambda x, random: x * np.nan)
    assert "learning rate" not in str(caught.value)
    with pytest.raises(fc.TrainingError, match=r"not finite as float32; .*Scale the examples to numbers that float32"):
        fit(X.astype(np.float64) * 1e200)


# Callbacks that are written for Keras


class Keras:
    """As Keras's own base: it gets model and params, and calls the older hooks from the newer."""

    def __init__(self):
        self.calls = []

    def set_model(self, model):
        self.model = model

    def set_params(self, params):
        self.params = params

    def on_batch_end(self, batch, logs=None):
        self.calls.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.on_batch_end(batch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


def test_a_callback_for_keras_gets_its_model_and_its_params_and_can_stop():
    callback = Keras()
    history = fit(callbacks=[callback], epochs=5, validation=0.5)
    assert callback.params == {
        "epochs": 5, "steps": 2, "verbose": 0, "metrics": ["loss", "accuracy", "val_loss", "val_accuracy"]
    }  # fmt: skip
    assert history.stopped == "callback" and callback.calls == [0, 1, 0, 1]


def test_a_callback_of_ours_may_say_model():
    class Stop(fc.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = True

    assert fit(callbacks=Stop(), epochs=5).stopped == "callback"


class Stray:
    def __init__(self, act):
        self.act = act

    def on_epoch_end(self, epoch, logs):
        self.act(self)


@pytest.mark.parametrize(
    "callback, message",
    [
        (fc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0), "LambdaCallback.on_epoch_end raised ZeroDivision"),
        (fc.callbacks.LambdaCallback(on_train_begin=lambda logs: 1 / 0), "on_train_begin raised .*; no step was done"),
        (Stray(lambda own: own.model.stop_training), "'model'; derive it from fastconv.callbacks.Callback, where self.model"),
        (Stray(lambda own: own.act.missing), "no attribute 'missing'; the network is as the last whole step left it"),
    ],
    ids=["hook", "before a step", "no model", "another attribute"],
)
def test_a_callback_that_raises_is_named_with_its_hook(callback, message):
    with pytest.raises(fc.TrainingError, match=message):
        fit(callbacks=[callback])


def test_what_the_trainer_lacks_of_a_model_is_in_its_network():
    callback = Keras()
    callback.on_epoch_end = lambda epoch, logs: callback.model.save("a")
    with pytest.raises(fc.TrainingError, match="Keras's model is the Trainer here, and the network is its net"):
        fit(callbacks=callback)
