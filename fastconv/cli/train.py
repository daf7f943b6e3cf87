"""`fastconv train`: a network of the zoo learns a data set."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from fastconv.cli.models import CLASSIFIERS, SUFFIX, named_after
from fastconv.cli.recipes import DATA_SETS, OPTIMIZERS, build, default_model, images_of, optimizer_of, recipe_for
from fastconv.cli.regime import add_regime, callbacks_of, checkpoint_of, regime_of, views_of
from fastconv.cli.usage import UsageError, as_options, natural, positive

HELP = "a network learns a data set (default: LeNet-5, embedded digits)"
ABOUT = """Trains a network and says how well it does on test images that it has never seen.  Without arguments: LeNet-5 on the
10,000 handwritten digits that come with fastconv.  The test images are looked at once, after training; nothing is chosen by
them."""
EXAMPLES = (
    ("fastconv train", "LeNet-5 on the embedded digits, no download"),
    ("fastconv train --save digits.safetensors", "and keep it"),
    ("fastconv train --run digits-run", "and store what fastconv report makes a page of"),
    ("fastconv train mnist --model small_mnist --data ~/data", "99 % in seconds"),
    ("fastconv train cifar10 --data ~/data", "airbench, a network made for this"),
    ("fastconv train cifar10 --width 1.5 --epochs 24 --data ~/data", "an hour of it"),
    ("fastconv train cifar10 --model convnetjs_cifar --data ~/data", "the files lie in ~/data or ~/data/cifar10"),
    ("fastconv train --optimizer momentum --lr 0.01 --epochs 3 --seed 1", ""),
    ("fastconv train --budget 60s --checkpoint run --resume", "as far as a minute goes; typed again it goes on"),
)
INTERRUPTED = 130


def arguments(parser):
    add_network(parser)
    add_regime(parser)
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="where the files lie (default: FASTCONV_DATA, then the cache); digits need none",
    )
    parser.add_argument("--download", action="store_true", help="fetch the files where they are missing (needs the extra data)")
    parser.add_argument("--images", type=positive, metavar="N", help="train on the first N images only")
    parser.add_argument("--epochs", type=positive, metavar="N", help="times through all images (default: the recipe's)")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="images a step (default: the recipe's)")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS), help="default: the recipe's")
    parser.add_argument("--lr", type=float, metavar="RATE", help="learning rate (default: the recipe's or the optimizer's)")
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="decides first weights and order, nothing else does (default 0)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="default: physical cores; results do not depend on it")
    parser.add_argument("--save", metavar=f"FILE{SUFFIX}", help="keep the trained network")
    parser.add_argument(
        "--run", metavar="FOLDER", dest="folder", help="store network, history and test answers for fastconv report"
    )


def add_network(parser):
    """The data set and the model, as `warmup` has them too."""
    parser.add_argument(
        "data_set",
        metavar="DATA_SET",
        nargs="?",
        choices=DATA_SETS,
        default="digits",
        help=f"{', '.join(DATA_SETS)} (default digits)",
    )
    names = ", ".join(CLASSIFIERS)
    parser.add_argument("--model", choices=CLASSIFIERS, metavar="NAME", help=f"{names} (default lenet5, for cifar10 airbench)")
    parser.add_argument("--width", type=float, metavar="FACTOR", help="so many times the channels that the model is known with")


def run(args, output):
    """Train, save, test once, and say what happened."""
    started = perf_counter()
    args.model = args.model or default_model(args.data_set)
    check_data(args)
    check_length(args)
    check_target(args.save)
    check_folder(args.folder)
    with as_options(args):
        saving = checkpoint_of(args)
    if args.data_set != "digits":
        output.message(f"reading {args.data_set}")
    (x, y), test = images_of(args.data_set, args.data, args.download)
    reading = perf_counter() - started
    with as_options(args, decay="average"):
        set_threads(args.threads)
        recipe = chosen_recipe(args, x[: args.images])
        beside = callbacks_of(args)
    trainer = new_trainer(args, recipe, x[: args.images])
    if not (args.quiet or args.json):
        output.text(f"{trainer.net.summary()}\n")
        output.flush()
    settings = {**recipe.settings(args.budget), **saving}
    settings["callbacks"] += beside
    if not fitted(trainer, settings, x[: args.images], y[: args.images], args, output):
        return INTERRUPTED
    if args.save:
        trainer.net.save(args.save)
    views = views_of(args, recipe)
    if args.folder:
        store(args, trainer, *test, views)
    report(args, output, trainer, *tested(trainer, test, views), {"total": perf_counter() - started, "reading": reading})


def new_trainer(args, recipe, x):
    """A fresh network, prepared for images x, and what trains it."""
    with as_options(args):
        net = build(args.model, args.data_set, recipe.normalize, width=args.width, seed=args.seed)
    named_after(net, args.data_set)
    return recipe.trainer(net, x)


def fitted(trainer, settings, x, y, args, output):
    """Train; False after Ctrl-C, when what was learned is saved if --save was given."""
    steps = Steps()
    settings = {**settings, "callbacks": [*settings["callbacks"], steps]}
    try:
        trainer.fit(x, y, verbose=0 if args.quiet else 1, **settings)
    except KeyboardInterrupt:
        further = f"; the same command with --resume goes on from {args.checkpoint}" if args.checkpoint else ""
        output.error(f"stopped by Ctrl-C; {kept(trainer.net, steps, args.save)}{further}")
        return False
    return True


class Steps:
    """A callback that counts whole steps, and knows when the network is in the middle of one."""

    def __init__(self):
        self.done, self.inside = 0, False

    def on_batch_begin(self, batch, logs):
        self.inside = True

    def on_batch_end(self, batch, logs):
        self.inside = False
        self.done += 1


def kept(net, steps, path):
    """Save what an interrupted run has learned, if that was asked for and is whole; what became of it, in words."""
    if path is None:
        return "nothing was saved, there was no --save"
    if steps.inside:  # a second Ctrl-C does not wait for the end of a step
        return "the second Ctrl-C came within a step, so nothing was saved"
    if not steps.done:
        return "nothing was learned and nothing was saved"
    net.save(path)
    return f"the network after {steps.done:,} iterations is saved in {path}"


def check_data(args):
    """Refuse a folder for images that lie in the package."""
    if args.data_set == "digits" and args.data is not None:
        others = ", ".join(name for name in DATA_SETS if name != "digits")
        raise UsageError(f"--data: got {args.data!r}; the digits lie in fastconv itself: leave it out, or name one of {others}")


def check_length(args):
    """Refuse two answers to how long."""
    if args.epochs is not None and args.budget is not None:
        raise UsageError(f"--epochs: got {args.epochs} and --budget {args.budget}; needed one of them: a budget picks the epochs")


def check_target(path):
    """Find out before training whether --save can work."""
    if path is None:
        return
    target = Path(path).resolve()
    if target.suffix != SUFFIX:
        raise UsageError(f"--save: got {path!r}; models are safetensors files, such as digits{SUFFIX}")
    if target.exists() and not target.is_file():
        raise UsageError(f"--save: {path} is there and is no file; give another name")
    refuse_unwritable(target.parent, "--save")


def check_folder(path):
    """Find out before training whether --run can work."""
    if path is None:
        return
    if not path:
        raise UsageError("--run: got an empty name; needed that of a folder")
    folder = Path(path).resolve()
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir():
        raise UsageError(f"--run: {nearest} is there and is no folder; give another name")
    refuse_unwritable(nearest, "--run")


def refuse_unwritable(folder, option):
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(f"{option}: {folder} cannot be written ({error.strerror}); give a place in another folder") from None


def set_threads(threads):
    """`threads`, or the default."""
    from fastconv import machine

    if threads is not None:
        machine.set_threads(threads)


def chosen_recipe(args, x):
    """The recipe of the data set with what the command line says otherwise."""
    recipe = recipe_for(args.data_set, x, args.model)
    recipe = replace(recipe, optimizer=optimizer_of(args.optimizer, args.lr, recipe.optimizer))
    given = {name: getattr(args, name) for name in ("epochs", "batch_size") if getattr(args, name) is not None}
    return regime_of(args, replace(recipe, **given))


def store(args, trainer, x, y, views):
    """Fill the folder of --run."""
    from fastconv.cli.models import known_classes
    from fastconv.training import Evaluation, save_run

    answers = Evaluation.of(trainer.predict(x, views=views), y, known_classes(trainer.net))
    save_run(args.folder, trainer.net, trainer.history, x, answers)


def tested(trainer, test, views=None):
    """The one look at the test images: ({"images", "right", "accuracy", "loss"}, seconds of it by phase)."""
    from fastconv.training.clock import Clock

    clock = Clock()
    found = trainer.evaluate(*test, views=views)
    clock.lap("evaluate")
    images = len(test[1])
    return {"images": images, "right": round(found["accuracy"] * images), **found}, clock.seconds


def report(args, output, trainer, test, testing, spent):
    """The result, and where the time went."""
    history = json.loads(trainer.history.to_json())
    earlier = history["earlier_seconds"]
    spent = {**spent, "total": spent["total"] + earlier, "earlier": earlier, **spent_by_phase(history["seconds"], testing)}
    text = "\n".join([tested_text(test), spent_text(spent), *next_lines(args, output.quiet)])
    summary = json.loads(trainer.net.summary().to_json())
    names = {"data_set": args.data_set, "model": args.model, "width": args.width, "seed": args.seed}
    names |= {"saved": args.save, "run": args.folder}
    output.result(text, **names, test=test, seconds=spent, summary=summary, history=history)


def spent_by_phase(training, testing):
    """Compilation, the phases of training without it, and the test without it."""
    phases = {phase: seconds for phase, seconds in training.items() if phase not in ("compile", "evaluate")}
    return {"compile": training["compile"] + testing["compile"], **phases, "test": testing["evaluate"]}


def tested_text(test):
    return (
        f"Test: {test['accuracy']:.2%} of {test['images']:,} images right ({test['right']:,}), loss {test['loss']:.4f}; "
        "they were looked at once, now."
    )


def spent_text(spent):
    """Training by phase, compilation apart, and whatever is left; with what was trained before the run was resumed."""
    apart = ("reading", "compile", "test")
    phases = {name: seconds for name, seconds in spent.items() if name not in ("total", "earlier", *apart)}
    training = sum(phases.values())
    rest = spent["total"] - training - sum(spent[name] for name in apart)
    earlier = f" ({spent['earlier']:.1f} s of them before the run was resumed)" if spent["earlier"] else ""
    kept = " (kept for the next run)" if spent["compile"] > 0.1 else ""
    if phases["forward"] < phases["backward"] / 100:  # a chain of small layers goes there and back at once
        del phases["forward"]
        phases = {"forward and backward" if name == "backward" else name: seconds for name, seconds in phases.items()}
    inside = ", ".join(f"{name} {seconds:.1f}" for name, seconds in phases.items())
    return (
        f"Time: {spent['total']:.1f} s{earlier} = reading {spent['reading']:.1f} + compilation {spent['compile']:.1f}{kept} + "
        f"training {training:.1f} ({inside}) + test {spent['test']:.1f} + rest {rest:.1f}"
    )


def next_lines(args, quiet):
    """Where the network is, and unless only results are wanted, what to do next."""
    if args.save is None:
        return () if quiet else (f"Next: the same command with --save {args.data_set}{SUFFIX} keeps the network",)
    return (f"Saved: {args.save}." + ("" if quiet else f"  Next: fastconv predict {args.save} IMAGE.png"),)
