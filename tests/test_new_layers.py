"""Single layers against PyTorch and against the layers that they are made of."""

import numpy as np
import pytest

import fastconv as fc
from bounds import assert_same_bytes
from fastconv import functional as F


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# ---- local response normalisation


@pytest.mark.parametrize("size, channels", [(5, 96), (4, 7), (1, 3), (5, 2), (9, 4)])
@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_local_response_norm_is_pytorchs_with_alpha_times_size(size, channels, beta):
    torch = pytest.importorskip("torch")
    x = normal(3, 6, 5, channels)
    t = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
    z = torch.nn.functional.local_response_norm(t, size, alpha=0.3 * size, beta=beta, k=1.5)
    options = {"size": size, "alpha": 0.3, "beta": beta, "k": 1.5}
    np.testing.assert_allclose(F.local_response_norm(x, **options), z.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-12)
    dy = normal(*x.shape, seed=1)
    z.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    dx = F.local_response_norm_grad(dy, x, **options)
    np.testing.assert_allclose(dx, t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-13)


def test_local_response_norm_in_pieces_is_that_of_single_pixels():
    x = normal(2, 7, 5, 8, dtype=np.float32)
    whole, alone = F.local_response_norm(x), [F.local_response_norm(pixel[None]) for pixel in x.reshape(-1, 8)]
    assert np.concatenate(alone).tobytes() == whole.tobytes() and whole.dtype == np.float32
    assert F.local_response_norm(x[:0]).shape == (0, 7, 5, 8) and F.local_response_norm(x[..., :0]).shape == (2, 7, 5, 0)


# ---- depthwise and separable


def test_depthwise_is_a_convolution_of_each_channel_by_itself():
    layer = fc.DepthwiseConv2D(3, multiplier=2, stride=2, padding=1, bias=False)
    layer.build((9, 8, 3), "float64")
    x, w = normal(2, 9, 8, 3), layer.params["w"]
    single = [fc.conv2d(x[..., c : c + 1], w[..., 2 * c : 2 * c + 2], stride=2, padding=1) for c in range(3)]
    np.testing.assert_allclose(layer(x), np.concatenate(single, axis=-1), rtol=1e-13)
    assert layer.macs((9, 8, 3)) == 9 * 5 * 4 * 6


def test_separable_is_depthwise_and_then_pointwise():
    layer = fc.SeparableConv2D(5, 3, padding="same", activation="relu", multiplier=2)
    net = fc.Sequential([layer], input_shape=(6, 7, 3), dtype="float64")
    assert list(net.get_weights()) == [f"separable_conv2d_1.{n}" for n in ("depthwise_conv2d_1.w", "conv2d_1.w", "conv2d_1.b")]
    x, arrays = normal(2, 6, 7, 3), layer.params
    middle = fc.conv2d(x, arrays["depthwise_conv2d_1.w"], padding="same", groups=3)
    expected = np.maximum(fc.conv2d(middle, arrays["conv2d_1.w"], arrays["conv2d_1.b"]), 0)
    np.testing.assert_allclose(net.forward(x), expected, rtol=1e-13)
    assert net.n_parameters == 9 * 6 + 6 * 5 + 5


# ---- zeros around, pixels repeated


def test_zeros_around_are_a_convolutions_own_padding():
    x, w = normal(2, 5, 6, 3), normal(3, 3, 3, 4)
    sides = ((2, 1), (0, 3))
    padded = fc.zero_pad2d(x, sides)
    np.testing.assert_allclose(fc.conv2d(padded, w), fc.conv2d(x, w, padding=sides), rtol=1e-12, atol=1e-14)
    wide = fc.zero_pad2d(x, 0, channels=(1, 2))
    assert wide.shape == (2, 5, 6, 6)
    assert not wide[..., 0].any()
    assert (wide[..., 1:4] == x).all()


