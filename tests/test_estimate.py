"""A time estimate before the start, and a budget that picks the epochs: by passes that change nothing."""

import time

import numpy as np
import pytest

import fastconv as fc
from fastconv.training import Recipe, estimate
from fastconv.training import run as run_module
from fastconv.training import trainer as trainer_module
from fastconv.training.batches import Batches, one_ahead
from fastconv.training.clock import Clock
from fastconv.training.durations import in_words

X = np.random.default_rng(0).standard_normal((40, 8, 8, 1)).astype(np.float32)
Y = np.arange(40) % 2


def new_trainer(*extra):
    layers = [fc.Conv2D(4, 3, activation="relu"), fc.BatchNorm(), *extra, fc.Flatten(), fc.Dropout(0.2), fc.Dense(2)]
    return fc.Trainer(fc.Sequential(layers, input_shape=(8, 8, 1)), fc.optim.Adam(0.01))


def as_bytes(net):
    return b"".join(array.tobytes() for array in net.get_weights().values())


class StillClock:
    """Stands still until somebody sets it on: what a test finds does not depend on what else the machine does."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The clock that estimates and budgets look at."""
    clock = StillClock()
    for module in (estimate, run_module, trainer_module):
        monkeypatch.setattr(module, "perf_counter", clock)
    monkeypatch.setattr(estimate, "compile_seconds", lambda: 0.0)
    return clock


class Slow(fc.Layer):
    """Takes its time: 20 ms in training, 5 ms else, and `late` seconds more the first time."""

    def __init__(self, clock, late=0.0):
        super().__init__()
        self.clock, self.late = clock, late

    def forward(self, x, training=False):
        self.clock.now += self.late + (0.02 if training else 0.005)
        self.late = 0.0
        return x

    def backward(self, dy, needs_dx=True):
        return dy


def test_an_epoch_is_foreseen_and_nothing_changes(clock):
    trainer = new_trainer(Slow(clock))
    before, draws = as_bytes(trainer.net), [getattr(layer, "draws", None) for layer in trainer.net.layers]
    found = estimate.epoch_seconds(trainer, Batches(X, Y, 8), Batches(X, Y, 20), Clock(), 0.1)
    assert found == pytest.approx(5 * 0.02 + 2 * 0.005)
    assert as_bytes(trainer.net) == before and [getattr(layer, "draws", None) for layer in trainer.net.layers] == draws


def test_a_first_pass_that_takes_longer_tells_nothing(clock):
    trainer = new_trainer(Slow(clock, late=2.5))  # such as it takes to fetch many kernels from the cache
    assert estimate.epoch_seconds(trainer, Batches(X, Y, 8), None, Clock(), 0.1) == pytest.approx(5 * 0.02)


def test_an_estimate_changes_no_bit_of_the_training(capsys):
    nets = []
    for verbose in (0, 2):
        trainer = new_trainer()
        trainer.fit(X, Y, epochs=2, batch_size=8, validation=0.25, verbose=verbose)
        nets.append(as_bytes(trainer.net))
    assert nets[0] == nets[1]
    assert "4 iterations = 1 epoch (the last batch has 6); 2 epochs = 8 iterations;" in capsys.readouterr().err.splitlines()[0]


def test_a_budget_picks_the_epochs(monkeypatch, capsys):
    monkeypatch.setattr(run_module, "epoch_seconds", lambda *_: 7.0)
    trainer = new_trainer()
    history = trainer.fit(X, Y, budget="30s", batch_size=8, verbose=2, schedule="one_cycle")
    assert len(history.rows()) == history.settings["epochs"] == 4 and history.settings["budget"] == 30
    shown = capsys.readouterr().err.splitlines()
    assert "how many epochs fit into 30 s" in shown[0] and "4 epochs = 20 iterations" in shown[1] and "about 28 s" in shown[2]
    assert shown[-1].split()[0] == "4/4"
    again = new_trainer()
    again.fit(X, Y, epochs=4, batch_size=8, verbose=0, schedule="one_cycle")
    assert as_bytes(again.net) == as_bytes(trainer.net)
    assert new_trainer().fit(X, Y, budget=1, batch_size=8, verbose=0).settings["epochs"] == 1


