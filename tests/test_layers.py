"""Layers: gradients, parameters that nobody changes by accident, and no state in inference."""

import copy

import numpy as np
import pytest

import fastconv as fc
import gradients
from fastconv import functional as F
from fastconv.layers import LAYERS, activations, initializers
from fastconv.models.architecture import describe
from together import differing

IMAGE = (5, 6, 3)


class Scale(fc.Layer):
    """A layer of one's own, as the documentation of `layers.base` writes it."""

    def __init__(self, gain=1.0, name=None):
        super().__init__(name)
        self.gain = gain

    def parameter_shapes(self, input_shape):
        return {"scale": input_shape[-1:]}

    def forward(self, x, training=False):
        if training:
            self.keep(x=x)
        return self.gain * x * self.params["scale"]

    def backward(self, dy, needs_dx=True):
        x = self.kept("x")
        self.set_grads(scale=self.gain * (dy * x).sum(axis=tuple(range(x.ndim - 1))))
        return self.gain * dy * self.params["scale"]


EVERY = [
    (fc.Normalize((1.0, 2.0, 3.0), (0.5, 2.0, 4.0)), IMAGE),
    (fc.Conv2D(4, 3), IMAGE),
    (fc.Conv2D(4, (3, 2), stride=2, padding="same", activation="relu"), IMAGE),
    (fc.Conv2D(6, 3, groups=3, dilation=2, padding=((2, 1), (0, 3)), bias=False, activation="tanh"), IMAGE),
    (fc.Conv2D(4, 3, padding=1, pad_mode="reflect", activation="leaky_relu"), IMAGE),
    (fc.Conv2D(2, 1, activation="sigmoid"), IMAGE),
    (fc.DepthwiseConv2D(3, padding="same", activation="tanh"), IMAGE),
    (fc.DepthwiseConv2D((3, 2), multiplier=2, stride=2, dilation=(1, 2), bias=False), IMAGE),
    (fc.SeparableConv2D(4, 3, stride=2, padding=1, activation="sigmoid"), IMAGE),
    (fc.LocalResponseNorm(2, alpha=0.5, beta=0.6, k=1.5), IMAGE),
    (fc.LocalResponseNorm(5), (2, 2, 7)),
    (fc.Conv2DTranspose(4, 3), IMAGE),
    (fc.Conv2DTranspose(6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=3, activation="tanh"), IMAGE),
    (fc.Conv2DTranspose(2, 3, stride=2, padding="same", dilation=2, bias=False), IMAGE),
    (fc.GlobalMaxPool2D(), IMAGE),
    (fc.AdaptiveAvgPool2D((3, 4)), IMAGE),
    (fc.AdaptiveMaxPool2D((2, 4)), IMAGE),
    (fc.AdaptiveMaxPool2D((5, 3)), IMAGE),
    (fc.ELU(0.7), IMAGE),
    (fc.GELU(), IMAGE),
    (fc.Swish(), IMAGE),
    (fc.SpatialDropout2D(0.4), IMAGE),
    (fc.ZeroPad2D(((1, 0), (2, 3)), channels=(1, 2)), IMAGE),
    (fc.UpSampling2D((2, 3)), IMAGE),
    (fc.MaxPool2D(2), IMAGE),
    (fc.MaxPool2D(3, stride=2, padding=1, ceil_mode=True), IMAGE),
    (fc.AvgPool2D(2), IMAGE),
    (fc.AvgPool2D(3, stride=2, padding=1, count_include_pad=True), IMAGE),
    (fc.GlobalAvgPool2D(), IMAGE),
    (fc.Flatten(), IMAGE),
    (fc.Dense(5), (4,)),
    (fc.Dense(5, activation="tanh"), (4,)),
    (fc.Dense(3, activation="relu", bias=False), (4,)),
    (fc.ReLU(), IMAGE),
    (fc.LeakyReLU(0.2), IMAGE),
    (fc.Sigmoid(), IMAGE),
    (fc.Tanh(), IMAGE),
    (fc.Softmax(), (4,)),
    (fc.Dropout(0.4), IMAGE),
    (fc.BatchNorm(), IMAGE),
    (fc.BatchNorm(), (4,)),
    (fc.Add([[fc.Conv2D(3, 1), fc.Tanh()], fc.Conv2D(3, 3, padding=1), []], activation="leaky_relu"), IMAGE),
    (fc.Residual([fc.Conv2D(3, 3, padding="same"), fc.BatchNorm(), fc.ReLU(), fc.Conv2D(3, 1)], activation="relu"), IMAGE),
    (fc.Residual(fc.Conv2D(4, 3, stride=2, padding=1), [fc.AvgPool2D(1, stride=2), fc.Conv2D(4, 1)]), IMAGE),
    (fc.Residual(fc.Dense(4, activation="sigmoid"), activation="tanh"), (4,)),
    (fc.Concat([fc.Conv2D(2, 1), fc.Residual([fc.MaxPool2D(3, stride=1, padding=1)]), [fc.Dropout(0.5)], []]), IMAGE),
    (Scale(2.0), IMAGE),
]
WITH_EVERY_LAYER = pytest.mark.parametrize("template, shape", EVERY, ids=str)


