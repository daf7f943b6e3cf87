"""Blocks: branches that are summed or stacked, and still one layer to everything around them."""

import copy
import pickle

import numpy as np
import pytest

import fastconv as fc
from fastconv import functional as F
from fastconv import models
from fastconv.training.diagnose import suspect
from fastconv.training.losses import find_loss


def network(**options):
    """Sums, stacks, a block in a block, statistics and a dropout inside."""
    layers = [
        fc.Conv2D(4, 3, padding=1, activation="relu"),
        fc.Residual([fc.Conv2D(4, 3, padding=1, bias=False), fc.BatchNorm(), fc.ReLU(), fc.Dropout(0.2)], activation="relu"),
        fc.Residual(
            [fc.Conv2D(6, 3, padding=1, stride=2), fc.Concat([fc.Conv2D(2, 1), [fc.Conv2D(3, 1), fc.Conv2D(4, 3, padding=1)]])],
            fc.Conv2D(6, 1, stride=2),
        ),
        fc.Flatten(),
        fc.Dense(3),
    ]
    return fc.Sequential(layers, **{"input_shape": (8, 9, 3), "dtype": "float64", "output": "softmax", **options})


def batch(net, n=4, seed=2):
    return np.random.default_rng(seed).normal(size=(n, *net.input_shape)).astype(net.dtype)


def test_names_tell_the_way_to_every_array():
    names = list(network().get_weights())
    assert names[:4] == ["conv2d_1.w", "conv2d_1.b", "residual_1.conv2d_1.w", "residual_1.batch_norm_1.scale"]
    assert "residual_2.concat_1.conv2d_3.w" in names
    assert names[-4:] == ["residual_2.conv2d_2.w", "residual_2.conv2d_2.b", "dense_1.w", "dense_1.b"]
    labels = [layer.label for layer in network().walk()]
    assert labels[:4] == ["conv2d_1", "residual_1", "residual_1.conv2d_1", "residual_1.batch_norm_1"]


def test_a_sum_and_a_stack_are_what_their_layers_give():
    net, x = network(), batch(network())
    first, sum1, sum2, *_ = net.layers
    conv, norm, relu, _ = sum1.body
    h = first(x)
    expected = np.maximum(relu(norm(conv(h))) + h, 0)
    np.testing.assert_array_equal(sum1(h), expected)
    stack = sum2.body[1]
    z = sum2.body[0](expected)
    one, two, three = stack.layers
    np.testing.assert_array_equal(stack(z), np.concatenate([one(z), three(two(z))], axis=-1))
    np.testing.assert_array_equal(sum2(expected), stack(z) + sum2.shortcut[0](expected))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("body", [[], [fc.Flatten()], [fc.Dropout(0)]], ids=str)
def test_a_block_never_writes_into_its_input(body, training):
    block = fc.Residual(body, activation="relu")
    block.build((6,), "float64")
    x = np.linspace(-1, 1, 12).reshape(2, 6)
    before, dy = x.copy(), np.ones((2, 6))
    np.testing.assert_array_equal(block.forward(x, training), np.maximum(2 * before, 0))
    np.testing.assert_array_equal(x, before)
    if training:
        np.testing.assert_array_equal(block.backward(dy), 2.0 * (before > 0))
        assert (dy == 1).all()


def test_gradients_of_a_network_with_blocks_agree_with_differences():
    net = network()
    assert fc.gradcheck(net, batch(net), [0, 1, 2, 0], points=12).passed


def test_every_optimizer_step_moves_the_arrays_inside_blocks():
    net = network(dtype="float32")
    before = net.get_weights()
    trainer = fc.Trainer(net, fc.optim.SGD(0.01, momentum=0.9))
    x, y = batch(net), np.array([0, 1, 2, 0])
    losses = [trainer.step(x, y) for _ in range(20)]
    assert losses[-1] < losses[0] / 2
    after = net.get_weights()
    assert all((before[name] != after[name]).any() for name in before)


def test_a_frozen_block_keeps_its_parameters_and_is_counted_as_such():
    net = network(dtype="float32")
    net.layers[1].trainable = False
    net.layers[2].body[0].trainable = False
    before = net.get_weights()
    fc.Trainer(net, fc.optim.SGD(0.1)).step(batch(net), [0, 1, 2, 0])
    after = net.get_weights()
    same = {name for name in before if (before[name] == after[name]).all()}
    frozen = {name for name in before if name.startswith("residual_1.")}  # with the running statistics of its BatchNorm
    assert same == frozen | {"residual_2.conv2d_1.w", "residual_2.conv2d_1.b"}
    assert [row.frozen for row in net.rows()] == [0, 0, 152, 222, 0, 0]
    assert net.summary().totals.frozen == net.summary(expand_nested=True).totals.frozen == 374
    assert (net.layers[1].trainable, net.layers[2].trainable) == (False, True)


