"""A training step of a chain there and back at once: loss and gradients in one pass of the images."""

import copy
import os
from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
from bounds import assert_same_bytes
from chain_nets import BATCH, LANES, NETS, built, close, conv, dense, images, plain
from fastconv import machine
from lab import run


def cross_entropy(scores, labels, smoothing):
    """(losses, gradient of their mean) in float64."""
    targets = (1 - smoothing) * np.eye(scores.shape[1])[labels] + smoothing / scores.shape[1]
    logarithms = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return -(targets * logarithms).sum(1), (np.exp(logarithms) - targets) / len(scores)


def learned(net, x, labels, smoothing=0.0):
    """(scores, losses, gradients) of a step there and back at once."""
    scores, losses = net.forward_backward(x, labels, smoothing)
    return scores, losses, {f"{layer.name}.{name}": g.copy() for layer in net.layers for name, g in layer.grads.items()}


ENDS_OTHERWISE = ("odd", "relu at the end", "two relus at the end", "only convolutions")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", [name for name in NETS if name not in ENDS_OTHERWISE])
def test_a_step_there_and_back_at_once(name, smoothing):
    net, x = built(name), images(name)
    labels = np.random.default_rng(4).integers(0, net.output_shape[0], BATCH)
    scores, losses, grads = learned(net, x, labels, smoothing)
    exact = plain(net, x)[0]
    exact_losses, dy = cross_entropy(exact, labels, smoothing)
    close(scores, exact)
    close(losses, exact_losses)
    exact_grads = plain(net, x, dy)[1]
    assert grads.keys() == exact_grads.keys()
    for key, gradient in exact_grads.items():
        close(grads[key], gradient, key)
    for layer in net.layers:
        for g in layer.gradients.values():
            g[...] = 0
    net.backward(dy)  # the pass may be gone back once more
    for layer in net.layers:
        for key, g in layer.grads.items():
            close(g, exact_grads[f"{layer.name}.{key}"], key)


@pytest.mark.parametrize("name", ENDS_OTHERWISE)
def test_what_is_no_score_is_not_learned_from_at_once(name):
    assert built(name).forward_backward(images(name), np.zeros(BATCH, np.int64), 0.0) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_has_no_loss(value):
    net = built("lenet5")
    net.layers[0].set_params(w=-abs(net.layers[0].params["w"]))  # the ReLU would hide infinity
    labels = np.arange(BATCH) % 10
    for place in ((4, 3, 3, 0), (BATCH - 1, 13, 13, 2)):
        x = images("lenet5").copy()
        x[place] = value
        losses = net.forward_backward(x, labels, 0.0)[1]
        assert np.isnan(losses[place[0]])
        assert np.isfinite(np.delete(losses, place[0])).all()
        with pytest.raises(fc.DataError, match=f"example {place[0]} is not finite"):
            fc.Trainer(net).step(x, labels)


@pytest.mark.parametrize("layer, value", [(fc.ReLU(), -np.inf), (fc.Sigmoid(), np.inf), (fc.MaxPool2D(2), -np.inf)], ids=str)
def test_what_is_not_finite_is_found_before_a_layer_hides_it(layer, value):
    net = fc.Sequential([copy.deepcopy(layer), *conv(4, 3, True), *dense(3)], input_shape=(16, 16, 2))
    x, before = np.random.default_rng(0).standard_normal((BATCH, 16, 16, 2)).astype(np.float32), net.get_weights()
    x[5, 2, 3, 1] = value
    with pytest.raises(fc.DataError, match="example 5 is not finite"):
        fc.Trainer(net).step(x, np.arange(BATCH) % 3)
    assert all(array.tobytes() == before[key].tobytes() for key, array in net.get_weights().items())


@pytest.mark.parametrize("first", [fc.Dropout(0.3), fc.Normalize(0.5, 2.0)], ids=str)
def test_a_refused_step_draws_nothing(first):
    net = fc.Sequential([copy.deepcopy(first), *conv(4, 3, True), *dense(3)], input_shape=(16, 16, 2))
    x, labels = np.ones((BATCH, 16, 16, 2), np.float32), np.arange(BATCH) % 3
    trainer, other = fc.Trainer(net), fc.Trainer(copy.deepcopy(net))
    x[7, 0, 0, 0] = np.nan
    with pytest.raises(fc.DataError, match="example 7"):
        trainer.step(x, labels)
    x[7, 0, 0, 0] = 1
    assert trainer.step(x, labels) == other.step(x, labels)


def test_a_loss_made_of_another_is_the_one_that_trains():
    plain = fc.losses.LOSSES["softmax_cross_entropy"]
    calls = []

    def doubled(scores, labels):
        calls.append(len(scores))
        value, gradient = plain.function(scores, labels)
        return 2 * value, 2 * gradient

    x, labels = images("lenet5"), np.arange(BATCH) % 10
    mine = fc.Trainer(built("lenet5"), loss=replace(plain, function=doubled)).step(x, labels)
    assert calls == [BATCH]
    assert mine == pytest.approx(2 * fc.Trainer(built("lenet5"), loss=plain).step(x, labels), rel=1e-5)