def fresh(template):
    """A new layer with the template's settings."""
    return type(template)(**template.config())


def built(template, shape, dtype="float64", seed=3):
    layer = fresh(template)
    layer.build(shape, dtype, np.random.default_rng(seed))
    return layer


def batch(shape, n=2, seed=5, dtype=np.float64):
    """Distinct values well apart, so that no difference quotient crosses a kink or a tie."""
    values = np.random.default_rng(seed).permutation(n * int(np.prod(shape))) + 0.5
    return ((values - values.mean()) / values.size * 4).reshape(n, *shape).astype(dtype)


# ---- gradients


@WITH_EVERY_LAYER
def test_gradients_agree_with_central_differences(template, shape):
    layer, x = built(template, shape), batch(shape)
    weights = np.random.default_rng(9).normal(size=(len(x), *layer.output_shape))

    def loss():
        layer.draws = 0  # Dropout: the same mask each time
        return float((layer.forward(x, training=True) * weights).sum())

    loss()
    dx = layer.backward(weights)
    found = {name: gradient.copy() for name, gradient in layer.grads.items()}
    gradients.assert_close(dx, gradients.numerical(loss, x))
    for name, gradient in found.items():
        gradients.assert_close(gradient, gradients.numerical(loss, layer.arrays[name]))


@pytest.mark.parametrize("template, shape", EVERY[:-1], ids=str)  # a layer of one's own may ignore needs_dx
def test_without_needs_dx_the_other_gradients_stay_and_none_is_returned(template, shape):
    layer, x = built(template, shape), batch(shape)
    dy = np.ones_like(layer.forward(x, training=True))
    layer.backward(dy)
    before = {name: gradient.copy() for name, gradient in layer.grads.items()}
    assert layer.backward(dy, needs_dx=False) is None
    for name, gradient in before.items():
        assert layer.grads[name].tobytes() == gradient.tobytes()


def test_the_first_convolution_does_not_compute_its_input_gradient(monkeypatch):
    layer, x = built(fc.Conv2D(4, 3), IMAGE), batch(IMAGE)
    dy = layer.forward(x, training=True)
    monkeypatch.setattr(F, "conv2d_input_grad", lambda *a, **k: pytest.fail("computed"))
    layer.backward(dy, needs_dx=False)


def test_a_layer_that_is_not_trained_computes_no_weight_gradient(monkeypatch):
    layer, x = built(fc.Conv2D(4, 3), IMAGE), batch(IMAGE)
    layer.trainable = False
    dy = layer.forward(x, training=True)
    monkeypatch.setattr(F, "conv2d_weight_grad", lambda *a, **k: pytest.fail("computed"))
    assert layer.backward(dy).shape == x.shape
    assert layer.trainable_arrays() == {}


