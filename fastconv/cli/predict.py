"""`fastconv predict`: what a trained network says about images."""

from fastconv.cli.models import known_classes
from fastconv.errors import DataError, ModelFileError

HELP = "what a trained network says about images"
ABOUT = """Reads images, brings them to the network's size and colours, and prints the most probable classes.  A picture that is
dark on light where the network knows light on dark (or the other way round) is inverted; a message says so.  Classes have the
names that the network was saved with: net.classes = ("cat", "dog") before net.save."""
EXAMPLES = (
    ("fastconv predict digits.safetensors my7.png", ""),
    ("fastconv predict digits.safetensors *.png --json", ""),
    (
        "fastconv predict digits.safetensors images.npy",
        "arrays (N, H, W, C), (H, W, C), (H, W), or grey ones (N, H, W)",
    ),
)
TOP = 3


def arguments(parser):
    parser.add_argument("model", metavar="MODEL", help="a .safetensors file, as written by train --save")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="picture (needs the extra viz), .npy array, or .txt/.csv numbers"
    )
    parser.add_argument("--no-invert", action="store_true", help="take pictures as they are, light or dark")


def run(args, output):
    """Print a row for each image."""
    import numpy as np

    net = classifier(args.model)
    found = every_image(args.images, net.input_shape)
    images = [(name, *prepared(name, image, net, args, output)) for name, image in found]
    answers = net.predict(np.stack([image for _, image, _ in images]))
    classes, unit = known_classes(net), "score" if net.output == "linear" and net.ends_in_logits else "probability"
    rows = [
        {"image": name, "inverted": inverted, "top": best(np.atleast_1d(answer), classes, unit)}
        for (name, _, inverted), answer in zip(images, answers, strict=True)
    ]
    output.result(table(rows, unit), model=args.model, network=net.name, images=rows)
    output.compiled()


def classifier(path):
    """The network of a file, if it ends in classes."""
    from fastconv.models import ZOO, load

    if path in ZOO:
        raise ModelFileError(f"{path} of the zoo has learned nothing yet; train one: fastconv train --model {path} --save FILE")
    net = load(path)
    if len(net.output_shape) != 1 or len(net.input_shape) != 3:
        raise ModelFileError(f"{path}: goes from {net.input_shape} to {net.output_shape}; needed images to classes")
    return net


def every_image(paths, shape):
    """(name, image) of all files, for a network that takes images of this shape."""
    from fastconv.cli.pictures import read

    return [found for path in paths for found in read(path, shape)]


def prepared(name, image, net, args, output):
    """(image as the network takes it, was it inverted?)."""
    from fastconv.cli.pictures import fit, looks_inverted

    image = fit(image, net.input_shape, name)
    if image.max() <= 1 and image.min() >= 0 < image.max():
        output.message(f"{name}: values from 0 to 1, taken as they are; if 1 means white, multiply by 255 first")
        return image, False
    if args.no_invert or not looks_inverted(image, net):
        return image, False
    if image.min() < 0 or image.max() > 255:
        raise DataError(f"{name}: values from {image.min():g} to {image.max():g}; needed 0 to 255, or --no-invert")
    output.message(
        f"{name}: looks inverted for this network (light and dark exchanged); turned round, --no-invert takes it as it is"
    )
    return 255 - image, True


def best(answer, classes, unit):
    """The classes with the highest numbers, best first."""
    if len(answer) == 1 and unit == "probability":  # a yes/no network: p of class 1
        answer = [1 - answer[0], answer[0]]
    order = sorted(range(len(answer)), key=lambda k: -answer[k])[:TOP]
    return [{"label": k, "class": classes[k], unit: float(answer[k])} for k in order]


def table(rows, unit):
    """One line an image: the class, then the others."""
    from fastconv.display.table import Column, Table

    show = percent if unit == "probability" else "{:.3f}".format
    cells = tuple(
        {
            "image": row["image"],
            "class": row["top"][0]["class"],
            unit: show(row["top"][0][unit]),
            "then": ", ".join(f"{other['class']} {show(other[unit])}" for other in row["top"][1:]),
        }
        for row in rows
    )
    titles = (Column("image", "image"), Column("class", "class"), Column(unit, unit, "right"), Column("then", "then"))
    return Table(titles, cells)


def percent(probability):
    """ "97.3%", and no certainty that is only rounding."""
    if probability >= 0.9995:
        return ">99.9%"
    return "<0.1%" if probability < 0.0005 else f"{probability:.1%}"
