"""The command line as a whole: help, exit codes, what goes where, what is not imported."""

import json
import os
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc
from fastconv.cli import parser, train
from fastconv.cli.output import Output
from terminal import run, start, trained_model

# Help and usage


def commands():
    return [module.__name__.rpartition(".")[2] for module in parser.COMMANDS]


@pytest.mark.parametrize("name", commands())
def test_help_starts_with_examples_in_ascii(name):
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"examples:\n  fastconv {name}") and out.isascii()


def test_every_example_can_be_typed():
    for module in parser.COMMANDS:
        for line, _ in module.EXAMPLES:
            words = shlex.split(line.partition(">")[0])
            assert parser.build_parser().parse_args(words[1:]).run is module.run


def test_without_arguments_the_help_is_shown():
    code, out, _ = run()
    assert code == 0 and all(f"\n    {name} " in out for name in commands())


def test_version():
    assert run("--version") == (0, f"fastconv {fc.__version__}\n", "")


WRONG = [
    (["fly"], "argument COMMAND: invalid choice: 'fly'"),
    (["train", "imagenet"], "argument DATA_SET: invalid choice: 'imagenet'"),
    (["train", "--model", "alexnet"], "argument --model: invalid choice: 'alexnet'"),
    (["train", "--epochs", "0"], "argument --epochs: got '0'; needed a whole number of at least 1"),
    (["train", "--batch-size", "many"], "argument --batch-size: got 'many'"),
    (["train", "--seed", "-1"], "argument --seed: got '-1'"),
    (["train", "--threads", "10000"], "--threads: got 10000; needed a whole number from 1 to"),
    (["train", "--lr", "-1"], "--lr: got -1.0; needed a number from 0 to"),
    (["train", "--lr", "nan"], "--lr: got nan"),
    (["train", "--optimizer", "lion"], "argument --optimizer: invalid choice: 'lion'"),
    (["train", "--save", "digits.h5"], "--save: got 'digits.h5'; models are safetensors files"),
    (["train", "--save", "/nowhere/digits.safetensors"], "--save: /nowhere cannot be written"),
    (["train", "--run", "/proc/run"], "--run: /proc cannot be written"),
    (["train", "--run", "/dev/null/run"], "--run: /dev/null is there and is no folder"),
    (["train", "--budget", "soon"], "argument --budget: got 'soon'; needed a time above 0, such as"),
    (["train", "--validation", "2"], "argument --validation: got '2'; needed a number between 0 and 1"),
    (["train", "--schedule", "sine"], "argument --schedule: invalid choice: 'sine'"),
    (["train", "--average", "1"], "--average: got 1.0"),
    (["train", "--weight-decay", "-1"], "--weight-decay: got -1.0"),
    (["train", "--resume"], "--resume: needs --checkpoint FOLDER"),
    (["train", "--checkpoint", "run", "--every", "often"], "argument --every: got 'often'; needed a number of iterations"),
    (["train", "--every", "0"], "argument --every: got '0'; needed a number of iterations from 1 on"),
    (["train", "--every", "5"], "--every: needs --checkpoint FOLDER"),
    (["train", "--data", "here"], "--data: got 'here'; the digits lie in fastconv itself: leave it out, or name one of mnist,"),
    (["train", "--epochs", "2", "--budget", "9s"], "--epochs: got 2 and --budget 9s; needed one of them"),
    (["train", "--bogus"], "unrecognized arguments: --bogus"),
    (["predict", "digits.safetensors"], "the following arguments are required: IMAGE"),
    (["summary"], "the following arguments are required: MODEL"),
    (["summary", "lenet5", "--input", "28x28"], "argument --input: got '28x28'; needed HEIGHTxWIDTHxCHANNELS"),
    (["explain", "--at", "a,b"], "argument --at: got 'a,b'; needed whole numbers"),
    (["explain", "--at", "9,9"], "--at: got p = 9; needed 0 to 3"),
    (["explain", "--filter", "canny"], "--filter: got 'canny'; needed one of vertical"),
    (["explain", "--padding", "sane"], "argument --padding: got 'sane'; needed valid, same, full, or pixels"),
    (["explain", "--stride", "0"], "argument --stride: got '0'"),
    (["explain", "--digit", "3"], "--digit: needs a MODEL"),
    (["explain", "lenet5", "--stride", "2"], "--stride: is for the example without MODEL"),
    (
        ["explain", "lenet5", "--layer", "dense_1"],
        "--layer: got 'dense_1'; needed one of its Conv2D: conv2d_1, conv2d_2",
    ),
    (["explain", "lenet5", "--digit", "2000"], "--digit: got 2000; needed 0 to 1,999"),
    (["edges", "--filter", "canny"], "--filter: got 'canny'; needed all, or some of"),
    (["edges", "step", "--channel", "red"], "--channel: step has no colours"),
    (["edges", "step", "--save", "edges.gif"], "--save: got 'edges.gif'; needed a name that ends in .png"),
    (["bench", "--direction", "sideways"], "argument --direction: invalid choice: 'sideways'"),
    (["warmup", "--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
]


@pytest.mark.parametrize(("argv", "message"), WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_wrong_usage_is_one_line_and_code_2(argv, message):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith(f"fastconv: {message}") and err.count("\n") == 1


# Input that cannot be used


def bad_inputs(folder):
    """(arguments, part of the message)"""
    files = {
        "text.safetensors": b"hello",
        "text.png": b"hello",
        "text.txt": b"a b",
        "shapes.csv": b"name,n\nx,1\n",
        "empty.npy": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    np.save(folder / "complex.npy", np.ones((28, 28), complex))
    np.save(folder / "nan.npy", np.full((28, 28), np.nan))
    np.save(folder / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.save(folder / "five.npy", np.ones((28, 28, 5)))
    fc.models.ten_filters().save(folder / "filters.safetensors")
    fc.models.lenet5().save(folder / "colour.safetensors")
    return [
        (["summary", "nothing"], "nothing: no such model; needed a .safetensors file or one of lenet5"),
        (["summary", folder / "none.safetensors"], "cannot be read: No such file"),
        (["summary", folder / "text.safetensors"], "is damaged or no safetensors file"),
        (["summary", folder], "is not a regular file"),
        (["predict", "lenet5", "x.png"], "lenet5 of the zoo has learned nothing yet"),
        (["predict", folder / "filters.safetensors", folder / "nan.npy"], "needed images to classes"),
        (["predict", trained_model(), folder / "none.png"], "none.png: cannot be read (No such file or directory)"),
        (["predict", trained_model(), folder / "text.png"], "text.png: cannot be read (cannot identify image file"),
        (["predict", trained_model(), folder / "text.txt"], "text.txt: cannot be read"),
        (["predict", trained_model(), folder / "empty.npy"], "empty.npy: cannot be read"),
        (["predict", trained_model(), folder / "complex.npy"], "holds complex128 of shape (28, 28)"),
        (["predict", trained_model(), folder / "nan.npy"], "holds values that are not finite"),
        (["predict", trained_model(), folder / "pickled.npy"], "pickled.npy: cannot be read"),
        (["predict", folder / "colour.safetensors", folder / "five.npy"], "has 5 channels; the network takes 3"),
        (["edges", folder], "cannot be read"),
        (["edges", "step", "--save", folder / "none" / "edges.png"], "edges.png cannot be written"),
        (["train", "mnist", "--data", folder], "give --data FOLDER, set FASTCONV_DATA, or add --download"),
        (["bench", "--shapes", folder / "shapes.csv"], "shapes.csv, line 2: nothing in column h"),
    ]


def test_bad_input_is_one_line_and_code_3(tmp_path):
    pytest.importorskip("PIL")
    for argv, message in bad_inputs(tmp_path):
        code, out, err = run(*argv, "--quiet")
        assert (code, out) == (3, ""), (argv, err)
        assert err.startswith("fastconv: ") and message in err and err.count("\n") == 1, (argv, err)


# Failures of other kinds


def test_a_loss_that_is_not_finite_is_code_4():
    code, out, err = run("train", "--images", "100", "--optimizer", "sgd", "--lr", "1e6", "--threads", "1", "--quiet")
    assert (code, out) == (4, "")
    assert err.startswith("fastconv: stopped in epoch 1") and err.count("\n") == 1


def test_a_missing_extra_is_code_5(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, _, err = run("predict", trained_model(), tmp_path / "seven.png")
    assert code == 5 and 'pip install "fastconv[viz]"' in err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("edges", "step", "--save", tmp_path / "x.png")[0] == 5


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("oops\nmore"), 1, "fastconv: a bug, please report it: ValueError: oops (--debug shows where)\n"),
        (MemoryError(), 5, "fastconv: not enough memory\n"),
        (KeyboardInterrupt(), 130, "fastconv: stopped by Ctrl-C\n"),
    ],
    ids=["bug", "memory", "ctrl-c"],
)
def test_other_failures_are_one_line_and_their_code(monkeypatch, error, code, line):
    monkeypatch.setattr(fc.models.Sequential, "summary", lambda net, **options: (_ for _ in ()).throw(error))
    assert run("summary", "lenet5") == (code, "", line)
    found = run("summary", "lenet5", "--debug")
    assert found[0] == code and "Traceback" in found[2] and found[2].endswith(line)


def test_a_closed_pipe_is_code_141_and_silent():
    with start("summary", "lenet5") as process:
        process.stdout.close()
        process.wait()
        assert (process.returncode, process.stderr.read()) == (141, "")


def test_ctrl_c_saves_the_last_whole_step_and_is_code_130(tmp_path):
    path = tmp_path / "half.safetensors"
    with start("train", "--epochs", "500", "--threads", "1", "--save", str(path)) as process:
        for line in process.stderr:
            if line.lstrip().startswith("1/"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert f"iterations is saved in {path}" in err and "Traceback" not in err
    assert fc.load(path).name == "LeNet-5 on digits"


def test_only_whole_steps_are_saved(tmp_path):
    net, path = fc.models.lenet5(), tmp_path / "net.safetensors"
    steps = train.Steps()
    assert "nothing was learned" in train.kept(net, steps, str(path))
    steps.on_batch_begin(0, {})
    assert "within a step" in train.kept(net, steps, str(path))
    assert not path.exists()
    steps.on_batch_end(0, {})
    assert "nothing was saved" in train.kept(net, steps, None)
    assert "after 1 iterations" in train.kept(net, steps, str(path)) and path.exists()


# What is not needed is not imported


@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["info"], ["summary", "lenet5"], ["explain"]], ids=" ".join)
def test_answers_without_numba(argv):
    code = (
        "import sys\n"
        "from fastconv.cli import main\n"
        "try:\n"
        f"    main({argv!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'numba', 'rich', 'PIL', 'matplotlib', 'pooch'} | ({'numpy', 'llvmlite'} if '--help' in %r else set())\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code % argv], check=True, stdout=subprocess.PIPE)


@pytest.mark.parametrize(
    "argv", [["summary", "lenet5"], ["summary", "lenet5", "--json"], ["explain"], ["explain", "--json"]], ids=" ".join
)
def test_terminals_without_unicode_get_ascii(argv):
    with start(*argv, env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "") and out.isascii()
    if "--json" in argv:
        assert json.loads(out)["schema"] == 1


def test_no_color_reaches_who_draws(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    run("--no-color", "summary", "lenet5")
    assert os.environ["NO_COLOR"] == "1"


def test_our_warnings_are_one_line(capsys):
    Output().warning(fc.FastconvWarning("slow"), fc.FastconvWarning, "file.py", 1)
    assert capsys.readouterr().err == "fastconv: note: slow\n"
    Output(quiet=True).warning(fc.FastconvWarning("slow"), fc.FastconvWarning, "file.py", 1)
    assert capsys.readouterr().err == ""


def test_names_cannot_move_the_cursor():
    code, _, err = run("summary", "evil\x1b[2J\nname")
    assert code == 3 and "\x1b" not in err and err.count("\n") == 1
