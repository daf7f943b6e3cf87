"""Checkpoints: a run that was broken off anywhere ends in the same bits, and no fault takes away what was written before."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc
from fastconv import files
from fastconv.training import tensors_file
from fastconv.training.checkpoint import Checkpoints
from fastconv.training.durations import seconds


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny calls: threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    yield
    fc.set_threads(before)


X = np.random.default_rng(0).standard_normal((44, 8, 8, 1)).astype(np.float32)
Y = (X[:, :4].mean(axis=(1, 2, 3)) > X[:, 4:].mean(axis=(1, 2, 3))).astype(int)


class Noise:
    """Augmentation that draws."""

    def __call__(self, x, random):
        return x + random.normal(0, 0.1, x.shape).astype(np.float32)


def new_trainer(seed=0, optimizer=None, filters=4):
    features = [fc.Conv2D(filters, 3, activation="relu"), fc.BatchNorm(), fc.MaxPool2D(2)]
    net = fc.Sequential([*features, fc.Flatten(), fc.Dropout(0.2), fc.Dense(2)], input_shape=(8, 8, 1), seed=seed)
    return fc.Trainer(net, optimizer or fc.optim.SGD(0.05, momentum=0.9, weight_decay=1e-3), clip_norm=1.0)


def watchers():
    """Callbacks that remember something, and decide by it."""
    return [
        fc.callbacks.WeightAverage(0.8),
        fc.callbacks.Lookahead(fc.callbacks.fading, 4),
        fc.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.3),
        fc.callbacks.LearningRateScheduler(lambda epoch, lr: 0.9 * lr),
        fc.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=False),
        fc.callbacks.Recorder(X[:8], Y[:8]),
    ]


def fit(trainer, callbacks=None, **options):
    settings = {"epochs": 3, "batch_size": 8, "validation": 0.25, "schedule": "one_cycle", "augment": Noise(), "verbose": 0}
    trainer.fit(X, Y, callbacks=watchers() if callbacks is None else callbacks, **{**settings, **options})
    return trainer


def as_bytes(net):
    return b"".join(array.tobytes() for array in net.get_weights().values())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# The same bits


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without a break, with a checkpoint after every iteration."""
    folder = tmp_path_factory.mktemp("whole")
    callbacks = watchers()
    trainer = fit(new_trainer(), callbacks, checkpoint=fc.Checkpoint(folder, every=1, keep=999))
    return trainer, callbacks, folder


def test_checkpoints_change_no_bit(whole):
    assert as_bytes(whole[0].net) == as_bytes(fit(new_trainer()).net)


@pytest.mark.parametrize("step", range(1, 16))  # 33 examples in batches of 8: 5 iterations an epoch
def test_a_run_goes_on_to_the_same_bits_from_any_iteration(whole, tmp_path, step):
    done, callbacks, folder = whole
    assert len(names(folder)) == 15
    shutil.copy(folder / f"step-{step:010}.safetensors", tmp_path)
    trainer, again = new_trainer(), watchers()
    fit(trainer, again, checkpoint=tmp_path, resume="auto")
    assert as_bytes(trainer.net) == as_bytes(done.net)
    assert trainer.history.history == done.history.history and trainer.history.iterations == 15
    assert [row["lr"] for row in trainer.history.rows()] == [row["lr"] for row in done.history.rows()]
    assert again[-1].rows == callbacks[-1].rows and len(again[-1].rows) == 18
    assert trainer.optimizer == done.optimizer and trainer.epochs == 3
    assert done.history.earlier_seconds == 0 < trainer.history.earlier_seconds <= sum(trainer.history.seconds.values())


@pytest.mark.parametrize(
    "optimizer",
    [fc.optim.SGD(0.1), fc.optim.Adam(0.01), fc.optim.AdaDelta(), fc.optim.RMSProp(0.01, momentum=0.5), fc.optim.Adagrad()],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_the_state_of_every_optimizer_goes_on(tmp_path, optimizer):
    trainers = [new_trainer(optimizer=optimizer) for _ in range(3)]
    fit(trainers[0], [])
    stop = fc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(trainers[1], "stop_training", epoch == 0))
    fit(trainers[1], [stop], checkpoint=fc.Checkpoint(tmp_path, every=3))
    (tmp_path / "step-0000000005.safetensors").unlink()  # what is left is of the middle of the first epoch
    with pytest.warns(fc.FastconvWarning, match=r"callbacks was \['LambdaCallback'\], is \[\]"):
        fit(trainers[2], [], checkpoint=tmp_path, resume=True)
    assert as_bytes(trainers[0].net) == as_bytes(trainers[2].net) != as_bytes(trainers[1].net)


