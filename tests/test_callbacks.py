"""Callbacks do what Keras's do under the same names, averages and records are what their formulas say."""

import csv

import numpy as np
import pytest

import fastconv as fc


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny calls: threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    yield
    fc.set_threads(before)


X = np.random.default_rng(0).standard_normal((40, 8, 8, 1)).astype(np.float32)
Y = np.arange(40) % 2


def new_trainer(lr=0.05, **options):
    layers = [fc.Conv2D(4, 3, activation="relu"), fc.BatchNorm(), fc.Flatten(), fc.Dropout(0.2), fc.Dense(2)]
    return fc.Trainer(fc.Sequential(layers, input_shape=(8, 8, 1)), fc.optim.SGD(lr, momentum=0.9), **options)


def fit(*callbacks, trainer=None, **options):
    trainer = trainer or new_trainer()
    trainer.fit(X, Y, callbacks=callbacks, **{"epochs": 3, "batch_size": 16, "verbose": 0, **options})
    return trainer


def as_bytes(net):
    return b"".join(array.tobytes() for array in net.get_weights().values())


class Played:
    """A trainer for callbacks that are shown a row of metrics instead of a run."""

    def __init__(self, callback, values, monitor="val_loss", net=None):
        self.optimizer, self.stop_training, self.net = fc.optim.SGD(1.0), False, net
        callback.set_trainer(self)
        callback.on_train_begin({})
        self.rates = []
        for epoch, value in enumerate(values):
            callback.on_epoch_end(epoch, {"loss": 0.0, monitor: value})
            self.rates.append(self.optimizer.lr)
            if self.stop_training:
                break


def stopped_at(values, monitor="val_loss", **options):
    callback = fc.callbacks.EarlyStopping(monitor, **options)
    Played(callback, values, monitor)
    return callback.stopped_epoch


@pytest.mark.parametrize(
    "values, options, epoch",
    [
        ([3, 2, 2, 1], {}, 2),
        ([3, 2, 2.5, 1, 2, 3], {"patience": 2}, 5),
        ([3, 2, 1, 0], {}, None),
        ([3, 2.9, 2.8, 2.7], {"min_delta": 0.5, "patience": 2}, 2),
        ([3, 2, 2], {"patience": 2}, None),
        ([3, 2, 2], {"baseline": 0.5, "patience": 2}, 2),
        ([3, 2, 1, 1], {"baseline": 1.5, "patience": 2}, None),
        ([1, 2, 3, 1, 2], {"start_from_epoch": 3, "patience": 1}, 4),
        ([1, 2, 3, 2], {"mode": "max"}, 3),
        ([0.1, 0.2, 0.3, 0.2], {"monitor": "val_accuracy"}, 3),
        ([1, float("nan"), 0.5], {"patience": 1}, 1),
    ],
)
def test_early_stopping_stops_where_it_should(values, options, epoch):
    assert stopped_at(values, **options) == epoch


def test_early_stopping_puts_back_the_best_weights():
    best = {}

    def see(epoch, logs):
        if logs["val_loss"] < best.get("loss", np.inf):
            best.update(loss=logs["val_loss"], weights=as_bytes(trainer.net))

    stop, trainer = fc.callbacks.EarlyStopping(patience=3, restore_best_weights=True), new_trainer(0.3)
    fit(fc.callbacks.LambdaCallback(on_epoch_end=see), stop, trainer=trainer, epochs=60, validation=0.25)
    assert trainer.history.stopped == "callback" and as_bytes(trainer.net) == best["weights"]
    assert stop.best_epoch == np.argmin(trainer.history.history["val_loss"]) == stop.stopped_epoch - 3


@pytest.mark.parametrize("options", [{"patience": 1}, {"patience": 2, "cooldown": 3}, {"patience": 1, "min_lr": 0.02}], ids=str)
def test_plateaus_are_those_of_pytorch(options):
    """PyTorch waits one epoch longer: its patience is how many bad epochs are forgiven."""
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).random(40).round(1).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=0.3,
        patience=options["patience"] - 1,
        threshold=0.01,
        threshold_mode="abs",
        cooldown=options.get("cooldown", 0),
        min_lr=options.get("min_lr", 0),
        eps=0,
    )
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    ours = Played(fc.callbacks.ReduceLROnPlateau(factor=0.3, min_delta=0.01, **options), values)
    assert ours.rates == pytest.approx(expected) and len(set(expected)) > 2