def test_a_step_that_fails_puts_back_the_statistics_and_draws_inside():
    net = network(dtype="float32")
    trainer = fc.Trainer(net)
    trainer.step(batch(net), [0, 1, 2, 0])
    before, draws = net.get_weights(), net.layers[1].draws
    assert draws == (1,)
    with pytest.raises(fc.TrainingError, match=r"the output of residual_1\.batch_norm_1 \(in layer 2 of 5\) is the first"):
        trainer.step(batch(net) * 1e30, [0, 1, 2, 0])
    assert net.layers[1].draws == draws
    assert {k: v.tobytes() for k, v in before.items()} == {k: v.tobytes() for k, v in net.get_weights().items()}


def test_the_first_layer_that_is_not_finite_is_found_inside_a_block():
    net = network(dtype="float32")
    net.layers[2].branches[0][1].layers[2].set_params(w=np.full((3, 3, 3, 4), 3e38))
    words = suspect(net, find_loss("softmax_cross_entropy"), batch(net), np.array([0, 1, 2, 0]))
    assert words == "the output of residual_2.concat_1.conv2d_3 (in layer 3 of 5) is the first that is not finite"


def test_counts_of_a_folded_block_are_the_sums_of_the_opened_one():
    folded, opened = network().summary(), network().summary(expand_nested=True)
    assert folded.totals == opened.totals
    assert len(folded.rows) == 6
    assert [row.name for row in opened.rows if row.depth == 2] == [f"residual_2.concat_1.conv2d_{i}" for i in (1, 2, 3)]
    assert [row.depth for row in opened.rows if "residual_1" in row.name] == [1, 1, 1, 1, 0]
    block = next(row for row in folded.rows if row.name == "residual_1")
    assert (block.parameters, block.buffers, block.macs) == (9 * 16 + 8, 8, 72 * 9 * 16)
    assert block.activations == 4 * 8 * 9 * 4  # convolution, normalisation, ReLU and the sum; Dropout makes no array
    assert "3·3·4·4 + 2·4 = 152" in folded.text(width=200).replace("\N{NO-BREAK SPACE}", " ")


def test_the_receptive_field_is_that_of_the_widest_branch():
    """A unit of the output depends on no pixel outside its field, and on the first and the last in it."""
    ones = {"initializer": "ones", "bias": False}
    wide = [fc.Conv2D(1, 3, padding=1, stride=2, **ones), fc.Conv2D(1, 3, padding=1, **ones)]
    block = fc.Concat([wide, fc.Conv2D(1, 1, stride=2, **ones)])
    net = fc.Sequential([fc.Conv2D(1, 2, **ones), block], input_shape=(21, 21, 1), dtype="float64")
    field = net.rows()[2].field[0]
    assert (field.size, field.jump, field.start) == (8, 2, -3)
    row = 4
    first = field.start + row * field.jump
    for pixel in range(21):
        x = np.zeros((1, 21, 21, 1))
        x[0, pixel] = 1
        assert (net.forward(x)[0, row].any()) == (first <= pixel < first + field.size)


def test_the_program_holds_the_branches():
    ops = models.lower(network(), 16)
    assert [op.kind for op in ops] == ["conv2d", "residual", "residual", "flatten", "dense"]
    body, shortcut = dict(ops[2].settings)["branches"]
    assert [op.kind for op in body] == ["conv2d", "concat"]
    assert shortcut[0].layer == "residual_2.conv2d_2"
    assert shortcut[0].out_shape == (16, 4, 5, 6) == ops[2].out_shape
    assert hash(ops) == hash(models.lower(network(), 16))


# ---- files


def test_a_network_with_blocks_comes_back_to_the_same_bits(tmp_path):
    net, path = network(), tmp_path / "net.safetensors"
    net.forward(batch(net), training=True)
    net.layers[2].body[1].layers[1].trainable = False
    net.save(path)
    again = fc.load(path)
    assert again.predict(batch(net)).tobytes() == net.predict(batch(net)).tobytes()
    assert again.summary().to_json() == net.summary().to_json()
    assert [layer.trainable for layer in again.walk()] == [layer.trainable for layer in net.walk()]
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_a_copy_is_its_own(twin):
    net = network()
    x = batch(net)
    before = net.predict(x)
    other = twin(net)
    assert other.predict(x).tobytes() == before.tobytes()
    other.layers[1].body[0].set_params(w=np.zeros((3, 3, 4, 4)))
    assert other.predict(x).tobytes() != before.tobytes() == net.predict(x).tobytes()