def test_a_run_that_had_stopped_early_stays_stopped(tmp_path):
    def stopping(trainer):
        return [fc.callbacks.EarlyStopping("loss", min_delta=9, patience=1, restore_best_weights=True)]

    first = new_trainer()
    fit(first, stopping(first), epochs=9, checkpoint=tmp_path)
    again = new_trainer()
    fit(again, stopping(again), epochs=9, checkpoint=tmp_path, resume="auto")
    assert first.history.stopped == again.history.stopped == "callback" and len(again.history.rows()) == 2
    assert as_bytes(first.net) == as_bytes(again.net)


def test_one_trainer_goes_on_after_callbacks_have_changed_its_optimizer(tmp_path):
    def shoot(batch, logs):
        if trainer.history.iterations == 12:
            signal.raise_signal(signal.SIGINT)

    halve, other = (fc.callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2) for _ in range(2))
    trainer = new_trainer()
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, [halve, fc.callbacks.LambdaCallback(on_train_batch_end=shoot)], checkpoint=tmp_path)
    assert trainer.optimizer.lr == 0.05 / 8
    silent = fc.callbacks.LambdaCallback(on_train_end=lambda logs: None)
    fit(trainer, [halve, silent], checkpoint=tmp_path, resume=True)
    assert as_bytes(trainer.net) == as_bytes(fit(new_trainer(), [other, silent]).net)


def test_a_second_fit_of_one_trainer_goes_on_too(tmp_path):
    """What an earlier fit left (epochs, momentum, masks of dropout) is in the checkpoint of the second."""
    trainers = [fit(new_trainer(), [], epochs=2) for _ in range(2)]
    for trainer in trainers:
        fit(trainer, [], checkpoint=fc.Checkpoint(tmp_path / str(trainers.index(trainer)), every=2, keep=9))
    (tmp_path / "0" / "step-0000000015.safetensors").unlink()
    again = fit(new_trainer(), [], checkpoint=tmp_path / "0", resume="auto")
    assert as_bytes(again.net) == as_bytes(trainers[1].net) and again.epochs == 5


def test_ctrl_c_writes_a_checkpoint(tmp_path):
    def shoot(batch, logs):
        if trainer.history.iterations == 7:
            signal.raise_signal(signal.SIGINT)

    trainer, again = new_trainer(), new_trainer()
    shooting = fc.callbacks.LambdaCallback(on_train_batch_end=shoot)
    with pytest.raises(KeyboardInterrupt):
        fit(trainer, [shooting], checkpoint=tmp_path)
    assert names(tmp_path) == ["step-0000000005.safetensors", "step-0000000007.safetensors"]
    silent = fc.callbacks.LambdaCallback(on_train_end=lambda logs: None)
    fit(again, [silent], checkpoint=tmp_path, resume="auto")
    assert as_bytes(again.net) == as_bytes(fit(new_trainer(), []).net)


@pytest.mark.parametrize("signalled", [True, False], ids=["ctrl-c", "error"])
def test_a_break_between_the_last_step_and_the_end_of_an_epoch(tmp_path, signalled):
    def stop(logs):
        if trainer.history.iterations == 10:
            if not signalled:
                raise ZeroDivisionError
            signal.raise_signal(signal.SIGINT)

    def early():
        return fc.callbacks.EarlyStopping("val_loss", patience=9)

    trainer, again, silent = new_trainer(), new_trainer(), fc.callbacks.LambdaCallback(on_test_begin=lambda logs: None)
    with pytest.raises(KeyboardInterrupt if signalled else fc.TrainingError):
        fit(trainer, [early(), fc.callbacks.LambdaCallback(on_test_begin=stop)], checkpoint=fc.Checkpoint(tmp_path, every=1))
    assert names(tmp_path)[-1] == "step-0000000010.safetensors"
    fit(again, [early(), silent], checkpoint=tmp_path, resume="auto")
    done = fit(new_trainer(), [early(), silent])
    assert as_bytes(again.net) == as_bytes(done.net) and again.history.history == done.history.history


