"""The zoo: the literature's counts, and every network beside the same one in PyTorch."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import models
from zoo_cases import REDUCED, reduced

# ---- counts: parameters, multiply-adds, activations of one image (None where the literature gives none)

VGG16_ACTIVATIONS = 15_237_608
COUNTS = [
    ("alexnet", {}, 62_378_344, 1_135_256_096, None),
    ("alexnet", {"groups": 2}, 60_965_224, None, None),
    ("zfnet", {}, 62_357_608, None, None),
    ("vgg16", {}, 138_357_544, 15_470_264_320, VGG16_ACTIVATIONS),
    ("vgg19", {}, 143_667_240, None, None),
    ("googlenet", {}, 6_998_552, 1_582_671_872, None),
    ("resnet18", {}, 11_689_512, 1_814_073_344, None),
    ("resnet34", {}, 21_797_672, 3_663_761_408, None),
    ("resnet50", {}, 25_557_032, 4_089_184_256, None),
    ("resnet101", {}, 44_549_160, 7_801_405_440, None),
    ("resnet152", {}, 60_192_808, 11_513_626_624, None),
    ("mobilenet_v1", {}, 4_231_976, 568_740_352, None),
    ("resnet20", {}, 269_722, None, None),
    ("resnet56", {}, 853_018, None, None),
    ("alphago_policy", {}, 3_882_433, 1_400_726_208, None),
    ("airbench", {"filters": (64, 256, 256), "padding": "valid"}, 1_972_768, 118_147_360, None),
    ("small_cifar", {}, 660_842, 25_659_264, None),
]


@pytest.mark.parametrize("name, options, parameters, macs, activations", COUNTS, ids=[f"{c[0]}{c[1] or ''}" for c in COUNTS])
def test_counts_are_those_of_the_literature(name, options, parameters, macs, activations):
    net = models.ZOO[name](**options)
    for totals in (net.summary().totals, net.summary(expand_nested=True).totals):
        assert totals.parameters == net.n_parameters == parameters
        assert macs in (None, totals.macs)
        assert activations in (None, totals.activations)
    assert not any(layer.built for layer in net.walk() if layer.parameter_shapes(layer.input_shape))


def test_vgg16_in_detail():
    summary = models.vgg16().summary()
    dense = [row.parameters for row in summary.rows if row.type == "Dense"]
    assert dense == [102_764_544, 16_781_312, 4_097_000]
    assert summary.totals.parameters - sum(dense) == 14_714_688
    assert round(summary.totals.activation_bytes / 2**20, 1) == 58.1
    assert round(2 * summary.totals.activation_bytes / 2**20, 1) == 116.3  # forward and backward


INCEPTIONS = [
    *((256, 163_696), (480, 388_736), (512, 376_176), (512, 449_160), (512, 510_104)),
    *((528, 605_376), (832, 868_352), (832, 1_043_456), (1024, 1_444_080)),
]


def test_googlenets_inception_modules():
    net = models.googlenet()
    rows = [row for row in net.rows() if row.type == "Concat"]
    assert [(row.output_shape[2], row.parameters) for row in rows] == INCEPTIONS
    assert net.n_parameters - net.rows()[-1].parameters == 5_973_552


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("alexnet", [227, 55, 27, 27, 13, 13, 13, 13, 6]),
        ("zfnet", [225, 110, 55, 26, 13, 13, 13, 13, 6]),
        ("googlenet", [224, 112, 56, 56, 56, 28, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7]),
    ],
)
def test_sizes_of_the_feature_maps(name, sizes):
    shapes = [row.output_shape for row in models.ZOO[name](lrn=False).rows()]
    assert [shape[0] for shape in shapes if len(shape) == 3] == sizes


@pytest.mark.parametrize("name, size, last", [("alexnet", 195, "max_pool2d_3"), ("vgg16", 212, "max_pool2d_5")])
def test_receptive_fields_behind_the_last_pooling(name, size, last):
    row = next(row for row in models.ZOO[name]().rows() if row.name == last)
    assert [axis.size for axis in row.field] == [size, size]


def test_the_field_of_a_residual_network_is_that_of_its_longest_way():
    """435 pixels for ResNet-18: Araujo, Norris and Sim 2019, table 1; 427 for ResNet-50 with the stride in its 3×3 filters."""
    for name, size in (("resnet18", 435), ("resnet50", 427)):
        row = models.ZOO[name]().rows()[-3]
        assert (row.type, row.field[0].size, row.field[0].jump) == ("Residual", size, 32)


@pytest.mark.parametrize(
    "name, depth",
    [
        *(("lenet5", 5), ("alexnet", 8), ("zfnet", 8), ("vgg16", 16), ("vgg19", 19), ("resnet18", 18), ("resnet34", 34)),
        *(("resnet50", 50), ("resnet101", 101), ("resnet152", 152), ("resnet20", 20), ("resnet56", 56)),
    ],
)
def test_a_networks_depth_counts_the_layers_with_weights_of_its_main_path(name, depth):
    assert sum(map(weighted, models.ZOO[name]().layers)) == depth


def weighted(layer):
    if isinstance(layer, fc.Residual):
        return sum(map(weighted, layer.body))
    return isinstance(layer, (fc.Conv2D, fc.Dense))


def test_a_summary_of_vgg16_needs_neither_weights_nor_numba():
    code = (
        "import sys, time, psutil, fastconv as fc; start = time.perf_counter(); text = str(fc.models.vgg16().summary()); "
        "print(time.perf_counter() - start, psutil.Process().memory_info().rss, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, resident, numba = done.stdout.split()
    assert float(seconds) < 1
    assert int(resident) < 100 << 20
    assert numba == "False"


@pytest.mark.parametrize("width", [0, -1, "wide", True, float("nan")])
def test_a_width_that_is_none_is_named(width):
    for build in (models.vgg16, models.lenet5):
        with pytest.raises(fc.OptionError, match="width: got"):
            build(width=width)


WORKED_EXAMPLES = ("ten_filters", "course39", "cat_or_not")  # known by their numbers


@pytest.mark.parametrize("name", [name for name in models.ZOO if name not in WORKED_EXAMPLES])
def test_width_multiplies_every_number_of_channels_and_hidden_units(name):
    """At a quarter a layer with weights has about a quarter of the outputs, but for the first of airbench and the last of all."""
    whole, quarter = (outputs_of(models.ZOO[name](width=width)) for width in (1.0, 0.25))
    assert whole == outputs_of(models.ZOO[name]()) and len(whole) == len(quarter)
    fixed = {0} if name == "airbench" else set()
    for i in set(range(len(whole) - 1)) - fixed:
        assert abs(quarter[i] - whole[i] / 4) <= 1


def outputs_of(net):
    """Channels or units that each layer with weights gives."""
    return [row.output_shape[-1] for row in net.rows(expand_nested=True) if row.parameters and row.type != "BatchNorm"]


# ---- arguments


@pytest.mark.parametrize(
    "build, message",
    [
        *((lambda groups=groups: models.alexnet(groups=groups), "groups: got") for groups in (0, "x", None, 1.5)),
        (lambda: models.lenet5(filters=6), r"filters: got 6; needed 2 whole numbers in a tuple, such as \(6, 16\)"),
        (lambda: models.lenet5(filters=(6,)), r"filters: got \(6,\); needed 2 whole numbers"),
        (lambda: models.small_mnist(filters=(6, "a")), r"filters\[1\]: got 'a'; needed a whole number"),
        (lambda: models.small_mnist(units=0), "units: got 0; needed a whole number"),
        (lambda: models.airbench(filters=()), r"filters: got \(\); needed some whole numbers in a tuple"),
        (lambda: models.tiny_vgg(filters=(10,)), r"filters: got \(10,\); needed a whole number"),
    ],
)
def test_numbers_of_channels_that_are_none_are_named(build, message):
    with pytest.raises(fc.OptionError, match=message):
        build()


ARGUMENTS = [
    *(({"normalize": value}, r"normalize: got .*; needed \(mean, std\)") for value in (5, "zero", (1, 2, 3), (1,))),
    *(({"input_shape": value}, r"input_shape: got .*; needed \(height, width, channels\)") for value in (None, 40, "abc", (40,))),
]


@pytest.mark.parametrize("options, message", ARGUMENTS, ids=[str(options) for options, _ in ARGUMENTS])
@pytest.mark.parametrize("name", models.ZOO)
def test_wrong_arguments_are_named_by_every_network(name, options, message):
    with pytest.raises(fc.OptionError, match=message):
        models.ZOO[name](**options)


@pytest.mark.parametrize("name", [name for name in models.ZOO if "classes" in inspect.signature(models.ZOO[name]).parameters])
@pytest.mark.parametrize("classes", [0, "ten", None])
def test_a_number_of_classes_that_is_none_is_named(name, classes):
    with pytest.raises(fc.OptionError, match=r"classes: got .*; needed a whole number of at least 1"):
        models.ZOO[name](classes=classes)


@pytest.mark.parametrize(
    "name, side", [("vgg16", 32), ("alexnet", 67), ("zfnet", 55), ("googlenet", 31), ("lenet5", 16), ("cat_or_not", 16)]
)
def test_images_that_are_too_small_get_the_smallest_size_that_works(name, side):
    build = models.ZOO[name]
    for shape in ((3, 3, 3), (side - 1, 300, 3), (300, side - 1, 3)):
        with pytest.raises(
            fc.ShapeError, match=f"input_shape: got .*, images too small for .*; needed {side}×{side} pixels or more"
        ):
            build(shape)
    assert build((side, side, 3)).input_shape == (side, side, 3)


def test_what_size_cannot_help_keeps_its_own_message():
    with pytest.raises(fc.ShapeError, match="mean has 2 numbers for 3 channels"):
        models.vgg16((3, 3, 3), normalize=((1, 2), (3, 4)))


# ---- beside PyTorch


def varied(net, seed=1):
    """`net` with biases, statistics and scales as a trained network has them, so that none of them can be forgotten."""
    random, weights = np.random.default_rng(seed), net.get_weights()
    for name, array in weights.items():
        kind = name.rsplit(".", 1)[1]
        if kind in ("scale", "var"):
            array[...] = random.uniform(0.5, 1.5, array.shape)
        elif kind != "w":
            array[...] = random.normal(0, 0.1, array.shape)
    net.set_weights(weights)
    return net


def images(net, n, seed=2):
    return np.random.default_rng(seed).normal(size=(n, *net.input_shape)).astype(net.dtype)


def error(found, expected):
    """The largest difference, in units of the largest number (all are 0 behind a ReLU that never opens)."""
    assert found.shape == expected.shape
    return abs(found - expected).max() / (abs(expected).max() or 1.0)


@pytest.fixture(scope="module")
def twin():
    pytest.importorskip("torch")
    from torch_network import TorchNetwork

    return TorchNetwork


@pytest.mark.parametrize("name", REDUCED)
def test_forward_is_pytorchs(name, twin):
    net = varied(reduced(name))
    x = images(net, 3)
    expected = twin(net).forward(x)
    assert error(net.forward(x), expected) < 1e-4
    *_, (_, last) = net.trace(x)
    assert error(last, expected) < 1e-4


def errors(net, twin):
    """The largest error of the output of a training pass, and of all gradients, beside those of PyTorch."""
    for layer in net.layers:
        if isinstance(layer, fc.Dropout):
            layer.rate = 0.0
    x = images(net, 3)
    y = net.forward(x, training=True)
    dy = np.random.default_rng(3).normal(size=y.shape).astype(net.dtype)
    expected_y, expected = twin(net).gradients(x, dy)
    found = {"x": net.backward(dy, needs_dx=True)}
    found |= {f"{layer.name}.{name}": gradient for layer in net.layers for name, gradient in layer.grads.items()}
    assert found.keys() == expected.keys()
    return error(y, expected_y), max(error(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", REDUCED)
def test_gradients_are_pytorchs(name, twin):
    output, gradients = errors(varied(reduced(name, dtype="float64")), twin)
    assert output < 1e-9 and gradients < 1e-7


# Not those where rounding grows: BatchNorm over one pixel of three images, deep and narrow or with narrow maps; dirac filters
UNSTEADY = ("resnet50", "resnet101", "resnet152", "mobilenet_v1", "airbench")
SLOW = ("googlenet", "vgg19", "resnet34", "resnet56")  # each with a smaller one of its kind, but the first
SINGLE = [pytest.param(name, marks=[pytest.mark.full] * (name in SLOW)) for name in REDUCED if name not in UNSTEADY]


@pytest.mark.parametrize("name", SINGLE)
def test_gradients_in_single_precision_are_pytorchs(name, twin):
    output, gradients = errors(varied(reduced(name)), twin)
    assert output < 1e-4 and gradients < 1e-3


@pytest.mark.full
@pytest.mark.parametrize("name", REDUCED)
def test_forward_in_full_size_is_pytorchs(name, twin):
    net = varied(models.ZOO[name]())
    x = images(net, 1)
    assert error(net.forward(x), twin(net).forward(x)) < 1e-3


@pytest.mark.full
def test_alexnet_with_groups_is_pytorchs(twin):
    net = varied(models.alexnet(groups=2))
    x = images(net, 2)
    assert error(net.forward(x), twin(net).forward(x)) < 1e-3
