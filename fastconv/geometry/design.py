"""Settings for what is wanted: which filter, stride and padding give this output size, or see this much of the input?"""

from collections.abc import Iterable
from dataclasses import dataclass

from fastconv.errors import OptionError, ShapeError
from fastconv.geometry.receptive import ReceptiveField
from fastconv.geometry.windows import kernel_span, output_size, unread_pixels, whole

__all__ = ["Design", "design"]

LARGEST = 11  # filters that are tried where neither `kernel` nor `field` says which


@dataclass(frozen=True)
class Design:
    """One answer of `design`, along one axis: `layers` layers of the same kernel, stride, dilation and padding on each side.

    `field` is what a unit behind them sees; `weights` those of all layers for one input and one output channel, kernel² a layer;
    `unread` the pixels at the far end that no window reads, summed over the layers.
    """

    size: int
    kernel: int
    stride: int
    padding: int
    output: int
    layers: int
    dilation: int
    field: ReceptiveField
    unread: int

    @property
    def weights(self):
        return self.layers * self.kernel**2

    def __str__(self):
        times = f"{self.layers} layers of " if self.layers > 1 else ""
        dilation = f", dilation {self.dilation}" if self.dilation > 1 else ""
        unread = f", {self.unread} unread" if self.unread else ""
        return (
            f"{times}kernel {self.kernel}, stride {self.stride}, padding {self.padding}{dilation}: {self.size} -> {self.output}, "
            f"sees {self.field.size}{unread}"
        )


def design(
    size=None,
    *,
    output=None,
    field=None,
    kernel=None,
    stride=None,
    padding=None,
    dilation=1,
    layers=1,
    after=None,
    unread=False,
):
    r"""All settings of a convolution (or pooling) that give a wanted output size, a wanted receptive field, or both.

    Works along one axis; for images that are not square ask once for the height and once for the width.

    Parameters
    ----------
    size : pixels of the input; None: found from the output
    output : wanted output size         field : wanted receptive field of a unit of the output, pixels (at least one of the two)
    kernel, stride, padding : a number fixes the setting, None tries all: kernels up to 11 (or whatever `field` asks for), strides
        up to the span of the kernel, so that no pixel is skipped, padding up to half of the span
    dilation : of all kernels
    layers : how many such layers one after the other; or several counts to try, such as range(1, 4)
    after : ReceptiveField of a unit of the input, where other layers come before; its size and jump count
    unread : also answers where the last pixels of the input are read by no window

    Returns
    -------
    tuple of Design, fewest weights first

    Raises
    ------
    ShapeError : nothing fits; the message has the nearest that does;  OptionError : nothing is wanted

    Which layers of ResNet and AlexNet are these?  And which three layers see as much as one of 7×7, with 27 weights for 49?

    >>> print(design(224, output=112, kernel=7, stride=2)[0])
    kernel 7, stride 2, padding 3: 224 -> 112, sees 7
    >>> print(design(224, output=55, kernel=11, stride=4)[0])
    kernel 11, stride 4, padding 2: 224 -> 55, sees 11
    >>> print(design(output=55, kernel=11, stride=4, padding=0)[0])
    kernel 11, stride 4, padding 0: 227 -> 55, sees 11
    >>> print(*design(32, output=32, field=7, stride=1, layers=range(1, 4)), sep="\n")
    3 layers of kernel 3, stride 1, padding 1: 32 -> 32, sees 7
    kernel 7, stride 1, padding 3: 32 -> 32, sees 7
    """
    if output is None and (field is None or size is None):
        raise OptionError("design: got no output; needed output=, or field= with size=")
    for name, value in {"size": size, "output": output, "field": field, "kernel": kernel, "stride": stride}.items():
        if value is not None:
            whole(value, name, 1)
    if not isinstance(after, ReceptiveField | None):
        raise OptionError(
            f"after: got {after!r:.80}; needed a ReceptiveField, such as fastconv.geometry.receptive_field([(3, 1, 1, 0)])"
        )
    pads = None if padding is None else whole(padding, "padding", 0)
    counts = [whole(count, "layers", 1) for count in (layers if isinstance(layers, Iterable) else (layers,))]
    before = ReceptiveField() if after is None else after
    seen = [
        layer
        for count in counts
        for layer in windows(kernel, stride, whole(dilation, "dilation", 1), count, field)
        if field is None or through(before, layer, 0).size == field
    ]
    found = [answer for layer in seen for answer in answers(size, output, layer, pads, before)]
    fitting = [answer for answer in found if output in (None, answer.output) and (unread or not answer.unread)]
    if not fitting:
        raise ShapeError(f"design: {nothing(output, field, found)}")
    return tuple(sorted(fitting, key=lambda answer: (answer.weights, answer.stride, answer.padding)))


def windows(kernel, stride, dilation, layers, field):
    """(kernel, stride, dilation, layers) to try."""
    for k in range(1, (field or LARGEST) + 1) if kernel is None else (kernel,):
        span = kernel_span(k, dilation)
        for s in range(1, span + 1) if stride is None else (stride,):
            yield k, s, dilation, layers


def through(field, window, padding):
    """The receptive field behind the layers of one window."""
    kernel, stride, dilation, layers = window
    for _ in range(layers):
        field = field.after(kernel, stride, dilation, padding)
    return field


def answers(size, output, window, padding, before):
    """The `Design` of one window with every padding that can be computed."""
    kernel, stride, dilation, layers = window
    span = kernel_span(kernel, dilation)
    for p in range(span // 2 + 1) if padding is None else (padding,):
        start = n = input_for(output, window, p) if size is None else size
        lost = 0
        for _ in range(layers):
            if n < 1 or n + 2 * p < span:
                break
            wide, n = n, output_size(n, kernel, stride=stride, dilation=dilation, pad=(p, p))
            lost += unread_pixels(wide, kernel, stride, dilation, (p, p), n)
        else:
            yield Design(start, kernel, stride, p, n, layers, dilation, through(before, window, p), lost)


def input_for(output, window, padding):
    """The size that comes out even."""
    kernel, stride, dilation, layers = window
    for _ in range(layers):
        output = (output - 1) * stride + kernel_span(kernel, dilation) - 2 * padding
    return output


def nothing(output, field, found):
    """Why there is no answer, and what comes nearest."""
    if not found:
        wanted = f"sees {field} pixels and fits the input" if field else "fits the input"
        return f"no such layer {wanted}; leave kernel, stride, padding or dilation open, or try layers=range(1, 10)"
    wanted = f"an output of {output}" if output else "an output"
    nearest = min(found, key=lambda d: (abs(d.output - (output or d.output)), d.unread, d.weights))
    way_out = "pass unread=True" if output in (None, nearest.output) else "leave more settings open"
    return f"nothing gives {wanted} and reads every pixel; the nearest is {nearest}: {way_out}"
