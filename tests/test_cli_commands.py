"""The sub-commands: what each prints, as text and as JSON."""

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv.cli import explain, recipes, regime
from fastconv.cli import models as cli_models
from fastconv.layers import Conv2D
from fastconv.models import ZOO
from fastconv.training import RECIPES, SCHEDULES
from terminal import document, run, trained_model

LECTURE = np.array(explain.LECTURE, np.float32)


# The commands


def test_info_tells_the_same_in_both_forms():
    found = document("info")
    text = run("info")[1]
    assert found["cpu"] in text and found["kernel_cache"] in text and found["versions"]["numpy"] in text
    assert found["fastconv"] == fc.__version__


def test_summary_shows_formulas_and_the_same_numbers_as_json():
    found, text = document("summary", "lenet5"), run("summary", "lenet5")[1]
    assert found["totals"]["parameters"] == 62_006 and "62,006" in text
    for row in found["layers"]:
        assert row["name"] in text and (not row["parameters"] or f"{row['formula']} = {row['parameters']:,}" in text)


def test_280_parameters_for_every_image_size():
    for size in (6, 1000, 5000):
        assert document("summary", "ten_filters", "--input", f"{size}x{size}x3")["totals"]["parameters"] == 280


def test_several_sizes_are_compared():
    code, text, _ = run("summary", "ten_filters", "--input", "6x6x3", "--input", "1000x1000x3")
    assert code == 0 and text.count(" 280 ") == 2 and "12,960,040" in text
    rows = document("summary", "ten_filters", "--input", "6x6x3", "--input", "1000x1000x3")["rows"]
    assert [row["parameters"] for row in rows] == [280, 280]
    code, _, message = run("summary", "ten_filters", "--input", "6x6x3", "--input", "7x7x3", "--format", "csv")
    assert code == 2 and "--format: several sizes are compared as text or json" in message


def test_summary_in_every_form(tmp_path):
    assert json.loads(run("summary", "lenet5", "--format", "json")[1]) == document("summary", "lenet5")
    lines = run("summary", "lenet5", "--format", "csv")[1].splitlines()
    assert lines[0].startswith("name,type,settings") and len(lines) == 10
    code, text, message = run("summary", "lenet5", "--format", "html", "--save", tmp_path / "lenet5.html")
    assert (code, text) == (0, "") and "written to" in message
    assert (tmp_path / "lenet5.html").read_text().startswith("<!doctype html>")
    assert "total" in run("summary", "resnet20", "--expand-nested", "--batch", "8", "--training", "--dense")[1]
    assert len(document("summary", "resnet20", "--expand-nested")["layers"]) > len(document("summary", "resnet20")["layers"])


def test_options_may_stand_before_the_command():
    assert json.loads(run("--json", "summary", "lenet5")[1]) == json.loads(run("summary", "lenet5", "--json")[1])


def test_explain_shows_the_lecture():
    code, out, err = run("explain", "--at", "1,2")
    assert (code, err) == (0, "")
    assert "8·1 + 9·0 + 3·(-1) + 2·1 + 5·0 + 1·(-1) + 3·1 + 1·0 + 7·(-1) = 2" in out
    for name in ("vertical", "sobel_x", "scharr_x"):
        y = fc.conv2d(LECTURE, fc.edges.ALL[name], padding="same", stride=2)
        assert document("explain", "--filter", name, "--padding", "same", "--stride", 2, "--at", "2,1")["value"] == y[2, 1]
    assert document("explain", "--of", "dw", "--at", "0,0")["value"] == LECTURE[:4, :4].sum()
    assert document("explain", "--of", "dx", "--at", "2,2")["value"] == 0


def test_explain_looks_inside_a_network():
    net, (_, (x, y)) = fc.load(trained_model()), fc.data.digits()
    trace = {layer.name: out for layer, out in net.trace(x[3:4])}
    found = document("explain", trained_model(), "--layer", "conv2d_2", "--at", "3,4,5", "--digit", 3)
    assert found["value"] == pytest.approx(trace["conv2d_2"][0, 3, 4, 5], abs=1e-4)
    assert f"on test digit 3, a {y[3]}" in found["subject"]


