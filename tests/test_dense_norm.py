"""Dense layer, batch normalisation, activations and softmax, with their gradients; each bound counts the roundings."""

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from cases import draw
from fastconv.layers.block import backward_through, forward_through
from fastconv.layers.norm import paired

BOTH_DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
DENSE_SHAPES = [(1, 1, 1), (3, 4, 5), (2, 65, 17), (17, 1, 65), (64, 400, 120), (5, 3, 1), (0, 4, 3), (129, 33, 70)]


# ---- dense


@pytest.mark.parametrize("n, inputs, outputs", DENSE_SHAPES)
@BOTH_DTYPES
def test_dense_agrees_with_float64(n, inputs, outputs, dtype):
    x, w, b, dy = draw(1, dtype, (n, inputs), (inputs, outputs), (outputs,), (n, outputs))
    y = fc.dense(x, w, b)
    assert y.dtype == dtype
    bounds.assert_within(y, oracle.dense(x, w, b), oracle.dense(abs(x), abs(w), abs(b)), inputs + 1)
    bounds.assert_within(fc.dense(x, w), oracle.dense(x, w), oracle.dense(abs(x), abs(w)), inputs)
    exact, size = oracle.dense_grad(dy, x, w), oracle.dense_grad(abs(dy), abs(x), abs(w))
    for got, e, s, terms in zip(fc.dense_grad(dy, x, w), exact, size, (outputs, n, n), strict=True):
        assert got.dtype == dtype
        bounds.assert_within(got, e, s, terms)


def test_dense_without_input_gradient():
    x, w, dy = draw(2, np.float32, (3, 4), (4, 5), (3, 5))
    dx, dw, db = fc.dense_grad(dy, x, w, needs_dx=False)
    assert dx is None
    np.testing.assert_array_equal(dw, fc.dense_grad(dy, x, w)[1])
    np.testing.assert_array_equal(db, fc.dense_grad(dy, x, w)[2])


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_dense_with_activation(activation):
    x, w, b = draw(3, np.float32, (9, 20), (20, 33), (33,))
    wanted, size = getattr(oracle, activation)(oracle.dense(x, w, b)), oracle.dense(abs(x), abs(w), abs(b))
    bounds.assert_within(fc.dense(x, w, b, activation=activation), wanted, 21 * size + 8 * abs(wanted), 1)