@pytest.mark.parametrize("name", activations.FUSED)
def test_an_activation_inside_a_layer_is_the_layer_behind_it(name):
    inside, plain = built(fc.Conv2D(4, 3, activation=name), IMAGE), built(fc.Conv2D(4, 3), IMAGE)
    behind = {"relu": fc.ReLU, "leaky_relu": fc.LeakyReLU, "sigmoid": fc.Sigmoid, "tanh": fc.Tanh}[name]()
    x = batch(IMAGE)
    y = inside.forward(x, training=True)
    np.testing.assert_allclose(y, behind.forward(plain.forward(x, training=True), training=True), rtol=1e-14, atol=1e-14)
    dy = np.random.default_rng(1).normal(size=y.shape)
    np.testing.assert_allclose(inside.backward(dy), plain.backward(behind.backward(dy)), rtol=1e-12, atol=1e-12)
    for slot in ("w", "b"):
        np.testing.assert_allclose(inside.grads[slot], plain.grads[slot], rtol=1e-12, atol=1e-12)


def test_backward_without_a_forward_pass_says_so():
    layer = built(fc.Conv2D(4, 3), IMAGE)
    layer.forward(batch(IMAGE))
    with pytest.raises(fc.TrainingError, match=r"conv2d: backward needs a forward pass .* forward\(x, training=True\)"):
        layer.backward(np.zeros((3, 5, 4, 4)))


# ---- inference


@WITH_EVERY_LAYER
def test_inference_keeps_nothing_on_the_layer(template, shape):
    layer, x = built(template, shape), batch(shape)
    layer.forward(x)  # packs weights once
    before = dict(vars(layer))
    layer.forward(x)
    assert layer._kept is None
    assert vars(layer).keys() == before.keys()
    assert all(value is before[key] for key, value in vars(layer).items())


def test_one_layer_serves_several_threads():
    layer = built(fc.Conv2D(8, 3, activation="relu"), IMAGE, "float32")
    images = [batch(IMAGE, n=4, seed=seed, dtype=np.float32) for seed in range(4)]
    expected = [layer.forward(x).tobytes() for x in images]
    assert not differing(layer.forward, images, expected, repeats=20)


def test_packed_weights_follow_every_change():
    layer, x = built(fc.Conv2D(4, 3), IMAGE), batch(IMAGE)
    first = layer.prepared()
    assert layer.prepared() is first
    layer.set_params(w=np.ones((3, 3, 3, 4)), b=np.zeros(4))
    np.testing.assert_allclose(layer.forward(x), fc.conv2d(x, np.ones((3, 3, 3, 4))))
    layer.arrays["w"][...] = 2
    layer.touch()
    np.testing.assert_allclose(layer.forward(x), fc.conv2d(x, np.full((3, 3, 3, 4), 2.0)))


# ---- parameters


def test_parameters_are_handed_out_read_only():
    layer = built(fc.Conv2D(4, 3), IMAGE)
    with pytest.raises(ValueError, match="read-only"):
        layer.params["w"][0] = 1
    with pytest.raises(TypeError):
        layer.params["w"] = np.zeros((3, 3, 3, 4))
    with pytest.raises(ValueError, match="read-only"):
        layer.grads["w"][0] = 1


def test_the_arrays_of_a_trainer_are_the_layers_own_for_ever():
    layer = built(fc.Dense(3), (4,))
    parameter, gradient = layer.trainable_arrays()["w"]
    layer.set_params(w=np.ones((4, 3)))
    layer.forward(np.ones((2, 4)), training=True)
    layer.backward(np.ones((2, 3)))
    assert (parameter == 1).all()
    assert (gradient == 2).all()
    assert layer.trainable_arrays()["w"][0] is parameter


