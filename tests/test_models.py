"""Networks: the counts of the literature, shapes, seeds, bytes, probabilities, gradients from end to end."""

import copy
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastconv as fc
import gradients
from fastconv import functional as F
from fastconv import models, plans
from fastconv.errors import FastconvWarning
from test_layers import Scale
from zoo_cases import reduced


def small(**options):
    """A network with one of each step, quick to run."""
    layers = [
        fc.Conv2D(4, 3, padding="same", activation="relu"),
        fc.BatchNorm(),
        fc.MaxPool2D(2),
        fc.Conv2D(5, 2, stride=2),
        fc.Tanh(),
        fc.Dropout(0.25),
        fc.Flatten(),
        fc.Dense(3),
    ]
    return fc.Sequential(layers, **{"input_shape": (9, 8, 2), "dtype": "float64", **options})


def images(net, n=5, seed=2):
    return np.random.default_rng(seed).normal(size=(n, *net.input_shape)).astype(net.dtype)


# ---- counts

COUNTS = [
    ("lenet5", {}, 62_006, [3072, 4704, 1176, 1600, 400, 400, 120, 84, 10]),
    ("lenet5", {"filters": (8, 16)}, 62_958, [3072, 6272, 1568, 1600, 400, 400, 120, 84, 10]),
    ("lenet5", {"input_shape": (32, 32, 1)}, 61_706, [1024, 4704, 1176, 1600, 400, 400, 120, 84, 10]),
    ("lenet5", {"input_shape": (28, 28, 1), "padding": "same"}, 61_706, [784, 4704, 1176, 1600, 400, 400, 120, 84, 10]),
    ("lenet5", {"input_shape": (28, 28, 1), "padding": 2}, 61_706, [784, 4704, 1176, 1600, 400, 400, 120, 84, 10]),
    ("convnetjs_cifar", {}, 22_466, [3072, 16384, 4096, 5120, 1280, 1280, 320, 320, 10]),
    ("tiny_vgg", {}, 19_920, [12288, 38440, 36000, 9000, 7840, 6760, 1690, 1690, 10]),
    ("ten_filters", {}, 280, [108, 160]),
    ("ten_filters", {"input_shape": (1000, 1000, 3)}, 280, [3_000_000, 9_960_040]),
    ("ten_filters", {"input_shape": (5000, 5000, 3)}, 280, [75_000_000, 249_800_040]),
    ("course39", {}, 280 + 5020 + 20_040 + 19_610, [4563, 13690, 5780, 1960, 1960, 10]),
]


@pytest.mark.parametrize(
    "name, options, parameters, activations", COUNTS, ids=lambda v: str(v) if isinstance(v, str | dict) else ""
)
def test_counts_are_those_of_the_literature(name, options, parameters, activations):
    net = models.ZOO[name](**options)
    assert net.n_parameters == parameters
    assert [row.activations for row in net.rows()] == activations
    assert not any(layer.built for layer in net.layers)


def test_parameters_of_each_layer_of_lenet():
    assert [row.parameters for row in models.lenet5().rows() if row.parameters] == [456, 2416, 48_120, 10_164, 850]


def test_macs_are_those_of_the_literature():
    assert models.convnetjs_cifar().summary().totals.macs == 3_920_000
    assert [row.macs for row in models.course39().rows()][1:4] == [369_630, 1_445_000, 980_000]


def test_receptive_field_behind_the_second_pooling_of_lenet():
    row = models.lenet5().rows()[4]
    assert row.name == "max_pool2d_2"
    assert [(axis.size, axis.jump, axis.start) for axis in row.field] == [(16, 4, 0), (16, 4, 0)]
    assert models.lenet5().rows()[5].field is None