def test_dense_takes_every_arrangement_and_fills_out():
    x, w, b = draw(4, np.float32, (6, 8), (8, 6), (6,))
    wanted = fc.dense(x, w, b)
    for a, v in ((np.asfortranarray(x), np.asfortranarray(w)), (x[::-1].copy()[::-1], np.repeat(w, 2, axis=1)[:, ::2])):
        np.testing.assert_array_equal(fc.dense(a, v, b), wanted, strict=True)
    out = np.full_like(wanted, np.nan)
    assert fc.dense(x, w, b, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    square = x[:, :6].copy()
    aliased = fc.dense(square, w[:6], b)
    np.testing.assert_array_equal(fc.dense(square, w[:6], b, out=square), aliased)
    rows = np.array([b, b])
    np.testing.assert_array_equal(fc.dense(x[:2], w, rows[0], out=rows), wanted[:2])
    assert fc.dense(np.ones((2, 3), np.uint8), np.ones((3, 4), np.int64)).dtype == np.float64


# ---- batch norm: with size = |scale| (|x| + |mean|) / sqrt(var + eps) + |shift|, seven roundings give 8 eps of it


NORM_SHAPES = [(5, 3), (2, 4, 5, 17), (1, 3, 2, 1), (64, 65), (3, 7, 2)]


def norm_arrays(shape, dtype, seed=5):
    x, dy, scale, shift, mean, var = draw(seed, dtype, shape, shape, *[shape[-1:]] * 4)
    return x, dy, scale, shift, mean, abs(var)


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
@BOTH_DTYPES
def test_batch_norm_with_given_statistics(shape, dtype):
    x, _, scale, shift, mean, var = norm_arrays(shape, dtype)
    for eps in (1e-5, 1e-2):
        y = fc.batch_norm(x, scale, shift, mean=mean, var=var, eps=eps)
        size = oracle.batch_norm(abs(x), abs(scale), abs(shift), -abs(mean), var, eps)
        assert y.dtype == dtype
        bounds.assert_within(y, oracle.batch_norm(x, scale, shift, mean, var, eps), size, 8)


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
@BOTH_DTYPES
def test_batch_norm_in_training(shape, dtype):
    """Errors of the mean move every value, those of the variance scale it; m + 8 roundings in each sum of m values."""
    x, dy, scale, shift, _, _ = norm_arrays(shape, dtype)
    y, mean, var = fc.batch_norm_train(x, scale, shift)
    exact_mean, exact_var = oracle.statistics(x)
    size_x, terms = abs(x).mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64), x.size // x.shape[-1] + 8
    spread = ((abs(x) + size_x) ** 2).mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64)
    assert y.dtype == mean.dtype == var.dtype == dtype
    bounds.assert_within(mean, exact_mean, size_x, terms)
    bounds.assert_within(var, exact_var, spread, terms)
    inv = 1 / np.sqrt(exact_var + 1e-5)
    reach = (abs(x) + size_x) * inv * (1 + spread * inv**2)
    bounds.assert_within(y, oracle.batch_norm(x, scale, shift, exact_mean, exact_var), abs(scale) * reach + abs(shift), terms)

    dx, dscale, dshift = fc.batch_norm_grad(dy, x, scale, mean, var)
    exact_dx, exact_dscale, exact_dshift = oracle.batch_norm_grad(dy, x, scale)
    bounds.assert_within(dshift, exact_dshift, abs(dy).sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64), terms)
    size_dscale = (abs(dy) * reach).sum(axis=tuple(range(x.ndim - 1)))
    bounds.assert_within(dscale, exact_dscale, size_dscale, 2 * terms)
    m = x.size // x.shape[-1]
    mean_dy = abs(dy).sum(axis=tuple(range(x.ndim - 1)), dtype=np.float64) / m
    size_dx = abs(scale) * inv * (1 + spread * inv**2) * (abs(dy) + mean_dy + reach * size_dscale / m)
    bounds.assert_within(dx, exact_dx, size_dx, 3 * terms)


def test_the_variance_of_values_far_from_zero():
    """Mean of squares less square of the mean would lose all digits here: 1e8 * eps is more than the variance."""
    x = (draw(6, np.float32, (200, 3))[0] + np.float32(1e4)).astype(np.float32)
    _, _, var = fc.batch_norm_train(x, np.ones(3, np.float32), np.zeros(3, np.float32))
    exact_mean, exact_var = oracle.statistics(x)
    eps = np.finfo(np.float32).eps
    assert (abs(var - exact_var) <= 208 * eps * exact_var + (200 * eps * exact_mean) ** 2).all()


def test_training_statistics_normalise():
    x, _, _, _, _, _ = norm_arrays((40, 6), np.float64)
    y, mean, var = fc.batch_norm_train(x, np.ones(6), np.zeros(6), eps=1e-12)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-10)
    np.testing.assert_allclose(
        fc.batch_norm(x, np.ones(6), np.zeros(6), mean=mean, var=var, eps=1e-12), y, rtol=1e-13, atol=1e-13
    )


# ---- activations


POINTS = [0.0, 1e-30, 1e-6, 0.3, 1, 2.5, 9, 20, 60, 87, 88.5, 104, 1000, np.inf]


def values(dtype):
    return np.array([*POINTS, *(-np.array(POINTS))], dtype)


@BOTH_DTYPES
@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_linear_activations(name, dtype):
    x = values(dtype)
    y = getattr(fc, name)(x)
    wanted = getattr(oracle, name)(x.astype(np.float64))
    assert y.dtype == dtype
    finite = np.isfinite(wanted)
    bounds.assert_within(y[finite], wanted[finite], abs(wanted[finite]), 2)
    np.testing.assert_array_equal(y[~finite], wanted[~finite])


