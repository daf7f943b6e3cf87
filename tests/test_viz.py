"""Pictures and the report of a run: the right numbers in the right place, nothing live, nothing fetched, and lies refused."""

import io
import json
import re
import struct
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv import training
from fastconv.display.png import as_bytes, data_uri, png
from fastconv.errors import DataError, FastconvError, MissingExtraError, ModelFileError, OptionError, ShapeError
from fastconv.viz.tiles import filter_tiles, map_tiles
from terminal import document, run

CLASSES = ("cat", "<b>dog</b>", "emu", "fox", "gnu", "hen")


def small():
    first = fc.Conv2D(4, 3, activation="relu", name="<i>first</i>")
    return fc.Sequential([fc.Normalize(128, 74), first, fc.Flatten(), fc.Dense(6)], input_shape=(6, 5, 3), name="a <net>")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(folder, net, evaluation, images) of a run of two epochs."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 6, 5, 3), np.uint8), rng.integers(0, 6, 60)
    net = small()
    trainer = fc.Trainer(net, fc.optim.SGD(0.05))
    history = trainer.fit(x, y, epochs=2, batch_size=20, validation=(x, y), verbose=0)
    folder = tmp_path_factory.mktemp("runs") / "new" / "run"
    found = fc.evaluate(net, x, y, classes=CLASSES)
    training.save_run(folder, net, history, x, found)
    return folder, net, found, x


# ---- PNG


@pytest.mark.parametrize("shape", [(4, 7), (4, 7, 1), (5, 3, 3), (1, 1)], ids=str)
def test_png_is_read_back_by_pillow(shape):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        image.load()
        assert (np.asarray(image).ravel() == pixels.ravel()).all() and image.size == (shape[1], shape[0])
    assert data_uri(pixels).startswith("data:image/png;base64,iVBOR")


def test_numbers_become_shades():
    assert as_bytes(np.array([[-1.0, 0.0, 1.0]]), -1, 1).tolist() == [[0, 128, 255]]
    assert as_bytes(np.array([[2.0, 2.0, np.nan]])).dtype == np.uint8
    pixels = np.array([[3, 200]], np.uint8)
    assert as_bytes(pixels) is pixels


# ---- tiles


def test_filters_of_three_channels_are_one_colour_picture_each():
    w = np.zeros((3, 3, 3, 5))
    w[0, 0, 0, 1], w[2, 2, 2, 4] = 2.0, -2.0
    tiles, titles = filter_tiles(w, 64)
    assert len(tiles) == 5 and tiles[0].shape == (3, 3, 3) and titles == ["0", "1", "2", "3", "4"]
    assert tiles[1][0, 0].tolist() == [255, 128, 128] and tiles[4][2, 2].tolist() == [128, 128, 0]
    tiles, titles = filter_tiles(np.zeros((3, 3, 8, 9)), 20)
    assert len(tiles) == 20 and tiles[0].shape == (3, 3) and titles[9] == "1, channel 1"


def test_maps_have_one_scale():
    y = np.stack([np.full((2, 2), 4.0), np.full((2, 2), 2.0), np.zeros((2, 2))], axis=-1)
    tiles, titles = map_tiles(y, 64)
    assert [int(tile[0, 0]) for tile in tiles] == [255, 128, 0] and titles == ["0", "1", "2"]


# ---- figures


def test_curves_show_every_epoch_of_training_and_of_held_out_images(stored):
    pytest.importorskip("matplotlib")
    rows = json.loads((stored[0] / "history.json").read_text())["rows"]
    figure = fc.viz.curves(rows)
    loss, accuracy = figure.axes
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
        assert lines["training"] == [[row["epoch"], row[name]] for row in rows]
        assert lines["held out"] == [[row["epoch"], row[f"val_{name}"]] for row in rows]
    with pytest.raises(OptionError, match="no epoch with any of loss, accuracy"):
        fc.viz.curves([])


def test_confusion_filters_activations_and_mistakes_are_drawn(stored):
    pytest.importorskip("matplotlib")
    _, net, found, x = stored
    texts = {text.get_text() for text in fc.viz.confusion(found).axes[0].texts}
    assert texts == {str(count) for count in found.confusion.ravel() if count}
    assert len(fc.viz.filters(net).axes) == 4
    drawn = fc.viz.activations(net, x[0], "<i>first</i>")
    assert [axis.get_title() for axis in drawn.axes[:5]] == ["image", "0", "1", "2", "3"]
    first = fc.viz.mistakes(found, x, most=3).axes[0]
    number = found.mistakes()[0]
    assert first.get_title() == f"{CLASSES[found.labels[number]]} → {CLASSES[found.probabilities[number].argmax()]}"
    assert (first.images[0].get_array() == x[number]).all()