def test_the_field_of_padding_begins_before_the_image():
    layers = [fc.ZeroPad2D(2), fc.Conv2D(1, 5)]
    padded = fc.Sequential(layers, input_shape=(9, 9, 1)).rows()[-1]
    plain = fc.Sequential([fc.Conv2D(1, 5, padding=2)], input_shape=(9, 9, 1)).rows()[-1]
    assert padded.field == plain.field


def test_upsampling_repeats_pixels_and_its_gradient_sums_them():
    x = normal(2, 3, 4, 2)
    np.testing.assert_array_equal(fc.upsample2d(x, (2, 3)), x.repeat(2, axis=1).repeat(3, axis=2))
    np.testing.assert_array_equal(fc.upsample2d_grad(np.ones((2, 6, 12, 2)), (2, 3)), np.full(x.shape, 6.0))
    row = fc.Sequential([fc.Conv2D(1, 3, padding=1), fc.UpSampling2D(2), fc.Conv2D(1, 3)], input_shape=(8, 8, 1)).rows()
    assert (row[2].field[0].size, row[2].field[0].jump) == (3, 0.5)
    assert row[3].field[0].size == 4  # three neighbours of half a pixel, on two pixels that see three each


# ---- regularisation


def test_l1_and_l2_are_in_the_loss_and_in_the_gradient():
    layers = [
        fc.Conv2D(4, 3, l2=0.3, activation="tanh"),
        fc.Residual([fc.Conv2D(4, 1, l1=0.2)]),
        fc.Flatten(),
        fc.Dense(3, l2=0.1),
    ]
    net = fc.Sequential(layers, input_shape=(5, 5, 2), dtype="float64")
    x, y = normal(4, 5, 5, 2), [0, 1, 2, 0]
    assert fc.gradcheck(net, x, y, points=30).passed
    w = {name: array for name, array in net.get_weights().items() if name.endswith("w")}
    expected = (
        0.15 * (w["conv2d_1.w"] ** 2).sum() + 0.2 * abs(w["residual_1.conv2d_1.w"]).sum() + 0.05 * (w["dense_1.w"] ** 2).sum()
    )
    np.testing.assert_allclose(net.penalty(), expected, rtol=1e-12)
    trainer = fc.Trainer(net, fc.optim.SGD(0.0))
    np.testing.assert_allclose(trainer.step(x, y), trainer.evaluate(x, y)["loss"] + expected, rtol=1e-12)


def test_l2_in_a_chain_of_small_layers_is_pytorchs_weight_decay():
    torch = pytest.importorskip("torch")
    net = fc.Sequential([fc.Conv2D(4, 3, l2=0.5), fc.Flatten(), fc.Dense(3)], input_shape=(6, 6, 2))
    x, y = normal(32, 6, 6, 2, dtype=np.float32), np.arange(32) % 3
    w = net.layers[0].params["w"].copy()
    plain = fc.Sequential([fc.Conv2D(4, 3), fc.Flatten(), fc.Dense(3)], input_shape=(6, 6, 2))
    plain.set_weights(net.get_weights())
    fc.Trainer(plain, fc.optim.SGD(0.1)).step(x, y)
    gradient = plain.layers[0].grads["w"]
    parameter = torch.nn.Parameter(torch.from_numpy(w.copy()))
    parameter.grad = torch.from_numpy(gradient.copy())
    torch.optim.SGD([parameter], 0.1, weight_decay=0.5).step()
    fc.Trainer(net, fc.optim.SGD(0.1)).step(x, y)
    np.testing.assert_allclose(net.layers[0].params["w"], parameter.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_frozen_layer_is_not_regularised():
    net = fc.Sequential([fc.Dense(3, l2=1.0)], input_shape=(2,))
    net.layers[0].trainable = False
    assert net.penalty() == 0


# ---- transposed convolution


@pytest.mark.parametrize(
    "size, options",
    [
        (4, {"stride": 2, "padding": 1}),
        (3, {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2), "groups": 2, "activation": "relu"}),
        (3, {"dilation": 2, "bias": False}),
    ],
    ids=str,
)
def test_transposed_convolution_is_pytorchs(size, options):
    torch = pytest.importorskip("torch")
    layer = fc.Conv2DTranspose(6, size, **options)
    layer.build((5, 4, 4), "float64")
    x, w = normal(2, 5, 4, 4), layer.params["w"]
    t, groups = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_(), options.get("groups", 1)
    # PyTorch: (C, O / groups, KH, KW); here (KH, KW, C / groups, O), O in blocks of its groups
    parts = np.split(w, groups, axis=3)
    v = torch.from_numpy(np.concatenate([part.transpose(2, 3, 0, 1) for part in parts])).requires_grad_()
    wanted = {key: options[key] for key in ("stride", "padding", "output_padding", "dilation") if key in options}
    z = torch.nn.functional.conv_transpose2d(t, v, None, groups=groups, **wanted)
    z = z.relu() if "activation" in options else z
    y = layer.forward(x, training=True)
    np.testing.assert_allclose(y, z.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-11, atol=1e-12)
    dy = normal(*y.shape, seed=1)
    z.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(layer.backward(dy), t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-12)
    dw = np.concatenate(np.split(v.grad.numpy(), groups), axis=1) if groups > 1 else v.grad.numpy()
    np.testing.assert_allclose(layer.grads["w"], dw.transpose(2, 3, 0, 1), rtol=1e-10, atol=1e-12)