@BOTH_DTYPES
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_curved_activations_keep_their_digits(name, dtype):
    """A few roundings of a result of any size: sigmoid(-20) is 2e-9, not 0.  exp(x) turns a rounding of x into x of them."""
    x = values(dtype)
    with np.errstate(all="raise", under="ignore"):
        y = getattr(fc, name)(x)
    wanted = getattr(oracle, name)(x.astype(np.float64))
    assert y.dtype == dtype
    tiny = 2 * np.finfo(dtype).tiny / np.finfo(dtype).eps
    bounds.assert_within(y, wanted, abs(wanted) * (8 + np.minimum(abs(x), 1000)) + tiny, 1)


@BOTH_DTYPES
def test_activation_gradients(dtype):
    x, dy = draw(7, dtype, (6, 50), (6, 50))
    x[0, :3] = 0
    leaky = fc.leaky_relu_grad(dy, x, 0.1)
    np.testing.assert_array_equal(fc.relu_grad(dy, fc.relu(x)), np.where(x > 0, dy, 0).astype(dtype), strict=True)
    away = x != 0
    bounds.assert_within(leaky[away], np.where(x > 0, dy, 0.1 * dy)[away], abs(dy)[away], 2)
    for name, slope in (("sigmoid", lambda y: y * (1 - y)), ("tanh", lambda y: 1 - y * y)):
        y = getattr(fc, name)(x)
        got = getattr(fc, f"{name}_grad")(dy, y)
        assert got.dtype == dtype
        bounds.assert_within(got, dy.astype(np.float64) * slope(y.astype(np.float64)), abs(dy), 4)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax"])
def test_activations_take_bytes_keep_nan_and_change_nothing(name):
    function = getattr(fc, name)
    assert function(np.array([0, 1, 255], np.uint8)).dtype == np.float32
    x = np.array([[1, np.nan, -2]], np.float32)
    x.flags.writeable = False
    y = function(x)
    assert np.isnan(y[0, 1]) and not np.shares_memory(x, y)
    assert np.isnan(x[0, 1]) and x[0, 0] == 1 and x[0, 2] == -2


@pytest.mark.parametrize("rows, classes", [(7, 1), (7, 2), (7, 10), (7, 1000), (6600, 10), (70, 1001), (70_000, 1), (22_000, 3)])
@BOTH_DTYPES
def test_softmax_and_its_gradient(rows, classes, dtype):
    """exp(x - max) turns a rounding of x - max into as many, the sum of the classes adds one each."""
    x, dy = draw(8, dtype, (rows, classes), (rows, classes))
    x *= 5
    y, wanted = fc.softmax(x), oracle.softmax(x)
    assert y.dtype == dtype
    depth = x.max(axis=-1, keepdims=True) - x
    bounds.assert_within(y, wanted, wanted * (depth + classes + 8), 1)
    got, exact = fc.softmax_grad(dy, y), oracle.softmax_grad(dy, y)
    assert got.dtype == dtype
    size = y * (abs(dy) + (abs(dy) * y).sum(axis=-1, keepdims=True, dtype=np.float64))
    bounds.assert_within(got, exact, size, classes + 4)


def test_softmax_of_huge_logits_and_any_rank():
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_array_equal(fc.softmax(np.array([1e4, 0, -1e4], np.float32)), np.array([1, 0, 0], np.float32))
    x = draw(9, np.float32, (2, 3, 4, 5))[0]
    np.testing.assert_allclose(fc.softmax(x).sum(axis=-1), 1, rtol=6e-7)


