"""Whitening first layers, identity filters, learning rates of single parameters, and the network that has all of them."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.models import airbench, begin_airbench, whiten, whitening_filters
from fastconv.training import RECIPES, AlternatingFlip

SMALL = {"input_shape": (16, 16, 3), "filters": (6, 8, 8)}


def pictures(n=60, size=16, seed=0):
    """Smooth colour images in bytes: neighbouring pixels and channels go together, as in photographs."""
    noise = np.random.default_rng(seed).normal(size=(n, size + 4, size + 4, 3)).cumsum(1).cumsum(2)
    x = noise + noise.mean(-1, keepdims=True) * 2
    return np.clip(128 + 20 * x / x.std(), 0, 255).astype(np.uint8)[:, 4:, 4:]


def test_whitened_patches_are_uncorrelated_and_of_size_one():
    x = (pictures().astype(np.float64) - 128) / 64
    w = whitening_filters(x, (2, 3), eps=1e-12)
    assert w.shape == (2, 3, 3, 36)
    patches = np.stack([x[:, i : i + 15, j : j + 14] for i in range(2) for j in range(3)], 3).reshape(-1, 18)
    y = patches @ w.reshape(18, 36)
    np.testing.assert_allclose(y[:, :18].T @ y[:, :18] / len(y), np.eye(18), atol=1e-6)
    np.testing.assert_array_equal(w[..., 18:], -w[..., :18])


def test_eps_keeps_filters_of_what_hardly_differs_small():
    flat = np.full((5, 4, 4, 1), 0.5)
    w = whitening_filters(flat, 2, eps=0.01)
    lengths = np.linalg.norm(w.reshape(4, 8), axis=0)
    np.testing.assert_allclose(lengths, [1 / np.sqrt(1.01), 10, 10, 10] * 2)  # the mean square of a patch along its mean is 1


def test_the_first_convolution_is_whitened_behind_what_is_before_it_and_stays():
    x, y = pictures(), np.arange(60) % 10
    net = airbench(**SMALL, normalize=(120, 60))
    layer = whiten(net, x)
    np.testing.assert_allclose(layer.params["w"], whitening_filters((x.astype(float) - 120) / 60), rtol=1e-4, atol=1e-4)
    before = layer.params["w"].tobytes()
    fc.Trainer(net).fit(x, y, epochs=1, verbose=0)
    assert layer.params["w"].tobytes() == before and layer is net.layers[1]


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: whiten(fc.Sequential([fc.Flatten(), fc.Dense(3)], input_shape=(4, 4, 3)), pictures(size=4)), "has no Conv2D"),
        (lambda: whiten(fc.Sequential([fc.Conv2D(8, 2)], input_shape=(4, 4, 3)), pictures(size=4)), "8 filters .* needed 24"),
        (lambda: whitening_filters(np.zeros((3, 1, 4, 2))), r"x: got shape \(3, 1, 4, 2\); needed images .* 2x2 pixels"),
        (lambda: whitening_filters(np.zeros((3, 4, 4, 2)), eps=0), "eps: got 0"),
        (lambda: begin_airbench(fc.Sequential([fc.Conv2D(24, 2)], input_shape=(4, 4, 3)), pictures(size=4)), "needed Dense"),
    ],
)
def test_what_cannot_be_whitened_is_refused(act, message):
    with pytest.raises(fc.OptionError, match=message):
        act()


@pytest.mark.parametrize("channels, filters", [(3, 5), (5, 3)])
def test_dirac_filters_hand_channels_on(channels, filters):
    layer = fc.Conv2D(filters, 3, padding=1, bias=False, initializer="dirac")
    layer.build((6, 7, channels))
    x = np.random.default_rng(0).normal(size=(2, 6, 7, channels)).astype(np.float32)
    both = min(channels, filters)
    np.testing.assert_array_equal(layer(x)[..., :both], x[..., :both])
    if filters > channels:
        assert layer.params["w"][..., both:].std() == pytest.approx(np.sqrt(2 / (9 * channels)), rel=0.3)


def steps(optimizer, rates, count=3):
    """Weights of a dense layer after `count` steps."""
    net = fc.Sequential([fc.Dense(3)], input_shape=(4,), dtype="float64")
    net.set_weights({"dense_1.w": np.arange(12.0).reshape(4, 3) / 12, "dense_1.b": np.ones(3)})
    net.layers[0].rates = rates
    trainer = fc.Trainer(net, optimizer)
    for _ in range(count):
        trainer.step(np.eye(4), [0, 1, 2, 0])
    return net.get_weights()


def test_rates_are_the_parameter_groups_of_pytorch():
    torch = pytest.importorskip("torch")
    w, b = torch.arange(12.0, dtype=torch.float64).reshape(4, 3) / 12, torch.ones(3, dtype=torch.float64)
    groups = [{"params": [w.requires_grad_()], "lr": 0.1}, {"params": [b.requires_grad_()], "lr": 0.8, "weight_decay": 0.01 / 8}]
    sgd = torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=0.01)
    for _ in range(3):
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(w + b, torch.tensor([0, 1, 2, 0])).backward()
        sgd.step()
    ours = steps(fc.optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01), {"b": 8.0})
    np.testing.assert_allclose(ours["dense_1.w"], w.detach(), rtol=1e-12)
    np.testing.assert_allclose(ours["dense_1.b"], b.detach(), rtol=1e-12)


def test_layers_inside_blocks_have_their_rates():
    inner = fc.Dense(4)
    inner.rates = {"w": 0.5}
    net = fc.Sequential([fc.Residual([inner])], input_shape=(4,))
    block = net.layers[0]
    rates = {name: block.rate(name) for name in block.trainable_arrays()}
    assert rates == {f"{inner.name}.w": 0.5, f"{inner.name}.b": 1.0}


def test_a_begun_airbench_is_that_with_divided_logits():
    """Weights a ninth as large that learn 1 / 81 as fast, beside logits divided by 9."""
    x, y = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 4
    sgd, answers = fc.optim.SGD(0.2, momentum=0.85, nesterov=True, weight_decay=0.01), []
    for divided in (True, False):
        head = fc.Dense(4, bias=False)
        after = [fc.Normalize(0, 9)] if divided else []
        net = fc.Sequential([head, *after], input_shape=(5,), dtype="float64")
        if not divided:
            head.set_params(w=head.params["w"] / 9)
            head.rates = {"w": 1 / 81}
        trainer = fc.Trainer(net, sgd)
        for _ in range(5):
            trainer.step(x, y)
        answers.append(net.forward(x))
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-10)


def test_the_cifar_recipe_begins_and_trains_an_airbench():
    recipe, x = RECIPES["cifar"], pictures()
    net = airbench(**SMALL, normalize=recipe.normalize)
    trainer = recipe.train(net, x, np.arange(60) % 10, epochs=1, verbose=0)
    assert AlternatingFlip() in recipe.augment and trainer.history.settings["loss"].endswith("(label_smoothing=0.2)")
    assert [layer.rates for layer in net.layers if layer.rates] == [{"scale": 0.0, "shift": 64.0}] * 6 + [{"w": 1 / 81}]
    assert all((layer.params["scale"] == 1).all() for layer in net.layers if isinstance(layer, fc.BatchNorm))
    assert not net.layers[1].trainable and trainer.evaluate(x, np.arange(60) % 10, views=recipe.views)["loss"] > 0


def test_a_run_of_the_recipe_goes_on_to_the_same_bytes_and_one_not_begun_is_noted(tmp_path):
    recipe, x, y = RECIPES["cifar"], pictures(), np.arange(60) % 10

    def broken(epoch, logs):
        assert epoch == 0, "the run breaks off here"

    def trained(begin=True, watcher=None, **options):
        net = airbench(**SMALL, normalize=recipe.normalize)
        trainer = recipe.trainer(net, x) if begin else fc.Trainer(net, recipe.optimizer, recipe.loss)
        settings = recipe.settings()
        settings["callbacks"] += [fc.callbacks.LambdaCallback(on_epoch_begin=watcher or (lambda epoch, logs: None))]
        trainer.fit(x, y, **{**settings, "epochs": 3, "batch_size": 25, "verbose": 0, **options})
        return b"".join(array.tobytes() for array in net.get_weights().values())

    whole = trained()
    with pytest.raises(fc.TrainingError, match="breaks off"):
        trained(checkpoint=tmp_path, watcher=broken)
    assert trained(checkpoint=tmp_path, resume=True) == whole
    with pytest.warns(fc.FastconvWarning, match="frozen was .*rates was .*'scale': 0.0, 'shift': 64.0.*is None"):
        trained(begin=False, checkpoint=tmp_path, resume=True)


def test_airbench_has_the_maps_of_the_paper():
    net = airbench(filters=(64, 256, 256), padding="valid")
    shapes = [layer.output_shape for layer in net.layers if isinstance(layer, fc.Conv2D)]
    assert shapes == [(31, 31, 24), (31, 31, 64), (15, 15, 64), (15, 15, 256), (7, 7, 256), (7, 7, 256), (3, 3, 256)]
