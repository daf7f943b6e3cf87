"""`fastconv summary`: the layers of a network and every count, as formulas with their values."""

from fastconv.cli.models import find_model
from fastconv.cli.usage import sizes

HELP = "layers, shapes, parameters as formulas, multiply-adds"
ABOUT = "Shows the layers of a network with all counts.  Nothing is computed and no weights are needed."
EXAMPLES = (
    ("fastconv summary lenet5", "LeNet-5, 62,006 parameters"),
    ("fastconv summary ten_filters --input 1000x1000x3", "280 parameters, whatever the size"),
    ("fastconv summary digits.safetensors", "a network that was saved"),
)


def arguments(parser):
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a .safetensors file, or a network of the zoo: lenet5, convnetjs_cifar, alexnet, vgg16, googlenet, resnet50, ...",
    )
    parser.add_argument("--input", type=sizes, metavar="HxWxC", help="another input size for a network of the zoo")


def run(args, output):
    """Print the network's summary."""
    found = find_model(args.model, args.input).summary()
    if output.as_json:
        output.document(found.to_json())
    else:
        output.text(found)