def test_counts_and_summary_import_no_numba_and_allocate_nothing():
    code = (
        "import sys, fastconv as fc; net = fc.models.ten_filters((5000, 5000, 3)); print(net.n_parameters); str(net.summary()); "
        "net.rows(); dense = fc.Sequential([fc.Dense(1000)], input_shape=(3000000,)); print(dense.n_parameters); "
        "dense.summary().to_json(); print('numba' in sys.modules, any(layer.built for layer in (*net.layers, *dense.layers)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["280", "3000001000", "False", "False"]


# ---- gradients from end to end


def test_gradients_of_a_network_agree_with_central_differences():
    net = small()
    x, weights = images(net), np.random.default_rng(1).normal(size=(5, 3))

    def loss():
        for layer in net.layers:
            layer.draws = 0
        return float((net.forward(x, training=True) * weights).sum())

    loss()
    dx = net.backward(weights, needs_dx=True)
    found = {(layer, name): g.copy() for layer in net.layers for name, g in layer.grads.items()}
    gradients.assert_close(dx, gradients.numerical(loss, x))
    for (layer, name), gradient in found.items():
        gradients.assert_close(gradient, gradients.numerical(loss, layer.arrays[name]))


def torch_lenet(net, torch):
    """LeNet-5 in PyTorch with the weights of `net`; the first dense layer gets its inputs in our order."""
    nn = torch.nn
    twin = nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    ).double()
    ours = [layer for layer in net.layers if layer.params]
    theirs = [module for module in twin if hasattr(module, "weight")]
    with torch.no_grad():
        for layer, module in zip(ours, theirs, strict=True):
            module.weight.copy_(torch.from_numpy(to_torch(layer.params["w"])))
            module.bias.copy_(torch.from_numpy(layer.params["b"].copy()))
    return twin, list(zip(ours, theirs, strict=True))


def to_torch(w):
    """HWIO as OIHW; (in, out) as (out, in), the 400 inputs of the first dense layer from (h, w, c) to (c, h, w)."""
    if w.ndim == 4:
        return w.transpose(3, 2, 0, 1).copy()
    if len(w) == 400:
        w = w.reshape(5, 5, 16, -1).transpose(2, 0, 1, 3).reshape(400, -1)
    return w.T.copy()


