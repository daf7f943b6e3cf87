"""`fastconv summary`: the layers of a network and every count, as formulas with their values."""

from fastconv.cli.models import find_model
from fastconv.cli.usage import UsageError, as_options, positive, sizes

HELP = "layers, shapes, parameters as formulas, multiply-adds"
ABOUT = """Shows the layers of a network with all counts.  Nothing is computed and no weights are needed (with --plan one
convolution is run, to learn how fast this machine is)."""
EXAMPLES = (
    ("fastconv summary lenet5", "LeNet-5, 62,006 parameters"),
    ("fastconv summary ten_filters --input 6x6x3 --input 1000x1000x3", "280 parameters, whatever the size"),
    ("fastconv summary lenet5 --plan --batch 64", "which algorithm runs, and how long it will take"),
    ("fastconv summary lenet5 --dense", "what dense layers would need in the place of convolutions"),
    ("fastconv summary vgg16 --batch 64 --training", "memory of a training step"),
    ("fastconv summary resnet18 --expand-nested", "a row for each layer inside a block"),
    ("fastconv summary lenet5 --format html --save lenet5.html", ""),
    ("fastconv summary digits.safetensors", "a network that was saved"),
)
FORMATS = ("text", "json", "csv", "html")


def arguments(parser):
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .safetensors file, or a network of the zoo, such as lenet5, vgg16, resnet50 (a wrong name lists them all)",
    )
    parser.add_argument(
        "--input",
        type=sizes,
        action="append",
        metavar="HxWxC",
        help="another input size for a network of the zoo; given more than once, they are compared",
    )
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="images, for memory and times (default 1)")
    parser.add_argument("--training", action="store_true", help="memory and times with gradients")
    parser.add_argument("--plan", action="store_true", help="algorithm and predicted time of convolutions and dense layers here")
    parser.add_argument("--dense", action="store_true", help="weights of dense layers in the place of convolutions")
    parser.add_argument("--expand-nested", action="store_true", help="a row for each layer inside a block")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default text; --json is --format json")
    parser.add_argument("--save", metavar="FILE", help="write to a file instead of the standard output")


def run(args, output):
    """Print or save the network's summary, or compare it at several sizes."""
    if args.json and args.format not in ("text", "json"):
        raise UsageError(f"--json: got --format {args.format} besides; needed one of them")
    options = {name: getattr(args, name) for name in ("batch", "training", "plan", "dense", "expand_nested")}
    shapes = args.input or [None]
    found = [found_model(args, shape).summary(**options) for shape in shapes]
    kind = "json" if args.json else args.format
    text = form(found[0], kind) if len(found) == 1 else comparison(found, kind)
    if args.save:
        from fastconv.files import atomic_write

        atomic_write(args.save, f"{text}\n".encode())
        output.message(f"written to {args.save}")
    elif kind == "json":
        output.document(text)
    else:
        output.text(text.rstrip("\n"))
    if args.plan:
        output.compiled()


def found_model(args, shape):
    """The network that was asked for, at one input size."""
    with as_options(args, input_shape="input"):
        return find_model(args.model, shape)


def form(summary, kind):
    """The summary as text of one kind."""
    return {"text": summary.text, "json": summary.to_json, "csv": summary.to_csv, "html": summary.to_html}[kind]()


def comparison(found, kind):
    """The totals of one network at several input sizes."""
    from fastconv.models import compare

    if kind not in ("text", "json"):
        raise UsageError(f"--format: several sizes are compared as text or json, not as {kind}; give one --input")
    table = compare(found)
    return table.text() if kind == "text" else table.json(schema=1)
