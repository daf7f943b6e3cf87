"""`fastconv warmup`: compile now what training will need."""

from time import perf_counter

from fastconv.cli.recipes import SHAPES, build, default_model
from fastconv.cli.train import add_network
from fastconv.cli.usage import as_options

HELP = "compile now what train needs"
ABOUT = """Runs one training step on zeros, so that every kernel that training needs is compiled and kept.  Useful before a
lesson, or when an image of a machine is made.  A second run finds everything there."""
EXAMPLES = (("fastconv warmup", "for fastconv train"), ("fastconv warmup cifar10 --model convnetjs_cifar --dtype float64", ""))
BATCH = 32


def arguments(parser):
    add_network(parser)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default float32")


def run(args, output):
    """Compile, and say how long it took and where the kernels are."""
    import numpy as np

    from fastconv import machine
    from fastconv.training import Trainer

    args.model = args.model or default_model(args.data_set)
    started, before = perf_counter(), machine.compile_seconds()
    with as_options(args):
        net = build(args.model, args.data_set, (0.0, 1.0), width=args.width, dtype=args.dtype)
    trainer = Trainer(net)
    x, y = np.zeros((BATCH, *SHAPES[args.data_set]), np.uint8), np.zeros(BATCH, np.int64)
    trainer.step(x, y)
    trainer.predict(x)
    seconds, compiled, folder = perf_counter() - started, machine.compile_seconds() - before, machine.cache_folder()
    work = f"compiled in {compiled:.1f} s" if compiled else "nothing to compile, every kernel was there"
    place = f"kept in {folder}" if folder else "no folder could be written, so each run compiles again"
    text = f"{args.model}, {args.dtype}: {work} ({seconds:.1f} s in all); {place}"
    output.result(
        text,
        model=args.model,
        dtype=args.dtype,
        compile_seconds=compiled,
        seconds=seconds,
        folder=str(folder) if folder else None,
    )