@pytest.mark.parametrize("of", ["dw", "dx"])
def test_explain_takes_a_gradient_inside_a_network_apart(of):
    net, (_, (x, y)) = fc.load(trained_model()), fc.data.digits()
    at = {"dw": (1, 2, 0, 3), "dx": (9, 8, 0)}[of]
    found = document("explain", trained_model(), "--of", of, "--at", ",".join(map(str, at)), "--digit", 7)
    *_, (_, scores) = net.trace(x[7:8], training=True)
    _, dy = fc.losses.softmax_cross_entropy(scores, y[7:8])
    for layer in reversed(net.layers[1:]):
        dy = layer.backward(dy)
    exact = net.layers[1].grads["w"][at] if of == "dw" else dy[0][at]
    assert found["value"] == pytest.approx(exact, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("of", ["y", "dw", "dx"])
def test_explain_looks_inside_a_block(of, tmp_path):
    block = fc.Residual([fc.Conv2D(3, 3, padding=1, activation="relu"), fc.BatchNorm()], activation="relu")
    layers = [fc.Normalize(33, 79), fc.Conv2D(3, 5, stride=3), block, fc.Flatten(), fc.Dense(10)]
    net = fc.Sequential(layers, input_shape=(28, 28, 1), output="softmax", seed=3)
    net.save(tmp_path / "net.safetensors")
    at = {"y": (2, 3, 1), "dw": (1, 2, 0, 2), "dx": (4, 5, 2)}[of]
    where = ("--layer", "residual_1.conv2d_1", "--at", ",".join(map(str, at)), "--of", of, "--digit", 5)
    found = document("explain", tmp_path / "net.safetensors", *where)
    (_, (x, y)), inner, norm = fc.data.digits(), block.layers[0], block.layers[1]
    passed = net.layers[1].forward(net.layers[0].forward(x[5:6]))
    if of == "y":
        assert found["value"] == pytest.approx(inner.forward(passed)[0][at], rel=1e-4, abs=1e-4)
        return
    *_, (_, scores) = net.trace(x[5:6], training=True)
    _, dy = fc.losses.softmax_cross_entropy(scores, y[5:6])
    for layer in reversed(net.layers[3:]):
        dy = layer.backward(dy)
    dx = inner.backward(norm.backward(block.split(dy)[0]))
    exact = inner.grads["w"][at] if of == "dw" else dx[0][at]
    assert found["value"] == pytest.approx(exact, rel=1e-3, abs=1e-5)


def test_edges_of_the_step_are_those_of_the_lecture():
    found = {row["name"]: row for row in document("edges", "step", "--filter", "all")["filters"]}
    assert found["vertical"]["answer"] == [[0, 30, 30, 0]] * 4
    assert found["sobel_x"]["answer"] == [[0, 40, 40, 0]] * 4
    assert found["scharr_x"]["answer"] == [[0, 160, 160, 0]] * 4
    assert found.keys() == fc.edges.ALL.keys()
    code, out, _ = run("edges", "step", "--filter", "vertical")
    assert code == 0 and "   1  0 -1   ->    0 30 30  0\n" in out


def test_edges_of_a_picture_are_drawn():
    code, out, _ = run("edges")
    assert code == 0 and "sample: 64×64, from 40 to 220" in out and "vertical -540 … 480" in out
    row = document("edges", "--filter", "vertical")["filters"][0]
    assert (row["least"], row["greatest"], "answer" in row) == (-540, 480, False)


def test_edges_can_look_at_one_colour(tmp_path):
    image = np.zeros((6, 6, 3), np.uint8)
    image[:, :3, 0] = 10
    np.save(tmp_path / "red.npy", image)
    found = [document("edges", tmp_path / "red.npy", "--filter", "vertical", "--channel", c) for c in ("red", "green")]
    assert [f["filters"][0]["answer"] for f in found] == [[[0, 30, 30, 0]] * 4, [[0] * 4] * 4]


def test_edges_of_numbers_in_a_text_file(tmp_path):
    np.savetxt(tmp_path / "a.txt", LECTURE)
    np.savetxt(tmp_path / "a.csv", LECTURE, delimiter=",")
    for name in ("a.txt", "a.csv"):
        answer = document("edges", tmp_path / name, "--filter", "vertical")["filters"][0]["answer"]
        assert answer == [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]


def test_edges_are_saved_as_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a$b$.png"
    code, _, err = run("edges", "--save", path)
    assert code == 0 and f"drawn into {path}" in err
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_bench_as_on_an_older_cpu(tmp_path):
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("name,n,h,w,c_in,c_out,kh,kw,stride,pad,dilation,groups\nsmall,1,8,8,3,4,3,3,1,1,1,1\n")
    command = [sys.executable, "-m", "fastconv", "bench", "--isa", "avx2", "--quick", "--json", "--shapes", str(shapes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["llvm_cpu"] == "haswell"


def test_bench_reports_rows_and_keeps_messages_apart(tmp_path):
    shapes = tmp_path / "shapes.csv"
    shapes.write_text("name,n,h,w,c_in,c_out,kh,kw,stride,pad,dilation,groups\ntiny,1,8,8,3,4,3,3,1,1,1,1\n")
    code, out, err = run("bench", "--shapes", shapes, "--quick", "--threads", 1, "--json")
    found = json.loads(out)
    assert code == 0 and found["schema"] == 1 and found["rows"][0]["name"] == "tiny"
    assert err.startswith("tiny: ")


def test_warmup_compiles_and_tells_where():
    found = document("warmup")
    assert found["model"] == "lenet5" and found["compile_seconds"] <= found["seconds"]
    assert run("warmup")[1].startswith("lenet5, float32: nothing to compile")


# Training and using what was trained


def test_train_says_what_it_does_and_what_comes_next(tmp_path):
    path = tmp_path / "net.safetensors"
    code, out, err = run("train", "--images", 256, "--epochs", 1, "--threads", 1, "--save", path)
    assert code == 0
    assert "(5·5·1 + 1)·6 = 156" in out and "61,706" in out
    assert "Test: " in out and "of 2,000 images right" in out and "they were looked at once, now" in out
    assert "Time: " in out and "compilation" in out
    assert f"Next: fastconv predict {path} IMAGE.png" in out
    assert "256 images in batches of 32: 8 iterations = 1 epoch" in err
    assert "\x1b" not in out + err


def test_train_json_repeats_with_the_seed():
    argv = ["train", "--images", 128, "--epochs", 1, "--batch-size", 64, "--optimizer", "momentum", "--threads", 1]
    first, again, other = document(*argv), document(*argv), document(*argv, "--seed", 1)
    assert first["test"]["right"] == again["test"]["right"] and first["test"]["loss"] == again["test"]["loss"]
    assert first["test"]["loss"] != other["test"]["loss"]
    assert first["test"]["right"] == round(first["test"]["accuracy"] * 2000)
    assert first["history"]["iterations"] == 2 and first["history"]["settings"]["batch_size"] == 64
    assert first["history"]["settings"]["optimizer"].startswith("SGD(lr=0.02, momentum=0.9")
    assert first["summary"]["totals"]["parameters"] == 61_706


def test_a_run_with_every_option_goes_on_from_its_checkpoint_to_the_same_result(tmp_path):
    argv = ["train", "--images", 200, "--epochs", 2, "--batch-size", 40, "--threads", 1, "--optimizer", "adadelta"]
    argv += ["--schedule", "cosine", "--augment", "crop+flip+cutout", "--average", 0.9, "--validation", 0.2, "--views", "ten"]
    argv += ["--weight-decay", 1e-4]
    checkpoint = ["--checkpoint", tmp_path / "run", "--every", 3]
    whole = document(*argv, *checkpoint)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [f"step-{i:010}.safetensors" for i in (6, 8)]
    history = whole["history"]
    assert history["settings"]["augment"].startswith("Augment(Crop(padding=4") and history["rows"][1]["val_loss"]
    code, _, err = run(*argv, *checkpoint)
    assert code == 2 and "holds a run; --resume goes on with it" in err
    (tmp_path / "run" / "step-0000000008.safetensors").unlink()
    code, _, err = run(*argv, *checkpoint, "--resume")
    assert code == 0 and "step-0000000006.safetensors, at epoch 2, iteration 3 of 4" in err
    again = document(*argv, *checkpoint, "--resume")
    assert again["test"] == whole["test"] and again["history"]["iterations"] == 8
    assert whole["seconds"]["earlier"] == 0 < again["seconds"]["earlier"]
    for spent in (whole["seconds"], again["seconds"]):
        total, parts = spent["total"], {name: value for name, value in spent.items() if name not in ("total", "earlier")}
        assert 0 < sum(parts.values()) < total  # the rest is what no phase is
    _, out, _ = run(*argv, *checkpoint, "--resume")
    assert re.search(r"Time: [\d.]+ s \([\d.]+ s of them before the run was resumed\) = reading .* \+ rest [\d.]+\n", out)


def test_a_budget_picks_the_epochs():
    found = document("train", "--images", 64, "--budget", "1s", "--threads", 1)
    assert found["history"]["settings"]["epochs"] == len(found["history"]["rows"]) >= 1


def test_the_regimes_are_those_of_the_trainer():
    assert set(regime.SCHEDULES) == {"constant", *SCHEDULES} and set(recipes.OPTIMIZERS) >= set(fc.optim.OPTIMIZERS)
    x = np.zeros((2, 28, 28, 1), np.uint8)
    for name in regime.AUGMENTATIONS[1:]:
        assert regime.augmentation(name)(x, np.random.default_rng(0)).shape == x.shape


def test_quiet_training_prints_the_result_alone():
    code, out, err = run("train", "--images", 64, "--epochs", 1, "--threads", 1, "-q")
    assert (code, err) == (0, "") and [line.split(":")[0] for line in out.splitlines()] == ["Test", "Time"]


@pytest.mark.parametrize("data_set", recipes.DATA_SETS)
@pytest.mark.parametrize("name", cli_models.CLASSIFIERS)
def test_every_model_fits_every_data_set(name, data_set):
    net = recipes.build(name, data_set, (0.0, 1.0))
    assert net.input_shape == recipes.SHAPES[data_set] and net.output_shape == (10,) and net.output == "softmax"


def test_width_multiplies_the_channels_of_networks_that_have_one():
    plain, wide = (recipes.build("airbench", "cifar10", (0.0, 1.0), width=width) for width in (None, 1.5))
    filters = [[layer.filters for layer in net.layers if isinstance(layer, Conv2D)] for net in (plain, wide)]
    assert filters == [[24, 32, 32, 128, 128, 192, 192], [24, 48, 48, 192, 192, 288, 288]]
    assert document("warmup", "cifar10", "--model", "small_cifar", "--width", 0.25)["model"] == "small_cifar"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "course39", "--width", 2], "--width: got 2 for course39, which has one width; lenet5, small_mnist, "),
        (["--model", "airbench", "--width", 0], "--width: got 0.0; needed a number above 0"),
        (["--model", "resnet20", "--width", "nan"], "--width: got nan; needed a number above 0"),
    ],
)
def test_a_width_that_cannot_be_is_refused(arguments, words):
    for command in ("train", "warmup"):
        code, out, err = run(command, *arguments)
        assert code == 2 and not out and words in err