def test_a_pickle_holds_the_weights_and_no_batch():
    net = network(dtype="float32")
    small = len(pickle.dumps(net))
    x = batch(net, n=64)
    net.forward(x)
    net.forward(x, training=True)
    weights = sum(array.nbytes for array in net.get_weights().values())
    assert len(pickle.dumps(net)) - small < 2 * weights  # the weights were not allocated before


class Maximum(fc.layers.Block):
    """The block that the documentation of `layers.block` shows."""

    kind = "maximum"
    nested = ("branches",)

    def __init__(self, branches, *, name=None):
        super().__init__(branches, name)

    def joined_shape(self, shapes):
        return shapes[0]

    def join(self, outputs, x, training):
        if training:
            self.keep(first=outputs[0] >= outputs[1])
        return np.maximum(*outputs)

    def split(self, dy):
        first = self.kept("first")
        return dy * first, dy * ~first


def test_a_block_of_ones_own_learns_and_comes_back(tmp_path):
    net = fc.Sequential([Maximum([fc.Dense(4), fc.Dense(4)]), fc.Dense(2)], input_shape=(3,))
    assert fc.gradcheck(net, batch(net)).passed
    net.save(tmp_path / "net.safetensors")
    again = fc.load(tmp_path / "net.safetensors", layers={"Maximum": Maximum})
    assert again.predict(batch(net)).tobytes() == net.predict(batch(net)).tobytes()
    with pytest.raises(fc.ModelFileError, match=r"layers\[0\] is of the unknown type 'Maximum'"):
        fc.load(tmp_path / "net.safetensors")


# ---- weights by name


def test_weights_inside_blocks_are_all_or_nothing():
    net = network()
    before = net.get_weights()
    for name, value, error, words in [
        ("residual_2.concat_1.conv2d_3.b", np.zeros(5), fc.ShapeError, r"residual_2\.concat_1\.conv2d_3\.b: got shape \(5,\)"),
        ("residual_1.batch_norm_1.var", -np.ones(4), fc.OptionError, r"residual_1\.batch_norm_1\.var: got -1"),
        ("residual_1.conv2d_9.w", np.zeros(5), fc.OptionError, r"unknown \['residual_1.conv2d_9.w'\]"),
    ]:
        with pytest.raises(error, match=words):
            net.set_weights({"conv2d_1.b": np.ones(4), name: value}, strict=False)
    assert {k: v.tobytes() for k, v in before.items()} == {k: v.tobytes() for k, v in net.get_weights().items()}
    with pytest.raises(fc.OptionError, match=r"residual_1\.x\.w: no such array; residual_1 holds conv2d_1, batch_norm_1"):
        net.layers[1].set_params(**{"x.w": np.zeros(3)})


def test_each_layer_inside_has_random_numbers_of_its_own():
    net = fc.Sequential([fc.Add([fc.Dense(6), fc.Dense(6)]), fc.Add([fc.Dense(6), fc.Dense(6)])], input_shape=(6,), seed=1)
    arrays = [array.tobytes() for name, array in net.get_weights().items() if name.endswith("w")]
    assert len(set(arrays)) == 4