def test_softmax_of_many_rows_keeps_what_is_not_finite_in_its_row():
    x = draw(9, np.float32, (300, 17, 13))[0]
    x[[2, 3, 4], 5, 6] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        wanted = oracle.softmax(x)
    y = fc.softmax(x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_allclose(y, wanted, rtol=2e-6)
    view = np.swapaxes(np.ascontiguousarray(np.swapaxes(x, 0, 1)), 0, 1)
    bounds.assert_same_bytes(fc.softmax(view), y)


@pytest.mark.parametrize("examples", [1, 5, 64, 65])
def test_gradients_of_a_large_dense_layer(examples):
    """Few examples and many weights: the input's gradient is computed the other way round."""
    rng = np.random.default_rng(examples)
    dy, x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((examples, 600), (examples, 500), (500, 600)))
    out = np.full(w.shape, np.nan, np.float32)
    dx, dw, db = fc.dense_grad(dy, x, w, out=out)
    assert dw.base is out or np.shares_memory(dw, out)
    wide_dy, wide_x, wide_w = (a.astype(np.float64) for a in (dy, x, w))
    for got, exact, size, terms in (
        (dx, wide_dy @ wide_w.T, abs(wide_dy) @ abs(wide_w).T, 600),
        (dw, wide_x.T @ wide_dy, abs(wide_x).T @ abs(wide_dy), examples),
        (db, wide_dy.sum(0), abs(wide_dy).sum(0), examples),
    ):
        bounds.assert_within(got, exact, size, terms + 1)


def test_dense_checks_out_and_options_before_anything_else():
    x, w = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    for out in (np.empty((3, 4), np.float32), np.empty((3, 5)), [1]):
        with pytest.raises((fc.ShapeError, fc.DTypeError), match=r"out: got .* \(3, 5\)"):
            fc.dense(x, w, out=out)
    with pytest.raises(fc.ShapeError, match=r"\(4, 5\)"):
        fc.dense_grad(np.ones((0, 5), np.float32), x[:0], w, out=np.empty(7, np.float32))
    with pytest.raises(fc.OptionError, match="activation"):
        fc.dense(x[:0], w, activation="zz")
    out = np.full((0, 5), np.nan, np.float32)
    assert fc.dense(x[:0], w, out=out) is out


def test_weights_of_more_digits_decide_the_dtype_of_their_gradient():
    dy, x, w = np.ones((3, 5), np.float32), np.ones((3, 4), np.float32), np.ones((4, 5))
    out = np.empty(w.shape)
    assert fc.dense_grad(dy, x, w, out=out)[1] is out
    assert (out == 3).all()


def test_batch_norm_gradient_of_no_image():
    nothing, one = np.ones((0, 4, 4, 3), np.float32), np.ones(3, np.float32)
    dx, dscale, dshift = fc.batch_norm_grad(nothing, nothing, one, one, one)
    assert dx.shape == nothing.shape and not dscale.any() and not dshift.any()


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
@BOTH_DTYPES
def test_a_relu_behind_batch_norm_gives_the_same_bytes_in_the_same_pass(shape, dtype):
    x, dy, scale, shift, _, _ = norm_arrays(shape, dtype)
    results = []
    for as_one in (False, True):
        norm, relu = fc.BatchNorm(), fc.ReLU()
        norm.build(shape[1:], dtype)
        norm.set_params(scale=scale, shift=shift)
        steps = paired((norm, relu)) if as_one else (norm, relu)
        y = forward_through(steps, x, training=True)
        dx = backward_through(steps, dy)
        results.append((y, dx, norm.grads["scale"], norm.grads["shift"], norm.arrays["mean"], norm.arrays["var"]))
    assert len(paired((norm, relu))) == 1
    assert (results[0][0] >= 0).all()
    for one, other in zip(*results, strict=True):
        bounds.assert_same_bytes(one, other)


def test_networks_and_blocks_pair_batch_norm_with_relu():
    def layers():
        return [fc.Conv2D(4, 3, padding=1), fc.BatchNorm(), fc.ReLU(), fc.ReLU(), fc.BatchNorm()]

    x, y = draw(12, np.float32, (6, 7, 7, 40), (6,))
    losses = []
    for pairs in (True, False):
        net = fc.Sequential([*layers(), fc.Residual(layers()), fc.Flatten(), fc.Dense(2)], input_shape=x.shape[1:], seed=3)
        if not pairs:
            block = net.layers[5]
            block.steps, net._steps_for = block.branches, lambda batch, training, net=net: net.layers
        trainer = fc.Trainer(net, fc.optim.SGD(0.1))
        trainer.fit(x, (y > 0).astype(int), epochs=3, batch_size=3, verbose=0)
        losses.append((trainer.history.history["loss"], net.get_weights()))
        assert sum(type(step).__name__ == "Rectified" for step in net._last_steps or ()) == int(pairs)
    assert losses[0][0] == losses[1][0]
    for name, array in losses[0][1].items():
        bounds.assert_same_bytes(array, losses[1][1][name])