def test_what_cannot_be_drawn_is_refused(stored, monkeypatch):
    _, net, found, x = stored
    for call, error, message in [
        (lambda: fc.viz.activations(net, x[0], "conv"), OptionError, "layer: got 'conv'; needed one of normalize_1"),
        (lambda: fc.viz.activations(net, x), ShapeError, r"needed one image, \(6, 5, 3\)"),
        (lambda: fc.viz.activations(net, x[0], 3), ShapeError, "dense_1 gives"),
        (lambda: fc.viz.filters(fc.Trainer(net)), OptionError, "net: got <fastconv"),
        (lambda: fc.viz.confusion(net), OptionError, "evaluation: got <.*needed what fastconv.evaluate"),
        (lambda: fc.viz.curves(None), OptionError, "history: got None; needed what Trainer.fit returned"),
        (lambda: fc.viz.curves([{"epoch": 1, "loss": 2.0}], ("lss",)), OptionError, "history: got no epoch with any of lss"),
        (lambda: fc.viz.mistakes(found, x[:3]), ShapeError, "x: got 3 images; needed the"),
        (lambda: fc.training.save_run("r", net, None, x, found), OptionError, "history: got None"),
        (lambda: fc.viz.filters(net, "dense_1"), OptionError, "dense_1 is no convolution"),
        (lambda: fc.viz.filters(fc.Sequential([fc.Dense(2)], input_shape=(3,))), OptionError, "the network has no convolution"),
    ]:
        with pytest.raises(error, match=message):
            call()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"fastconv\[viz\]"):
        fc.viz.filters(net)


# ---- the run folder


def test_a_run_comes_back_as_it_was(stored):
    folder, net, found, x = stored
    again = training.load_run(folder)
    assert again.net.predict(x).tobytes() == net.predict(x).tobytes()
    assert again.evaluation.classes == CLASSES and again.evaluation.accuracy == found.accuracy
    assert again.mistakes.tolist() == found.mistakes(40).tolist()
    assert (again.images == x[again.mistakes]).all()
    assert [row["epoch"] for row in again.history["rows"]] == [1, 2]


def test_a_run_without_test_images_and_without_mistakes_can_be_stored(stored, tmp_path):
    _, net, _, x = stored
    history = fc.Trainer(net, fc.optim.SGD(0.0)).fit(x[:4], [0, 1, 2, 3], epochs=1, verbose=0)
    training.save_run(tmp_path / "a", net, history)
    assert training.load_run(tmp_path / "a").evaluation is None
    right = fc.evaluate(net, x, net.predict(x).argmax(1))
    training.save_run(tmp_path / "b", net, history, x, right)
    assert training.load_run(tmp_path / "b").images.shape == (0, 6, 5, 3)
    for name in "ab":
        assert fc.viz.report(tmp_path / name).read_text().startswith("<!doctype html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(FastconvError, match="cannot be made"):
        training.save_run(tmp_path / "file" / "run", net, history)


def header(change):
    """A lie in the header of the answers."""

    def make(path):
        raw = path.read_bytes()
        (size,) = struct.unpack("<Q", raw[:8])
        found = json.loads(raw[8 : 8 + size])
        change(found)
        text = json.dumps(found).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + size :])

    return make


def history(rows, **members):
    """A lie in the record of the epochs."""
    return lambda path: path.write_text(json.dumps({"settings": {}, "rows": rows} | members))


def other(**changes):
    """A lie about the arrays of the answers."""
    from safetensors.numpy import load, save

    def make(path):
        arrays = {**load(path.read_bytes()), **changes}
        path.write_bytes(save(arrays, metadata={"fastconv": json.dumps({"classes": CLASSES})}))

    return make