def test_the_classifiers_are_those_of_the_zoo_that_are_made_for_small_images():
    assert list(cli_models.CLASSIFIERS) == [name for name, build in ZOO.items() if is_small_classifier(build)]


def is_small_classifier(build):
    parameters = inspect.signature(build).parameters
    return "classes" in parameters and max(parameters["input_shape"].default) <= 64


def test_recipes_take_the_mean_of_the_data_they_do_not_know():
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    mean, std = recipes.recipe_for("cifar10", x).normalize
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
    np.testing.assert_allclose(std, x.std((0, 1, 2)))
    assert recipes.recipe_for("fashion_mnist", x[..., :1]).normalize == pytest.approx((x[..., 0].mean(), x[..., 0].std()))
    assert recipes.recipe_for("digits", None).normalize == (33.3, 78.6)


def test_cifar10_has_a_network_and_a_recipe_of_its_own(monkeypatch):
    random = np.random.default_rng(0)
    sets = [(random.integers(0, 256, (n, 32, 32, 3), np.uint8), np.arange(n) % 10) for n in (48, 16)]
    monkeypatch.setattr("fastconv.cli.train.images_of", lambda *arguments: sets)
    found = document("train", "cifar10", "--epochs", 1)
    settings, recipe = found["history"]["settings"], RECIPES["cifar"]
    assert found["model"] == "airbench" and settings["loss"] == recipe.loss.name
    assert settings["augment"] == repr(recipe.augment) and settings["optimizer"] == repr(recipe.optimizer)
    other = document("train", "cifar10", "--model", "lenet5", "--epochs", 1, "--views", "one")["history"]["settings"]
    assert other["loss"] == "softmax_cross_entropy" and other["augment"] is None


