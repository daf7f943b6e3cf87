"""Callbacks beside each other and across a break: who gets which state, and which weights are kept."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.training.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    WeightAverage,
)
from fastconv.training.callbacks.monitor import Best
from fastconv.training.hooks import Hooks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(65, 6)).astype("f4")
Y = (X[:, 0] > 0).astype(int)
HELD_OUT = X[:16], Y[:16]


def new_trainer(*extra, optimizer=None):
    net = fc.Sequential([fc.Dense(8), *extra, fc.ReLU(), fc.Dense(2)], input_shape=(6,), seed=1)
    return fc.Trainer(net, optimizer or fc.optim.SGD(0.1, momentum=0.9))


def fit(trainer, *callbacks, epochs=3, **options):
    return trainer.fit(X, Y, **{"epochs": epochs, "validation": HELD_OUT, "verbose": 0, "callbacks": callbacks, **options})


# ---- states


def states_after(callbacks, names, states):
    hooks = Hooks(callbacks, new_trainer())
    hooks.set_states(names, states)
    return hooks


def test_a_state_goes_to_the_callback_it_came_from(tmp_path):
    stop = EarlyStopping("val_loss", patience=9)
    fit(new_trainer(), CSVLogger(tmp_path / "a.csv"), stop, checkpoint=tmp_path / "run")
    moved, fresh = EarlyStopping("val_loss", patience=9), EarlyStopping("val_accuracy", patience=9)
    before = LambdaCallback(on_train_begin=lambda logs: None)
    with pytest.warns(fc.FastconvWarning, match=r"callbacks was \['CSVLogger', 'EarlyStopping\(val_loss, min\)'\], is"):
        fit(new_trainer(), before, fresh, moved, epochs=3, checkpoint=tmp_path / "run", resume=True)
    assert (moved.best, moved.best_epoch, moved.wait) == (stop.best, stop.best_epoch, stop.wait)
    assert stop.best is not None and fresh.best is None


def test_two_of_a_kind_keep_their_order():
    callbacks = [EarlyStopping("loss"), EarlyStopping("val_loss"), EarlyStopping("loss")]
    names = Hooks(callbacks, new_trainer()).names()
    assert names == ["EarlyStopping(loss, min)", "EarlyStopping(val_loss, min)", "EarlyStopping(loss, min)"]
    states = [{**callback.get_state(), "best": float(i)} for i, callback in enumerate(callbacks)]
    states_after(callbacks, [names[1], names[0], names[2]], states)
    assert [callback.best for callback in callbacks] == [1.0, 0.0, 2.0]


# ---- means


def test_what_is_saved_beside_a_mean_is_what_was_validated(tmp_path):
    """`ModelCheckpoint` and the mean in either order."""
    for order in (1, -1):
        callbacks = [WeightAverage(0.99, warm_up=False), ModelCheckpoint(tmp_path / "m-{epoch}.safetensors")][::order]
        trainer = new_trainer(fc.BatchNorm())
        history = fit(trainer, *callbacks, batch_size=13)
        for epoch, recorded in enumerate(history.history["val_loss"], 1):
            saved = fc.Trainer(fc.load(tmp_path / f"m-{epoch}.safetensors")).evaluate(*HELD_OUT)
            assert saved["loss"] == pytest.approx(recorded, rel=1e-6)


def test_the_best_mean_is_put_back():
    for order in (1, -1):
        stop = EarlyStopping(patience=9, restore_best_weights=True)
        trainer = new_trainer(optimizer=fc.optim.SGD(3.0, momentum=0.9))
        fit(trainer, *[WeightAverage(0.9), stop][::order], epochs=6)
        assert trainer.evaluate(*HELD_OUT)["loss"] == pytest.approx(stop.best, rel=1e-6)


def test_training_goes_on_with_its_own_weights_under_two_means():
    results = []
    for callbacks in ([], [WeightAverage(0.9), fc.callbacks.SWA(0)]):
        trainer, kept = new_trainer(), []
        keep = LambdaCallback(on_epoch_begin=lambda epoch, logs, t=trainer, kept=kept: kept.append(t.net.get_weights()))
        fit(trainer, *callbacks, keep)
        results.append(kept)
    for plain, beside in zip(*results, strict=True):
        for name, array in plain.items():
            np.testing.assert_array_equal(beside[name], array)


def test_weights_are_its_own_after_an_exception_in_the_middle_of_the_validation():
    def broken(logs):
        raise RuntimeError("no")

    plain, trainer = new_trainer(), new_trainer()
    fit(plain, epochs=1)
    with pytest.raises(fc.TrainingError, match="on_test_end raised RuntimeError"):
        fit(trainer, WeightAverage(0.5), LambdaCallback(on_test_end=broken), epochs=1)
    for name, array in plain.net.get_weights().items():
        np.testing.assert_array_equal(trainer.net.get_weights()[name], array)


# ---- watching


def test_nan_is_never_the_best_nor_at_first():
    best = Best("val_loss")
    assert [best.improved(value) for value in (np.nan, 3.0, np.nan, 2.0)] == [False, True, False, True]


@pytest.mark.parametrize("lr, least, found", [(1e-4, 1e-2, 1e-4), (1e-1, 1e-2, 1e-2), (1e-1, 0.0, 1e-3)])
def test_a_plateau_never_raises_the_rate(lr, least, found):
    trainer = new_trainer(optimizer=fc.optim.Adam(lr))
    fit(trainer, ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=1e9, min_lr=least), epochs=3)
    assert trainer.optimizer.lr == pytest.approx(found)


# ---- rates of layers


def one_weight(optimizer, rate):
    net = fc.Sequential([fc.Dense(1, bias=False)], input_shape=(1,), seed=0)
    net.layers[0].rates = {"w": rate}
    net.set_weights({"dense_1.w": np.ones((1, 1), "f4")})
    fc.Trainer(net, optimizer, loss="mean_squared_error").step(np.zeros((1, 1), "f4"), np.zeros((1, 1), "f4"))
    return 1 - float(net.get_weights()["dense_1.w"][0, 0])


@pytest.mark.parametrize(
    "optimizer, rate, taken",
    [
        (fc.optim.AdamW(1e-2, weight_decay=1e-2), 1e-3, 1e-4),  # lr · weight_decay, whatever the rate
        (fc.optim.SGD(1e-1, weight_decay=1e-2), 1e-3, 1e-3),
        (fc.optim.SGD(10.0, weight_decay=1e-2), 64.0, 1e-1),
        (fc.optim.Adam(1e-1, weight_decay=1e-2), 1e-2, 1e-3),  # the first step of Adam is lr long, whatever the gradient
    ],
    ids=str,
)
def test_weight_decay_of_a_slower_layer(optimizer, rate, taken):
    assert one_weight(optimizer, rate) == pytest.approx(taken, rel=1e-3)


# ---- the last batch


def test_a_single_example_for_batch_norm_is_refused_before_anything_happens(tmp_path):
    trainer = new_trainer(fc.BatchNorm())
    before = trainer.net.get_weights()
    with pytest.raises(fc.ShapeError, match=r"65 examples in batches of 64 leave one .* batch_norm_1 .*use batch_size=63"):
        fit(trainer, batch_size=64, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    for name, array in before.items():
        np.testing.assert_array_equal(trainer.net.get_weights()[name], array)
    fit(trainer, batch_size=63, epochs=1)
    fit(new_trainer(), batch_size=64, epochs=1)  # without one
    frozen = new_trainer(fc.BatchNorm())
    frozen.net.layers[1].trainable = False
    fit(frozen, batch_size=64, epochs=1)
    images = fc.Trainer(fc.Sequential([fc.BatchNorm(), fc.Flatten(), fc.Dense(2)], input_shape=(2, 3, 1)))
    images.fit(X.reshape(-1, 2, 3, 1), Y, batch_size=64, verbose=0)  # six values a channel


def test_one_example_and_one_of_a_batch():
    with pytest.raises(fc.ShapeError, match="pass more examples"):
        new_trainer(fc.BatchNorm()).fit(X[:1], Y[:1], verbose=0)
    with pytest.raises(fc.ShapeError, match=r"batches of 1 .*use batch_size=65"):
        new_trainer(fc.BatchNorm()).fit(X, Y, batch_size=1, verbose=0)
