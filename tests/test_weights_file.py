"""Model files: back to the same bits, all or nothing, and no lie is believed."""

import contextlib
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes

import fastconv as fc
from fastconv import models
from fastconv.layers import arrays
from test_layers import Scale
from test_models import images, small
from zoo_cases import reduced

KEY = "fastconv"


def trained():
    """A network with moved running statistics and one fixed layer."""
    net = small(seed=11, output="softmax", name="small")
    net.forward(images(net), training=True)
    net.layers[3].trainable = False
    return net


@pytest.fixture
def saved(tmp_path):
    """(path, architecture, tensors) of a saved network, to be bent."""
    net, path = trained(), tmp_path / "net.safetensors"
    net.save(path)
    return path, architecture_of(path), net.get_weights()


def architecture_of(path):
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    return json.loads(json.loads(raw[8 : 8 + size])["__metadata__"][KEY])


def write(path, architecture, tensors):
    text = architecture if isinstance(architecture, str) else json.dumps(architecture)
    path.write_bytes(to_bytes(tensors, metadata={KEY: text}))
    return path


# ---- round trip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back_to_the_same_bits(tmp_path, dtype):
    net = small(seed=11, dtype=dtype, output="softmax", name="small")
    x = images(net)
    net.forward(x, training=True)
    net.save(tmp_path / "net.safetensors")
    again = fc.load(tmp_path / "net.safetensors")
    assert again.predict(x).tobytes() == net.predict(x).tobytes()
    assert (again.name, again.output, again.dtype, again.seed) == (net.name, net.output, net.dtype, net.seed)
    assert again.summary().to_json() == net.summary().to_json()
    assert {k: v.tobytes() for k, v in again.get_weights().items()} == {k: v.tobytes() for k, v in net.get_weights().items()}


def test_saving_twice_gives_the_same_bytes(tmp_path):
    net = trained()
    net.save(tmp_path / "a.safetensors")
    fc.load(tmp_path / "a.safetensors").save(str(tmp_path / "b.safetensors"))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_layers_that_are_not_trained_and_every_setting_are_kept(tmp_path):
    layers = [
        fc.Normalize((1.5, 2.5), (3.5, 4.5)),
        fc.Conv2D(6, (3, 2), stride=(2, 1), padding=((1, 2), (0, 1)), groups=2, dilation=2, pad_mode="reflect", name="first"),
        fc.AvgPool2D(2, stride=1, padding=1, ceil_mode=True, count_include_pad=True),
        fc.LeakyReLU(0.3),
        fc.BatchNorm(0.2, 1e-3),
        fc.Dropout(0.1),
        fc.GlobalAvgPool2D(),
        fc.Dense(4, activation="tanh", bias=False, initializer="glorot_uniform"),
    ]
    net = fc.Sequential(layers, input_shape=(14, 15, 2), seed=10**40 - 1, classes=("cat", "dog", "Kätzchen", "犬"))
    net.layers[1].trainable = False
    net.save(tmp_path / "net.safetensors")
    again = fc.load(tmp_path / "net.safetensors")
    assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in net.layers]
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in net.layers]
    assert again.seed == 10**40 - 1 and again.classes == ("cat", "dog", "Kätzchen", "犬")


@pytest.mark.parametrize("name", models.ZOO)
def test_every_network_of_the_zoo_comes_back(tmp_path, name):
    net = reduced(name)
    net.save(tmp_path / "net.safetensors")
    assert fc.load(tmp_path / "net.safetensors").summary().to_json() == net.summary().to_json()


def test_layers_of_ones_own_come_back_when_they_are_passed(tmp_path):
    net = fc.Sequential([Scale(2.0), fc.Flatten(), fc.Dense(2)], input_shape=(3, 3, 2))
    net.layers[0].set_params(scale=[3.0, 4.0])
    net.save(tmp_path / "net.safetensors")
    again = fc.load(tmp_path / "net.safetensors", layers={"Scale": Scale})
    assert again.predict(images(net)).tobytes() == net.predict(images(net)).tobytes()
    assert again.layers[0].gain == 2.0
    with pytest.raises(fc.ModelFileError, match=r"layers\[0\] is of the unknown type 'Scale'; pass load\(path, layers="):
        fc.load(tmp_path / "net.safetensors")
    with pytest.raises(fc.ModelFileError, match=r"layers\[0\]: Scale makes dict, no layer"):
        fc.load(tmp_path / "net.safetensors", layers={"Scale": dict})