def test_lenet_forward_and_backward_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    net = models.lenet5(dtype="float64", seed=4)
    twin, pairs = torch_lenet(net, torch)
    x, labels = images(net, n=8), np.arange(8) % 10
    t = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    logits = twin(t)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    y = net.forward(x, training=True)
    np.testing.assert_allclose(y, logits.detach().numpy(), rtol=1e-10, atol=1e-10)
    dx = net.backward((F.softmax(y) - np.eye(10)[labels]) / 8, needs_dx=True)
    np.testing.assert_allclose(dx, t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-12)
    for layer, module in pairs:
        np.testing.assert_allclose(to_torch(layer.grads["w"]), module.weight.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.grads["b"], module.bias.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_backward_stops_at_the_lowest_layer_that_learns(monkeypatch):
    net = fc.Sequential([fc.Normalize(0, 1), fc.Conv2D(2, 3), fc.Conv2D(2, 3), fc.Flatten(), fc.Dense(2)], input_shape=(8, 8, 1))
    monkeypatch.setattr(net.layers[0], "backward", lambda *a, **k: pytest.fail("visited"))
    net.layers[1].trainable = False
    monkeypatch.setattr(net.layers[1], "backward", lambda *a, **k: pytest.fail("visited"))
    monkeypatch.setattr(F, "conv2d_input_grad", lambda *a, **k: pytest.fail("computed"))
    net.forward(images(net), training=True)
    assert net.backward(np.ones((5, 2))) is None
    assert net.layers[2].grads["w"].any()


# ---- shapes and names


def test_a_layer_that_does_not_fit_shows_the_table_up_to_it():
    layers = [fc.Conv2D(6, 5), fc.MaxPool2D(2), fc.Conv2D(16, 9, name="too_big"), fc.Flatten()]
    with pytest.raises(fc.ShapeError) as caught:
        fc.Sequential(layers, input_shape=(20, 20, 3))
    first, *table = str(caught.value).splitlines()
    assert first.startswith(
        "too_big (layer 3 of 4): height: a kernel of 9 with dilation 1 spans 9 pixels, the padded input has 8"
    )
    assert [line.split() for line in table[:3]] == [["input", "20×20×3"], ["conv2d_1", "16×16×6"], ["max_pool2d_1", "8×8×6"]]
    assert table[3].split(maxsplit=1) == ["too_big", "does not fit: Conv2D(16, 9)"]


def test_names_are_given_in_order_and_own_names_stay():
    layers = [fc.Conv2D(1, 1), fc.Conv2D(1, 1, name="conv2d_2"), fc.Conv2D(1, 1), fc.ReLU(), Scale()]
    net = fc.Sequential(layers, input_shape=(3, 3, 1))
    assert [layer.name for layer in net.layers] == ["conv2d_1", "conv2d_2", "conv2d_3", "relu_1", "scale_1"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fc.Sequential([fc.Conv2D], input_shape=(3, 3, 1)), r"layers\[0\]: got <class .*; write its brackets too"),
        (lambda: fc.Sequential([fc.ReLU(name="a"), fc.Tanh(name="a")], input_shape=(3,)), "the name 'a' is there twice"),
        (lambda: fc.Sequential([fc.ReLU()] * 2, input_shape=(3,)), "is there 2 times; make a new layer for each place"),
        (lambda: fc.Sequential([], input_shape=(3, 3)), r"input_shape: got \(3, 3\); needed \(height, width, channels\)"),
        (lambda: fc.Sequential([], input_shape=(3, 0, 1)), r"input_shape\[1\]: got 0"),
        (lambda: fc.Sequential([], input_shape=28), "input_shape: got 28"),
        (
            lambda: fc.Sequential([], input_shape=(3,), dtype="float16"),
            "dtype: got 'float16'; networks compute in float32 or float64",
        ),
        (
            lambda: fc.Sequential([], input_shape=(3,), output="argmax"),
            "output: got 'argmax'; needed one of linear, softmax, sigmoid",
        ),
        (lambda: small().predict(np.zeros((1, 9, 8, 2)), batch_size=0), "batch_size: got 0"),
        (lambda: fc.Sequential(None, input_shape=(3,)), r"layers: got None; needed a list of layers, such as \[fc.Flatten"),
        (lambda: fc.Sequential(fc.ReLU(), input_shape=(3,)), "layers: got <relu: ReLU.*; needed a list of layers"),
        (lambda: fc.Sequential([small()], input_shape=(9, 8, 2)), r"layers\[0\]: got <.*a network is no layer, .*\*net\.layers"),
        (lambda: fc.Sequential([], input_shape=(3,), name=3), "name: got 3; needed text or None"),
        (lambda: small().set_weights([1]), r"weights: got \[1\]; needed arrays by name, as get_weights\(\) gives"),
        (lambda: setattr(small(), "trainable", "no"), "trainable: got 'no'; needed True or False"),
        (lambda: fc.Ensemble(small()), r"nets: got <.*; needed a list of networks, such as \[net\]"),
        (lambda: fc.Ensemble(["a.safetensors"]), r"nets\[0\]: got 'a.safetensors'; needed a network, such as fc.load"),
        (
            lambda: fc.Ensemble([small(output="softmax"), small(output="sigmoid")]),
            r"nets\[1\]: predict gives sigmoid; needed softmax, as nets\[0\]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(fc.OptionError, match=message):
        make()


@pytest.mark.parametrize(
    "shape, hint",
    [
        ((9, 8, 2), r"needed \(N, 9, 8, 2\); for a single one pass x\[None\]"),
        ((5, 2, 9, 8), r"x looks like \(N, C, H, W\): pass x.transpose\(0, 2, 3, 1\)"),
        ((5, 10, 8, 2), "resize the images"),
        ((5,), r"got shape \(5,\)"),
        ((), r"got shape \(\)"),
    ],
)
def test_input_of_the_wrong_shape_gets_a_hint(shape, hint):
    for call in (small().forward, small().predict):
        with pytest.raises(fc.ShapeError, match=hint):
            call(np.zeros(shape))


def test_grey_images_without_a_channel_axis_get_a_hint():
    with pytest.raises(fc.ShapeError, match=r"pass x\[\.\.\., None\]"):
        models.lenet5((28, 28, 1), padding=2).forward(np.zeros((5, 28, 28)))


@pytest.mark.parametrize("x", [np.zeros((1, 9, 8, 2), complex), np.full((1, 9, 8, 2), "a"), np.zeros((1, 9, 8, 2), object)])
def test_input_that_is_no_number_is_refused(x):
    with pytest.raises(fc.DTypeError, match="x: got"):
        small().forward(x)


# ---- dtype and bytes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [np.int8, np.int64, np.float16, np.float32, np.float64, bool])
def test_a_network_casts_its_input_and_computes_in_its_own_dtype(dtype, given):
    net = small(dtype=dtype)
    x = np.random.default_rng(0).integers(0, 2, (4, 9, 8, 2)).astype(given)
    y = net.forward(x, training=True)
    assert y.dtype == dtype
    assert net.backward(np.ones_like(y), needs_dx=True).dtype == dtype
    assert all(g.dtype == dtype for layer in net.layers for g in layer.grads.values())


def test_a_first_batch_of_bytes_without_normalize_gets_one_warning(recwarn):
    net, x = small(), np.zeros((2, 9, 8, 2), np.uint8)
    with pytest.warns(FastconvWarning, match=r"put fc.Normalize\(mean, std\) first"):
        net.forward(x)
    recwarn.clear()
    net.forward(x)
    fc.Sequential([fc.Normalize(128, 64), *small().layers], input_shape=(9, 8, 2), dtype="float64").forward(x)
    assert not recwarn


def test_input_is_never_changed_whatever_its_memory_order():
    net = small()
    x = np.asfortranarray(images(net))[::-1]
    x.flags.writeable = False
    before = x.tobytes()
    y = net.forward(x, training=True)
    net.backward(np.ones_like(y))
    assert x.tobytes() == before
    for layer in net.layers:
        layer.draws = 0
    assert net.forward(np.ascontiguousarray(x), training=True).tobytes() == y.tobytes()


# ---- freezing


def test_a_frozen_network_learns_nothing_until_it_is_told_to():
    block = fc.Residual([fc.Conv2D(4, 3, padding=1), fc.BatchNorm()])
    net = fc.Sequential([fc.Conv2D(4, 3), block, fc.Flatten(), fc.Dense(3)], input_shape=(6, 6, 1))
    assert net.trainable
    net.trainable = np.False_
    assert not net.trainable and not any(layer.learns for layer in net.walk())
    x, before = images(net, 8), net.get_weights()
    with pytest.warns(fc.errors.FastconvWarning, match="no layer of this network is trained"):
        fc.Trainer(net).fit(x, np.arange(8) % 3, verbose=0)
    assert all((array == before[name]).all() for name, array in net.get_weights().items())
    net.layers[-1].trainable = True
    assert net.trainable and net.summary().totals.trainable == net.layers[-1].params["w"].size + 3
    net.trainable = True
    assert all(layer.trainable for layer in net.walk())


# ---- names of classes


@pytest.mark.parametrize("outputs, classes", [(3, ("a", "b", "c")), (1, ["no", "yes"]), (3, None)], ids=str)
def test_a_network_has_names_for_its_classes(outputs, classes):
    net = fc.Sequential([fc.Dense(outputs)], input_shape=(3,), classes=classes)
    assert net.classes == (classes and tuple(classes))


@pytest.mark.parametrize(
    "classes", ["abc", ("a", "b"), ("a", "b", 3), ("a", "b", ""), ("a", "b", "c" * 201), 3, {"a": 1}], ids=repr
)
def test_names_of_classes_are_one_for_each_output(classes):
    net = fc.Sequential([fc.Dense(3)], input_shape=(3,), classes=("x", "y", "z"))
    with pytest.raises(fc.OptionError, match=r"classes: got .*; needed 3 names in the order of the labels"):
        net.classes = classes
    assert net.classes == ("x", "y", "z")


# ---- seeds


@pytest.mark.parametrize("seed", [2**200, 10**40, -1, 1.5, "x", True, [1, 2]], ids=repr)
def test_a_seed_is_a_number_that_can_be_saved(seed):
    with pytest.raises(fc.OptionError, match="seed: got"):
        fc.Sequential([], input_shape=(3,), seed=seed)


def test_one_seed_gives_every_layer_its_own_stream():
    net = fc.Sequential([fc.Dense(6), fc.Dense(6), fc.Dense(6)], input_shape=(6,), seed=1)
    first, second, third = (layer.params["w"] for layer in net.layers)
    assert not (first == second).any()
    assert not (second == third).any()


def test_weights_depend_on_the_seed_and_not_on_the_order_of_their_first_use():
    one, two, other = small(seed=1), small(seed=1), small(seed=2)
    two.layers[-1].params  # noqa: B018 (allocates the last layer first)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one.get_weights().values(), two.get_weights().values(), strict=True))
    assert one.get_weights()["conv2d_1.w"].tobytes() != other.get_weights()["conv2d_1.w"].tobytes()


def test_two_runs_of_training_passes_give_the_same_bytes():
    outputs = []
    for _ in range(2):
        net = small(seed=3)
        outputs.append([net.forward(images(net, seed=i), training=True).tobytes() for i in range(3)])
    assert outputs[0] == outputs[1]


# ---- predict


@pytest.mark.parametrize("n, batch_size", [(0, 4), (1, 4), (4, 4), (5, 4), (9, 256)])
def test_predict_in_batches_gives_class_probabilities(n, batch_size):
    net = small(output="softmax")
    x = images(net, n=n)
    p = net.predict(x, batch_size=batch_size)
    assert p.shape == (n, 3)
    np.testing.assert_allclose(p, F.softmax(net.forward(x)), rtol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


def test_predict_applies_what_output_says_and_nothing_twice():
    x = np.linspace(-2, 2, 8).reshape(2, 4)
    make = lambda *last, output: fc.Sequential([fc.Dense(3), *last], input_shape=(4,), dtype="float64", output=output)  # noqa: E731
    logits = make(output="linear").predict(x)
    np.testing.assert_allclose(make(output="sigmoid").predict(x), F.sigmoid(logits))
    np.testing.assert_allclose(make(fc.Softmax(), output="softmax").predict(x), F.softmax(logits))
    np.testing.assert_allclose(make(fc.Sigmoid(), output="sigmoid").predict(x), F.sigmoid(logits))
    assert [make(*last, output="linear").ends_in_logits for last in ((), (fc.Softmax(),), (fc.Sigmoid(),))] == [
        True,
        False,
        False,
    ]


def test_predict_takes_a_list_and_leaves_no_state():
    net = small()
    x = images(net)
    assert net.predict(x.tolist()).tobytes() == net.predict(x).tobytes() == net(x).tobytes()
    assert all(layer._kept is None for layer in net.layers)


def test_a_new_network_serves_several_threads_at_once():
    net, x = small(seed=5), images(small())
    expected, found = small(seed=5).predict(x).tobytes(), []
    threads = [threading.Thread(target=lambda: found.append(net.predict(x).tobytes())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 6


def test_trace_yields_every_layer_with_its_output():
    net = small()
    x = images(net)
    steps = list(net.trace(x))
    assert [layer for layer, _ in steps] == list(net.layers)
    assert [y.shape[1:] for _, y in steps] == [row.output_shape for row in net.rows()[1:]]
    np.testing.assert_allclose(steps[-1][1], net.forward(x), rtol=1e-12)


# ---- weights


def test_weights_by_name_round_trip():
    one, two = small(seed=1), small(seed=2)
    x = images(one)
    one.forward(x, training=True)  # moves running statistics
    weights = one.get_weights()
    assert list(weights)[:4] == ["conv2d_1.w", "conv2d_1.b", "batch_norm_1.scale", "batch_norm_1.shift"]
    two.set_weights(weights)
    assert one.predict(x).tobytes() == two.predict(x).tobytes()
    weights["conv2d_1.w"][...] = 0
    assert one.layers[0].params["w"].any()


def test_set_weights_is_all_or_nothing():
    net = small()
    before = net.get_weights()
    with pytest.raises(fc.ShapeError, match=r"dense_1\.b"):
        net.set_weights({**{name: a + 1 for name, a in before.items()}, "dense_1.b": np.zeros(4)})
    with pytest.raises(fc.OptionError, match=r"unknown \['dense_9.b'\], missing \[\]"):
        net.set_weights({**before, "dense_9.b": np.zeros(3)})
    with pytest.raises(fc.OptionError, match=r"missing \['dense_1.b'\]"):
        net.set_weights({name: a for name, a in before.items() if name != "dense_1.b"})
    assert all(net.get_weights()[name].tobytes() == a.tobytes() for name, a in before.items())
    net.set_weights({"dense_1.b": np.ones(3)}, strict=False)
    assert (net.layers[-1].params["b"] == 1).all()


def test_layers_with_their_weights_go_into_another_network_of_the_same_shapes():
    base = small(seed=1)
    x = images(base)
    features = [y for _, y in base.trace(x)][-2]
    head = fc.Dense(7)
    net = fc.Sequential([*base.layers[:-1], head], input_shape=(9, 8, 2), dtype="float64", seed=9)
    np.testing.assert_allclose(net.forward(x), fc.dense(features, head.params["w"], head.params["b"]))
    with pytest.raises(fc.OptionError, match=r"conv2d_1: is in use for \(9, 8, 2\) float64"):
        fc.Sequential(base.layers[:1], input_shape=(10, 8, 2), dtype="float64")


def test_a_copy_of_a_network_is_its_own():
    net = small()
    x = images(net)
    before = net.predict(x)
    twin = copy.deepcopy(net)
    twin.layers[0].set_params(w=np.zeros((3, 3, 2, 4)))
    assert net.predict(x).tobytes() == before.tobytes()
    assert twin.predict(x).tobytes() != before.tobytes()


# ---- the program


def test_lowering_merges_activations_and_drops_dropout_in_inference():
    layers = [
        fc.Conv2D(4, 3),
        fc.ReLU(),
        fc.MaxPool2D(2),
        fc.Tanh(),
        fc.Dropout(),
        fc.Flatten(),
        fc.Dense(3, activation="relu"),
        fc.ReLU(),
    ]
    net = fc.Sequential(layers, input_shape=(8, 8, 1))
    inference, training = models.lower(net, 16), models.lower(net, 16, "training")
    assert [op.kind for op in inference] == ["conv2d", "max_pool2d", "tanh", "flatten", "dense", "relu"]
    assert [op.kind for op in training] == ["conv2d", "max_pool2d", "tanh", "dropout", "flatten", "dense", "relu"]
    assert inference[0].activation == "relu"
    assert inference[0].geometry.n == 16
    assert inference[0].slots == ("conv2d_1.w", "conv2d_1.b")
    assert inference[0].out_shape == (16, 6, 6, 4) == inference[1].in_shape
    assert not any(layer.built for layer in net.layers)


def test_plan_chain_reads_the_program_and_says_why_a_layer_runs_by_itself():
    ops = models.lower(models.lenet5(), 64, "training")
    plan = plans.plan_chain(ops, np.dtype("float32"))
    reasons = {kind for _, kind, _ in plan.refused}
    in_chains = {ops[i].kind for first, last in plan.chains for i in range(first, last + 1)}
    assert reasons | in_chains == {op.kind for op in ops}


def test_a_program_wants_a_mode_it_knows():
    with pytest.raises(fc.OptionError, match="mode: got 'fast'; needed one of inference, training"):
        models.lower(models.lenet5(), 1, "fast")


# ---- the zoo


@pytest.mark.parametrize("name", models.ZOO)
def test_every_network_of_the_zoo_runs_and_gives_probabilities(name):
    net = reduced(name, normalize=(127.5, 127.5))
    x = np.random.default_rng(0).integers(0, 256, (2, *net.input_shape), dtype=np.uint8)
    p = net.predict(x)
    assert p.dtype == np.float32
    assert np.isfinite(p).all()
    if net.output == "softmax":
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    if net.output == "sigmoid":
        assert ((p > 0) & (p < 1)).all()
