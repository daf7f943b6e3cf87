"""Parameters that are updated in one pass: whose memory is written, and what becomes of copies, errors and other optimizers."""

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

import fastconv as fc
from bounds import assert_same_bytes
from fastconv.functional.updates import Together, sum_of_squares

X, Y = np.random.default_rng(70).standard_normal((4, 6, 6, 2)).astype("f4"), np.array([0, 1, 2, 1])


def trainer(optimizer):
    layers = [fc.Conv2D(4, 3, activation="relu"), fc.Flatten(), fc.Dense(3)]
    return fc.Trainer(fc.Sequential(layers, input_shape=(6, 6, 2), seed=1), optimizer)


def weights(trainer):
    return {name: value.copy() for name, value in trainer.net.get_weights().items()}


def moves(count=5, seed=71, dtype="f4"):
    """(p, g, state) of arrays of several shapes."""
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((3, k + 1)).astype(dtype), rng.standard_normal((3, k + 1)).astype(dtype), {}) for k in range(count)
    ]


@pytest.mark.parametrize("copied", (copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))), ids=("deepcopy", "pickle"))
def test_a_copied_trainer_trains_its_own_network(copied):
    first = trainer(fc.optim.SGD(0.1, momentum=0.9))
    first.step(X, Y)
    before, second = weights(first), copied(first)
    second.step(X, Y)
    for name, value in weights(first).items():
        assert_same_bytes(value, before[name])
    first.step(X, Y)
    for name, value in weights(first).items():
        assert_same_bytes(value, weights(second)[name])


@pytest.mark.parametrize(
    "optimizer",
    (
        fc.optim.SGD(0.1),
        fc.optim.SGD(0.1, momentum=0.9, nesterov=True),
        fc.optim.SGD(0.1, momentum=0.9, weight_decay=0.01),
        fc.optim.Adam(0.1, weight_decay=0.01),
        fc.optim.AdamW(0.1),
        fc.optim.AdaDelta(weight_decay=0.01),
    ),
    ids=str,
)
@pytest.mark.parametrize("late", (False, True))
def test_together_is_one_after_another(optimizer, late):
    """`late`: one array has been moved before."""
    (some, same), together = ([*moves(dtype="f8"), *moves()] for _ in range(2)), Together()
    for p, _, state in (*some, *same):
        state.update(optimizer.init(p))
    if late:
        optimizer.step(*some[1])
        optimizer.step(*same[1])
    for _ in range(3):
        optimizer.step_together(some, together)
        for move in same:
            optimizer.step(*move)
    for (p, *_), (q, *_) in zip(some, same, strict=True):
        assert_same_bytes(p, q)


def test_arrays_that_share_memory_are_moved_one_after_another():
    optimizer = fc.optim.SGD(0.1, momentum=0.9)
    p, (_, g, _) = np.ones((3, 1), "f4"), moves(1)[0]
    tied = [(p, g, {}), (p, 2 * g, {})]
    together = Together()
    optimizer.step_together(tied, together)
    assert together.blocks is None
    np.testing.assert_allclose(p, 1 - 0.1 * 3 * g, rtol=1e-6)


def test_arrays_that_cannot_be_written_are_refused():
    optimizer = fc.optim.SGD(0.1, momentum=0.9)
    p, g, state = moves(1)[0]
    before = p.copy()
    for update in (optimizer.step, lambda *move: optimizer.step_together([move], Together())):
        view = p.view()
        view.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            update(view, g, state)
    assert_same_bytes(p, before)


