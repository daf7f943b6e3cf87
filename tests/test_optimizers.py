"""Optimizers: golden values from the formulas, PyTorch step by step, and the bounds on settings."""

import tracemalloc
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

import fastconv as fc
from guards import Guards

SETTINGS = (
    fc.optim.SGD(0.1),
    fc.optim.SGD(0.05, momentum=0.9),
    fc.optim.SGD(0.05, momentum=0.9, nesterov=True),
    fc.optim.Adam(),
    fc.optim.Adam(0.02, beta1=0.8, beta2=0.95, eps=1e-6),
    fc.optim.SGD(0.1, weight_decay=0.1),
    fc.optim.SGD(0.05, momentum=0.9, weight_decay=0.1),
    fc.optim.Adam(0.02, weight_decay=0.1),
    fc.optim.AdamW(0.02, weight_decay=0.1),
    fc.optim.Adagrad(0.5),
    fc.optim.Adagrad(0.5, eps=1e-3, weight_decay=0.1),
    fc.optim.WindowGrad(),
    fc.optim.WindowGrad(rho=0.8, weight_decay=0.1),
    fc.optim.AdaDelta(),
    fc.optim.AdaDelta(0.5, rho=0.9, eps=1e-4, weight_decay=0.1),
    fc.optim.RMSProp(0.01),
    fc.optim.RMSProp(0.01, rho=0.99, momentum=0.8, eps=1e-3, weight_decay=0.1),
)


def slope(p):
    """Gradient of a bowl that is longer than wide: f = sum(k p^2) / 2, k = 1 … 6."""
    return p * np.arange(1, 7, dtype=p.dtype)


def path(optimizer, steps, dtype=np.float64):
    p = np.linspace(-1, 2, 6).astype(dtype)
    state = optimizer.init(p)
    points = []
    for _ in range(steps):
        optimizer.step(p, slope(p), state)
        points.append(p.copy())
    return points


def test_sgd_by_hand():
    p, g = np.array([1.0, -2.0]), np.array([0.5, 1.0])
    sgd = fc.optim.SGD(0.1)
    sgd.step(p, g, sgd.init(p))
    np.testing.assert_allclose(p, [0.95, -2.1])


def test_momentum_by_hand():
    """v: 1, 1.9, 2.71 for a gradient of 1 and momentum 0.9."""
    p, g = np.zeros(1), np.ones(1)
    sgd = fc.optim.SGD(1.0, momentum=0.9)
    state, seen = sgd.init(p), []
    for _ in range(3):
        sgd.step(p, g, state)
        seen.append(-p[0])
    np.testing.assert_allclose(seen, [1, 2.9, 5.61])


def test_nesterov_by_hand():
    """g + 0.9 v: 1.9, 2.71 for a gradient of 1."""
    p, g = np.zeros(1), np.ones(1)
    sgd = fc.optim.SGD(1.0, momentum=0.9, nesterov=True)
    state = sgd.init(p)
    sgd.step(p, g, state)
    assert p[0] == pytest.approx(-1.9)
    sgd.step(p, g, state)
    assert p[0] == pytest.approx(-4.61)


def test_adam_by_hand():
    """Gradients 1, then 3: m = 0.1, 0.39; v = 0.001, 0.009999; both divided by what is missing to their full weight."""
    p, adam = np.zeros(1), fc.optim.Adam(0.5)
    state = adam.init(p)
    adam.step(p, np.array([1.0]), state)
    assert p[0] == pytest.approx(-0.5, rel=1e-7)
    adam.step(p, np.array([3.0]), state)
    second = 0.5 * (0.39 / 0.19) / (np.sqrt(0.009999 / 0.001999) + 1e-8)
    assert p[0] == pytest.approx(-0.5 - second, rel=1e-7)


@pytest.mark.parametrize("optimizer", [o for o in SETTINGS if not isinstance(o, fc.optim.WindowGrad)], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_step_agrees_with_pytorch(optimizer, dtype):
    torch = pytest.importorskip("torch")
    p = torch.from_numpy(np.linspace(-1, 2, 6).astype(dtype)).requires_grad_()
    name = {"AdaDelta": "Adadelta", "RMSProp": "RMSprop"}.get(type(optimizer).__name__, type(optimizer).__name__)
    settings = asdict(optimizer)
    if "beta1" in settings:
        settings["betas"] = settings.pop("beta1"), settings.pop("beta2")
    if name == "RMSprop":
        settings["alpha"] = settings.pop("rho")
    theirs = getattr(torch.optim, name)([p], **settings)
    for ours in path(optimizer, 20, dtype):
        p.grad = torch.from_numpy(slope(p.detach().numpy()))
        theirs.step()
        np.testing.assert_allclose(ours, p.detach().numpy(), rtol=20 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).eps)


def test_windowgrad_by_hand():
    """Gradients 1, then 3, half a window each: s = 0.5, 4.75."""
    p, windowgrad = np.zeros(1), fc.optim.WindowGrad(0.1, rho=0.5, eps=0.25)
    state = windowgrad.init(p)
    windowgrad.step(p, np.array([1.0]), state)
    assert p[0] == pytest.approx(-0.1 / np.sqrt(0.75))
    windowgrad.step(p, np.array([3.0]), state)
    assert p[0] == pytest.approx(-0.1 / np.sqrt(0.75) - 0.3 / np.sqrt(5))