def test_transposed_convolution_is_counted_as_the_convolution_back():
    layer = fc.Conv2DTranspose(6, 3, stride=2, padding="same")
    back = fc.Conv2D(4, 3, stride=2, padding="same")
    assert layer.output_shape_for((5, 4, 4)) == (10, 8, 6)
    assert layer.macs((5, 4, 4)) == back.macs((10, 8, 6))
    assert layer.formula((5, 4, 4)) == "(3·3·4 + 1)·6"


@pytest.mark.parametrize("kernel, stride, pad", [(4, 2, 1), (3, 2, 0), (3, 1, 1), (2, 2, 0), (5, 3, 2)])
def test_the_field_of_a_transposed_convolution_holds_what_a_nudge_reaches(kernel, stride, pad):
    up = fc.Conv2DTranspose(1, kernel, stride=stride, padding=pad, initializer="ones", bias=False)
    net = fc.Sequential([fc.Conv2D(1, 3, padding=1, initializer="ones", bias=False), up], input_shape=(9, 9, 1), dtype="float64")
    field, widest = net.rows()[-1].field[0], 0
    nudged = np.zeros((9, 9, 9, 1))
    nudged[np.arange(9), np.arange(9), 4] = 1
    reached = net.forward(nudged).any(axis=(2, 3))  # (pixel, unit)
    for unit in range(reached.shape[1]):
        pixels = np.flatnonzero(reached[:, unit])
        widest = max(widest, np.ptp(pixels) + 1 if pixels.size else 0)
        assert all(pixels >= np.floor(field.start + unit * field.jump))
    assert widest == field.size


# ---- pooling to a size


@pytest.mark.parametrize("size", [1, 2, 3, (5, 7), (4, 7), 5])
def test_adaptive_pooling_is_pytorchs(size):
    torch = pytest.importorskip("torch")
    x = normal(2, 5, 7, 3)
    for name in ("avg", "max"):
        t = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
        z = getattr(torch.nn.functional, f"adaptive_{name}_pool2d")(t, size)
        y = getattr(F, f"adaptive_{name}_pool2d")(x, size)
        np.testing.assert_allclose(y, z.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-12)
        dy = normal(*y.shape, seed=1)
        z.backward(torch.from_numpy(dy.transpose(0, 3, 1, 2).copy()))
        dx = getattr(F, f"adaptive_{name}_pool2d_grad")(dy, x.shape if name == "avg" else x, size)
        np.testing.assert_allclose(dx, t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-14)