# ---- errors


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: fc.Residual(3), fc.OptionError, "body: got 3; needed a layer or a list of layers"),
        (lambda: fc.Residual([fc.ReLU], None), fc.OptionError, r"layers\[0\]: got <class .*; write its brackets too"),
        (lambda: fc.Residual([], activation="softmax"), fc.OptionError, r"activation: got 'softmax'"),
        (lambda: fc.Concat(fc.Conv2D(3, 3)), fc.OptionError, "branches: got <conv2d.*; needed a list of branches, such as"),
        (lambda: fc.Concat(None), fc.OptionError, "branches: got None; needed a list of branches"),
        (lambda: fc.Residual(network()), fc.OptionError, r"body: got <.*; a network is no layer, .*\*net\.layers"),
        (lambda: fc.Residual([network()]), fc.OptionError, r"layers\[0\]: got <.*; a network is no layer, .*\*net\.layers"),
        (lambda: setattr(fc.Residual([]), "trainable", 1), fc.OptionError, r"residual\.trainable: got 1; needed True or False"),
        (
            lambda: setattr(network().layers[1], "rates", {"w": 1}),
            fc.OptionError,
            "residual_1.rates: .*a block has none, set those",
        ),
        (lambda: fc.Add([[fc.ReLU()]]), fc.OptionError, "branches: got 1; needed two or more to add"),
        (lambda: fc.Concat([]), fc.OptionError, "branches: got none"),
        (lambda: fc.Concat([fc.ReLU(name="a"), fc.ReLU(name="a")]), fc.OptionError, "the name 'a' is there twice"),
        (lambda: fc.Residual(fc.ReLU(name="a.b")), fc.OptionError, "name: got 'a.b'; needed one without a dot"),
        (
            lambda: fc.Residual(fc.Conv2D(4, 3)).output_shape_for((8, 8, 3)),
            fc.ShapeError,
            r"residual: its branches give 6×6×4 and 8×8×3, which cannot be added; .*fc\.Conv2D\(4, 1, stride=…\)",
        ),
        (
            lambda: fc.Concat([fc.Conv2D(4, 3), []]).output_shape_for((8, 8, 3)),
            fc.ShapeError,
            "concat: its branches give 6×6×4 and 8×8×3; needed the same height and width",
        ),
        (
            lambda: fc.Concat([[fc.ReLU(), fc.Conv2D(4, 9)]]).output_shape_for((8, 8, 3)),
            fc.ShapeError,
            r"conv2d_1 \(layer 2 of 2\): height: a kernel of 9",
        ),
        (lambda: F.add(np.ones(3), np.ones(4)), fc.ShapeError, r"a has shape \(3,\), b \(4,\)"),
        (lambda: F.concat([np.ones((2, 3)), np.ones((3, 3))]), fc.ShapeError, r"parts: got shapes \[\(2, 3\), \(3, 3\)\]"),
        (lambda: F.split_channels(np.ones((2, 5)), [2, 2]), fc.ShapeError, r"counts: got \(2, 2\), 4 together; needed the 5"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_blocks_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_layer_cannot_be_in_two_places():
    layer = fc.Dense(3)
    with pytest.raises(fc.OptionError, match="is there 2 times"):
        fc.Sequential([fc.Residual(layer), layer], input_shape=(3,))


@pytest.mark.parametrize("shape", [(0,), (3, 5), (2, 7, 9, 33), (70_001,)])
@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "sigmoid", "tanh"])
def test_a_sum_with_its_activation_is_both_one_after_the_other(shape, activation):
    a, b = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    plain = a + b
    expected = plain if activation is None else getattr(F, activation)(plain)
    assert F.add(a, b, activation=activation).tobytes() == expected.tobytes()
    assert F.add(a, b, activation=activation, out=b) is b
    assert b.tobytes() == expected.tobytes()


def test_nan_survives_a_sum_with_relu():
    assert np.isnan(F.add(np.float32([np.nan, 1]), np.float32([1, np.nan]), activation="relu")).all()


def test_a_sum_fills_only_what_fits():
    a = np.ones(70_000, np.float32)
    for out in (np.empty(70_001, np.float32), np.empty((7, 10_000), np.float32), np.empty(70_000), [1.0]):
        with pytest.raises((fc.ShapeError, fc.DTypeError), match=r"out: got .* \(70000,\)"):
            F.add(a, a, activation="relu", out=out)


def test_a_sum_into_a_shifted_view_of_itself():
    memory = np.random.default_rng(0).normal(size=100_001).astype(np.float32)
    expected = np.maximum(memory[:-1] + 1, 0)
    F.add(memory[:-1], np.ones(100_000, np.float32), activation="relu", out=memory[1:])
    np.testing.assert_array_equal(memory[1:], expected)


def test_joined_into_the_memory_of_a_part():
    room = np.arange(8, dtype=np.float32).reshape(2, 4)
    joined = F.concat([room[:, 2:], room[:, :2]], out=room)
    np.testing.assert_array_equal(joined, [[2, 3, 0, 1], [6, 7, 4, 5]])
    with pytest.raises(fc.ShapeError, match="parts: got shapes"):
        F.concat([np.float32(1), np.float32(2)])


def test_sums_of_bytes_are_no_bytes():
    for activation in (None, "relu"):
        y = F.add(np.array([200], np.uint8), np.array([100], np.uint8), activation=activation)
        assert y.dtype == np.float32 and y == 300