def test_the_rate_of_each_epoch_from_a_function():
    trainer = fit(fc.callbacks.LearningRateScheduler(lambda epoch, lr: lr * 0.5), epochs=4)
    assert [row["lr"] for row in trainer.history.rows()] == [0.025, 0.0125, 0.00625, 0.003125]
    trainer = fit(fc.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch)), schedule="linear", epochs=2)
    assert [row["lr"] for row in trainer.history.rows()] == pytest.approx([0.1 * 4 / 6, 0.05 * 1 / 6])


def test_a_csv_file_follows_the_epochs(tmp_path):
    path, seen = tmp_path / "run.csv", []
    look = fc.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(path.read_text().splitlines())))
    trainer = fit(fc.callbacks.CSVLogger(path), look)
    assert seen == [2, 3, 4] and path.read_text() == trainer.history.to_csv()
    assert [float(row["loss"]) for row in csv.DictReader(path.open())] == trainer.history.history["loss"]


def test_networks_are_kept_each_epoch_or_the_best(tmp_path):
    every = fc.callbacks.ModelCheckpoint(tmp_path / "all-{epoch:02d}-{val_loss:.2f}.safetensors")
    best = fc.callbacks.ModelCheckpoint(tmp_path / "best.safetensors", "val_accuracy", save_best_only=True)
    trainer = fit(every, best, validation=(X, Y), epochs=4)
    losses = trainer.history.history["val_loss"]
    names = [f"all-{i:02d}-{loss:.2f}.safetensors" for i, loss in enumerate(losses, 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "best.safetensors"]
    x, y = X, Y
    assert fc.Trainer(fc.load(tmp_path / names[1])).evaluate(x, y)["loss"] == losses[1]
    assert fc.Trainer(fc.load(tmp_path / "best.safetensors")).evaluate(x, y)["accuracy"] == best.best
    assert best.best == max(trainer.history.history["val_accuracy"])


def test_a_file_that_cannot_be_written_is_a_note(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    with pytest.warns(fc.FastconvWarning, match="a.safetensors.*training goes on"):
        trainer = fit(fc.callbacks.ModelCheckpoint(tmp_path / "a.safetensors"))
    assert len(trainer.history.rows()) == 3


def test_hooks_have_keras_names_old_and_new():
    calls = []
    new = fc.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: calls.append(("begin", batch)),
        on_train_batch_end=lambda batch, logs: calls.append(("end", batch)),
        on_test_begin=lambda logs: calls.append("test"),
        on_test_end=lambda logs: calls.append(sorted(logs)),
    )
    old = fc.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: calls.append(("old end", batch)))
    fit(new, old, epochs=1, batch_size=20, validation=(X, Y))
    steps = [[("begin", i), ("end", i), ("old end", i)] for i in (0, 1)]
    assert calls == [*steps[0], *steps[1], "test", ["accuracy", "loss"]]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fc.callbacks.LambdaCallback(on_epoch=print), "on_epoch: got .* under the name of a hook"),
        (lambda: fc.callbacks.LambdaCallback(on_epoch_end=3), "on_epoch_end: got 3"),
        (lambda: fc.callbacks.EarlyStopping(mode="best"), "mode: got 'best'"),
        (lambda: fc.callbacks.EarlyStopping(patience=1.5), "patience: got 1.5"),
        (lambda: fc.callbacks.ReduceLROnPlateau(factor=2), "factor: got 2"),
        (lambda: fc.callbacks.WeightAverage(1.0), "decay: got 1.0"),
        (lambda: fc.callbacks.SWA(-1), "start_epoch: got -1"),
        (lambda: fc.callbacks.Lookahead(0), "alpha: got 0"),
        (lambda: fc.callbacks.Lookahead(0.5, 0), "every: got 0"),
        (lambda: fc.callbacks.ModelCheckpoint("net.h5"), "filepath: got 'net.h5'"),
        (lambda: fc.callbacks.Recorder(X, Y, every=0), "every: got 0"),
        (lambda: new_trainer(clip_norm=0), "clip_norm: got 0"),
        (lambda: new_trainer(clip_value="1"), "clip_value: got '1'"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(fc.OptionError, match=message):
        make()


@pytest.mark.parametrize(
    "callback, message",
    [
        (fc.callbacks.EarlyStopping(), "monitor: got 'val_loss'; needed one of loss, accuracy; pass validation=0.1 to fit"),
        (fc.callbacks.EarlyStopping("error"), "monitor: got 'error'; needed one of loss, accuracy"),
        (fc.callbacks.ReduceLROnPlateau(), "monitor: got 'val_loss'"),
        (fc.callbacks.ModelCheckpoint("best.safetensors", save_best_only=True), "monitor: got 'val_loss'"),
        (fc.callbacks.ModelCheckpoint("{f1}.safetensors"), r"cannot be filled in \('f1'\); there are epoch, loss, accuracy"),
    ],
)
def test_a_metric_that_is_not_there_is_named_before_the_first_step(callback, message):
    trainer = new_trainer()
    with pytest.raises(fc.OptionError, match=rf"callbacks\[0\], {type(callback).__name__}: .*{message}"):
        fit(callback, trainer=trainer)
    assert trainer.epochs == 0 and trainer.history is None


# Averages


def weights_after_each(kind, average, **options):
    """The weights after each step or epoch, and the trainer."""
    seen = []
    spy = fc.callbacks.LambdaCallback(**{kind: lambda *_: seen.append(trainer.net.get_weights())})
    trainer = new_trainer()
    fit(spy, average, trainer=trainer, **options)
    return seen, trainer


def test_an_exponential_average_is_the_formula():
    seen, trainer = weights_after_each("on_train_batch_end", fc.callbacks.WeightAverage(0.6), epochs=4)
    mean = seen[0]
    for t, weights in enumerate(seen[1:], 1):
        d = min(0.6, (1 + t) / (10 + t))
        mean = {name: d * mean[name].astype(np.float64) + (1 - d) * weights[name] for name in mean}
    assert len(seen) == 12
    for name, array in trainer.net.get_weights().items():
        np.testing.assert_allclose(array, mean[name], rtol=1e-5, atol=1e-7)


def test_swa_is_the_mean_of_the_last_epochs():
    seen, trainer = weights_after_each("on_epoch_end", fc.callbacks.SWA(2), epochs=6)
    for name, array in trainer.net.get_weights().items():
        np.testing.assert_allclose(array, np.mean([weights[name] for weights in seen[2:]], axis=0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("alpha", (0.5, fc.callbacks.fading))
def test_lookahead_leads_the_weights_that_it_follows(alpha):
    before, after, lookahead = [], [], fc.callbacks.Lookahead(alpha, 3)

    def noted(seen):
        return fc.callbacks.LambdaCallback(on_train_batch_end=lambda *_: seen.append(trainer.net.get_weights()))

    trainer = new_trainer()
    fit(noted(before), lookahead, noted(after), trainer=trainer, epochs=4)
    slow = before[0]
    for step, (weights, led) in enumerate(zip(before, after, strict=True), 1):
        if step % 3 == 0:
            part = alpha(step / 12) if callable(alpha) else alpha
            slow = weights = {name: slow[name] + part * (weights[name] - slow[name]) for name in slow}
        for name, array in led.items():
            np.testing.assert_allclose(array, weights[name], rtol=1e-5, atol=1e-7)
    assert len(after) == 12
    assert all(np.array_equal(array, after[-1][name]) for name, array in trainer.net.get_weights().items())


def test_the_average_is_validated_and_training_does_not_notice():
    seen, trainer = weights_after_each("on_train_batch_end", fc.callbacks.WeightAverage(0.9), validation=(X, Y))
    plain, _ = weights_after_each("on_train_batch_end", fc.callbacks.LambdaCallback(on_train_end=len))
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(seen, plain, strict=True) for name in a)
    assert trainer.history.history["val_loss"][-1] == trainer.evaluate(X, Y)["loss"]
    trainer.net.set_weights(seen[-1])
    assert trainer.history.history["val_loss"][-1] != trainer.evaluate(X, Y)["loss"]


# Records


def test_recording_changes_no_bit():
    plain, recorder = fit(), fc.callbacks.Recorder(X[:8], Y[:8], every=1)
    recorded = fit(recorder)
    assert as_bytes(plain.net) == as_bytes(recorded.net) and plain.history.history == recorded.history.history
    assert len(recorder.rows) == 3 * 3 * 5
    assert len(fit(other := fc.callbacks.Recorder(X[:8], Y[:8])).history.rows()) == 3 and len(other.rows) == 3 * 5


def test_records_are_the_sizes_of_what_is_there(tmp_path):
    layers = [fc.Dense(6, activation="relu"), fc.Dense(3)]
    net = fc.Sequential(layers, input_shape=(4,))
    x, y = np.random.default_rng(1).standard_normal((10, 4)).astype(np.float32), np.arange(10) % 3
    recorder = fc.callbacks.Recorder(x, y)
    before = net.get_weights()
    fc.Trainer(net, fc.optim.SGD(0.5)).fit(x, y, batch_size=10, verbose=0, callbacks=[recorder])
    after = net.get_weights()
    first, second = recorder.rows
    hidden = np.maximum(x @ after["dense_1.w"] + after["dense_1.b"], 0)
    assert first["activation_zeros"] == pytest.approx((hidden == 0).mean()) and (hidden == 0).any()
    assert (first["activation_mean"], first["activation_std"]) == pytest.approx((hidden.mean(), hidden.std()), rel=1e-5)
    scores = hidden @ after["dense_2.w"] + after["dense_2.b"]
    dy = fc.losses.softmax_cross_entropy(scores, y)[1]
    assert second["activation_gradient"] == pytest.approx(np.sqrt((dy**2).mean()), rel=1e-5)
    grads = np.concatenate([(hidden.T @ dy).ravel(), dy.sum(0)])
    assert second["gradient"] == pytest.approx(np.linalg.norm(grads), rel=1e-5)
    old, new = (np.concatenate([w["dense_2.w"].ravel(), w["dense_2.b"]]).astype(np.float64) for w in (before, after))
    assert second["weight"] == pytest.approx(np.linalg.norm(old), rel=1e-6)
    assert second["update_ratio"] == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-5)
    rows = list(csv.DictReader(recorder.to_csv(tmp_path / "sizes.csv").splitlines()))
    assert [row["layer"] for row in rows] == ["dense_1", "dense_2"] and rows[0]["epoch"] == rows[0]["iteration"] == "1"


def test_layers_inside_blocks_are_recorded_too():
    def trained(*callbacks):
        body = [fc.Conv2D(2, 3, padding=1), fc.BatchNorm(), fc.ReLU(), fc.Add([[], fc.Conv2D(2, 1)])]
        layers = [fc.Residual(body, name="block"), fc.GlobalAvgPool2D(), fc.Dense(2)]
        net = fc.Sequential(layers, input_shape=(6, 6, 2), seed=0)
        fc.Trainer(net, fc.optim.SGD(0.1)).fit(x, y, batch_size=6, verbose=0, callbacks=callbacks)
        return net

    x, y = np.random.default_rng(4).standard_normal((6, 6, 6, 2)).astype(np.float32), np.arange(6) % 2
    recorder = fc.callbacks.Recorder(x, y)
    net = trained(recorder)
    assert as_bytes(net) == as_bytes(trained())
    names = ["block", "conv2d_1", "batch_norm_1", "relu_1", "add_1", "add_1.conv2d_1", "global_avg_pool2d_1", "dense_1"]
    rows = {row["layer"].removeprefix("block."): row for row in recorder.rows}
    assert list(rows) == names
    assert all(row["activation_gradient"] > 0 for row in rows.values())
    assert 0.2 < rows["relu_1"]["activation_zeros"] < 0.8 and rows["batch_norm_1"]["activation_std"] == pytest.approx(1, rel=0.05)
    inside = [rows[name] for name in ("conv2d_1", "batch_norm_1", "add_1")]
    for size in ("gradient", "weight", "update"):
        assert rows["block"][size] == pytest.approx(np.linalg.norm([row[size] for row in inside]), rel=1e-5)
    assert rows["add_1"]["gradient"] == rows["add_1.conv2d_1"]["gradient"] and rows["relu_1"]["gradient"] is None


# Clipping

CLIPS = ({"clip_norm": 0.05}, {"clip_norm": 1e6}, {"clip_value": 0.01}, {"clip_norm": 0.2, "clip_value": 0.03})


@pytest.mark.parametrize("options", CLIPS, ids=str)
def test_gradients_are_clipped_as_in_pytorch(options):
    torch = pytest.importorskip("torch")
    net = fc.Sequential([fc.Dense(5), fc.Dense(3)], input_shape=(4,), dtype="float64")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Linear(5, 3)).double()
    with torch.no_grad():
        for linear, layer in zip(theirs, net.layers, strict=True):
            linear.weight.copy_(torch.from_numpy(layer.params["w"].T.copy()))
            linear.bias.copy_(torch.from_numpy(layer.params["b"].copy()))
    x, y = np.random.default_rng(0).standard_normal((12, 4)), np.arange(12) % 3
    trainer, optimizer = fc.Trainer(net, fc.optim.SGD(1.0), **options), torch.optim.SGD(theirs.parameters(), 1.0)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        if "clip_norm" in options:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), options["clip_norm"])
        if "clip_value" in options:
            torch.nn.utils.clip_grad_value_(theirs.parameters(), options["clip_value"])
        optimizer.step()
        trainer.step(x, y)
    for linear, layer in zip(theirs, net.layers, strict=True):  # PyTorch adds 1e-6 to the norm
        np.testing.assert_allclose(layer.params["w"], linear.weight.detach().numpy().T, rtol=1e-4, atol=1e-6)
