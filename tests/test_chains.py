"""Networks of small layers that go through the cache as one chain: against float64 loops, layer by layer."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
from chain_nets import BATCH, LANES, NETS, built, close, conv, dense, images, one_step, plain
from fastconv import algorithms, machine
from fastconv.chains import Block
from fastconv.geometry import ConvGeometry
from fastconv.kernels import chain_layout, chain_winograd, chain_writer, group_sizes
from fastconv.kernels.chain_layout import Network
from fastconv.models.passes import ChainedLayers
from guards import Guards


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
