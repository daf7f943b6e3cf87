"""Networks of small layers that go through the cache as one chain: against float64 loops, layer by layer."""

import copy
import functools
import pickle
from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
import oracle
from fastconv import algorithms, machine, models, plans
from fastconv.chains import Block
from fastconv.geometry import ConvGeometry
from fastconv.kernels import chain_layout, chain_winograd, chain_writer, group_sizes
from fastconv.kernels.chain_layout import Network
from fastconv.models.passes import ChainedLayers
from guards import Guards

LANES = fc.machine.cpu().vector_bytes // 4
BATCH = 2 * LANES + 3  # two whole groups and a part of one


def conv(filters, size, pool=False, relu=True, **options):
    layers = [fc.Conv2D(filters, size, activation="relu" if relu else None, **options)]
    return layers + [fc.MaxPool2D(2)] * pool


def dense(*units):
    return [fc.Flatten(), *(fc.Dense(n, activation="relu") for n in units[:-1]), fc.Dense(units[-1])]


NETS = {
    "lenet5": lambda: ((14, 14, 3), conv(6, 5, True) + conv(16, 3, True) + dense(12, 8, 10)),
    "5x5 padded": lambda: ((8, 8, 3), conv(16, 5, True, padding=2) + conv(20, 5, True, padding="same") + dense(10)),
    "windows in parts": lambda: ((17, 28, 8), conv(16, 3, True) + conv(8, 5) + dense(3)),
    "no pooling": lambda: ((7, 9, 2), conv(5, 3) + conv(7, (2, 3), stride=2) + dense(4)),
    "no relu": lambda: ((9, 8, 1), conv(3, 3, True, relu=False) + conv(4, 2, relu=False) + dense(3)),
    "no bias": lambda: ((6, 6, 4), conv(9, 3, True, padding=1, bias=False) + dense(5)),
    "strided": lambda: ((13, 11, 3), conv(10, 3, stride=2, padding=1) + conv(17, 3, True, padding=1) + dense(2)),
    "odd": lambda: ((11, 9, 5), conv(12, (4, 1), True, padding=((1, 0), (2, 1))) + conv(3, 1)),
    "wide": lambda: ((6, 6, 30), conv(32, 3, True, padding=1) + conv(31, 3, padding=1) + dense(33)),
    "relu at the end": lambda: ((8, 8, 2), [*conv(3, 3, True), fc.Flatten(), fc.Dense(6, activation="relu")]),
    "two relus at the end": lambda: ((8, 8, 2), [*conv(3, 3, True), *dense(9, 6), fc.ReLU()]),
    "only convolutions": lambda: ((8, 8, 2), conv(4, 3) + conv(8, 3, True)),
}


def built(name, seed=0, **options):
    """The network of a name with random biases, so that nothing is zero by chance."""
    shape, layers = NETS[name]()
    layers = [copy.deepcopy(layer) for layer in layers]
    net, rng = fc.Sequential(layers, input_shape=shape, seed=seed, **options), np.random.default_rng(seed)
    for layer in net.layers:
        if "b" in layer.arrays:
            layer.set_params(b=0.1 * rng.standard_normal(layer.arrays["b"].shape))
    return net


@functools.cache
def images(name, batch=BATCH):
    return np.random.default_rng(1).standard_normal((batch, *NETS[name]()[0])).astype(np.float32)


def plain(net, x, dy=None):
    """y, and {"conv2d_1.w": gradient, …} for dy, in float64 by the oracle."""
    values, backward = x.astype(np.float64), []
    for layer in net.layers:
        before, arrays = values, {name: array.astype(np.float64) for name, array in layer.arrays.items()}
        if isinstance(layer, fc.Conv2D):
            options = {name: layer.options[name] for name in ("stride", "padding")}
            values = oracle.conv2d(before, arrays["w"], **options) + arrays.get("b", 0)
        elif isinstance(layer, fc.MaxPool2D):
            values, options = oracle.max_pool2d(before, 2)[0], None
        elif isinstance(layer, fc.Dense):
            values, options = before @ arrays["w"] + arrays["b"], None
        else:
            values, options = before if isinstance(layer, fc.ReLU) else before.reshape(len(x), -1), None
        if is_rectified(layer):
            values = np.maximum(values, 0)
        backward.append((layer, arrays, before, values, options))
    return values, {} if dy is None else gradients(backward, dy.astype(np.float64))