def test_a_loaded_network_draws_no_random_weights(saved, monkeypatch):
    monkeypatch.setattr(arrays, "draw", None)
    fc.load(saved[0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda net, path: fc.load(3), 'path: got 3; needed the name of a file, such as "model.safetensors"'),
        (lambda net, path: net.save(3), "path: got 3; needed the name of a file"),
        (lambda net, path: net.load_weights(3), "path: got 3; needed the name of a file"),
        (lambda net, path: net.load_weights(path, only=3), "only: got 3; needed a list of names, or a function of a name$"),
        (lambda net, path: net.load_weights(path, only="dense_1"), r'only: got .*; pass a list, \["dense_1"\]'),
        (lambda net, path: fc.load(path, layers=[Scale]), 'layers: got .*; needed classes by name, such as {"Scale": Scale}'),
    ],
    ids=["load", "save", "load_weights", "only", "only one", "layers"],
)
def test_wrong_arguments_are_named(saved, call, message):
    with pytest.raises(fc.OptionError, match=message):
        call(trained(), saved[0])


# ---- saving


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    trained().save(path)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    for step in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, full)
            with pytest.raises(fc.FastconvError, match="No space left"):
                small(seed=99).save(path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["net.safetensors"]


def test_only_safetensors_files_are_written(tmp_path):
    with pytest.raises(fc.OptionError, match=r'name it ".*net\.safetensors"'):
        small().save(tmp_path / "net.h5")


class Closure(Scale):
    def __init__(self, function, name=None):
        super().__init__(name=name)
        self.function = function


def test_a_network_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    class Conv2D(fc.Conv2D):
        pass

    class Forgetful(Scale):
        def __init__(self, size):
            super().__init__()

    for layer, message in [
        (Closure(abs), "cannot be saved"),
        (Conv2D(2, 1), "would be taken for fastconv's; rename it"),
        (Forgetful(3), "keep constructor arguments as attributes"),
        (fc.Conv2D(1, 3, padding=200_000), "cannot be saved: .* beyond anything sensible"),
        (fc.Conv2D(1, 3, name="half a character: \ud800"), "cannot be saved: .*surrogates"),
    ]:
        with pytest.raises(fc.OptionError, match=message):
            fc.Sequential([layer], input_shape=(3, 3, 2)).save(tmp_path / "net.safetensors")
    assert not os.listdir(tmp_path)


# ---- files that lie


def bend(change):
    """A lie made by changing the architecture in place."""

    def make(path, architecture, tensors):
        change(architecture)
        write(path, architecture, tensors)

    return make


def set_layer(index, **settings):
    return bend(lambda a: a["layers"][index]["config"].update(settings))


def replace(**tensors):
    """A lie made by exchanging tensors; None takes one away."""

    def make(path, architecture, old):
        new = {**old, **{name.replace("__", "."): value for name, value in tensors.items()}}
        write(path, architecture, {name: value for name, value in new.items() if value is not None})

    return make


def header(change):
    """A lie in safetensors' own header."""

    def make(path, architecture, tensors):
        raw = path.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        found = json.loads(raw[8 : 8 + size])
        change(found)
        text = json.dumps(found).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])

    return make


def cut(length):
    return lambda path, architecture, tensors: path.write_bytes(path.read_bytes()[:length])


def text(value):
    return lambda path, architecture, tensors: write(path, value, tensors)


def overlap(found):
    found["conv2d_1.b"]["data_offsets"] = found["conv2d_1.w"]["data_offsets"][:1] * 2


def block(body, shortcut=None):
    """The description of a residual block."""
    config = {"body": body, "shortcut": shortcut, "activation": None, "name": None}
    return {"type": "Residual", "trainable": True, "config": config}


def nest(change):
    """A lie about a dense layer inside a block that stands where the first layer was."""
    layer = {"type": "Dense", "trainable": True, "config": {"units": 3}}
    return bend(lambda a: a["layers"].__setitem__(0, block([{**layer, **change}])))