@pytest.mark.parametrize(
    "arrays, error, message",
    [
        ({"w": np.zeros((3, 3, 3, 5))}, fc.ShapeError, r"conv2d\.w: got shape \(3, 3, 3, 5\); needed \(3, 3, 3, 4\)"),
        ({"v": np.zeros(4)}, fc.OptionError, r"conv2d\.v: no such array; conv2d has w, b"),
        ({"b": np.full(4, np.nan)}, fc.OptionError, r"conv2d\.b: got NaN or infinite"),
        ({"b": np.full(4, 1e300)}, fc.OptionError, r"conv2d\.b: got NaN or infinite values in float32"),
        ({"b": np.zeros(4, complex)}, fc.DTypeError, "complex128"),
        ({"b": np.ma.masked_array(np.zeros(4))}, fc.DTypeError, "masked"),
        ({"w": np.ones((3, 3, 3, 4)), "b": np.zeros(3)}, fc.ShapeError, r"conv2d\.b: got shape \(3,\)"),
    ],
    ids=["shape", "name", "nan", "overflow", "complex", "masked", "second of two"],
)
def test_set_params_refuses_what_does_not_fit_and_changes_nothing(arrays, error, message):
    layer = built(fc.Conv2D(4, 3), IMAGE, "float32")
    before, version = {name: a.copy() for name, a in layer.params.items()}, layer.version
    with pytest.raises(error, match=message):
        layer.set_params(**arrays)
    assert layer.version == version
    assert all(layer.params[name].tobytes() == a.tobytes() for name, a in before.items())


def test_a_layer_without_a_place_says_what_to_do():
    with pytest.raises(fc.OptionError, match=r"dense: its sizes follow from its input; put it in a Sequential or call build"):
        fc.Dense(3).params  # noqa: B018


def test_a_layer_cannot_serve_two_shapes():
    layer = built(fc.Dense(3), (4,))
    with pytest.raises(fc.OptionError, match=r"dense: is in use for \(4,\) float64 and cannot also serve \(5,\) float64"):
        layer.build((5,), "float64")


# ---- arguments

WRONG = [
    (lambda: fc.Conv2D(0, 3), "filters: got 0"),
    (lambda: fc.Conv2D(True, 3), "filters: got True"),
    (lambda: fc.Conv2D(4, 2.5), "size: got 2.5"),
    (lambda: fc.Conv2D(4, (3, 3, 3)), "size: got"),
    (lambda: fc.Conv2D(4, 3, stride=0), "stride: got 0"),
    (lambda: fc.Conv2D(4, 3, dilation=-1), "dilation: got -1"),
    (lambda: fc.Conv2D(4, 3, padding="some"), "padding: got 'some'"),
    (lambda: fc.Conv2D(4, 3, padding=-1), "padding: got -1"),
    (lambda: fc.Conv2D(4, 3, activation="softmax"), r"activation: got 'softmax'.*fc\.Softmax\(\)"),
    (lambda: fc.Conv2D(4, 3, bias=1), "bias: got 1; needed True or False"),
    (lambda: fc.Conv2D(4, 3, initializer="best"), "initializer: got 'best'; needed one of he_normal"),
    (lambda: fc.Dense(-1), "units: got -1"),
    (lambda: fc.Dropout(1), "rate: got 1"),
    (lambda: fc.Dropout(float("nan")), "rate: got nan"),
    (lambda: fc.LeakyReLU("steep"), "slope: got 'steep'"),
    (lambda: fc.BatchNorm(momentum=2), "momentum: got 2"),
    (lambda: fc.Normalize(0, 0), "std: got 0.0; needed numbers above 0"),
    (lambda: fc.Normalize([[1.0]], 1), "mean: got"),
    (lambda: fc.Normalize(np.nan, 1), "mean: got nan"),
    (lambda: fc.MaxPool2D(2, ceil_mode=None), "ceil_mode: got None"),
    (lambda: fc.AvgPool2D(0), "size: got 0"),
]


