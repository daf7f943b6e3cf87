"""Transfer: weights of some layers from a file, frozen layers that cost no gradients, and a head that learns."""

import numpy as np
import pytest

import fastconv as fc

X = np.random.default_rng(0).standard_normal((48, 10, 10, 1)).astype(np.float32)
Y = np.arange(48) % 3


def features(**options):
    return [
        fc.Conv2D(4, 3, activation="relu", name="conv_a", **options),
        fc.MaxPool2D(2),
        fc.Conv2D(6, 3, activation="relu", name="conv_b"),
        fc.Flatten(),
    ]


def network(classes=3, *, seed=0, dtype="float32"):
    head = [fc.Dropout(0.3), fc.Dense(classes, name=f"head_{classes}")]
    return fc.Sequential([*features(), *head], input_shape=(10, 10, 1), seed=seed, dtype=dtype)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    net, path = network(5, seed=7), tmp_path_factory.mktemp("model") / "five.safetensors"
    fc.Trainer(net).fit(X, np.arange(48) % 5, epochs=2, verbose=0)
    net.save(path)
    return net, path


def frozen(net, *names):
    for layer in net.layers:
        layer.trainable = layer.name not in names
    return net


def test_some_layers_come_from_a_file(trained):
    source, path = trained
    for only in (["conv_a", "conv_b"], lambda name: name.startswith("conv")):
        net = network()
        head = net.get_weights()["head_3.w"]
        assert net.load_weights(path, only=only) == ("conv_a", "conv_b")
        for name, array in net.get_weights().items():
            assert np.array_equal(array, head if name == "head_3.w" else source.get_weights().get(name, array))
    same = network(5)
    assert same.load_weights(path) == ("conv_a", "conv_b", "head_5")
    np.testing.assert_array_equal(same.forward(X), source.forward(X))


@pytest.mark.parametrize(
    "only, message",
    [
        (["conv_c"], "no layer 'conv_c' with weights in both; needed a list of some of: conv_a, conv_b"),
        (["head_5"], "no layer 'head_5'"),
        (["maxpool2d_1"], "no layer 'maxpool2d_1'"),
        ([], "no layer is wanted"),
        (lambda name: False, "no layer is wanted"),
        ("conv_a", r'needed a list .*; pass a list, \["conv_a"\]'),
        (None, r"unknown \['head_5.b', 'head_5.w'\], missing \['head_3.b', 'head_3.w'\]"),
    ],
)
def test_layers_that_are_not_there_are_named(trained, only, message):
    net = network()
    before = net.get_weights()
    with pytest.raises(fc.OptionError, match=message):
        net.load_weights(trained[1], only=only)
    assert all(np.array_equal(array, before[name]) for name, array in net.get_weights().items())


def test_other_shapes_are_refused(trained):
    net = fc.Sequential([fc.Conv2D(4, 5, name="conv_a")], input_shape=(10, 10, 1))
    with pytest.raises(fc.ShapeError, match=r"conv_a.w: got shape \(3, 3, 1, 4\); needed \(5, 5, 1, 4\)"):
        net.load_weights(trained[1], only=["conv_a"])


def test_layers_of_a_loaded_network_go_into_a_new_one(trained):
    source = fc.load(trained[1])
    net = fc.Sequential([*source.layers[:-1], fc.Dense(3)], input_shape=(10, 10, 1))
    assert np.array_equal(net.get_weights()["conv_b.w"], trained[0].get_weights()["conv_b.w"])
    assert fc.Trainer(net).fit(X, Y, verbose=0).iterations == 1


def test_the_head_learns_and_the_frozen_layers_stay(trained):
    net = network()
    net.load_weights(trained[1], only=["conv_a", "conv_b"])
    frozen(net, "conv_a", "conv_b")
    before = net.get_weights()
    trainer = fc.Trainer(net, fc.optim.SGD(0.05, momentum=0.9, weight_decay=0.01))
    losses = trainer.fit(X, Y, epochs=20, batch_size=16, verbose=0).history["loss"]
    after = net.get_weights()
    assert losses[-1] < losses[0] and not np.array_equal(after["head_3.w"], before["head_3.w"])
    assert all(np.array_equal(after[name], before[name]) for name in before if name.startswith("conv"))
    assert not any(grad.any() for layer in net.layers[:3] for grad in layer.grads.values())  # none was computed
    for layer in net.layers:
        layer.trainable = True
    trainer.fit(X, Y, epochs=1, batch_size=16, verbose=0)
    assert all(not np.array_equal(after[name], array) for name, array in net.get_weights().items())


