"""`fastconv explain`: one number of a convolution, product by product."""

from contextlib import contextmanager

from fastconv.cli.usage import UsageError, as_options, index, natural, padding, positive

HELP = "one number of a convolution or of its gradients, product by product"
ABOUT = """Takes one output of a convolution apart: the window, the filter, every product, the sum.  With --of dw or dx: one
element of the gradient of the weights or of the input.  Without MODEL: the 6x6 image of the lectures and an edge filter."""
EXAMPLES = (
    ("fastconv explain", "a 6x6 image and the vertical edge filter"),
    ("fastconv explain --filter sobel_x --padding same --stride 2 --at 0,0", ""),
    ("fastconv explain digits.safetensors --layer conv2d_1 --at 13,14,0 --digit 0", "inside your own network"),
    ("fastconv explain digits.safetensors --of dw --at 0,0,0,0", "what training changes a weight by"),
)
LECTURE = ((3, 0, 1, 2, 7, 4), (1, 5, 8, 9, 3, 1), (2, 7, 2, 5, 1, 3), (0, 1, 3, 1, 7, 8), (4, 2, 1, 6, 2, 8), (2, 4, 5, 2, 3, 9))


def arguments(parser):
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="a .safetensors file or a network of the zoo (with first weights)"
    )
    parser.add_argument("--of", choices=("y", "dw", "dx"), default="y", help="output, gradient of the weights, or of the input")
    parser.add_argument("--at", type=index, metavar="I,J,...", help="which element, such as 3,4,0 (default: one in the middle)")
    lecture = parser.add_argument_group("without MODEL")
    lecture.add_argument("--filter", metavar="NAME", help="an edge filter of fastconv.edges (default vertical)")
    lecture.add_argument("--padding", type=padding, metavar="P", help="valid (default), same, full, or pixels")
    lecture.add_argument("--stride", type=positive, metavar="S", help="pixels from window to window (default 1)")
    network = parser.add_argument_group("with MODEL")
    network.add_argument("--layer", metavar="NAME", help="a convolution of the network (default: the first)")
    network.add_argument(
        "--digit", type=natural, metavar="N", help="number of the image among the embedded test digits (default 0)"
    )
    network.add_argument("--image", metavar="FILE", help="another image")


def run(args, output):
    """Print one `Explanation`."""
    refuse_mixture(args)
    with as_options(args):
        subject, found = of_lecture(args) if args.model is None else of_network(args)
    if output.as_json:
        output.document({"schema": 1, "subject": subject, **members(found)})
    else:
        output.text(f"{subject}\n\n{found}")


def members(found):
    """The explanation's JSON form as a dict."""
    import json

    return json.loads(found.to_json())


def refuse_mixture(args):
    """Options of the other kind of example would be ignored; say so instead."""
    foreign = ("layer", "digit", "image") if args.model is None else ("filter", "padding", "stride")
    given = [name for name in foreign if getattr(args, name) is not None]
    if given:
        raise UsageError(f"--{given[0]}: {'needs a MODEL' if args.model is None else 'is for the example without MODEL'}")
    if args.digit is not None and args.image is not None:
        raise UsageError("--digit: there is an --image already; needed one of the two")


