"""Dense layers as convolutions, strides in the place of pooling, images that are not square."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.errors import OptionError, ShapeError
from fastconv.gradient_check import gradcheck
from zoo_cases import reduced


def images(shape, n=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape))


def plain(**options):
    """Convolutions without padding, so that a place sees nothing of its surroundings."""
    layers = [
        fc.Conv2D(4, 3, activation="relu"),
        fc.MaxPool2D(2),
        fc.BatchNorm(),
        fc.Conv2D(5, 3),
        fc.Flatten(),
        fc.ReLU(),
        fc.Dropout(0.5),
        fc.Dense(6, activation="tanh"),
        fc.BatchNorm(),
        fc.Dense(3, bias=False),
    ]
    net = fc.Sequential(layers, **{"input_shape": (12, 10, 2), "dtype": "float64", "output": "softmax", "seed": 3, **options})
    net.forward(images(net.input_shape, 8), training=True)  # moves the running statistics
    return net


def test_on_its_own_size_the_answer_is_the_same():
    net = plain()
    made = fc.to_convolutional(net)
    assert not any(isinstance(layer, (fc.Flatten, fc.Dense)) for layer in made.layers)
    assert made.n_parameters == net.n_parameters and made.output_shape == (1, 1, 3)
    x = images(net.input_shape)
    np.testing.assert_allclose(made.predict(x)[:, 0, 0], net.predict(x), rtol=1e-12)


def test_a_larger_image_gives_the_answer_of_every_place():
    net = plain()
    made = fc.to_convolutional(net, (20, 15, 2))
    x = images(made.input_shape)
    found = made.predict(x)
    assert found.shape == (2, 5, 3, 3)
    jump = net.rows()[4].field[0].jump
    for p in range(5):
        for q in range(3):
            place = x[:, p * jump : p * jump + 12, q * jump : q * jump + 10]
            np.testing.assert_allclose(found[:, p, q], net.predict(place), rtol=1e-11)


@pytest.mark.parametrize("name", ["lenet5", "convnetjs_cifar", "tiny_vgg", "cat_or_not", "course39"])
def test_networks_of_the_zoo_become_convolutional(name):
    net = fc.models.ZOO[name]()
    made = fc.to_convolutional(net)
    x = images(net.input_shape).astype(np.float32)
    np.testing.assert_allclose(made.predict(x).reshape(2, -1), net.predict(x), atol=2e-6)
    height, width, channels = net.input_shape
    larger = fc.to_convolutional(net, (height + 32, 2 * width, channels))
    assert larger.forward(np.zeros((1, *larger.input_shape), np.float32)).shape[1:] == larger.output_shape
    assert min(larger.output_shape[:2]) > 1


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet", "resnet18", "resnet20", "mobilenet_v1"])
def test_large_networks_become_convolutional_too(name):
    net = reduced(name, dtype="float64")
    x = images(net.input_shape, 1)
    made = fc.to_convolutional(net)
    assert not any(isinstance(layer, (fc.Flatten, fc.Dense, fc.GlobalAvgPool2D)) for layer in made.layers)
    np.testing.assert_allclose(made.predict(x).ravel(), net.predict(x).ravel(), rtol=1e-9)
    height, width, channels = net.input_shape
    assert np.prod(fc.to_convolutional(net, (height, width + 64, channels)).output_shape[:2]) > 1


@pytest.mark.parametrize("pool", [fc.GlobalAvgPool2D, fc.GlobalMaxPool2D])
def test_blocks_and_global_pooling_are_kept_where_they_are(pool):
    block = fc.Residual([fc.Conv2D(4, 3, padding=1)], activation="relu")
    net = fc.Sequential([fc.Conv2D(4, 3), block, pool(), fc.Dense(3)], input_shape=(8, 9, 1), dtype="float64")
    net.layers[1].trainable = False
    x = images(net.input_shape)
    made = fc.to_convolutional(net)
    np.testing.assert_allclose(made.predict(x)[:, 0, 0], net.predict(x), rtol=1e-12)
    assert [layer.trainable for layer in made.layers] == [True, False, True, True]
    assert fc.to_convolutional(net, (10, 9, 1)).output_shape == (3, 1, 3)


def test_the_new_network_is_a_network(tmp_path):
    """Saved, loaded, trained; the old one stays as it was."""
    net = plain()
    before = net.get_weights()
    made = fc.to_convolutional(net, (13, 10, 2))
    made.save(tmp_path / "net.safetensors")
    x = images(made.input_shape)
    assert fc.load(tmp_path / "net.safetensors").predict(x).tobytes() == made.predict(x).tobytes()
    made.layers[0].set_params(b=np.ones(4))
    assert all((before[name] == value).all() for name, value in net.get_weights().items())


def test_what_cannot_be_convolutional_is_refused():
    rows = fc.Sequential([fc.Dense(3)], input_shape=(5,))
    with pytest.raises(OptionError, match=r"takes input of shape \(5,\); needed images"):
        fc.to_convolutional(rows)
    with pytest.raises(ShapeError, match=r"got \(31, 32, 3\); needed \(32, 32, 3\) or larger"):
        fc.to_convolutional(fc.models.lenet5(), (31, 32, 3))
    for shape, got in ((64, "64"), ((40, 40, "a"), "'a'")):
        with pytest.raises(OptionError, match=rf"input_shape.*: got {got}; needed"):
            fc.to_convolutional(fc.models.lenet5(), shape)
    with pytest.raises(OptionError, match="net: got None; needed a network"):
        fc.to_convolutional(None)
    mixed = fc.Sequential([fc.Flatten(), fc.BatchNorm(), fc.Dense(3)], input_shape=(4, 4, 2))
    with pytest.raises(OptionError, match=r"batch_norm_1.* stands between Flatten and Dense"):
        fc.to_convolutional(mixed)


@pytest.mark.parametrize("shape", [None, (9, 9, 8)])
def test_a_flat_map_at_the_end_is_refused(shape):
    """Its softmax goes over the places of the board; over the channel of a map it would be 1 everywhere."""
    with pytest.raises(OptionError, match="net: ends in a flat map of 7×7, one answer for all its places; needed Dense"):
        fc.to_convolutional(reduced("alphago_policy"), shape)


@pytest.mark.parametrize(
    "adaptive, whole", [(fc.AdaptiveAvgPool2D, fc.GlobalAvgPool2D), (fc.AdaptiveMaxPool2D, fc.GlobalMaxPool2D)]
)
def test_adaptive_pooling_to_one_is_global_pooling(adaptive, whole):
    nets = [
        fc.Sequential([fc.Conv2D(4, 3), *pool, fc.Dense(5)], input_shape=(8, 9, 1), dtype="float64")
        for pool in ([adaptive(1), fc.Flatten()], [whole()])
    ]
    nets[1].set_weights(nets[0].get_weights())
    first, second = (fc.to_convolutional(net, (11, 13, 1)) for net in nets)
    assert first.output_shape == (4, 5, 5)
    x = images((11, 13, 1))
    np.testing.assert_allclose(first.predict(x), second.predict(x), rtol=1e-12)


def test_adaptive_pooling_that_divides_its_maps_becomes_windows():
    layers = [fc.Conv2D(4, 3), fc.AdaptiveAvgPool2D((2, 1)), fc.Flatten(), fc.Dense(3)]
    net = fc.Sequential(layers, input_shape=(8, 9, 1), dtype="float64")
    made, x = fc.to_convolutional(net, (11, 10, 1)), images((11, 10, 1))
    found = made.predict(x)
    assert found.shape == (2, 2, 2, 3)
    for p, q in np.ndindex(2, 2):
        np.testing.assert_allclose(found[:, p, q], net.predict(x[:, 3 * p : 3 * p + 8, q : q + 9]), rtol=1e-11)
    uneven = fc.Sequential([fc.AdaptiveMaxPool2D(3), fc.Flatten(), fc.Dense(3)], input_shape=(8, 9, 1))
    with pytest.raises(OptionError, match="has windows of several sizes on 8×9; needed a size that divides these"):
        fc.to_convolutional(uneven)


def test_what_training_was_told_is_kept():
    block = fc.Residual([fc.Conv2D(4, 3, padding=1, l2=0.3), fc.SeparableConv2D(4, 3, padding=1)])
    layers = [fc.Conv2D(4, 3, l1=0.1), block, fc.Flatten(), fc.Dense(5, l1=0.2, l2=0.1), fc.Dense(3, l2=1)]
    net = fc.Sequential(layers, input_shape=(6, 6, 1), dtype="float64", output="softmax", classes=("a", "b", "c"))
    block.body[1].layers[0].trainable = False
    block.body[0].rates, net.layers[3].rates = {"b": 8.0}, {"w": 0.5}
    made = fc.to_convolutional(net)
    assert made.penalty() == pytest.approx(net.penalty(), rel=1e-12) and net.penalty() > 0
    kept = {layer.label: (dict(layer.rates), layer.trainable) for layer in net.walk()}
    assert all(kept[layer.label] == (dict(layer.rates), layer.trainable) for layer in made.walk())
    assert made.classes == ("a", "b", "c")


# ---- stride in the place of pooling, images that are not square


def strided(shape, dtype="float64"):
    """The all-convolutional form of Springenberg et al. 2015: a stride where others pool, a mean at the end."""
    layers = [
        fc.Conv2D(6, 3, padding="same", activation="relu"),
        fc.Conv2D(6, 3, padding=1, stride=2, activation="relu"),
        fc.Conv2D(8, 3, padding=1, activation="relu"),
        fc.Conv2D(8, (3, 2), padding=((1, 1), (0, 1)), stride=(2, 1), activation="relu"),
        fc.Conv2D(4, 1),
        fc.GlobalAvgPool2D(),
    ]
    return fc.Sequential(layers, input_shape=shape, dtype=dtype, output="softmax", seed=1)


def torch_forward(net, x):
    """The same network in PyTorch."""
    torch = pytest.importorskip("torch")
    TF = torch.nn.functional
    x = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    for layer in net.layers[:-1]:
        w, b = (torch.from_numpy(layer.params[name].copy()) for name in "wb")
        (top, bottom), (left, right) = layer.geometry(layer.input_shape).pads
        x = TF.conv2d(TF.pad(x, (left, right, top, bottom)), w.permute(3, 2, 0, 1), b, stride=layer.stride)
        x = torch.relu(x) if layer.activation else x
    return x.mean((2, 3)).numpy()


@pytest.mark.parametrize("shape", [(12, 20, 3), (20, 12, 3), (9, 31, 1)], ids=str)
def test_strides_in_the_place_of_pooling_on_images_that_are_not_square(shape):
    net = strided(shape)
    x = images(shape)
    np.testing.assert_allclose(net.forward(x), torch_forward(net, x), rtol=1e-9, atol=1e-12)
    assert net.layers[1].output_shape[:2] == (-(-shape[0] // 2), -(-shape[1] // 2))


def test_its_gradients_are_right():
    assert gradcheck(strided((7, 10, 2)), images((7, 10, 2)), [0, 3]).passed
