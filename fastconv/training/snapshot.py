"""The state of a run as a tree of values and arrays, and a run put back to such a state."""

import zlib
from dataclasses import asdict, is_dataclass, replace

import numpy as np

from fastconv.errors import OptionError
from fastconv.layers.values import frozen
from fastconv.machine import info
from fastconv.training.checkpoint import note

__all__ = ["compare", "identity", "put_back", "taken"]

# where one of these differs it is another run; where one of those does, the run may go on, but not unnoticed
SAME = ("layers", "dtype", "loss", "optimizer_type", "seed", "images", "batch_size", "shuffle", "examples")
NOTED = (
    "frozen",
    "rates",
    "schedule",
    "augment",
    "clip",
    "callbacks",
    "cpu",
    "versions",
)  # and epochs and optimizer, looked at closer
SAMPLED = 256  # images whose bytes are looked at to know the data again


def identity(run):
    """What makes a run this run."""
    machine = info()
    return {
        **run.settings(),
        "layers": [f"{layer.name}: {layer.settings()}" for layer in run.trainer.net.layers],
        "frozen": [layer.name for layer in run.trainer.net.layers if not layer.trainable],
        "rates": {layer.label: dict(layer.rates) for layer in run.trainer.net.walk() if layer.rates} or None,
        "dtype": run.trainer.net.dtype.name,
        "optimizer_type": type(run.trainer.optimizer).__name__,
        "seed": str(run.trainer.seed),
        "examples": fingerprint(run.batches),
        "callbacks": run.hooks.names(),
        "cpu": machine["cpu"],
        "versions": machine["versions"],
    }


def fingerprint(batches):
    """A check sum of which rows, of all targets, and of some of the examples."""
    count = len(batches.x)
    some = batches.x[:: max(count // SAMPLED, 1)][:SAMPLED]
    found = 0
    for array in (batches.rows, batches.y, some):
        found = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, found)
    return f"{count} {batches.x.dtype} {found:08x}"


def taken(run):
    """Everything that decides how the run goes on; the arrays are those in use, not copies."""
    trainer = run.trainer
    return {
        "identity": run.identity,
        "epochs": run.epochs,
        "epoch": run.epoch,
        "step": run.step_in_epoch,
        "trainer_epochs": trainer.epochs,
        "stop_training": bool(trainer.stop_training),
        "means": run.means.state(),
        "history": {"rows": run.history.rows(), "iterations": run.history.iterations},
        "seconds": run.clock.seconds,
        "optimizer": asdict(trainer.optimizer) if is_dataclass(trainer.optimizer) else None,
        "optimizer_states": trainer.stepper.states(trainer.optimizer),
        "weights": {f"{layer.name}.{name}": array for layer in trainer.net.layers for name, array in layer.arrays.items()},
        "draws": {layer.name: layer.draws for layer in trainer.net.layers if hasattr(layer, "draws")},
        "callbacks": run.hooks.states(),
    }


def put_back(run, tree):
    """Bring `run`, fresh and compared, to the state in `tree`."""
    trainer = run.trainer
    trainer.net.set_weights(tree["weights"], allow_nonfinite=True)
    for layer in trainer.net.layers:
        if layer.name in tree["draws"]:
            layer.draws = frozen(tree["draws"][layer.name])
    trainer.stepper.set_states(trainer.optimizer, tree["optimizer_states"])
    if tree["optimizer"] is not None and not changed_optimizer(run, tree):
        trainer.optimizer = replace(trainer.optimizer, **tree["optimizer"])  # as callbacks had left it
    trainer.epochs, trainer.stop_training = tree["trainer_epochs"], tree["stop_training"]
    run.epoch, run.step_in_epoch = tree["epoch"], tree["step"]
    run.means.set_state(tree["means"])
    run.history.go_on(**tree["history"])
    for phase, seconds in tree["seconds"].items():
        run.clock.seconds[phase] += seconds
    run.history.earlier_seconds = sum(tree["seconds"].values())
    run.compiled = tree["seconds"]["compile"]
    run.hooks.set_states(tree["identity"]["callbacks"], tree["callbacks"])


def changed_optimizer(run, tree):
    """Whether the optimizer is neither the one that the run began with nor what callbacks had made of it."""
    return run.identity["optimizer"] != tree["identity"]["optimizer"] and asdict(run.trainer.optimizer) != tree["optimizer"]


def compare(run, path, tree):
    """OptionError for the checkpoint of another run; a note of what has changed in this one."""
    ours, theirs = run.identity, tree["identity"]
    for key in SAME:
        if ours[key] != theirs.get(key):
            was, now = difference(theirs.get(key), ours[key])
            raise OptionError(
                f"resume: {path} is of another run: {key} was {was}, is {now}; go on with what it was, or give another folder"
            )
    changed = [f"{key} was {theirs.get(key)}, is {ours[key]}" for key in NOTED if ours.get(key) != theirs.get(key)]
    if run.epochs != tree["epochs"] and run.schedule:  # without a schedule more epochs are just more of the same run
        changed.insert(0, f"epochs was {tree['epochs']}, is {run.epochs}")
    if changed_optimizer(run, tree):
        changed.append(f"optimizer was {theirs['optimizer']}, is {ours['optimizer']}")
    if changed:
        note(f"resume: {'; '.join(changed)}: from here on the run is not the one that would have gone on without a break")


def difference(was, now):
    """Two values, of lists only the first items that differ."""
    if isinstance(was, list) and isinstance(now, list):
        pairs = [(a, b) for a, b in zip(was, now, strict=False) if a != b]
        return pairs[0] if pairs else (f"{len(was)} long", f"{len(now)} long")
    return was, now