def test_a_budget_takes_the_place_of_a_recipes_epochs(clock):
    recipe = Recipe(normalize=(0, 1), optimizer=fc.optim.SGD(0.01), epochs=99, batch_size=8)
    stop = fc.callbacks.LambdaCallback(on_train_begin=lambda logs: None)
    history = recipe.train(new_trainer(Slow(clock)).net, X, Y, budget=0.45, verbose=0, callbacks=stop).history
    assert history.settings["epochs"] == 3
    with pytest.raises(fc.OptionError, match=r"budget: got 0\.2 and epochs=2"):
        recipe.train(new_trainer().net, X, Y, budget=0.2, epochs=2, verbose=0)


def test_a_run_takes_no_longer_than_its_budget_the_estimate_included(clock):
    history = new_trainer(Slow(clock)).fit(X, Y, budget=1.55, batch_size=8, verbose=0)
    assert len(history.rows()) == 14 and 1.45 < clock.now < 1.55  # 0.1 s an epoch; another was spent finding that out


def test_a_resumed_run_keeps_the_epochs_that_its_budget_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "epoch_seconds", lambda *_: 0.4)
    first = new_trainer().fit(X, Y, budget=2, batch_size=8, verbose=0, checkpoint=tmp_path)
    monkeypatch.setattr(run_module, "epoch_seconds", lambda *_: 0.1)
    again = new_trainer().fit(X, Y, budget=2, batch_size=8, verbose=0, checkpoint=tmp_path, resume="auto")
    assert len(again.rows()) == first.settings["epochs"] == again.settings["epochs"] in (3, 4)


@pytest.mark.parametrize("budget", ["soon", 0, "-3s", "1e9h"])
def test_impossible_budgets_are_refused(budget):
    with pytest.raises(fc.OptionError, match="budget: got"):
        new_trainer().fit(X, Y, budget=budget, verbose=0)


def test_durations_in_words():
    assert [in_words(s) for s in (0.04, 9.96, 99, 100, 5940, 6000)] == ["0.0 s", "10 s", "99 s", "2 min", "99 min", "1 h 40 min"]


# Batches from a background thread


def test_the_next_item_is_made_while_one_is_in_use_and_no_further():
    made = []
    for i in one_ahead(lambda item: made.append(item) or item, range(5)):
        patience = time.monotonic() + 60
        while len(made) < min(i + 2, 5) and time.monotonic() < patience:
            time.sleep(0.001)
        time.sleep(0.01)  # for one too many
        assert made == list(range(min(i + 2, 5)))


def test_an_exception_in_the_background_is_raised_where_the_batch_was_wanted():
    def broken(x, random):
        raise ZeroDivisionError("oops")

    with pytest.raises(ZeroDivisionError, match="oops"):
        new_trainer().fit(X, Y, verbose=0, augment=broken)


def test_batches_in_the_background_are_those_of_the_foreground():
    def noise(x, random):
        return x + random.standard_normal(x.shape).astype(np.float32)

    found = []
    for ahead in (True, False):
        batches = Batches(X, Y, 7, seed=3, shuffle=True, augment=noise)
        batches.ahead = ahead
        found.append([(x.copy(), y.copy()) for x, y in batches.epoch(2)])
        for first in (2, 5, 6):
            rest = [(x.copy(), y.copy()) for x, y in batches.epoch(2, first)]
            assert all(
                np.array_equal(a, b) for p, q in zip(rest, found[-1][first:], strict=True) for a, b in zip(p, q, strict=True)
            )
    assert len(found[0]) == 6
    assert all(np.array_equal(a, b) for p, q in zip(*found, strict=True) for a, b in zip(p, q, strict=True))
