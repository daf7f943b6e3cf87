"""`fastconv edges`: what the edge filters of the lectures find on an image."""

from fastconv.cli.usage import UsageError

HELP = "the edge filters of the lectures on an image"
ABOUT = """Slides edge filters over an image.  A small image (up to 16 pixels wide) is shown as numbers, a larger one in
characters: the denser, the stronger the edge, whatever its sign.  --save draws the results with their signs (needs the extra
viz)."""
EXAMPLES = (
    ("fastconv edges", "a built-in picture"),
    ("fastconv edges step", "6x6 numbers of the lectures: half light, half dark"),
    ("fastconv edges photo.jpg --filter sobel_x sobel_y --save edges.png", ""),
    ("fastconv edges photo.jpg --filter vertical --channel red", "look at the red only"),
)
DEFAULT = ("vertical", "horizontal", "sobel_x", "scharr_x", "laplacian", "diagonal_45")
STEP = ((10, 10, 10, 0, 0, 0),) * 6
SMALL = 16  # pixels wide: shown as numbers
COLUMNS = 32  # characters of a drawing


def arguments(parser):
    parser.add_argument(
        "image", metavar="IMAGE", nargs="?", default="sample", help="sample, step, or a picture, .npy, .txt, .csv"
    )
    parser.add_argument("--filter", nargs="+", metavar="NAME", default=list(DEFAULT), help="names of fastconv.edges, or all")
    parser.add_argument("--channel", choices=("red", "green", "blue"), help="of a colour image (default: its grey form)")
    parser.add_argument("--padding", choices=("valid", "same"), default="valid", help="default valid: only whole windows")
    parser.add_argument("--save", metavar="FILE.png", help="draw everything into a picture")


def run(args, output):
    """Print, and with --save draw, the image and each filter's answer."""
    found = filters(args.filter)
    title, image = pick(args.image)
    answers = {name: answer(image, f, args) for name, f in found.items()}
    if args.save:
        from fastconv.cli.figure import save

        save(args.save, args.image, image, answers)
        output.message(f"drawn into {args.save}")
    small = image.shape[1] <= SMALL
    rows = [facts(name, found[name], y, small) for name, y in answers.items()]
    output.result(page(title, image, found, answers, small), image=args.image, shape=list(image.shape), filters=rows)
    output.compiled()


def filters(names):
    """{name: filter} of the names given."""
    from fastconv import edges

    names = list(edges.ALL) if names == ["all"] else names
    unknown = [name for name in names if name not in edges.ALL]
    if unknown:
        raise UsageError(f"--filter: got {unknown[0]!r}; needed all, or some of {', '.join(edges.ALL)}")
    return {name: edges.ALL[name] for name in names}


def pick(name):
    """(name, image) of what is built in, or of the first one of a file, float32."""
    import numpy as np

    from fastconv import edges
    from fastconv.cli.pictures import read

    if name == "step":
        return name, np.array(STEP, np.float32)
    title, image = (name, edges.sample_image()) if name == "sample" else read(name)[0]
    return title, np.asarray(image, np.float32)


def answer(image, f, args):
    """conv2d of the image's grey form, or of one of its colours, with the filter."""
    from fastconv import edges
    from fastconv import functional as F
    from fastconv.cli.pictures import grey

    if args.channel is None:
        return F.conv2d(grey(image), f, padding=args.padding)
    if image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"--channel: {args.image} has no colours; its shape is {image.shape}")
    return F.conv2d(image, edges.on_channels(f, args.channel), padding=args.padding)[..., 0]


def facts(name, f, y, small):
    """What JSON tells of one filter; every number of a small answer."""
    found = {"name": name, "filter": f.tolist(), "shape": list(y.shape), "least": float(y.min()), "greatest": float(y.max())}
    return {**found, "answer": y.tolist()} if small else found


def page(title, image, found, answers, small):
    """The whole text."""
    head = f"{title}: {image.shape[0]}×{image.shape[1]}, from {image.min():g} to {image.max():g}"
    parts = numbers(image, found, answers) if small else drawings(image, answers)
    return "\n".join([head, "", *parts]).rstrip()


def numbers(image, found, answers):
    """Image, filter and answer as numbers."""
    from fastconv.cli.pictures import grey

    lines = [*grid(grey(image)), ""]
    for name, y in answers.items():
        lines += [f"{name}, from {y.min():g} to {y.max():g}", *side_by_side(grid(found[name]), grid(y)), ""]
    return lines


def grid(plane):
    """An array as aligned lines."""
    texts = [[f"{value:g}" for value in row] for row in plane.tolist()]
    width = max(len(text) for row in texts for text in row)
    return ["  " + " ".join(text.rjust(width) for text in row) for row in texts]


def side_by_side(f, y):
    """The lines of a filter with an arrow to those of its answer."""
    height = max(len(f), len(y))
    f, y = ([*lines, *[" " * len(lines[0])] * (height - len(lines))] for lines in (f, y))
    return [f"{a}   {'->' if row == 0 else '  '} {b}".rstrip() for row, (a, b) in enumerate(zip(f, y, strict=True))]


def drawings(image, answers):
    """Image and answers in characters."""
    import shutil

    from fastconv.cli.pictures import grey
    from fastconv.cli.shades import beside, draw

    plain = grey(image)
    pictures = [titled("image", draw(plain - plain.min(), COLUMNS))]
    for name, y in answers.items():
        pictures.append(titled(f"{name} {y.min():g} … {y.max():g}", draw(abs(y), COLUMNS)))
    height = max(map(len, pictures))
    width = max(len(line) for picture in pictures for line in picture)
    full = [[line.ljust(width) for line in [*picture, *[""] * (height - len(picture))]] for picture in pictures]
    return beside(full, shutil.get_terminal_size((100, 24)).columns)


def titled(title, lines):
    return [title, *lines]
