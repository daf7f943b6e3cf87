"""The sentences and equations of an explanation, with the numbers of its convolution in them."""

from fastconv.display.table import sizes

__all__ = ["SIDES", "formula", "meaning", "sizes_text", "subject"]

# What meets what, and what each part of the sum belongs to.
SIDES = {"y": ("x", "w", "channel"), "dw": ("x", "dy", "image"), "dx": ("dy", "w", "filter")}
LISTED = 12  # places that are written one by one


def subject(found):
    """What a gradient's element says, in words; nothing for y."""
    if found.of == "y":
        return ""
    return f", the slope of the loss along {found.of[1:]}[{', '.join(map(str, found.at))}]"


def is_flat(found):
    """Whether images and filters are (height, width), without channels."""
    return not set(found.axes) & set("co")


def has_images(found):
    """Whether there is a batch to speak of."""
    return "n" in found.axes or found.geometry.n > 1


def sizes_text(found):
    """Sizes, and the options that are not at their defaults."""
    geo = found.geometry
    if is_flat(found):
        text = f"x {sizes(geo.x_shape[1:3])}, w {sizes(geo.w_shape[:2])} (height × width)"
    else:
        x, form = (geo.x_shape, "images × height × width") if has_images(found) else (geo.x_shape[1:], "height × width")
        text = f"x {sizes(x)} ({form} × channels), w {sizes(geo.w_shape)} (height × width × channels × filters)"
    order = {"nopq": "n, p, q, o", "opq": "p, q, o", "nchw": "n, h, w, c", "chw": "h, w, c", "ocij": "i, j, c, o"}.get(found.axes)
    swapped = f"index in NCHW order, equation in the order {order}"
    return ", ".join([text, *options(geo), *([swapped] if order else [])])


def options(geo):
    """Each option that is not at its default, in words."""
    for name, value in (("stride", (geo.sh, geo.sw)), ("dilation", (geo.dh, geo.dw))):
        if value != (1, 1):
            yield f"{name} {sizes(sorted(set(value)) if len(set(value)) == 1 else value)}"
    if geo.is_padded:
        (top, bottom), (left, right) = geo.pads
        same = len({top, bottom, left, right}) == 1
        yield f"padding {top}" if same else f"padding top {top}, bottom {bottom}, left {left}, right {right}"
    if geo.is_padded and geo.pad_mode != "constant":
        yield f"the padding shows pixels again ({geo.pad_mode})"
    if geo.groups > 1:
        yield f"{geo.groups} groups"
    if geo.flip:
        yield "filter rotated by 180 degrees (flip)"


def formula(found):
    """The index equation with this convolution's stride, dilation and padding put in."""
    geo = found.geometry
    image = "n, " if has_images(found) else ""
    channel, filters = ("", "") if is_flat(found) else (", c", ", o")
    row = position("p", geo.sh, tap("i", geo.kh, geo.flip), geo.dh, geo.pads[0][0])
    column = position("q", geo.sw, tap("j", geo.kw, geo.flip), geo.dw, geo.pads[1][0])
    if found.of == "y":
        bias = "" if found.bias is None else "b + " if is_flat(found) else "b[o] + "
        total = f"{bias}sum over i, j{channel} of  x[{image}{row}, {column}{channel}] · w[i, j{channel}{filters}]"
        return f"y[{image}p, q{filters}] = {activated(found.activation, total)}"
    if found.of == "dw":
        pixel = f"x[{image}{row}, {column}{channel}]"
        return f"dw[i, j{channel}{filters}] = sum over {image}p, q of  {pixel} · dy[{image}p, q{filters}]"
    return (
        f"dx[{image}h, w{channel}] = sum over p, q, i, j{filters} of  dy[{image}p, q{filters}] · w[i, j{channel}{filters}]  "
        f"where {row} = h and {column} = w"
    )


def activated(name, total):
    return f"{name}( {total} )" if name else total


def tap(letter, size, flip):
    """The place of a filter row on the image, from its place in w."""
    return f"({size - 1} - {letter})" if flip and size > 1 else letter


def position(output, stride, tap, dilation, before):
    """The pixel under a tap: "2p + i - 1"."""
    first = output if stride == 1 else f"{stride}{output}"
    second = tap if dilation == 1 else f"{dilation}{tap}"
    return f"{first} + {second}" + (f" - {before}" if before else "")


def meaning(found):
    """What the equation picks for this element, in words."""
    rows, columns = found.rows, found.columns
    if found.of == "y":
        yield f"The window: rows {places(rows.left)} and columns {places(columns.left)} of x."
    elif found.of == "dw":
        yield (
            f"This weight is used at every output (p, q). What lay under it: rows {places(rows.left)} and columns "
            f"{places(columns.left)} of x. Each pixel counts with the dy of the output that it went into."
        )
    else:
        yield from readers_text(found)
    if found.geometry.groups > 1:
        yield group_text(found)
    if any(part.padding.any() for part in found.parts):
        yield "[Brackets] mark padding" + (", and so does -." if min(*rows.left, *columns.left) < 0 else ".")


def readers_text(found):
    """Which windows read the pixel, and through which weights."""
    rows, columns = found.rows, found.columns
    if not len(rows.left) or not len(columns.left):
        yield "No window reads this pixel, so nothing that is computed depends on it: its gradient is 0."
        return
    yield f"The windows that read this pixel: rows p = {places(rows.left)} and columns q = {places(columns.left)} of y."
    yield f"It lies in them on filter rows i = {places(rows.right)} and columns j = {places(columns.right)}."
    if len(rows.left) > 1 and rows.right[0] > rows.right[-1]:
        yield (
            "As the window moves on, the pixel moves back through the filter: the gradient reads the filter backwards, that is, "
            "rotated by 180 degrees."
        )


def group_text(found):
    """Who belongs to the element's group."""
    if found.of == "dw":
        return f"Filter {found.place['o']} reads the channels of its own group only; c counts within the group."
    what, numbers = SIDES[found.of][2], [str(part.index) for part in found.parts]
    return f"Of the {what}s, its own group takes part: {numbers[0]}" + (f" to {numbers[-1]}." if numbers[1:] else ".")


def places(numbers):
    """ "1, 2, 3", "-" for zero padding; long rows as "0, 2, … 54 (28 of them)"."""
    texts = ["-" if number < 0 else str(number) for number in numbers]
    if len(texts) <= LISTED:
        return ", ".join(texts)
    return f"{', '.join(texts[:3])}, … {texts[-1]} ({len(texts)} of them)"
