"""The training loop: it learns, it repeats itself, it stops cleanly, and it says what it did."""

import csv
import io
import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastconv as fc
from fastconv.training.batches import Batches


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny calls: threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    yield
    fc.set_threads(before)


X = np.random.default_rng(0).standard_normal((96, 8, 8, 1)).astype(np.float32)
Y = (X[:, :4].mean(axis=(1, 2, 3)) > X[:, 4:].mean(axis=(1, 2, 3))).astype(int)  # is the upper half brighter?


def small_net(seed=0, **options):
    layers = [fc.Conv2D(4, 3, activation="relu"), fc.BatchNorm(), fc.MaxPool2D(2), fc.Flatten(), fc.Dropout(0.2), fc.Dense(2)]
    return fc.Sequential(layers, input_shape=(8, 8, 1), seed=seed, **options)


def dense_net(inputs=4, classes=3, seed=0):
    return fc.Sequential([fc.Dense(classes)], input_shape=(inputs,), seed=seed)


def train(net=None, y=Y, optimizer=None, **options):
    trainer = fc.Trainer(net or small_net(), optimizer or fc.optim.Adam(0.01))
    trainer.fit(X, y, **{"epochs": 3, "batch_size": 16, "verbose": 0, **options})
    return trainer


def as_bytes(net):
    return b"".join(array.tobytes() for array in net.get_weights().values())


# It learns


def test_examples_and_targets_of_any_byte_order():
    """As many numbers as compiled code looks at."""
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((1000, 8, 9, 1)).astype(">f4"), rng.standard_normal((1000, 70))
    found = []
    for order in (">", "<"):
        trainer = fc.Trainer(fc.Sequential([fc.Flatten(), fc.Dense(70)], input_shape=(8, 9, 1)), loss="mean_squared_error")
        trainer.fit(x.astype(f"{order}f4"), y.astype(f"{order}f8"), batch_size=500, verbose=0)
        found.append(trainer.net.layers[1].params["w"])
    np.testing.assert_array_equal(*found)
    x[3, 2, 1, 0] = np.nan
    with pytest.raises(fc.DataError, match=r"example 3 is not finite, nan at \[3, 2, 1, 0\]"):
        trainer.fit(x, y, verbose=0)


def test_loss_falls_and_evaluation_agrees():
    trainer = train(epochs=25, validation=(X, Y))
    losses = trainer.history.history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    found = trainer.evaluate(X, Y)
    assert found["accuracy"] > 0.9
    assert found["loss"] == trainer.history.history["val_loss"][-1]
    right = (trainer.predict(X).argmax(-1) == Y).mean()
    assert right == pytest.approx(found["accuracy"])
    np.testing.assert_allclose(trainer.predict(X).sum(-1), 1, rtol=1e-6)


def test_evaluation_does_not_depend_on_its_batches():
    trainer = train()
    whole, parts = trainer.evaluate(X, Y), trainer.evaluate(X, Y, batch_size=7)
    assert parts["accuracy"] == whole["accuracy"] and parts["loss"] == pytest.approx(whole["loss"], rel=1e-6)


def test_a_step_is_the_formula():
    net = dense_net()
    x, y = np.eye(4, dtype=np.float32), [0, 1, 2, 0]
    before = net.get_weights()["dense_1.w"]
    loss, gradient = fc.losses.softmax_cross_entropy(net.forward(x), y)
    assert fc.Trainer(net, fc.optim.SGD(0.5)).step(x, y) == loss
    np.testing.assert_allclose(net.get_weights()["dense_1.w"], before - 0.5 * (x.T @ gradient), rtol=1e-6)