def test_adaptive_pooling_wants_a_pixel_for_each_window():
    with pytest.raises(fc.ShapeError, match="width: got 7 pixels for 8 windows"):
        fc.adaptive_avg_pool2d(normal(2, 9, 7, 3), 8)
    row = fc.Sequential([fc.Conv2D(1, 3), fc.AdaptiveMaxPool2D(4)], input_shape=(9, 10, 1)).rows()[-1]
    assert [(field.size, field.jump) for field in row.field] == [(5, 1.75), (4, 2)]


def test_global_max_pooling_is_the_largest_of_each_map():
    x = normal(3, 4, 5, 6)
    layer = fc.GlobalMaxPool2D()
    layer.build((4, 5, 6), "float64")
    np.testing.assert_array_equal(layer(x), x.max(axis=(1, 2)))


# ---- smooth activations


@pytest.mark.parametrize("name, theirs", [("elu", "elu"), ("gelu", "gelu"), ("swish", "silu")])
@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-13), (np.float32, 4e-6)])
def test_smooth_activations_are_pytorchs(name, theirs, dtype, rtol):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-12, 12, 4001), [0.0, -0.0, 1e-30, -1e-30, 40.0, -40.0]]).astype(dtype)
    t = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    z = getattr(torch.nn.functional, theirs)(t)
    y = getattr(F, name)(x)
    assert y.dtype == dtype
    near = x > -1  # farther out GELU is 1 - erf in PyTorch, which loses digits
    np.testing.assert_allclose(y[near], z.detach().numpy()[near], rtol=rtol, atol=1e-30)
    np.testing.assert_allclose(y[~near], z.detach().numpy()[~near], rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)
    z.sum().backward()
    dx = getattr(F, f"{name}_grad")(np.ones_like(x), y if name == "elu" else x)
    np.testing.assert_allclose(dx, t.grad.numpy(), rtol=0, atol=1e-6 if dtype == np.float32 else 1e-14)


def test_the_normal_distribution_keeps_its_digits_in_both_tails():
    from math import erfc, sqrt

    x = np.linspace(-11, 9, 2000)
    expected = np.array([erfc(-v / sqrt(2)) / 2 for v in x])
    np.testing.assert_allclose(fc.gelu(x), x * expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["elu", "gelu", "swish"])
def test_nan_and_infinity_stay_what_they_are(name):
    with np.errstate(invalid="ignore"):
        y = getattr(F, name)(np.float32([np.nan, np.inf]))
    assert np.isnan(y[0])
    assert y[1] == np.inf


# ---- dropout of maps


def test_spatial_dropout_drops_whole_maps():
    layer = fc.SpatialDropout2D(0.25)
    layer.build((6, 5, 400), "float32")
    y = layer.forward(np.ones((3, 6, 5, 400), np.float32), training=True)
    assert (y == y[:, :1, :1]).all()
    kept = (y[:, 0, 0] > 0).mean()
    assert abs(kept - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 1200)
    np.testing.assert_allclose(y.max(), 4 / 3, rtol=1e-6)
    x = np.ones((1, 6, 5, 400), np.float32)
    assert layer.forward(x) is x


@pytest.mark.parametrize("shape", [(1, 5, 5, 1), (2, 2, 2, 1), (2, 9, 9, 1), (2, 3, 3, 2), (2, 3, 3)], ids=str)
def test_adaptive_gradients_want_the_shape_of_the_output(shape):
    dy = np.ones(shape, np.float32)
    with pytest.raises(fc.ShapeError, match=r"dy: got .*; needed that of the output, \(2, 3, 3, 1\)"):
        fc.adaptive_avg_pool2d_grad(dy, (2, 7, 7, 1), 3)
    with pytest.raises(fc.ShapeError, match=r"dy: got .*; needed that of the output, \(2, 3, 3, 1\)"):
        fc.adaptive_max_pool2d_grad(dy, np.ones((2, 7, 7, 1), np.float32), 3)