def digit(number=0):
    """Test digit `number` (28, 28) and its label."""
    x, y = fc.data.digits()[1]
    return x[number, :, :, 0], int(y[number])


def test_predict_names_the_class_and_the_next_two(tmp_path):
    (x, y), path = fc.data.digits()[1], tmp_path / "digits.npy"
    np.save(path, x[:200])
    found = document("predict", trained_model(), path)
    assert found["network"] == "LeNet-5 on digits"
    exact = fc.load(trained_model()).predict(x[:200])
    for row, p in zip(found["images"], exact, strict=True):
        assert [top["label"] for top in row["top"]] == np.argsort(-p, kind="stable")[:3].tolist()
        assert row["top"][0]["probability"] == pytest.approx(p.max())
    assert np.mean([row["top"][0]["label"] == label for row, label in zip(found["images"], y, strict=False)]) > 0.6
    assert run("predict", trained_model(), path)[1].count("digits.npy[") == 200


def test_predict_turns_inverted_digits_round(tmp_path):
    image, _ = digit()
    np.save(tmp_path / "ink.npy", image)
    np.save(tmp_path / "paper.npy", 255 - image)
    ink, paper = (document("predict", trained_model(), tmp_path / name)["images"][0] for name in ("ink.npy", "paper.npy"))
    assert not ink["inverted"] and paper["inverted"] and ink["top"] == paper["top"]
    assert not document("predict", trained_model(), tmp_path / "paper.npy", "--no-invert")["images"][0]["inverted"]
    assert "paper.npy: looks inverted" in run("predict", trained_model(), tmp_path / "paper.npy")[2]