def test_training_follows_pytorch_step_by_step():
    torch = pytest.importorskip("torch")
    net = fc.Sequential([fc.Flatten(), fc.Dense(8, activation="relu"), fc.Dense(2)], input_shape=(8, 8, 1), dtype="float64")
    theirs = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).double()
    with torch.no_grad():
        for (w, b), ours in zip(
            ((theirs[0].weight, theirs[0].bias), (theirs[2].weight, theirs[2].bias)), net.layers[1:], strict=True
        ):
            w.copy_(torch.from_numpy(ours.params["w"].T.copy()))
            b.copy_(torch.from_numpy(ours.params["b"].copy()))
    optimizer = torch.optim.SGD(theirs.parameters(), 0.1, momentum=0.9, nesterov=True)
    trainer = fc.Trainer(net, fc.optim.SGD(0.1, momentum=0.9, nesterov=True))
    x, y = torch.from_numpy(X.reshape(96, 64)).double(), torch.from_numpy(Y)
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(theirs(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert trainer.step(X, Y) == pytest.approx(loss.item(), rel=1e-9)


def test_only_trainable_layers_move():
    net = small_net()
    net.layers[0].trainable = False
    before = net.get_weights()
    train(net)
    after = net.get_weights()
    assert np.array_equal(after["conv2d_1.w"], before["conv2d_1.w"])
    assert not np.array_equal(after["dense_1.w"], before["dense_1.w"])


def test_the_schedule_sets_the_rate_of_each_iteration():
    seen = []

    class Spy(fc.optim.SGD):
        def step(self, p, g, state):
            seen.append(self.lr)
            super().step(p, g, state)

    trainer = fc.Trainer(dense_net(), Spy(1.0))
    trainer.fit(np.eye(4), [0, 1, 2, 0], epochs=2, batch_size=2, verbose=0, schedule="linear")
    assert seen[::2] == [1.0, 0.75, 0.5, 0.25]  # two arrays, w and b
    assert trainer.optimizer.lr == 1.0


# It repeats itself


def test_one_seed_gives_the_same_bytes():
    first, again, other = train(), train(), train(small_net(seed=1))
    assert as_bytes(first.net) == as_bytes(again.net) != as_bytes(other.net)
    assert first.history.history == again.history.history


def test_trainer_seed_changes_the_order_only():
    nets = [small_net(), small_net()]
    for net, seed in zip(nets, (1, 2), strict=True):
        fc.Trainer(net, fc.optim.Adam(0.01), seed=seed).fit(X, Y, batch_size=16, verbose=0)
    assert as_bytes(nets[0]) != as_bytes(nets[1])


def test_ten_steps_of_lenet_are_the_same_bytes_with_one_and_two_threads():
    try:
        fc.set_threads(2)
    except fc.OptionError as error:
        pytest.skip(str(error))
    before, results = fc.get_threads(), []
    x, y = np.random.default_rng(1).integers(0, 256, (320, 28, 28, 1), np.uint8), np.arange(320) % 10
    try:
        for threads in (1, 2):
            fc.set_threads(threads)
            net = fc.models.lenet5((28, 28, 1), padding="same", normalize=(33.3, 78.6))
            history = fc.Trainer(net).fit(x, y, batch_size=32, verbose=0)
            assert history.iterations == 10 and history.threads == threads
            results.append(as_bytes(net))
    finally:
        fc.set_threads(before)
    assert results[0] == results[1]


def test_integers_and_one_hot_labels_train_alike():
    assert as_bytes(train().net) == as_bytes(train(y=np.eye(2)[Y]).net) == as_bytes(train(y=Y.astype(np.uint8)).net)


def test_progress_and_callbacks_change_no_bit(capsys):
    class Watcher:
        def on_batch_end(self, batch, logs):
            pass

    assert as_bytes(train().net) == as_bytes(train(verbose=2, callbacks=[Watcher()]).net)


@pytest.mark.parametrize("size", [1, 7, 64, 100])
def test_shuffling_shows_every_example_once(size):
    batches = Batches(np.arange(100)[:, None], np.arange(100), size, seed=3, shuffle=True)
    orders = []
    for epoch in range(2):
        seen = [(x[:, 0].copy(), y.copy()) for x, y in batches.epoch(epoch)]
        assert len(seen) == len(batches)
        assert all(np.array_equal(x, y) for x, y in seen)
        orders.append(np.concatenate([y for _, y in seen]))
        assert np.array_equal(np.sort(orders[-1]), np.arange(100)) and not np.array_equal(orders[-1], np.arange(100))
    assert not np.array_equal(*orders)


def test_without_shuffling_the_order_stays():
    batches = Batches(np.arange(10)[:, None], np.arange(10), 4)
    assert [y.tolist() for _, y in batches.epoch()] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_fraction_is_held_out_and_never_trained_on():
    shown = []

    class Spy(fc.Layer):
        def forward(self, x, training=False):
            if training:
                shown.append(x[:, 0].copy())
            return x

        def backward(self, dy, needs_dx=True):
            return dy

    net = fc.Sequential([Spy(), fc.Dense(2)], input_shape=(1,))
    trainer = fc.Trainer(net)
    history = trainer.fit(np.arange(50.0)[:, None], np.arange(50) % 2, epochs=3, validation=0.2, verbose=0)
    assert history.settings["images"] == 40 and len(history.history["val_loss"]) == 3
    assert len(np.unique(np.concatenate(shown))) == 40


def test_augmentation_is_seeded_and_for_training_only():
    class Twice:
        def __call__(self, x, random):
            return x + random.standard_normal(x.shape).astype(np.float32)

    runs = [train(augment=Twice(), validation=(X, Y)) for _ in range(2)]
    assert as_bytes(runs[0].net) == as_bytes(runs[1].net) != as_bytes(train().net)
    assert runs[0].history.history["val_loss"][-1] == runs[0].evaluate(X, Y)["loss"]


# What it takes


def test_bytes_grey_images_lists_and_strides_are_taken():
    net = fc.Sequential([fc.Normalize(127, 64), fc.Flatten(), fc.Dense(2)], input_shape=(8, 8, 1))
    trainer = fc.Trainer(net)
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    for given in (x, x[..., None], x.astype(np.float64), x[::-1][::-1], np.asfortranarray(x)):
        kept = given.copy()
        trainer.fit(given, [0, 1] * 15, batch_size=8, verbose=0)
        assert np.array_equal(given, kept)
    assert trainer.evaluate(x, [0, 1] * 15).keys() == {"loss", "accuracy"}
    assert trainer.predict(x).shape == (30, 2)


def nan_at(i):
    x = X.copy()
    x[i, 2, 1, 0] = np.nan
    return x


@pytest.mark.parametrize(
    "x, y, options, error, message",
    [
        (X, Y[:9], {}, fc.ShapeError, "y: got 9, x has 96 examples"),
        (X[:0], Y[:0], {}, fc.DataError, "x: got 0 examples"),
        (nan_at(5), Y, {}, fc.DataError, r"x: example 5 is not finite, nan at \[5, 2, 1, 0\]"),
        (X.transpose(0, 3, 1, 2), Y, {}, fc.ShapeError, r"x: got shape \(96, 1, 8, 8\); .*transpose"),
        (X[:, :7], Y, {}, fc.ShapeError, r"x: got shape \(96, 7, 8, 1\); needed \(N, 8, 8, 1\)"),
        (X.astype(complex), Y, {}, fc.DTypeError, "x: got dtype complex128"),
        (X, Y + 1, {}, fc.DataError, r"y\[\d+\]: got class 2; the network has 2 classes"),
        (X, Y, {"epochs": 0}, fc.OptionError, "epochs: got 0"),
        (X, Y, {"batch_size": 2.5}, fc.OptionError, "batch_size: got 2.5"),
        (X, Y, {"verbose": 3}, fc.OptionError, "verbose: got 3"),
        (X, Y, {"validation": 1.5}, fc.OptionError, "validation: got 1.5 of 96"),
        (X, Y, {"validation": "some"}, fc.OptionError, "validation: got str"),
        (X, Y, {"validation": (X, Y[:3])}, fc.ShapeError, "validation: y: got 3, x has 96"),
        (X, Y, {"callbacks": [print]}, fc.OptionError, r"callbacks\[0\]: got <built-in function print>"),
        (X, Y, {"schedule": "sine"}, fc.OptionError, "schedule: got 'sine'; needed one of linear, cosine, one_cycle"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(x, y, options, error, message):
    net = small_net()
    before = as_bytes(net)
    with pytest.raises(error, match=message):
        fc.Trainer(net).fit(x, y, **{"verbose": 0, **options})
    assert as_bytes(net) == before


def test_a_network_that_ends_in_softmax_is_refused():
    net = fc.Sequential([fc.Dense(3), fc.Softmax()], input_shape=(4,))
    with pytest.raises(fc.OptionError, match="takes raw outputs, but the network ends in <softmax_1"):
        fc.Trainer(net)


def test_predict_follows_the_loss():
    net, x = dense_net(), np.eye(4, dtype=np.float32)
    raw = net.forward(x)
    for loss, expected in (("softmax_cross_entropy", fc.softmax(raw)), ("binary_cross_entropy", fc.sigmoid(raw)), ("hinge", raw)):
        np.testing.assert_array_equal(fc.Trainer(net, loss=loss).predict(x), expected)


def test_a_loss_of_ones_own():
    def absolute(p, t):
        return float(abs(p - t).mean()), np.sign(p - t) / p.size

    trainer = fc.Trainer(fc.Sequential([fc.Dense(1)], input_shape=(2,)), fc.optim.SGD(0.05), loss=absolute)
    x = np.random.default_rng(0).standard_normal((40, 2))
    history = trainer.fit(x, x @ [[1.0], [2.0]], epochs=30, batch_size=10, verbose=0)
    assert history.history["loss"][-1] < 0.2 * history.history["loss"][0] and "accuracy" not in history.history


# It stops cleanly


class Bomb(fc.Layer):
    """Lets numbers through until `fuse` training passes are over, then answers NaN, or sends NaN down."""

    def __init__(self, fuse, backwards=False, name=None):
        super().__init__(name)
        self.fuse, self.backwards, self.burnt = fuse, backwards, 0

    def forward(self, x, training=False):
        self.burnt += training
        return x * np.nan if self.burnt > self.fuse and not self.backwards else x

    def backward(self, dy, needs_dx=True):
        return dy * np.inf if self.burnt > self.fuse else dy


def with_bomb(fuse, **options):
    layers = [fc.Conv2D(4, 3), fc.BatchNorm(), fc.ReLU(), Bomb(fuse, name="bomb", **options), fc.Flatten(), fc.Dense(2)]
    return fc.Sequential(layers, input_shape=(8, 8, 1))


@pytest.mark.parametrize(
    "backwards, named",
    [
        (False, r"loss is nan: the output of bomb \(layer 4 of 6\) is the first"),
        (True, r"the gradient that bomb \(layer 4 of 6\) passes down is the first"),
    ],
)
def test_a_value_that_is_not_finite_stops_training_and_names_the_layer(backwards, named):
    net, reference = with_bomb(8, backwards=backwards), with_bomb(99)
    trainer = fc.Trainer(net, fc.optim.SGD(0.1, momentum=0.9))
    with pytest.raises(fc.TrainingError, match=rf"epoch 2, iteration 3 of 6: .*{named}.*smaller learning rate"):
        trainer.fit(X, Y, epochs=5, batch_size=16, verbose=0)
    assert (trainer.history.stopped, trainer.history.iterations, len(trainer.history.rows())) == ("nonfinite", 8, 1)

    class StopAfter:
        def on_batch_end(self, batch, logs):
            if other.history.iterations == 8:
                raise KeyboardInterrupt

    other = fc.Trainer(reference, fc.optim.SGD(0.1, momentum=0.9))
    with pytest.raises(KeyboardInterrupt):
        other.fit(X, Y, epochs=5, batch_size=16, verbose=0, callbacks=[StopAfter()])
    assert as_bytes(net) == as_bytes(reference)  # weights and running statistics of the last whole step


def test_a_rate_that_is_far_too_large_leaves_finite_weights():
    net = fc.models.lenet5((28, 28, 1), padding="same")
    x = np.random.default_rng(0).standard_normal((64, 28, 28, 1)).astype(np.float32)
    with pytest.raises(fc.TrainingError, match="Try a smaller learning rate than in SGD"), np.errstate(all="raise"):
        fc.Trainer(net, fc.optim.SGD(1e6)).fit(x, np.arange(64) % 10, epochs=50, batch_size=32, verbose=0)
    assert all(np.isfinite(array).all() for array in net.get_weights().values())


def test_a_failed_single_step_changes_nothing():
    net = with_bomb(0)
    before = as_bytes(net)
    with pytest.raises(fc.TrainingError, match="bomb"):
        fc.Trainer(net).step(X, Y)
    assert as_bytes(net) == before


def test_a_raising_callback_is_named_and_the_model_usable():
    class Broken:
        def on_epoch_end(self, epoch, logs):
            raise ZeroDivisionError("oops")

    trainer = fc.Trainer(small_net())
    with pytest.raises(fc.TrainingError, match=r"callback Broken\.on_epoch_end raised ZeroDivisionError: oops") as caught:
        trainer.fit(X, Y, epochs=3, verbose=0, callbacks=[Broken()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert trainer.history.stopped == "error" and len(trainer.history.rows()) == 1
    trainer.fit(X, Y, verbose=0)
    assert trainer.history.stopped == "" and np.isfinite(trainer.predict(X)).all()


def test_hooks_come_in_keras_order():
    calls = []

    class Diary:
        def set_trainer(self, trainer):
            self.trainer = trainer

        def on_train_begin(self, logs):
            calls.append(("train begin", logs["batch_size"]))

        def on_train_end(self, logs):
            calls.append(("train end", sorted(logs)[:2]))

        def on_epoch_begin(self, epoch, logs):
            calls.append(("epoch begin", epoch))

        def on_epoch_end(self, epoch, logs):
            calls.append(("epoch end", epoch, sorted(logs)))
            self.trainer.stop_training = epoch == 1

        def on_batch_begin(self, batch, logs):
            calls.append(("batch begin", batch))

        def on_batch_end(self, batch, logs):
            calls.append(("batch end", batch, sorted(logs)))

    trainer = train(callbacks=[Diary()], epochs=9, batch_size=64, validation=(X, Y))
    metrics = ["accuracy", "loss"]
    batches = [("batch begin", 0), ("batch end", 0, metrics), ("batch begin", 1), ("batch end", 1, metrics)]
    epochs = [[("epoch begin", e), *batches, ("epoch end", e, [*metrics, "val_accuracy", "val_loss"])] for e in (0, 1)]
    assert calls == [("train begin", 64), *epochs[0], *epochs[1], ("train end", ["accuracy", "backward_seconds"])]
    assert trainer.history.stopped == "callback" and trainer.history.iterations == 4


INTERRUPTED = """
import hashlib, os, signal, sys, threading, time
import numpy as np
import fastconv as fc

fc.set_threads(1)
delay, twice = float(sys.argv[1]), sys.argv[2] == "twice"
layers = [fc.Conv2D(4, 3, activation="relu"), fc.BatchNorm(), fc.Flatten(), fc.Dropout(0.3), fc.Dense(3)]
x = np.random.default_rng(0).standard_normal((64, 8, 8, 1)).astype(np.float32)
y = np.arange(64) % 3

def net():
    copies = [type(layer)(**layer.config()) for layer in layers]
    return fc.Sequential(copies, input_shape=(8, 8, 1))

def digest(net):
    return hashlib.sha256(b"".join(a.tobytes() for a in net.get_weights().values())).hexdigest()

class Slow(fc.optim.Adam):
    def step(self, p, g, state):
        time.sleep(delay / (5 if twice else 50))  # most of the time is spent in the middle of an update
        super().step(p, g, state)

class Shoot:
    def on_train_begin(self, logs):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
        if twice:
            threading.Timer(delay + 0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

handler = signal.getsignal(signal.SIGINT)
trainer = fc.Trainer(net(), Slow())
trainer.step(x[:16], y[:16])  # compiles, as what validates does
trainer.evaluate(x[:16], y[:16])
start = time.monotonic()
try:
    trainer.fit(x, y, epochs=10**6, batch_size=16, verbose=0, callbacks=[Shoot()], validation=0.25)
except KeyboardInterrupt:
    took = time.monotonic() - start
assert signal.getsignal(signal.SIGINT) is handler
history = trainer.history
print(history.stopped, history.iterations, took)
if twice:
    sys.exit()
assert len(history.rows()) == history.iterations // 3  # three batches of 16 in 48 images

class Again:
    def on_batch_end(self, batch, logs):
        if other.history.iterations == history.iterations:
            other.stop_training = True
            raise KeyboardInterrupt

other = fc.Trainer(net(), fc.optim.Adam())
other.step(x[:16], y[:16])
if history.iterations:
    try:
        other.fit(x, y, epochs=10**6, batch_size=16, verbose=0, callbacks=[Again()], validation=0.25)
    except KeyboardInterrupt:
        pass
assert digest(trainer.net) == digest(other.net), "the network is not the one after the last whole step"
trainer.fit(x, y, verbose=0)  # still usable
print("ok")
"""


def interrupted(delay, times):
    command = [sys.executable, "-c", INTERRUPTED, str(delay), times]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill cannot send SIGINT to itself on Windows")
@pytest.mark.parametrize("delay", np.random.default_rng(5).uniform(0.05, 0.6, 4).round(3).tolist())
def test_ctrl_c_leaves_the_network_of_the_last_whole_step(delay):
    stopped, iterations, took, ok = interrupted(delay, "once")
    assert (stopped, ok) == ("interrupt", "ok") and int(iterations) > 0 and float(took) < delay + 2


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill cannot send SIGINT to itself on Windows")
def test_a_second_ctrl_c_is_immediate():
    stopped, _, took = interrupted(0.5, "twice")
    assert stopped == "interrupt" and float(took) < 2


def test_an_exception_from_ctrl_c_keeps_its_history():
    class CtrlC:
        def on_batch_end(self, batch, logs):
            if trainer.history.iterations == 9:
                signal.raise_signal(signal.SIGINT)

    trainer = fc.Trainer(small_net())
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=5, batch_size=16, verbose=0, callbacks=[CtrlC()])
    assert signal.getsignal(signal.SIGINT) is before
    assert (trainer.history.stopped, trainer.history.iterations, len(trainer.history.rows())) == ("interrupt", 9, 1)


def test_fit_runs_in_another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(train()))
    thread.start()
    thread.join()
    assert as_bytes(results[0].net) == as_bytes(train().net)


# It says what it did


def test_history_is_a_lab_book(tmp_path):
    history = train(validation=(X, Y), epochs=2).history
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"} and history.epoch == [0, 1]
    assert history.seed == 0 and history.threads == fc.get_threads() and history.versions["numpy"] == np.__version__
    assert history.settings["optimizer"].startswith("Adam(lr=0.01") and history.iterations == 12
    assert {"compile", "data", "forward", "backward", "update", "evaluate"} == set(history.seconds)
    rows = list(csv.DictReader(io.StringIO(history.to_csv(tmp_path / "run.csv"))))
    assert (tmp_path / "run.csv").read_text() == history.to_csv()
    assert [float(row["val_loss"]) for row in rows] == history.history["val_loss"]
    assert all(float(row["images_per_second"]) > 0 and row["compile_seconds"] for row in rows)
    record = json.loads(history.to_json(tmp_path / "run.json"))
    assert record["rows"] == history.rows() and record["cpu"] == history.cpu
    assert "val_accuracy" in str(history) and "<table>" in history._repr_html_() and "2 epochs" in repr(history)


def test_an_epoch_is_told_in_numbers(capsys):
    x = np.zeros((10_000, 2), np.float32)
    fc.Trainer(dense_net(2, 2)).fit(x, np.zeros(10_000, int), batch_size=64, verbose=2)
    shown = capsys.readouterr()
    first, *_, titles, row = shown.err.splitlines()
    assert first.startswith("10,000 rows in batches of 64: 157 iterations = 1 epoch (the last batch has 16)")
    assert titles.split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds", "images/s"]
    assert row.split()[0] == "1/1" and row.split()[3:5] == ["-", "-"] and len(row) == len(titles)
    assert shown.out == ""


def test_verbose_0_says_nothing(capsys):
    train(verbose=0)
    assert capsys.readouterr() == ("", "")