@pytest.mark.parametrize("overlaps", ["w", "dy", "x"])
def test_the_gradient_of_weights_may_be_written_over_what_it_came_from(overlaps):
    arrays = dict(zip(("dy", "x", "w"), draw(5, np.float32, (20, 20), (20, 20), (20, 20)), strict=True))
    wanted = fc.dense_grad(**{name: array.copy() for name, array in arrays.items()})
    found = fc.dense_grad(**arrays, out=arrays[overlaps])
    assert found[1] is arrays[overlaps]
    for one, other in zip(found, wanted, strict=True):
        bounds.assert_same_bytes(one, other)


def test_a_bias_of_another_length_is_refused_for_no_example_too():
    with pytest.raises(fc.ShapeError, match=r"b: got shape \(7,\); needed \(4,\)"):
        fc.dense(np.ones((0, 3), np.float32), np.ones((3, 4), np.float32), np.ones(7, np.float32))


def test_rows_are_as_fast_as_images():
    """A batch norm of rows makes no table with an entry for each; sums are those of their values."""
    x = np.random.default_rng(0).normal(3, 2, (70_001, 5)).astype(np.float32)
    mean, var, scale, shift = x.mean(0), x.var(0), np.float32([1, 2, -1, 0, 3]), np.float32([0, 1, 2, 3, 4])
    y = fc.batch_norm(x, scale, shift, mean=mean, var=var)
    np.testing.assert_allclose(y, oracle.batch_norm(x.astype(float), scale, shift, mean, var), atol=2e-5)
    for empty in ((0, 5), (0, 4, 4, 5)):
        assert fc.batch_norm(np.ones(empty, np.float32), scale, shift, mean=mean, var=var).shape == empty


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softmax", "elu", "gelu", "swish"])
def test_gradients_of_activations_want_one_shape(name):
    with pytest.raises(fc.ShapeError, match=r"dy: got shape \(2, 3\); needed that of [xy], \(1, 3\)"):
        getattr(fc, f"{name}_grad")(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7, 8, 9, 16, 17, 33])
@BOTH_DTYPES
def test_a_task_of_a_norm_touches_its_own_rows_alone(channels, dtype):
    """Whole vectors are read and written where the next row follows, never beyond the rows of a task, nor beyond the array."""
    from fastconv.kernels import norm

    rng, rows, wide = np.random.default_rng(channels), 3 * norm.BAND + 1, 64
    memory = rng.normal(size=(3, rows * channels + 2 * wide)).astype(dtype)
    before = memory.copy()
    x, dy, y = (line[wide:-wide].reshape(rows, channels) for line in memory)
    numbers = rng.normal(size=(7, channels)).astype(dtype)
    mean, about, factor, offset, of_dy, of_x, rest = numbers.astype(float)
    for rectified in (0, 1):
        norm.normalise(x, norm.table(*numbers[:4]), rectified, y)
        line = (x - about) * factor + offset
        np.testing.assert_allclose(y, np.maximum(line, 0) if rectified else line, rtol=1e-4, atol=1e-4)
        norm.combine(x, dy, norm.table(*numbers), rectified, y)
        open_ = (line > 0) | (not rectified)
        np.testing.assert_allclose(y, dy * open_ * of_dy + (x - mean) * of_x + rest, rtol=1e-4, atol=1e-4)
        for band in range(4):  # one task after the other leaves what the others have written
            alone = y[band * norm.BAND : (band + 1) * norm.BAND].copy()
            own = slice(band * norm.BAND, band * norm.BAND + len(alone))
            norm.combine(x[own].copy(), dy[own].copy(), norm.table(*numbers), rectified, target := np.empty_like(alone))
            bounds.assert_same_bytes(target, alone)
    y[...] = before[2, wide:-wide].reshape(y.shape)
    np.testing.assert_array_equal(memory, before)