def test_predict_reads_pictures_of_any_size_and_mode(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    image, label = digit(1)
    picture, ink = Image.fromarray(image).resize((300, 280)), np.zeros((28, 28, 4), np.uint8)
    ink[..., 3] = image  # black ink on nothing
    forms = {
        "grey.png": picture,
        "colour.jpg": picture.convert("RGB"),
        "palette.png": picture.convert("P"),
        "transparent.png": Image.fromarray(ink),
        "deep.png": Image.fromarray(image.astype(np.uint16) * 257),
        "binary.png": picture.point(lambda v: 255 * (v > 100)).convert("1"),
    }
    for name, form in forms.items():
        form.save(tmp_path / name)
    found = document("predict", trained_model(), *(tmp_path / name for name in forms))["images"]
    assert [row["top"][0]["label"] for row in found] == [label] * len(forms)


def test_arrays_of_the_right_size_need_no_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.save(tmp_path / "ink.npy", digit()[0])
    assert len(document("predict", trained_model(), tmp_path / "ink.npy")["images"]) == 1


def test_classes_have_the_names_of_the_data_set():
    net = recipes.build("lenet5", "fashion_mnist", (0.0, 1.0))
    cli_models.named_after(net, "fashion_mnist")
    assert cli_models.known_classes(net)[9] == "Ankle boot"
    assert cli_models.known_classes(ZOO["cat_or_not"]()) == ("0", "1")


def test_predict_answers_with_the_names_that_the_network_was_saved_with(tmp_path):
    net = fc.Sequential([fc.Flatten(), fc.Dense(2)], input_shape=(4, 4, 1), output="softmax", name="pets on mnist")
    net.classes = ["cat", "dog"]
    net.save(tmp_path / "pets.safetensors")
    np.save(tmp_path / "pet.npy", np.random.default_rng(0).integers(0, 256, (4, 4), np.uint8))
    top = document("predict", tmp_path / "pets.safetensors", tmp_path / "pet.npy")["images"][0]["top"]
    assert {(row["label"], row["class"]) for row in top} == {(0, "cat"), (1, "dog")}


def test_summary_says_which_images_are_too_small():
    code, out, err = run("summary", "vgg16", "--input", "3x3x3")
    assert code == 2 and not out
    assert "--input: got (3, 3, 3), images too small for VGG-16; needed 32×32 pixels or more" in err


def test_predict_takes_a_batch_of_grey_arrays_without_channels(tmp_path):
    _, (x, _) = fc.data.digits()
    np.save(tmp_path / "with.npy", x[:5])
    np.save(tmp_path / "without.npy", x[:5, ..., 0])
    answers = [document("predict", trained_model(), tmp_path / f"{name}.npy")["images"] for name in ("with", "without")]
    assert [row["top"] for row in answers[0]] == [row["top"] for row in answers[1]] and len(answers[1]) == 5
    np.save(tmp_path / "odd.npy", x[:5, :20, :, 0])
    code, _, err = run("predict", trained_model(), tmp_path / "odd.npy")
    assert code != 0 and "28 channels" in err and err.count("\n") == 1
    np.savez(tmp_path / "several.npz", x=x[:2])
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    code, _, err = run("predict", trained_model(), tmp_path / "several.npy")
    assert code != 0 and "holds several arrays" in err and "bug" not in err


@pytest.mark.parametrize(
    "words, needed",
    [(("train", "--run", ""), "--run: got an empty name"), (("summary", "lenet5", "--json", "--format", "csv"), "--json")],
)
def test_options_that_mean_nothing_are_refused(words, needed):
    code, _, err = run(*words)
    assert code == 2 and needed in err