def test_a_window_of_everything_is_rmsprop_with_eps_inside():
    ours, other = path(fc.optim.WindowGrad(0.01, eps=1e-12), 30), path(fc.optim.RMSProp(0.01, rho=0.95, eps=1e-12), 30)
    np.testing.assert_allclose(ours, other, rtol=1e-8)


@pytest.mark.parametrize("optimizer", SETTINGS, ids=repr)
def test_the_bowl_is_descended(optimizer):
    lr = {"Adagrad": 0.5, "AdaDelta": 0.008 / getattr(optimizer, "eps", 1) ** 0.5}.get(type(optimizer).__name__, 0.05)
    first, last = path(replace(optimizer, lr=lr, weight_decay=0), 300)[::299]
    assert (np.arange(1, 7) * last**2).sum() < 0.01 * (np.arange(1, 7) * first**2).sum()


@pytest.mark.parametrize("optimizer", SETTINGS, ids=repr)
def test_dtype_stays_and_a_step_allocates_nothing(optimizer):
    p, g = np.ones((300, 200), np.float32), np.ones((300, 200), np.float32)
    state = optimizer.init(p)
    optimizer.step(p, g, state)
    tracemalloc.start()
    optimizer.step(p, g, state)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p.dtype == np.float32 and peak < 10_000 < p.nbytes


def test_settings_are_frozen_and_replaceable():
    sgd = fc.optim.SGD(np.float64(0.1), momentum=0.9)
    assert type(sgd.lr) is float and replace(sgd, lr=0.01) == fc.optim.SGD(0.01, 0.9)
    with pytest.raises(FrozenInstanceError):
        sgd.lr = 1.0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fc.optim.SGD(-0.1), "lr: got -0.1; needed a number from 0"),
        (lambda: fc.optim.SGD(float("nan")), "lr: got nan"),
        (lambda: fc.optim.SGD(1e9), "lr: got"),
        (lambda: fc.optim.SGD("0.1"), "lr: got '0.1'; needed a number"),
        (lambda: fc.optim.SGD(0.1, momentum=1), "momentum: got 1.0"),
        (lambda: fc.optim.SGD(0.1, nesterov=True), "nesterov: needs a momentum"),
        (lambda: fc.optim.SGD(100, weight_decay=0.1), "weight_decay: got 0.1; needed at most 1 / lr = 0.01"),
        (lambda: fc.optim.RMSProp(rho=1), "rho: got 1.0; .* the usual value is 0.9"),
        (lambda: fc.optim.AdamW(weight_decay=2), "weight_decay: got 2.0"),
        (lambda: fc.optim.Adam(beta1=1.5), "beta1: got 1.5; .* the usual value is 0.9"),
        (lambda: fc.optim.Adam(eps=0), "eps: got 0.0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(fc.OptionError, match=message):
        make()


@pytest.mark.filterwarnings("ignore:overflow")  # of squares; such a number no longer moves
@pytest.mark.parametrize("optimizer", SETTINGS, ids=repr)
def test_the_largest_accepted_gradient_leaves_finite_weights(optimizer):
    """What the Trainer relies on: squares with a finite sum, the wildest settings, and no weight overflows."""
    wild = replace(optimizer, lr=1e6, weight_decay=min(optimizer.weight_decay, 1e-6))
    p, g = np.full(4, 1e30, np.float32), np.full(4, 9e18, np.float32)
    state = wild.init(p)
    for sign in (1, 1, -1):
        wild.step(p, sign * g, state)
        assert np.isfinite(p).all()
    wild.step(p, 0 * g, state)
    assert np.isfinite(p).all()


@pytest.mark.parametrize("optimizer", [fc.optim.SGD(0.1, momentum=0.9), fc.optim.Adam(0.1)], ids=["momentum", "adam"])
def test_parameters_of_any_memory_order_move_alike(optimizer):
    g = np.arange(6, dtype=np.float32).reshape(2, 3)
    moved = []
    for p in (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32, order="F"), np.zeros((4, 6), np.float32)[::2, ::2]):
        state = optimizer.init(p)
        for _ in range(3):
            optimizer.step(p, g, state)
        moved.append(p)
    assert moved[0].any()
    for other in moved[1:]:
        np.testing.assert_array_equal(other, moved[0])


def momentum_by_hand(p, gradients):
    v = 0
    for g in gradients:
        v = 0.9 * v + g + 0.01 * p
        p = p - 0.1 * v
    return p


def adam_by_hand(p, gradients):
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 0.1 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


@pytest.mark.parametrize("size", [1, 15, 511, 512, 513, 3 * 512 + 7, (1 << 14) + 600, 3 << 14])
@pytest.mark.parametrize(
    "optimizer, by_hand",
    [(fc.optim.SGD(0.1, momentum=0.9, weight_decay=0.01), momentum_by_hand), (fc.optim.Adam(0.1), adam_by_hand)],
    ids=["sgd", "adam"],
)
def test_parameters_of_any_size_move_whole_and_alone(optimizer, by_hand, size):
    """A kernel takes them a few hundred numbers at a time, and some thousands on each core."""
    guards, rng = Guards(), np.random.default_rng(size)
    p = guards.holding(rng.standard_normal(size).astype(np.float32))
    gradients = rng.standard_normal((3, size)).astype(np.float32)
    exact, state = by_hand(p.astype(np.float64), gradients.astype(np.float64)), optimizer.init(p)
    for g in gradients:
        optimizer.step(p, guards.holding(g), state)
    np.testing.assert_allclose(p, exact, rtol=2e-5, atol=2e-6)
    guards.assert_intact()