@pytest.mark.parametrize("mean", [fc.global_avg_pool2d, lambda x: fc.adaptive_avg_pool2d(x, 1)[:, 0, 0]])
def test_the_mean_of_a_large_image_keeps_its_digits(mean):
    """Rounding errors grow with the sides of the image, not with its area: 1 % at 1024x1024 where all is added in one row."""
    x = np.full((1, 1024, 1024, 2), 0.1, np.float32)
    np.testing.assert_allclose(mean(x), x[:, 0, 0], rtol=1e-4)
    x = np.random.default_rng(0).uniform(size=(2, 301, 299, 3)).astype(np.float32)
    np.testing.assert_allclose(mean(x), x.mean((1, 2), dtype=float), rtol=2e-6)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x, w: fc.conv2d_transpose(x, w, stride=2, padding="same", output_padding=1), fc.OptionError, "needed 0"),
        (lambda x, w: fc.conv2d_transpose_grad(x, x, w, groups=0), fc.OptionError, "groups: got 0"),
        (lambda x, w: fc.conv2d_transpose_grad(x, x, w[0, 0]), fc.ShapeError, "w: got 2 axes"),
        (lambda x, w: fc.max_pool2d(x, 2, ceil_mode=[1]), fc.OptionError, "ceil_mode: got"),
    ],
)
def test_mistakes_get_one_clear_line(call, error, words):
    with pytest.raises(error, match=words):
        call(np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 2), np.float32))


def test_the_bias_gradient_of_no_channels():
    assert fc.conv2d_bias_grad(np.ones((1, 2, 2, 0), np.float32)).shape == (0,)


def test_gradients_of_adaptive_pooling_of_no_images_have_its_shape():
    dy, x = np.zeros((0, 4, 4, 3), np.float32), np.zeros((0, 6, 6, 3), np.float32)
    assert fc.adaptive_max_pool2d_grad(dy, x, 4).shape == fc.adaptive_avg_pool2d_grad(dy, x.shape, 4).shape == x.shape


@pytest.mark.parametrize("call", (lambda x: fc.adaptive_avg_pool2d(x, 4), lambda x: fc.upsample2d_grad(x, 3)))
def test_sums_do_not_depend_on_the_order_of_the_memory(call):
    x = np.random.default_rng(60).random((3, 6, 6, 5), dtype=np.float32)
    assert_same_bytes(call(np.asfortranarray(x)), call(x))


def test_weights_that_are_packed_serve_all_gradients():
    rng = np.random.default_rng(61)
    x, dy, w = (rng.random(shape, dtype=np.float32) for shape in ((3, 4), (3, 5), (4, 5)))
    packed = fc.functional.prepare(w[None, None], (1, 3, 1, 4))
    for found, plain in zip(fc.dense_grad(dy, x, packed), fc.dense_grad(dy, x, w), strict=True):
        assert_same_bytes(found, plain)
    x, w = rng.random((2, 4, 4, 3), dtype=np.float32), rng.random((2, 2, 3, 5), dtype=np.float32)
    dy = fc.conv2d_transpose(x, w, stride=2)
    packed = fc.functional.prepare(w, x.shape)
    plain = fc.conv2d_transpose_grad(dy, x, w, stride=2)
    for found, same in zip(fc.conv2d_transpose_grad(dy, x, packed, stride=2), plain, strict=True):
        assert_same_bytes(found, same)


def test_settings_may_be_numpys_numbers():
    shape = fc.Conv2D(2, 3, padding=np.array([1, 1]), l2=np.float32(0.5)).output_shape_for((8, 8, 1))
    assert shape == (8, 8, 2) and fc.MaxPool2D(np.array([2, 2])).output_shape_for((8, 8, 1)) == (4, 4, 1)
    assert fc.Dropout(np.float32(0.5)).rate == 0.5 and fc.models.lenet5(width=np.float32(0.5)).n_parameters < 20_000
