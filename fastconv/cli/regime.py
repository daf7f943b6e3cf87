"""Options of `train` beside network, data and optimizer: schedule, augmentation, budget, checkpoints, averages."""

from argparse import ArgumentTypeError
from dataclasses import replace

from fastconv.cli.usage import UsageError
from fastconv.errors import OptionError

__all__ = ["AUGMENTATIONS", "VIEWS", "add_regime", "callbacks_of", "checkpoint_of", "regime_of", "views_of"]

SCHEDULES = ("constant", "linear", "cosine", "one_cycle", "step", "warm_up")
AUGMENTATIONS = ("none", "warp", "shift", "flip", "crop", "crop+flip", "crop+flip+cutout")
VIEWS = {"one": None, "mirror": {"flip": True}, "corners": {"flip": False, "shift": 2}, "ten": {"flip": True, "shift": 2}}


def add_regime(parser):
    """The options."""
    group = parser.add_argument_group("how it is trained")
    group.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate (default: the recipe's)")
    group.add_argument("--weight-decay", type=float, metavar="RATE", help="pulls weights towards 0; ResNet's is 1e-4")
    group.add_argument("--augment", choices=AUGMENTATIONS, help="pictures slightly different each time (default: the recipe's)")
    group.add_argument("--average", type=float, metavar="DECAY", help="use the moving average of the weights, such as 0.999")
    group.add_argument(
        "--validation", type=part, metavar="PART", help="hold out this part of the training images, such as 0.1, to choose by"
    )
    group.add_argument(
        "--views", choices=VIEWS, help="average the answers to several views of each test image (default: the recipe's)"
    )
    group.add_argument("--budget", type=duration, metavar="TIME", help="not with --epochs: as many as fit into 60s, 5min, 1h")
    group.add_argument("--checkpoint", metavar="FOLDER", help="write the state of the run there after each epoch")
    group.add_argument("--every", type=interval, metavar="TIME", help="and also every 30s, 5min, or so many iterations")
    group.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, to the same bits")


def part(text):
    """A number between 0 and 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise ArgumentTypeError(f"got {text!r}; needed a number between 0 and 1, such as 0.1")
    return number


def duration(text):
    """ "60s" as it is, once it is known to be a time."""
    from fastconv.training.durations import seconds

    try:
        seconds(text, "budget")
    except OptionError as error:
        raise ArgumentTypeError(str(error).partition(": ")[2]) from None
    return text


def interval(text):
    """ "120" as a number of iterations; "5min" and "epoch" as they are."""
    if text.isdecimal() and int(text):
        return int(text)
    try:
        return text if text == "epoch" else duration(text)
    except ArgumentTypeError:
        needed = 'a number of iterations from 1 on, a time such as "30s" or "5min", or "epoch"'
        raise ArgumentTypeError(f"got {text!r}; needed {needed}") from None


def regime_of(args, recipe):
    """The recipe with what the options say otherwise."""
    if args.schedule is not None:
        recipe = replace(recipe, schedule=None if args.schedule == "constant" else args.schedule)
    if args.augment is not None:
        recipe = replace(recipe, augment=augmentation(args.augment))
    if args.validation is not None:
        recipe = replace(recipe, validation=args.validation)
    if args.weight_decay is not None:
        recipe = replace(recipe, optimizer=replace(recipe.optimizer, weight_decay=args.weight_decay))
    return recipe


def augmentation(name):
    """The function of a name of `AUGMENTATIONS`."""
    from fastconv.training import Augment, Crop, Cutout, Flip, Shift, Warp

    steps = {"warp": Warp(), "shift": Shift(2), "crop": Crop(4), "flip": Flip(), "cutout": Cutout(8, 128)}
    chosen = [steps[part] for part in name.split("+") if part != "none"]
    return Augment(*chosen) if len(chosen) > 1 else next(iter(chosen), None)


def callbacks_of(args):
    """Callbacks that the options ask for."""
    from fastconv.training.callbacks import WeightAverage

    return [] if args.average is None else [WeightAverage(args.average)]


def checkpoint_of(args):
    """What `fit` takes of --checkpoint, --every and --resume, refused before any work where it cannot be."""
    from fastconv.training.checkpoint import Checkpoint, Checkpoints

    if args.checkpoint is None:
        if args.resume or args.every:
            raise UsageError(f"--{'resume' if args.resume else 'every'}: needs --checkpoint FOLDER")
        return {}
    settings = Checkpoint(args.checkpoint, every=args.every or "epoch")
    if not args.resume and Checkpoints(settings).files():
        raise UsageError(f"--checkpoint: {args.checkpoint} holds a run; --resume goes on with it, another folder begins anew")
    return {"checkpoint": settings, "resume": "auto" if args.resume else False}


def views_of(args, recipe):
    """The views of each test image, or None."""
    from fastconv.training import Views

    if args.views is None:
        return recipe.views
    return None if VIEWS[args.views] is None else Views(**VIEWS[args.views])