@pytest.mark.parametrize("optimizer", (fc.optim.SGD(0.1, momentum=0.9), fc.optim.Adam(0.1), fc.optim.AdamW(0.1)), ids=str)
@pytest.mark.parametrize("dtype", ("f4", ">f4"))
def test_a_gradient_of_another_shape_moves_nothing(optimizer, dtype):
    memory = np.zeros(64, dtype)
    p = memory[8:11]
    state = optimizer.init(p)
    for update in (optimizer.step, lambda *move: optimizer.step_together([move], Together())):
        for size in (2, 10):
            with pytest.raises(ValueError, match=rf"\({size},\)"):
                update(p, np.ones(size, dtype), state)
    assert not memory.any() and not state.get("t", 0)
    optimizer.step(p, np.ones(3, dtype), state)
    assert (p < 0).all() and np.count_nonzero(memory) == 3


@pytest.mark.parametrize("optimizer", (fc.optim.SGD(0.1, momentum=0.9), fc.optim.Adam(0.1), fc.optim.AdamW(0.1)), ids=str)
def test_an_infinite_weight_does_not_become_nan_without_decay(optimizer):
    p = np.array([-np.inf, 1], "f4")
    optimizer.step(p, np.array([0, 0.1], "f4"), optimizer.init(p))
    assert p[0] == -np.inf and p[1] < 1


@pytest.mark.parametrize("dtype", ("f4", ">f4", "f8", ">f8"))
@pytest.mark.parametrize("turned", (False, True))
def test_squares_of_arrays_of_any_order(dtype, turned):
    arrays = [np.arange(12, dtype=dtype).reshape(3, 4), np.ones((2, 3), dtype)]
    assert sum_of_squares([array.T if turned else array for array in arrays], Together()) == 506 + 6


def test_nothing_to_move():
    fc.optim.SGD(0.1, momentum=0.9).step_together([], Together())


@dataclass(frozen=True)
class Nudge:
    """An optimizer of a user's own, whose setting has a name that ours might have used."""

    lr: float = 0.1
    steps: int = 1000
    refuses: tuple = ()

    def init(self, p):
        return {}

    def step(self, p, g, state):
        if p.shape == self.refuses:
            raise RuntimeError("refused")
        p += 1


class Wrapped:
    """Another one that hands on whatever it lacks."""

    def __init__(self, inner):
        self.inner = inner

    def step(self, p, g, state):
        p += 1

    def __getattr__(self, name):
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


class Steps:
    def step(self, p, g, state):
        p += 1


class SlowSGD(Steps, fc.optim.SGD):
    pass


class SlowAdam(Steps, fc.optim.AdamW):
    pass


class SlowAdaDelta(fc.optim.AdaDelta):
    def step(self, p, g, state):
        p += 1


class OwnTogether(SlowSGD):
    def step_together(self, moves, together):
        for move in moves:
            self.step(*move)


MOMENTUM = fc.optim.SGD(0.1, momentum=0.9)
OWN = (Nudge(), Wrapped(MOMENTUM), SlowSGD(0.1, momentum=0.9), SlowAdam(), SlowAdaDelta(), OwnTogether(0.1))


@pytest.mark.parametrize("optimizer", OWN, ids=lambda made: type(made).__name__)
def test_an_optimizer_of_ones_own_takes_its_own_steps(optimizer):
    training = trainer(optimizer)
    before = weights(training)
    training.step(X, Y)
    for name, value in weights(training).items():
        assert_same_bytes(value, before[name] + 1)


def test_after_an_error_within_an_update_no_packed_weights_are_stale():
    training = trainer(Nudge(refuses=(3,)))  # the bias of the dense layer, the last parameter
    stale = training.net.forward(X)
    with pytest.raises(RuntimeError, match="refused"):
        training.step(X, Y)
    found = training.net.forward(X)
    for layer in training.net.layers:
        layer.touch()
    assert_same_bytes(found, training.net.forward(X))
    assert abs(found - stale).max() > 0.1


def test_rates_that_change_leave_nothing_behind():
    training = trainer(fc.optim.SGD(0.1, momentum=0.9))
    for step in range(10):
        training.net.layers[0].rates = {"w": 1 / (2 + step)}
        training.step(X, Y)
    assert len(training.stepper._together) <= 3  # the length of the gradient, and two rates