KILLED = """
import sys
import numpy as np
import fastconv as fc

sys.path.insert(0, sys.argv[3])
from test_checkpoints import fit, new_trainer, watchers

fc.set_threads(1)

class Slow:
    def on_train_batch_begin(self, batch, logs):
        print("step", flush=True)

checkpoint = fc.Checkpoint(sys.argv[1], every=2)
trainer = fit(new_trainer(), [*watchers(), Slow()], epochs=int(sys.argv[4]), checkpoint=checkpoint, resume="auto")
trainer.net.save(sys.argv[2])
"""


def run_until(folder, result, epochs, delay):
    """A process that trains; killed `delay` seconds after its first step (None: never).  Whether it came to its end."""
    command = [sys.executable, "-W", "error", "-c", KILLED, str(folder), str(result), str(Path(__file__).parent), str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if delay is not None and process.stdout.readline():
        time.sleep(delay)
        process.kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), errors
    return process.returncode == 0


def killed_and_resumed(tmp_path, epochs, kills):
    draw = random.Random(7)
    assert run_until(tmp_path / "whole", tmp_path / "whole.safetensors", epochs, None)
    cut = 0
    while cut < kills and not run_until(tmp_path / "cut", tmp_path / "cut.safetensors", epochs, draw.uniform(0.01, 0.25)):
        cut += 1
    assert cut == kills, "the run was over before it could be killed so often"
    assert run_until(tmp_path / "cut", tmp_path / "cut.safetensors", epochs, None)
    assert (tmp_path / "cut.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_kill_9_and_resume_ends_in_the_same_bytes(tmp_path):
    killed_and_resumed(tmp_path, epochs=60, kills=1)


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ten_kills_and_resumes_end_in_the_same_bytes(tmp_path):
    killed_and_resumed(tmp_path, epochs=400, kills=10)


# Faults


class FullDisk:
    """`open` for `files`, whose n-th write of all finds the disk full, and every one after it."""

    def __init__(self, n):
        self.left = n

    def __call__(self, path, mode):
        disk, file = self, open(path, mode)  # noqa: SIM115 (the caller closes it)
        write = file.write

        class File:
            def __enter__(self):
                return self

            def __exit__(self, *details):
                file.close()

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, block):
                disk.left -= 1
                if disk.left <= 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(block)

        return File()