def deep(levels):
    """A block in a block in a block …"""
    return block([deep(levels - 1)] if levels else [])


def header_text(text):
    """A lie of this header and nothing else."""
    raw = text if isinstance(text, bytes) else text.encode()
    return lambda path, *_: path.write_bytes(struct.pack("<Q", len(raw)) + raw)


def twice(path, architecture, tensors):
    """The last tensor's line of the header, there two times."""
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    text = raw[8 : 8 + size].decode().rstrip()
    line = json.dumps(json.loads(text)["dense_1.b"])
    text = f'{text[:-1]}, "dense_1.b": {line}}}'.encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x04")


def growing(architecture):
    """A hundred times larger with each layer, and not a single weight."""
    layer = {"type": "UpSampling2D", "trainable": True, "config": {"size": 100, "name": None}}
    architecture["layers"] = [{**layer, "config": dict(layer["config"])} for _ in range(8)]


NAN = np.full(3, np.nan)
LIES = {
    "no such file": (lambda path, *_: path.unlink(), "cannot be read: No such file"),
    "a folder": (lambda path, *_: (path.unlink(), path.mkdir()), "is not a regular file"),
    "a pipe": (lambda path, *_: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    "empty": (cut(0), "is damaged or no safetensors file"),
    "not safetensors": (lambda path, *_: path.write_bytes(b"hello, I am a model"), "is damaged or no safetensors file"),
    "a pickle": (lambda path, *_: path.write_bytes(pickle.dumps({"w": 1})), "is a pickle, which can run any code"),
    "a file of PyTorch": (lambda path, *_: zipped(path), "is a zip archive, such as PyTorch's .pt"),
    "a file of Keras": (lambda path, *_: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500)), "is an HDF5 file"),
    "cut in the header": (cut(100), "is damaged or no safetensors file"),
    "cut in the tensors": (cut(-8), "is damaged or no safetensors file"),
    "huge header": (lambda path, *_: path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}"), "is damaged or no safetensors file"),
    "header without end": (header_text("[" * 100_000), "is damaged or no safetensors file"),
    "header is no text": (header_text(b"\xff\xfe{}"), "is damaged or no safetensors file"),
    "header longer than any": (header_text("{}" + " " * (17 << 20)), "has a header of 17,825,794 bytes; at most"),
    "tensor named twice": (twice, "a header that cannot be trusted: an object has the same member twice"),
    "bytes behind the tensors": (lambda path, *_: path.write_bytes(path.read_bytes() + b"more"), "is damaged or no safetensors"),
    "offsets below zero": (header(lambda h: h["dense_1.b"].update(data_offsets=[-24, 0])), "is damaged or no safetensors file"),
    "offsets the wrong way round": (
        header(lambda h: h["dense_1.b"]["data_offsets"].reverse()),
        "is damaged or no safetensors file",
    ),
    "sizes below zero": (header(lambda h: h["dense_1.b"].update(shape=[-3])), "is damaged or no safetensors file"),
    "sizes that overflow": (header(lambda h: h["dense_1.b"].update(shape=[1 << 62, 4])), "is damaged or no safetensors file"),
    "a type of element that does not exist": (
        header(lambda h: h["dense_1.b"].update(dtype="PYOBJECT")),
        "is damaged or no safetensors file",
    ),
    "half the bytes for each number": (header(lambda h: h["dense_1.b"].update(dtype="F32")), "is damaged or no safetensors file"),
    "architecture is a number": (header(lambda h: h["__metadata__"].update(fastconv=5)), "is damaged or no safetensors file"),
    "tensors overlap": (header(overlap), "is damaged or no safetensors file"),
    "tensor past the end": (header(lambda h: h["dense_1.b"].update(data_offsets=[0, 1 << 40])), "is damaged or no safetensors"),
    "tensor of another shape": (
        header(lambda h: h["conv2d_1.w"].update(shape=[1 << 40, 3, 2, 4])),
        "is damaged or no safetensors",
    ),
    "no architecture": (lambda path, _, t: path.write_bytes(to_bytes(t)), 'holds tensors but no network .no "fastconv" in its'),
    "architecture is no json": (text("{"), "its architecture is not readable JSON"),
    "architecture is a list": (text("[]"), "has format None; this version of fastconv reads format 1"),
    "architecture too deep": (text("[" * 100_000), "its architecture is not readable JSON"),
    "architecture too long": (text(" " * (5 << 20)), "its architecture takes 5,242,880 characters"),
    "number of 5000 digits": (text('{"format": 1' + "0" * 5000 + "}"), "its architecture is not readable JSON"),
    "member twice": (text('{"format": 1, "format": 1}'), "the same member twice"),
    "NaN in json": (text('{"format": NaN}'), "NaN is not a number"),
    "format of the future": (bend(lambda a: a.update(format=2)), "has format 2; this version of fastconv reads format 1"),
    "format true": (bend(lambda a: a.update(format=True)), "has format True"),
    "member missing": (bend(lambda a: a.pop("dtype")), "the architecture has the members"),
    "member too many": (bend(lambda a: a.update(code="print()")), "the architecture has the members"),
    "member of another type": (bend(lambda a: a.update(layers={})), "layers is {}, not of the right type"),
    "unknown dtype": (bend(lambda a: a.update(dtype="float8")), "describes a network that cannot be: dtype: got 'float8'"),
    "unknown output": (bend(lambda a: a.update(output="cmd")), "output: got 'cmd'"),
    "classes are a number": (bend(lambda a: a.update(classes=3)), "classes is 3, not of the right type"),
    "classes without names": (bend(lambda a: a.update(classes=None)), "classes is None, not of the right type"),
    "too few classes": (bend(lambda a: a.update(classes=["a", "b"])), r"cannot be: classes: got \['a', 'b'\]; needed 3 names"),
    "classes of another type": (
        bend(lambda a: a.update(classes=["a", "b", ["c"]])),
        "cannot be: classes: got .*; needed 3 names",
    ),
    "class with a long name": (bend(lambda a: a.update(classes=["a", "b", "c" * 201])), "cannot be: classes: got"),
    "seed is too large": (bend(lambda a: a.update(seed="9" * 41)), "needed up to 40 digits"),
    "seed is no number": (bend(lambda a: a.update(seed="-1")), "seed: got '-1'"),
    "unknown layer": (bend(lambda a: a["layers"][0].update(type="os.system")), r"layers\[0\] is of the unknown type 'os.system'"),
    "layer is no object": (bend(lambda a: a["layers"].append(7)), r"layers\[8\]: got 7; needed an object"),
    "layer without settings": (bend(lambda a: a["layers"][0].pop("config")), r"layers\[0\] has the members"),
    "trainable is a number": (bend(lambda a: a["layers"][0].update(trainable=1)), "trainable is 1, not of the right type"),
    "unknown setting": (set_layer(0, colour="red"), r"layers\[0\]: Conv2D refuses its settings: .*colour"),
    "setting of another type": (set_layer(0, filters="4"), r"layers\[0\]: Conv2D refuses its settings: filters: got '4'"),
    "setting out of range": (set_layer(5, rate=2), r"layers\[5\]: Dropout refuses its settings: rate: got 2"),
    "name is a number": (set_layer(0, name=5), r"layers\[0\]: Conv2D refuses its settings: name: got 5; needed text"),
    "name with a dot": (set_layer(0, name="a.b"), "name: got 'a.b'; needed one without a dot"),
    "name of nothing": (set_layer(0, name=""), "name: got ''; needed text"),
    "same name twice": (set_layer(3, name="conv2d_1"), "the name 'conv2d_1' is there twice"),
    "absurd number of filters": (set_layer(0, filters=10**30), "is beyond anything sensible; at most 131,072"),
    "absurd image": (bend(lambda a: a.update(input_shape=[10**9, 10**9, 2])), "the size 1000000000 is beyond anything sensible"),
    "absurd padding": (set_layer(0, padding=[[10**9, 0], [0, 0]]), "is beyond anything sensible"),
    "more weights than the file": (set_layer(0, filters=100_000), "describes a network of .* bytes, the file itself has"),
    "layer in a block is unknown": (nest({"type": "os.system"}), r"layers\[0\]\.body is of the unknown type 'os.system'"),
    "layer in a block without settings": (nest({"config": None}), r"layers\[0\]\.body: config is None, not of the right type"),
    "layer in a block with an absurd size": (
        nest({"config": {"units": 10**9}}),
        "the size 1000000000 is beyond anything sensible",
    ),
    "block of no layer": (
        bend(lambda a: a["layers"].__setitem__(0, block([7]))),
        "Residual refuses its settings: .*got 7; needed a l",
    ),
    "block that is its own shortcut": (
        bend(lambda a: a["layers"].__setitem__(0, block([], []))),
        "tensor 'conv2d_1.b' is not part",
    ),
    "blocks within blocks without end": (bend(lambda a: a["layers"].__setitem__(0, deep(30))), "lists within lists"),
    "too many layers in a block": (
        bend(lambda a: a["layers"].__setitem__(0, block(a["layers"][1:2] * 999))),
        "describes 1,007 layers; at most 1,000",
    ),
    "outputs beyond any computer": (bend(growing), r"up_sampling2d_\d: its output of .* values is beyond anything sensible"),
    "sides of an image that are not whole": (bend(lambda a: a.update(input_shape=[9, 8.5, 2])), "got 8.5; needed a whole number"),
    "too many layers": (bend(lambda a: a.update(layers=a["layers"][:1] * 1001)), "describes 1,001 layers; at most 1,000"),
    "layers do not fit": (set_layer(0, size=[9, 9], padding="valid"), "describes a network that cannot be"),
    "tensor missing": (replace(dense_1__b=None), "tensor 'dense_1.b' is missing"),
    "tensor too many": (replace(extra=np.zeros(3)), "tensor 'extra' is not part of its network"),
    "tensor transposed": (
        replace(dense_1__w=np.zeros((3, 20))),
        r"tensor 'dense_1.w' is F64 \(3, 20\); its network needs F64 \(20, 3\)",
    ),
    "tensor of another dtype": (replace(dense_1__b=np.zeros(3, np.float32)), "tensor 'dense_1.b' is F32"),
    "tensor of integers": (replace(dense_1__b=np.zeros(3, np.int64)), "tensor 'dense_1.b' is I64"),
    "NaN": (replace(dense_1__b=NAN), r"tensor 'dense_1.b' has NaN or infinite values; load\(…, allow_nonfinite=True\)"),
    "infinity": (replace(dense_1__b=np.full(3, np.inf)), "tensor 'dense_1.b' has NaN or infinite values"),
    "negative variance": (replace(batch_norm_1__var=-np.ones(4)), "batch_norm_1.var: got -1.0; a variance is at least 0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused_with_one_line(saved, lie):
    make, message = LIES[lie]
    make(*saved)
    with pytest.raises(fc.ModelFileError, match=message) as caught:
        fc.load(saved[0])
    assert str(caught.value).startswith(str(saved[0]))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_weights_that_are_not_finite_are_taken_when_asked_for(saved):
    replace(dense_1__b=NAN)(*saved)
    net = fc.load(saved[0], allow_nonfinite=True)
    assert np.isnan(net.layers[-1].params["b"]).all()


def test_no_change_of_a_byte_in_the_header_crashes(saved):
    path = saved[0]
    raw = path.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    random = np.random.default_rng(0)
    for at in random.integers(0, 8 + size, 150):
        path.write_bytes(raw[:at] + bytes([random.integers(256)]) + raw[at + 1 :])
        with contextlib.suppress(fc.ModelFileError):
            fc.load(path)


def test_a_half_frozen_block_stays_so(tmp_path):
    net = fc.Sequential([fc.SeparableConv2D(4, 3), fc.Flatten(), fc.Dense(2)], input_shape=(6, 6, 2))
    net.layers[0].layers[0].trainable = False
    net.save(tmp_path / "half.safetensors")
    assert [layer.trainable for layer in fc.load(tmp_path / "half.safetensors").layers[0].layers] == [False, True]
    inside = fc.Residual([net.layers[0]]).config()["body"][0]
    assert [layer.trainable for layer in inside.layers] == [False, True]