@pytest.mark.parametrize("make, message", WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(fc.OptionError, match=message):
        make()


def test_shapes_that_do_not_fit_say_what_to_put_in_between():
    with pytest.raises(fc.ShapeError, match=r"dense: .*\(5, 5, 16\); needed flat rows, \(400,\): put fc.Flatten\(\)"):
        fc.Dense(10).output_shape_for((5, 5, 16))
    with pytest.raises(fc.ShapeError, match=r"conv2d: got input of shape \(400,\); needed images"):
        fc.Conv2D(10, 3).output_shape_for((400,))
    with pytest.raises(fc.ShapeError, match=r"normalize: mean has 3 numbers for 1 channels"):
        fc.Normalize((1, 2, 3), 1).output_shape_for((28, 28, 1))


# ---- single layers


def test_normalize_gives_floats_and_leaves_bytes_alone():
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    y = fc.Normalize(127.5, 127.5)(x)
    assert y.dtype == np.float32
    assert y.min() == -1
    assert y.max() == 1
    assert x.dtype == np.uint8


def test_dropout_keeps_the_mean_and_depends_on_seed_place_and_draw_alone():
    x = np.ones((50, 40, 10), np.float32)
    first, again, later = (built(fc.Dropout(0.3), (40, 10), "float32") for _ in range(3))
    later.draws = 1
    y = first.forward(x, training=True)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs(y.mean() - 1) < 4 * np.sqrt(0.3 / 0.7 / x.size)
    assert y.tobytes() == again.forward(x, training=True).tobytes()
    assert first.forward(x, training=True).tobytes() == later.forward(x, training=True).tobytes() != y.tobytes()
    assert first.forward(x) is x


def test_batch_norm_needs_two_values_a_channel():
    with pytest.raises(fc.ShapeError, match="batch_norm: the batch has 1 value a channel"):
        built(fc.BatchNorm(), (4,)).forward(np.ones((1, 4)), training=True)


def test_batch_norm_follows_pytorch_through_three_batches():
    torch = pytest.importorskip("torch")
    layer, twin = built(fc.BatchNorm(momentum=0.2), IMAGE), torch.nn.BatchNorm2d(3, momentum=0.2, dtype=torch.float64)
    layer.set_params(scale=[1.0, 2.0, 3.0], shift=[0.5, 0.0, -0.5])
    twin.load_state_dict({"weight": torch.tensor([1.0, 2.0, 3.0]), "bias": torch.tensor([0.5, 0.0, -0.5])}, strict=False)
    for seed in range(3):
        x = batch(IMAGE, seed=seed) * (seed + 1)
        t = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
        y, z = layer.forward(x, training=True), twin(t)
        dy = np.random.default_rng(seed).normal(size=y.shape)
        z.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(y, z.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(layer.backward(dy), t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(layer.buffers["mean"], twin.running_mean.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.buffers["var"], twin.running_var.numpy(), rtol=1e-9)
    expected = twin.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-9, atol=1e-9)


# ---- first weights


@pytest.mark.parametrize(
    "name, variance",
    [
        ("he_normal", 2 / 75),
        ("he_uniform", 2 / 75),
        ("glorot_normal", 2 / (75 + 2500)),
        ("glorot_uniform", 2 / (75 + 2500)),
        ("lecun_normal", 1 / 75),
        ("normal", 1e-4),
        ("zeros", 0),
        ("ones", 0),
    ],
)
def test_initializers_have_the_variance_of_their_formula(name, variance):
    w = initializers.draw(name, (5, 5, 3, 100), np.random.default_rng(0), "float64")
    assert abs(w.mean() - (name == "ones")) <= 4 * np.sqrt(variance / w.size)
    assert abs(w.var() - variance) <= 4 * variance * np.sqrt(2 / w.size)


def test_float32_and_float64_start_from_the_same_weights(monkeypatch):
    single, double = (initializers.draw("he_normal", (3, 3, 5, 7), np.random.default_rng(4), t) for t in ("float32", "float64"))
    assert (double.astype(np.float32) == single).all()
    monkeypatch.setattr(initializers, "BLOCK", 100)
    assert (initializers.draw("he_normal", (3, 3, 5, 7), np.random.default_rng(4), "float64") == double).all()


# ---- description


@WITH_EVERY_LAYER
def test_config_makes_the_same_layer_again(template, shape):
    again = fresh(template)
    assert describe(again) == describe(template)
    assert again.output_shape_for(shape) == template.output_shape_for(shape)


@WITH_EVERY_LAYER
def test_op_is_hashable_and_knows_its_shapes(template, shape):
    op = template.op(shape, 8)
    assert hash(op) == hash(fresh(template).op(shape, 8))
    assert op.in_shape == (8, *shape)
    assert op.out_shape == (8, *template.output_shape_for(shape))
    assert op.kind == ("custom" if type(template) is Scale else type(template).stem())


def test_a_subclass_is_not_taken_for_the_layer_it_extends():
    class Twice(fc.Conv2D):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

    assert Twice(4, 3).op(IMAGE).kind == "custom"
    assert Twice.stem() == "twice"


def test_every_layer_is_tried_above():
    assert {type(template) for template, _ in EVERY} == {*LAYERS.values(), Scale}


# ---- what is set of a layer at any time


@pytest.mark.parametrize("name", [3, "", "a.b", b"first", ("a",)], ids=repr)
def test_a_name_is_text_that_a_file_can_hold(name):
    with pytest.raises(fc.OptionError, match=r"name: got .*; needed"):
        fc.Conv2D(3, 3, name=name)
    layer = fc.Dense(3, name="first")
    with pytest.raises(fc.OptionError, match="name: got"):
        layer.name = name
    assert layer.name == "first"


@pytest.mark.parametrize("value", ["no", 0, None, [True]], ids=repr)
def test_trainable_is_true_or_false(value):
    layer = fc.Dense(3, name="first")
    with pytest.raises(fc.OptionError, match=r"first\.trainable: got .*; needed True or False"):
        layer.trainable = value
    layer.trainable = np.False_
    assert layer.trainable is False and fc.Dense(3, bias=np.True_).bias is True


@pytest.mark.parametrize(
    "rates, message",
    [
        ({"zz": 1}, "got 'zz'; needed some of its parameters: w, b"),
        ({"w": -1}, r"rates\['w'\]: got -1; needed a number from 0"),
        ({"w": "fast"}, r"rates\['w'\]: got 'fast'"),
        ({"w": float("nan")}, r"rates\['w'\]: got nan"),
        (0.1, 'got 0.1; needed factors by parameter, such as {"w": 0.1}'),
    ],
    ids=repr,
)
def test_rates_are_factors_of_parameters(rates, message):
    layer = built(fc.Dense(3), (4,))
    layer.rates = {"b": 2}
    with pytest.raises(fc.OptionError, match=message):
        layer.rates = rates
    assert dict(layer.rates) == {"b": 2.0} and dict(copy.deepcopy(layer).rates) == {"b": 2.0}
    with pytest.raises(TypeError):
        layer.rates["w"] = -1


def test_rates_set_before_the_layer_has_its_place_are_checked_there():
    for layer, got in ((fc.Dense(3), "got 'zz'; needed some of"), (fc.ReLU(), "got 'zz'; needed {}, it has no parameters")):
        layer.rates = {"zz": 1.0}
        with pytest.raises(fc.OptionError, match=got):
            fc.Sequential([layer], input_shape=(4,))


@pytest.mark.parametrize(
    "activation, hint",
    [
        ("elu", r"fc\.ELU\(\)"),
        ("gelu", r"fc\.GELU\(\)"),
        ("swish", r"fc\.Swish\(\)"),
        ("softmax", r"fc\.Softmax\(\)"),
        ("linear", "pass None"),
    ],
)
def test_an_activation_that_is_a_layer_is_called_one(activation, hint):
    for make in (lambda: fc.Conv2D(3, 3, activation=activation), lambda: fc.Dense(3, activation=activation)):
        with pytest.raises(fc.OptionError, match=f"activation: got '{activation}'; needed None, relu, .*{hint}"):
            make()


@pytest.mark.parametrize("padding", ["same", "full", "valid"])
def test_zeros_around_an_image_are_a_number(padding):
    with pytest.raises(fc.OptionError, match=f"padding: got '{padding}'; needed a number of pixels"):
        fc.ZeroPad2D(padding)