def of_lecture(args):
    """(words, Explanation) of the 6×6 image and an edge filter; dy of a gradient is all ones."""
    import numpy as np

    from fastconv import edges
    from fastconv.geometry import ConvGeometry
    from fastconv.teaching import explain

    name = args.filter or "vertical"
    if name not in edges.ALL:
        raise UsageError(f"--filter: got {name!r}; needed one of {', '.join(edges.ALL)}")
    x, w = np.array(LECTURE, np.float32), edges.ALL[name]
    options = {
        "padding": args.padding if args.padding is not None else "valid",
        "stride": 1 if args.stride is None else args.stride,
    }
    geo = ConvGeometry.of((1, *x.shape, 1), (*w.shape, 1, 1), **options)
    at = args.at or {"y": (geo.p // 2, geo.q // 2), "dw": (0, 0), "dx": (geo.h // 2, geo.w // 2)}[args.of]
    dy = None if args.of == "y" else np.ones((geo.p, geo.q), np.float32)
    subject = f"The {name} filter on the 6×6 image of the lectures" + (
        "" if dy is None else "; the loss is the sum of y, so dy is 1"
    )
    return subject, explain(x, w, at=at, of=args.of, dy=dy, **options)


def of_network(args):
    """(words, Explanation) of a convolution inside a network, at work on one image."""
    from fastconv.cli.models import find_model
    from fastconv.teaching import explain

    net = find_model(args.model)
    layer = find_layer(net, args.layer)
    image, label, words = picture(args, net)
    subject = f"Layer {layer.label} of {net.name or args.model}, {words}"
    if args.of == "y":
        x, dy = input_of(net, layer, image), None
    else:
        x, dy = gradient_at(net, layer, image, label)
        subject += f"; the loss is the cross-entropy with label {label}"
    at = args.at or middle(layer.geometry(layer.input_shape), args.of)
    activation = layer.activation if args.of == "y" else None
    w, b = layer.params["w"], layer.params.get("b")
    return subject, explain(x, w, b, at=at, of=args.of, dy=dy, activation=activation, **layer.options)


def find_layer(net, name):
    """The convolution of that name, "residual_1.conv2d_2" for one inside a block, or the first one."""
    from fastconv.layers import Conv2D

    found = {layer.label: layer for layer in net.walk() if isinstance(layer, Conv2D)}
    if not found:
        raise UsageError(f"MODEL: {net.name or 'this network'} has no Conv2D; needed a network with one, such as lenet5")
    if name not in (None, *found):
        raise UsageError(f"--layer: got {name!r}; needed one of its Conv2D: {', '.join(found)}")
    return found[name] if name else next(iter(found.values()))


def picture(args, net):
    """(a batch of one image, its label or None, words)."""
    from fastconv.cli.pictures import fit, read
    from fastconv.data import digits

    if args.image is not None:
        if args.of != "y":
            raise UsageError("--image: a gradient needs a label; use --digit, whose label is known")
        name, image = read(args.image)[0]
        return fit(image, net.input_shape, args.image)[None], None, f"on {name}"
    images, labels = digits()[1]
    number = args.digit or 0
    if number >= len(images):
        raise UsageError(f"--digit: got {number}; needed 0 to {len(images) - 1:,}, the embedded test digits")
    words = f"on test digit {number}, a {labels[number]}"
    return fit(images[number], net.input_shape, "the digit")[None], int(labels[number]), words


@contextmanager
def watched(layer, method):
    """What a method of one layer, wherever it is, is given in its calls: a list of their first arguments."""
    seen, own = [], getattr(layer, method)

    def watching(given, *more, **options):
        seen.append(given)
        return own(given, *more, **options)

    setattr(layer, method, watching)
    try:
        yield seen
    finally:
        delattr(layer, method)


def input_of(net, layer, image):
    """What the layer receives (H, W, C) when the network sees the image."""
    with watched(layer, "forward") as seen:
        for _ in net.trace(image):
            if seen:
                break
    return seen[0][0]


def gradient_at(net, layer, image, label):
    """(x, dy) of the layer: a training pass, and the gradient back to the layer's sum before its activation."""
    from fastconv.layers.activations import before_activation
    from fastconv.training.losses import softmax_cross_entropy

    if net.output != "softmax" or not net.ends_in_logits:
        raise UsageError(
            f"--of: gradients need a network that ends in logits for softmax; this one ends in {net.layers[-1].name}"
        )
    *_, (_, scores) = net.trace(image, training=True)  # layer by layer: a chain keeps nothing for single layers
    x, y = layer.kept("x", "y")
    _, dy = softmax_cross_entropy(scores, [label])
    with watched(layer, "backward") as seen:
        for above in reversed(net.layers):
            dy = above.backward(dy)
            if seen:
                break
    return x[0], before_activation(layer.activation, seen[0], y)[0]


def middle(geo, of):
    """An element in the middle of y or dx, the first of dw."""
    return {"y": (geo.p // 2, geo.q // 2, 0), "dw": (0, 0, 0, 0), "dx": (geo.h // 2, geo.w // 2, 0)}[of]