def is_rectified(layer):
    return layer.activation == "relu" or isinstance(layer, fc.ReLU)


def gradients(backward, dy):
    found = {}
    for layer, arrays, before, values, options in reversed(backward):
        dy = dy.reshape(values.shape) * (values > 0 if is_rectified(layer) else 1)
        if "b" in arrays:
            found[f"{layer.name}.b"] = dy.sum(tuple(range(dy.ndim - 1)))
        if isinstance(layer, fc.Conv2D):
            found[f"{layer.name}.w"] = oracle.conv2d_weight_grad(dy, before, arrays["w"].shape, **options)
            dy = oracle.conv2d_input_grad(dy, arrays["w"], before.shape, **options)
        elif isinstance(layer, fc.MaxPool2D):
            dy = oracle.max_pool2d_grad(dy, before, 2)
        elif isinstance(layer, fc.Dense):
            found[f"{layer.name}.w"] = before.T @ dy
            dy = dy @ arrays["w"].T
        else:
            dy = dy.reshape(before.shape)
    return found


def close(got, exact, name=""):
    assert got.shape == exact.shape
    assert abs(got - exact).max() <= 2e-5 * abs(exact).max(), name


def one_step(net, x):
    """Output and gradients of one pass for a fixed gradient of the output."""
    y = net.forward(x, training=True)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    net.backward(dy)
    return y, dy, {f"{layer.name}.{name}": g.copy() for layer in net.layers for name, g in layer.grads.items()}


def chained(net):
    return [step for step in net._last_steps if isinstance(step, ChainedLayers)]


@pytest.mark.parametrize("name", NETS)
def test_a_chain_computes_what_its_layers_do(name):
    net, x = built(name), images(name)
    y, dy, grads = one_step(net, x)
    assert len(chained(net)[0].layers) == len(net.layers)
    exact, exact_grads = plain(net, x, dy)
    close(y, exact)
    close(net.forward(x), exact)
    assert grads.keys() == exact_grads.keys()
    for key, gradient in grads.items():
        close(gradient, exact_grads[key], key)


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


def test_read_only_batches_are_learned_from():
    net, x, labels = built("lenet5"), images("lenet5").copy(), np.arange(BATCH) % 10
    wanted = learned(net, x, labels)
    x.flags.writeable = labels.flags.writeable = False
    assert learned(net, x, labels)[0].tobytes() == wanted[0].tobytes()