@pytest.mark.parametrize("names", [("conv_a",), ("conv_a", "conv_b"), ("conv_b",)], ids=str)
def test_frozen_layers_train_the_rest_as_a_plain_pass_does(names):
    nets = [frozen(network(dtype="float64"), *names) for _ in range(2)]
    trainer = fc.Trainer(nets[0], fc.optim.SGD(0.1))
    for _ in range(3):
        trainer.step(X, Y)
        *_, (_, scores) = nets[1].trace(X, training=True)
        dy = fc.losses.softmax_cross_entropy(scores, Y)[1]
        for layer in reversed(nets[1].layers):
            dy = layer.backward(dy)
        for layer in nets[1].layers:
            for p, g in layer.trainable_arrays().values():
                p -= 0.1 * g
            layer.touch()
    for name, array in nets[0].get_weights().items():
        np.testing.assert_allclose(array, nets[1].get_weights()[name], rtol=1e-9, atol=1e-12)


def test_a_checkpoint_of_a_frozen_network_goes_on(tmp_path):
    def run(epochs, **options):
        net = frozen(network(), "conv_a")
        fc.Trainer(net).fit(X, Y, epochs=epochs, batch_size=16, verbose=0, **options)
        return b"".join(array.tobytes() for array in net.get_weights().values())

    whole, _ = run(4), run(2, checkpoint=tmp_path)
    assert run(4, checkpoint=tmp_path, resume=True) == whole


def residual_base():
    body = [fc.Conv2D(2, 3, padding=1), fc.BatchNorm(), fc.ReLU(), fc.Conv2D(2, 3, padding=1), fc.BatchNorm()]
    return [fc.Conv2D(2, 3), fc.BatchNorm(), fc.ReLU(), fc.Residual(body), fc.BatchNorm(), fc.GlobalAvgPool2D()]


def moved_statistics(net):
    """Running statistics that are not those of a new network."""
    rng = np.random.default_rng(1)
    weights = net.get_weights()
    moved = {name: rng.uniform(0.5, 2, array.shape) for name, array in weights.items() if name.endswith((".mean", ".var"))}
    net.set_weights({**weights, **moved})


def test_a_frozen_base_answers_after_training_as_before():
    base = residual_base()
    net = fc.Sequential([*base, fc.Dense(3, name="head")], input_shape=(10, 10, 1), seed=0)
    moved_statistics(net)
    for layer in base:
        layer.trainable = False
    features = fc.Sequential(base, input_shape=(10, 10, 1))
    before, weights = features.predict(X), net.get_weights()
    np.testing.assert_allclose(features.forward(X, training=True), before, rtol=1e-5, atol=1e-6)
    fc.Trainer(net, fc.optim.Adam(0.1)).fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(features.predict(X), before)
    changed = [name for name, array in net.get_weights().items() if not np.array_equal(array, weights[name])]
    assert sorted(changed) == ["head.b", "head.w"]


def test_gradients_go_through_frozen_normalisation():
    norm = fc.BatchNorm()
    layers = [fc.Conv2D(3, 3), norm, fc.ReLU(), fc.Conv2D(2, 3), fc.BatchNorm(), fc.Flatten(), fc.Dense(3)]
    net = fc.Sequential(layers, input_shape=(7, 7, 2), dtype="float64", seed=3)
    moved_statistics(net)
    norm.trainable = layers[4].trainable = False  # with a ReLU behind it and without
    x = np.random.default_rng(2).standard_normal((1, 7, 7, 2))
    np.testing.assert_allclose(net.forward(x, training=True), net.forward(x), rtol=1e-12)
    report = fc.gradcheck(net, x, [1])
    assert report.passed, report