def test_a_network_with_passes_of_its_own_is_trained_by_them():
    class Watched(fc.Sequential):
        passes = 0

        def forward(self, x, training=False):
            self.passes += 1
            return super().forward(x, training)

    shape, layers = NETS["lenet5"]()
    net = Watched(layers, input_shape=shape)
    fc.Trainer(net).step(images("lenet5"), np.arange(BATCH) % 10)
    assert net.passes == 1


@pytest.mark.parametrize("labels", [np.zeros(5, np.int64), np.zeros((BATCH, 1), np.int64)], ids=["few", "columns"])
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(fc.ShapeError, match="needed a class number for each of"):
        built("lenet5").forward_backward(images("lenet5"), labels)


def test_read_only_gradients_go_back():
    net, x = built("lenet5"), images("lenet5")
    dy = np.ones_like(net.forward(x, training=True))
    net.backward(dy)
    wanted = [g.copy() for layer in net.layers for g in layer.grads.values()]
    dy.flags.writeable = False
    net.backward(dy)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(wanted, [g for n in net.layers for g in n.grads.values()], strict=True))


@pytest.mark.parametrize("label", [10, -1, 1 << 40])
def test_a_label_that_is_no_class_has_no_loss(label):
    labels = np.arange(BATCH) % 10
    labels[7] = label
    losses = built("lenet5").forward_backward(images("lenet5"), labels, 0.0)[1]
    assert np.isnan(losses[7])
    assert np.isfinite(np.delete(losses, 7)).all()


def test_a_step_at_once_gives_the_same_bytes_again_and_on_one_thread():
    x, labels = images("lenet5", 5 * LANES + 1), np.arange(5 * LANES + 1) % 10
    wanted = learned(built("lenet5"), x, labels)
    before = fc.get_threads()
    for threads in (1, before):
        try:
            fc.set_threads(threads)
            got = learned(built("lenet5"), x, labels)
        finally:
            fc.set_threads(before)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got[:2], wanted[:2], strict=True))
        assert all(got[2][key].tobytes() == wanted[2][key].tobytes() for key in wanted[2])


@pytest.mark.parametrize("name", [name for name in NETS if name not in ENDS_OTHERWISE])
def test_nothing_of_a_batch_that_is_not_finite_stays_behind(name):
    """The memory of a step is that of the one before it, with all that this has left there."""
    x, labels = images(name), np.zeros(BATCH, np.int64)
    bad = np.full_like(x, np.nan)
    net, fresh = built(name), built(name)
    net.forward_backward(bad, labels)
    for found, wanted in zip(learned(net, x, labels)[:2], learned(fresh, x, labels)[:2], strict=True):
        assert_same_bytes(found, wanted)
    for layer, other in zip(net.layers, fresh.layers, strict=True):
        for key, gradient in layer.grads.items():
            assert_same_bytes(gradient, other.grads[key])


FOUR_THREADS = """
import numpy as np
import fastconv as fc
from chain_nets import LANES, built, images

x = images("lenet5", LANES + 1)  # two groups
labels, dy = np.arange(len(x)) % 10, np.random.default_rng(3).standard_normal((len(x), 10)).astype(np.float32)
gradients = {"at once": set(), "apart": set()}

def keep(kind, net):
    gradients[kind].add(b"".join(g.tobytes() for layer in net.layers for g in layer.grads.values()))

def at_once(net):
    net.forward_backward(x, labels)
    keep("at once", net)

def apart(net):
    net.forward(x, training=True)
    net.backward(dy)
    keep("apart", net)

for threads, later in ((1, 1), (4, 4), (4, 1), (4, 2), (1, 4), (2, 4)):
    net, other = built("lenet5"), built("lenet5")
    fc.set_threads(threads)
    at_once(net)
    apart(other)
    fc.set_threads(later)
    apart(net)
    at_once(other)
    at_once(net)
    net.backward(dy)  # of that pass, once more
    keep("apart", net)
print(*map(len, gradients.values()))
"""


def test_more_threads_than_groups_and_other_ones_later_make_no_difference(tmp_path):
    folder, settings = machine.cache_folder(), {name: value for name, value in os.environ.items() if name.startswith("NUMBA_")}
    out, _ = run(FOUR_THREADS, tmp_path, cache=folder and folder.parent, **(settings | {"NUMBA_NUM_THREADS": "4"}))
    assert out == "1 1"


def test_read_only_batches_are_learned_from():
    net, x, labels = built("lenet5"), images("lenet5").copy(), np.arange(BATCH) % 10
    wanted = learned(net, x, labels)
    x.flags.writeable = labels.flags.writeable = False
    assert learned(net, x, labels)[0].tobytes() == wanted[0].tobytes()