LIES = {
    "no model": ("model.safetensors", lambda path: path.unlink(), DataError, "holds no run"),
    "damaged model": ("model.safetensors", lambda path: path.write_bytes(b"?"), ModelFileError, "is damaged or no"),
    "no history": ("history.json", lambda path: path.unlink(), DataError, "No such file"),
    "history is no json": ("history.json", lambda path: path.write_text("{"), DataError, "cannot be read"),
    "history without rows": ("history.json", lambda path: path.write_text('{"settings": {}}'), DataError, "'rows'"),
    "rows that are none": ("history.json", history([1]), DataError, "cannot be read"),
    "rows without an epoch": ("history.json", history([{"loss": 1.0}]), DataError, "'epoch'"),
    "a loss that is a word": ("history.json", history([{"epoch": 1, "loss": "small"}]), DataError, "no numbers by name"),
    "settings that are a list": ("history.json", history([], settings=[1]), DataError, "no numbers by name"),
    "versions that are a word": ("history.json", history([], versions="all"), DataError, "no numbers by name"),
    "history too deep": ("history.json", lambda path: path.write_text("[" * 100_000), DataError, "cannot be read"),
    "cut answers": ("evaluation.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-9]), DataError, "cannot be read"),
    "no classes": ("evaluation.safetensors", header(lambda h: h.pop("__metadata__")), DataError, "'fastconv'"),
    "classes are no names": (
        "evaluation.safetensors",
        header(lambda h: h["__metadata__"].update(fastconv='{"classes": [1, 2, 3, 4, 5, 6]}')),
        DataError,
        "do not fit together",
    ),
    "label out of range": ("evaluation.safetensors", other(labels=np.full(60, 6)), DataError, "do not fit together"),
    "mistake out of range": ("evaluation.safetensors", other(mistakes=np.array([60])), DataError, "do not fit together"),
    "probabilities of another shape": ("evaluation.safetensors", other(probabilities=np.zeros((60, 5))), DataError, "do not fit"),
    "labels of another type": ("evaluation.safetensors", other(labels=np.zeros(60)), DataError, "do not fit together"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_run_that_lies_is_refused_with_one_line(stored, tmp_path, lie):
    name, make, error, message = LIES[lie]
    for file in stored[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    make(tmp_path / name)
    with pytest.raises(error, match=message) as caught:
        training.load_run(tmp_path)
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


# ---- the page


def test_the_page_has_every_number_and_nothing_live(stored, tmp_path):
    pytest.importorskip("matplotlib")
    folder, net, found, _ = stored
    assert fc.viz.report(folder) == folder / "report.html"
    page = fc.viz.report(folder, tmp_path / "page.html").read_text()
    assert page == (folder / "report.html").read_text()  # the same bytes each time
    assert f"{found.accuracy:.2%}" in page and f"{net.n_parameters:,}" in page and "SGD(lr=0.05" in page
    assert page.count("<svg") == 2 and page.count("<figure><img") == len(found.mistakes(32)) + 4 + 1 + 4
    for row in found.rows():
        assert f">{row['images']}<" in page
    assert "<b>dog" not in page and "&lt;b&gt;dog&lt;/b&gt;" in page and "<i>first" not in page and "a &lt;net&gt;" in page
    outside = re.findall(r"""(?:src|href)=["']?(?!data:image/png|#)[^"'\s>]+""", page)
    assert not outside and "<script" not in page and "@import" not in page


def test_the_page_shows_what_the_convolution_makes_of_the_worst_mistake(stored):
    pytest.importorskip("matplotlib")
    folder, net, found, x = stored
    page = fc.viz.report(folder).read_text()
    first = net.layers[1]
    image = (x[found.mistakes(1)].astype(np.float32) - 128) / 74
    y = np.maximum(fc.conv2d(image, first.params["w"], first.params["b"]), 0)[0]
    assert [page.count(data_uri(as_bytes(y[..., c], 0, y.max()))) for c in range(4)] == [1] * 4


def test_the_matrix_of_the_page_is_the_confusion_matrix(stored):
    from fastconv.viz.report import matrix

    found = stored[2]
    body = re.search("<tbody>(.*)</tbody>", matrix(found))[1]
    cells = [[int(cell or 0) for cell in re.findall(r"<td[^>]*>(\d*)</td>", row)] for row in body.split("</tr>")[:-1]]
    assert cells == found.confusion.tolist()


def test_a_thousand_classes_make_no_page_of_a_million_cells(stored, tmp_path):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    found = training.Evaluation(rng.random((500, 1000)), rng.integers(0, 1000, 500), tuple(map(str, range(1000))))
    assert found.mixed_up(3) == sorted(found.mixed_up(500), key=lambda pair: -pair[2])[:3]
    x = rng.integers(0, 256, (500, 6, 5, 3), np.uint8)
    history = fc.Trainer(stored[1], fc.optim.SGD(0.0)).fit(x[:2], [0, 1], epochs=1, verbose=0)
    training.save_run(tmp_path, stored[1], history, x, found)
    page = fc.viz.report(tmp_path).read_text()
    assert len(page) < 1_000_000 and "class=matrix" not in page and 'class="matrix"' not in page
    assert max(fc.viz.confusion(found).get_size_inches()) <= 16


def test_train_stores_a_run_and_report_makes_a_page_of_it(tmp_path):
    pytest.importorskip("matplotlib")
    trained = document("train", "--images", "64", "--epochs", "1", "--run", tmp_path / "run")
    assert trained["run"] == str(tmp_path / "run")
    told = document("report", tmp_path / "run", "--save", tmp_path / "page.html")
    assert told["report"] == str(tmp_path / "page.html")
    assert f"{trained['test']['accuracy']:.2%}" in (tmp_path / "page.html").read_text()
    code, _, message = run("report", tmp_path)
    assert code == 3 and "holds no run" in message and message.count("\n") == 1


def test_a_run_without_test_images_does_not_keep_those_of_an_earlier_network(tmp_path, stored):
    _, net, found, x = stored
    history = fc.Trainer(small(), fc.optim.SGD(0.05)).fit(x, np.zeros(60, int), verbose=0)
    training.save_run(tmp_path, net, history, x, found)
    assert training.load_run(tmp_path).evaluation is not None
    training.save_run(tmp_path, net, history)
    assert training.load_run(tmp_path).evaluation is None


def test_a_run_on_rows_can_be_read_again(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(30, 6)).astype("f4"), np.arange(30) % 3
    trainer = fc.Trainer(fc.Sequential([fc.Dense(3)], input_shape=(6,)))
    history = trainer.fit(x, y, verbose=0)
    training.save_run(tmp_path, trainer.net, history, x, fc.evaluate(trainer.net, x, y))
    found = training.load_run(tmp_path)
    np.testing.assert_array_equal(found.images[:, 0, :, 0], x[found.mistakes])
    assert fc.viz.report(tmp_path).is_file()