@pytest.mark.parametrize("n", [1, 2, 3, 9, 20, 30, 40])
def test_a_full_disk_loses_nothing_older_and_says_so(tmp_path, monkeypatch, n):
    expected = as_bytes(fit(new_trainer(), []).net)
    kept = fit(new_trainer(), [], epochs=1, checkpoint=tmp_path) and names(tmp_path)
    monkeypatch.setattr(files, "open", FullDisk(n), raising=False)
    trainer = new_trainer()
    with pytest.warns(fc.FastconvWarning) as caught:
        fit(trainer, [], checkpoint=fc.Checkpoint(tmp_path, every=2), resume=True)
    said = [str(warning.message) for warning in caught if "no checkpoint after" in str(warning.message)]
    assert said and all("no room" in text and "older checkpoints are untouched" in text for text in said)
    assert as_bytes(trainer.net) != expected or trainer.history.iterations == 15  # training went on to its end
    monkeypatch.undo()
    left = names(tmp_path)
    assert left and all(tensors_file.read(tmp_path / name, "checkpoint") for name in left)
    assert n > 1 or left == kept


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        fit(new_trainer(), [], epochs=1, checkpoint=disk / "run")
        (before,) = names(disk / "run")
        with open(disk / "filler", "wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(1024))
        trainer = new_trainer()
        with pytest.warns(fc.FastconvWarning) as caught:
            fit(trainer, [], checkpoint=disk / "run", resume="auto")
        assert any("no room (No space left on device)" in str(warning.message) for warning in caught)
        assert names(disk / "run") == [before] and trainer.history.iterations == 15
        assert tensors_file.read(disk / "run" / before, "checkpoint")["epoch"] == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_last_two_stay(tmp_path):
    fit(new_trainer(), [], checkpoint=tmp_path)
    assert names(tmp_path) == ["step-0000000010.safetensors", "step-0000000015.safetensors"]


def test_what_a_killed_writer_left_is_swept(tmp_path):
    (tmp_path / ".fastconv-0123456789abcdef.tmp").write_bytes(b"half")
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    assert names(tmp_path) == ["step-0000000005.safetensors"]


def damaged(path, how):
    content = bytearray(path.read_bytes())
    if how == "a bit":
        content[-100] ^= 1
    elif how == "the header":
        content[0] ^= 255
    elif how == "the text":
        content[content.index(b"trainer_epochs") + 18] ^= 1
    path.write_bytes(content[: len(content) // 2] if how == "half" else b"" if how == "empty" else content)


@pytest.mark.parametrize("how", ["a bit", "the header", "the text", "half", "empty", "a model"])
def test_a_damaged_or_foreign_checkpoint_is_named_and_the_older_one_taken(tmp_path, how):
    done = fit(new_trainer(), [], checkpoint=tmp_path)
    newest = tmp_path / "step-0000000015.safetensors"
    damaged(newest, how)
    if how == "a model":
        newest.unlink()
        new_trainer().net.save(newest)
    trainer = new_trainer()
    with pytest.warns(fc.FastconvWarning, match=r"step-0000000015.*older checkpoint is taken") as caught:
        fit(trainer, [], checkpoint=tmp_path, resume="auto")
    assert all("\n" not in str(warning.message) for warning in caught)
    assert as_bytes(trainer.net) == as_bytes(done.net)


def test_without_one_that_can_be_read_nothing_begins(tmp_path):
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    damaged(tmp_path / "step-0000000005.safetensors", "half")
    with (
        pytest.warns(fc.FastconvWarning, match="is damaged"),
        pytest.raises(fc.ModelFileError, match=r"no checkpoint in .* can be read .*delete them to begin anew"),
    ):
        fit(new_trainer(), [], checkpoint=tmp_path, resume="auto")


# What does not fit


@pytest.mark.parametrize(
    "make, options, message",
    [
        (lambda: new_trainer(seed=1), {}, "seed was 0, is 1"),
        (lambda: new_trainer(filters=5), {}, r"layers was conv2d_1: Conv2D\(4, .*, is conv2d_1: Conv2D\(5"),
        (lambda: new_trainer(optimizer=fc.optim.Adam()), {}, "optimizer_type was SGD, is Adam"),
        (new_trainer, {"batch_size": 4}, "batch_size was 8, is 4"),
        (new_trainer, {"validation": None}, "images was 33, is 44"),
        (new_trainer, {"shuffle": False}, "shuffle was True, is False"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused_before_anything_changes(tmp_path, make, options, message):
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    trainer = make()
    before = as_bytes(trainer.net)
    with pytest.raises(fc.OptionError, match=f"is of another run: {message}"):
        fit(trainer, [], **{"checkpoint": tmp_path, "resume": True, **options})
    assert as_bytes(trainer.net) == before


def test_other_examples_are_refused(tmp_path):
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    with pytest.raises(fc.OptionError, match="examples was 44 float32"):
        new_trainer().fit(X + 1, Y, batch_size=8, validation=0.25, verbose=0, checkpoint=tmp_path, resume=True)


def test_changed_settings_are_said(tmp_path):
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    trainer = new_trainer(optimizer=fc.optim.SGD(0.01, momentum=0.9))
    with pytest.warns(fc.FastconvWarning, match=r"epochs was 1, is 3; optimizer was SGD\(lr=0.05, .*, is SGD\(lr=0.01"):
        fit(trainer, [], checkpoint=tmp_path, resume=True)
    assert trainer.optimizer.lr == 0.01


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resume": True}, "there is no folder to look in"),
        ({"resume": "auto"}, "there is no folder to look in"),
        ({"checkpoint": "new", "resume": True}, "holds no checkpoint"),
        ({"checkpoint": "new", "resume": "yes"}, "resume: got 'yes'"),
        ({"checkpoint": "old"}, "holds a run"),
    ],
)
def test_where_there_is_nothing_to_go_on_from(tmp_path, options, message):
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path / "old")
    if "checkpoint" in options:
        options = {**options, "checkpoint": tmp_path / options["checkpoint"]}
    with pytest.raises(fc.OptionError, match=message):
        fit(new_trainer(), [], **options)


def test_a_folder_that_cannot_be_is_found_out_before_training(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(fc.FastconvError, match="is no folder that can be written"):
            fit(new_trainer(), [], checkpoint=folder)


@pytest.mark.parametrize("every", [0, 2.5, "often", "0s", "-1s", True])
def test_impossible_intervals_are_refused(every):
    with pytest.raises(fc.OptionError, match="checkpoint: every"):
        fc.Checkpoint("folder", every=every)


def test_times(tmp_path, monkeypatch):
    assert [seconds(text, "t") for text in ("60s", "1.5min", " 2 h ", ".5", 7)] == [60, 90, 7200, 0.5, 7]
    now = [0.0]
    monkeypatch.setattr("fastconv.training.checkpoint.monotonic", lambda: now[0])
    checkpoints = Checkpoints(fc.Checkpoint(tmp_path, every="30s"))
    found = []
    for now[0] in (10, 29, 31, 40, 62):
        found.append(checkpoints.due(1))
        if found[-1]:
            checkpoints.write(1, {})
    assert found == [False, False, True, False, True]


def test_states_that_do_not_fit_their_parameters_are_refused(tmp_path):
    """Compiled loops would read beyond the end of an array that is too short."""
    fit(new_trainer(), [], epochs=1, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    tree = tensors_file.read(path, "checkpoint")
    tree["optimizer_states"]["dense_1.w"]["velocity"] = np.zeros(3, np.float32)
    tensors_file.write(path, "checkpoint", tree)
    message = r"dense_1.w: optimizer state 'velocity' is float32 \(3,\); its parameter is float32"
    with pytest.raises(fc.ModelFileError, match=message):
        fit(new_trainer(), [], epochs=1, checkpoint=tmp_path, resume=True)
    tensors_file.write(path, "checkpoint", {**tree, "format": 2})
    with pytest.warns(fc.FastconvWarning, match="of another form"), pytest.raises(fc.ModelFileError, match="no checkpoint"):
        fit(new_trainer(), [], checkpoint=tmp_path, resume=True)


def test_a_callback_whose_state_no_file_can_hold_ends_the_run(tmp_path):
    class Odd(fc.callbacks.Callback):
        remembered = ("odd",)
        odd = object()

        def on_epoch_end(self, epoch, logs):
            pass

    with pytest.raises(fc.OptionError, match="checkpoint/callbacks/0/odd: got object; needed numbers, text, arrays"):
        fit(new_trainer(), [Odd()], checkpoint=tmp_path)


def test_a_tree_comes_back_as_it_went():
    tree = {"a": [1, 2.5, None, True, "ü"], "b": {"c": np.arange(6.0).reshape(2, 3)[:, ::2], "d": np.zeros((0, 3), np.float32)}}
    arrays = {}
    back = tensors_file.put_together(tensors_file.taken_apart(tree, "x", arrays), arrays)
    assert back["a"] == tree["a"] and np.array_equal(back["b"]["c"], tree["b"]["c"]) and back["b"]["d"].shape == (0, 3)
    with pytest.raises(fc.OptionError, match="x/a/1: got set"):
        tensors_file.taken_apart({"a": [1, {2}]}, "x", {})


def test_a_state_of_any_length_is_read_again(tmp_path):
    """More than the header of a safetensors file may hold."""
    tree = {"rows": ["x" * 1000] * 101_000, "array": np.arange(3)}
    tensors_file.write(tmp_path / "long.safetensors", "kind", tree)
    found = tensors_file.read(tmp_path / "long.safetensors", "kind")
    assert found["rows"] == tree["rows"] and (found["array"] == tree["array"]).all()


def test_a_file_of_an_earlier_form_is_told_as_such(tmp_path):
    from safetensors.numpy import save_file

    save_file({"kind/0": np.arange(3)}, tmp_path / "old.safetensors", {"kind": "kind", "tree": "[]", "digest": "0"})
    with pytest.raises(fc.ModelFileError, match="is a kind of another form"):
        tensors_file.read(tmp_path / "old.safetensors", "kind")
    with pytest.raises(fc.ModelFileError, match="is no checkpoint of fastconv"):
        tensors_file.read(tmp_path / "old.safetensors", "checkpoint")