@pytest.mark.full
@pytest.mark.parametrize("seed", range(60))
def test_random_chains(seed):
    rng = np.random.default_rng(seed)
    layers, size = [], int(rng.integers(9, 20))
    for _ in range(rng.integers(1, 4)):
        kernel = int(rng.choice([1, 2, 3, 5]))
        layers += conv(int(rng.integers(1, 33)), kernel, bool(rng.integers(2)), bool(rng.integers(4)), padding=kernel // 2)
    net = fc.Sequential(layers + dense(*rng.integers(1, 40, rng.integers(1, 4))), input_shape=(size, size + 1, 3), seed=seed)
    net.layers[-1].activation = rng.choice([None, "relu"])
    x = rng.standard_normal((int(rng.integers(LANES // 2, 3 * LANES)), *net.input_shape)).astype(np.float32)
    y, dy, grads = one_step(net, x)
    assert chained(net) or sum(isinstance(layer, fc.Conv2D) for layer in layers) == 1  # which goes by itself
    exact, exact_grads = plain(net, x, dy)
    close(y, exact)
    for key, gradient in grads.items():
        close(gradient, exact_grads[key], key)


@pytest.mark.parametrize("behind", [fc.Dropout(0.0), fc.BatchNorm(), fc.Dense(7, activation="tanh")], ids=str)
def test_gradients_of_layers_behind_a_chain_pass_the_relu_at_its_end(behind):
    layers = [*conv(3, 3, True), fc.Flatten(), fc.Dense(12, activation="relu"), behind, fc.Dense(4)]
    x = np.random.default_rng(1).standard_normal((BATCH, 8, 8, 2))
    found = {}
    for dtype in ("float32", "float64"):  # chains compute in float32
        net = fc.Sequential(copy.deepcopy(layers), input_shape=(8, 8, 2), dtype=dtype, seed=3)
        found[dtype] = one_step(net, x.astype(dtype))[2]
        assert len(chained(net)) == (dtype == "float32")
    for key, gradient in found["float32"].items():
        close(gradient, found["float64"][key], key)


@pytest.mark.parametrize("shape", [(1, 4), (BATCH + 1, 4), (BATCH, 3), (BATCH, 5), (4 * BATCH,), (BATCH, 1, 4)], ids=str)
def test_a_gradient_of_another_shape_is_refused(shape):
    net = fc.Sequential([*conv(3, 3, True), *dense(4)], input_shape=(8, 8, 2))
    net.forward(np.zeros((BATCH, 8, 8, 2), np.float32), training=True)
    assert chained(net)
    with pytest.raises(fc.ShapeError, match=r"dy: got shape .*; needed that of the output of dense_1, "):
        net.backward(np.ones(shape, np.float32))


@pytest.mark.parametrize("batch", [1, 2, LANES // 2, LANES - 1, LANES, LANES + 1])
def test_groups_that_are_not_full(batch):
    net, x = built("lenet5"), images("lenet5")[:batch]
    y, dy, grads = one_step(net, x)
    exact, exact_grads = plain(net, x, dy)
    close(y, exact)
    for key, gradient in grads.items():
        close(gradient, exact_grads[key], key)


def test_the_same_bytes_again_on_one_thread_and_in_a_copy():
    net, x = built("lenet5"), images("lenet5", 5 * LANES + 1)
    wanted = one_step(net, x)
    for other in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for threads in (1, 2):
            before = fc.get_threads()
            try:
                fc.set_threads(min(threads, before))
                got = one_step(other, x)
            finally:
                fc.set_threads(before)
            assert got[0].tobytes() == wanted[0].tobytes()
            assert all(got[2][key].tobytes() == wanted[2][key].tobytes() for key in wanted[2])


def test_new_weights_are_taken_up():
    net, x = built("5x5 padded"), images("5x5 padded")
    before = net.forward(x)
    net.layers[2].set_params(w=2 * net.layers[2].params["w"])
    close(net.forward(x), plain(net, x)[0])
    assert abs(net.forward(x) - before).max() > 0.01
    net.layers[0].build()  # new arrays, new places
    close(net.forward(x), plain(net, x)[0])
    close(one_step(net, x)[0], plain(net, x)[0])


def test_the_gradient_of_the_input_goes_the_plain_way():
    net, x = built("lenet5"), images("lenet5")
    y = net.forward(x, training=True)
    dx = net.backward(np.ones_like(y), needs_dx=True)
    assert dx.shape == x.shape
    at = (3, 5, 6, 1)
    step = np.zeros(x.shape)
    step[at] = 1e-4
    slope = (plain(net, x + step)[0].sum() - plain(net, x - step)[0].sum()) / 2e-4
    assert abs(dx[at] - slope) <= 1e-3 * abs(slope)


def test_frozen_layers_keep_their_gradients():
    net, x = built("lenet5"), images("lenet5")
    net.layers[0].trainable = False
    _, dy, grads = one_step(net, x)
    exact = plain(net, x, dy)[1]
    assert not grads["conv2d_1.w"].any()
    assert not grads["conv2d_1.b"].any()
    close(grads["conv2d_2.w"], exact["conv2d_2.w"])


def planned(net, mode, batch=BATCH):
    return plans.plan_chain(models.lower(net, batch, mode), net.dtype, mode)


def test_a_training_chain_begins_behind_frozen_layers():
    net = built("lenet5")
    assert planned(net, "training").chains[0][0] == 0
    net.layers[0].trainable = False
    plan = planned(net, "training")
    assert plan.blocks[0].layer == "conv2d_2"
    assert "frozen" in str(plan)
    assert planned(net, "inference").chains[0][0] == 0


def test_what_is_frozen_may_change_between_steps():
    net, x = built("lenet5"), images("lenet5")
    for frozen in (True, False, True):
        net.layers[0].trainable = not frozen
        _, dy, grads = one_step(net, x)
        exact = plain(net, x, dy)[1]
        close(grads["conv2d_2.w"], exact["conv2d_2.w"])
        if not frozen:
            close(grads["conv2d_1.w"], exact["conv2d_1.w"])
    assert len([key for key in net._steps if key[1]]) == 1  # the memory of a step is not kept for each of them


def test_nan_reaches_the_result_of_its_image_alone():
    net, x = built("lenet5"), images("lenet5").copy()
    x[4, 3, 3, 0] = np.nan
    y = net.forward(x)
    assert np.isnan(y[4]).all()
    assert np.isfinite(np.delete(y, 4, axis=0)).all()


def test_nothing_is_read_or_written_outside(monkeypatch):
    """All memory of a chain, and the arrays that it is given, lie between NaN; they must stay, and reach no result."""
    guards = Guards()
    guards.watch(monkeypatch)
    for name in NETS:
        net, x = built(name), guards.holding(images(name))
        for layer in net.layers:
            for key, array in layer.arrays.items():
                layer.arrays[key] = guards.holding(array)
                layer.gradients[key] = guards.holding(np.zeros_like(array))
        y, _, grads = one_step(net, x)
        assert chained(net)
        assert np.isfinite(y).all()
        assert np.isfinite(net.forward(x)).all()
        assert all(np.isfinite(g).all() for g in grads.values()), name
        if found := net.forward_backward(x, np.zeros(BATCH, np.int64), 0.1):
            assert all(np.isfinite(array).all() for array in found), name
            assert all(np.isfinite(g).all() for layer in net.layers for g in layer.grads.values()), name
    guards.assert_intact()


@pytest.mark.parametrize("l2", [1 << 16, 1 << 18, 1 << 19, 1 << 21])
def test_what_is_transformed_has_room(monkeypatch, l2):
    """Of parts of a row and bands of rows that are not alike."""
    monkeypatch.setattr(group_sizes, "cpu", lambda: replace(machine.cpu(), l2=l2))
    rng = np.random.default_rng(3)
    bands = set()
    for _ in range(200):
        h, w, c, o, kw = (int(n) for n in (*rng.integers(5, 60, 2), *rng.integers(1, 70, 2), rng.choice([3, 5])))
        geo = ConvGeometry.of(
            (1, h, w, c), (int(rng.integers(1, 6)), kw, c, o), padding="same", stride=(int(rng.integers(1, 3)), 1)
        )
        pooled = bool(rng.integers(2)) and geo.p > 1
        block = Block("conv", geo, True, (geo.p // 2, geo.q // 2, o) if pooled else (geo.p, geo.q, o), pooled)
        network = Network((block,), 16, False, True)
        across = chain_layout.results_of(block)[1]
        if not network.fast[0]:
            assert across < group_sizes.WIDE
            continue
        done, parts = 0, group_sizes.windows_at_once(across)
        for windows in parts:
            part = chain_winograd.Part(chain_writer.Writer(), network, 0, done, windows)
            done += windows
            bands.add(len(part.bands))
            assert sum(part.bands) == block.out[0]
            assert part.elements * part.v_next <= network.products - network.values
            assert part.high * part.elements * part.m_next <= network.room.size - network.products
        assert 4 * (done - 1) < across <= 4 * done
    assert len(bands) > 1 or l2 > 1 << 20


def test_without_winograd_by_the_switch(monkeypatch):
    net, x = built("5x5 padded"), images("5x5 padded")
    with_it = net.forward(x)
    monkeypatch.setattr(algorithms, "WINOGRAD_OFF", True)
    without = built("5x5 padded").forward(x)
    assert with_it.tobytes() != without.tobytes()
    close(without, plain(net, x)[0])


REASONS = {
    "channels fill the vectors": (64, [fc.Conv2D(80, 3)], {}),
    "one group, no dilation": (64, [fc.Conv2D(4, 3, dilation=2)], {}),
    "tanh; a chain knows relu": (64, [fc.Conv2D(4, 3, activation="tanh")], {}),
    "windows of 2x2 pixels": (64, [fc.Conv2D(4, 3), fc.MaxPool2D(3)], {}),
    "part of the convolution before it": (64, [fc.Conv2D(4, 3), fc.MaxPool2D(2), fc.MaxPool2D(2)], {}),
    "weights do not stay": (64, [fc.Conv2D(4, 3), fc.Flatten(), fc.Dense(2000)], {}),
    "no chain takes this kind": (64, [fc.Conv2D(4, 3), fc.BatchNorm()], {}),
    "begins with a convolution": (64, [fc.MaxPool2D(2), fc.Conv2D(4, 3)], {}),
    "a layer before it learns": (64, [fc.BatchNorm(), fc.Conv2D(4, 3)], {}),
    "chains compute in float32": (64, [fc.Conv2D(4, 3)], {"dtype": "float64"}),
    "do not stay in the cache": (64, [fc.Conv2D(32, 3), fc.Conv2D(4, 3)], {"input_shape": (80, 80, 3)}),
    "a convolution by itself": (64, [fc.Conv2D(4, 3), fc.BatchNorm()], {}),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_plan_says_why_a_layer_goes_by_itself(reason):
    batch, layers, options = REASONS[reason]
    net = fc.Sequential([copy.deepcopy(layer) for layer in layers], **{"input_shape": (16, 16, 1)} | options)
    plan = planned(net, "training", batch)
    assert reason in str(plan)


def test_a_small_network_learns_from_few_images_in_a_chain():
    assert planned(built("lenet5"), "training", 1).chains
    large = fc.Sequential([*conv(32, 3), *conv(32, 3), fc.Flatten(), fc.Dense(3)], input_shape=(32, 32, 3))
    for net, mode in ((built("lenet5"), "inference"), (large, "training")):
        assert not (plan := planned(net, mode, 1)).chains and "a batch of 1" in str(plan)
    assert planned(large, "training").chains


def test_a_dtype_may_be_a_name():
    ops = models.lower(built("lenet5"), BATCH, "inference")
    assert (
        plans.plan_chain(ops, "float32") == plans.plan_chain(ops, np.dtype(np.float32))
        and plans.plan_chain(ops, "float32").chains
    )
    assert not plans.plan_chain(ops, "float64").chains


def test_layers_before_and_behind_a_chain_go_by_themselves():
    layers = [fc.Normalize(0.5, 2.0), *conv(4, 3, True), fc.Dropout(0.0), fc.Flatten(), fc.Dense(3)]
    net = fc.Sequential(layers, input_shape=(8, 8, 1))
    x = np.random.default_rng(0).standard_normal((BATCH, 8, 8, 1)).astype(np.float32)
    y = net.forward(x, training=True)
    assert [type(step).__name__ for step in net._last_steps] == ["Normalize", "ChainedLayers", "Dropout", "Flatten", "Dense"]
    close(y, plain(fc_without_ends(net), (x - 0.5) / 2)[0])
    net.backward(np.ones_like(y))
    assert all(g.any() for layer in net.layers for g in layer.grads.values())


def fc_without_ends(net):
    """What is left for the oracle when Normalize and Dropout do nothing."""
    rest = copy.copy(net)
    rest.layers = [layer for layer in net.layers if not isinstance(layer, (fc.Normalize, fc.Dropout))]
    return rest
