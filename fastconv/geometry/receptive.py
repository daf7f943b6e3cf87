"""What one unit sees of the input, through all layers before it."""

from dataclasses import dataclass

from fastconv.geometry.windows import kernel_span

__all__ = ["ReceptiveField", "receptive_field"]


@dataclass(frozen=True)
class ReceptiveField:
    """What one unit sees of the input along an axis: unit u reads the pixels start + u jump ... start + u jump + size - 1.

    `start` is negative where the first window begins in the padding.
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def after(self, kernel, stride=1, dilation=1, pad_before=0):
        """The field of a unit of the next layer."""
        span = kernel_span(kernel, dilation)
        return ReceptiveField(self.size + (span - 1) * self.jump, self.jump * stride, self.start - pad_before * self.jump)

    def enlarged(self, kernel, stride=1, dilation=1, pad_before=0):
        """The field behind a transposed convolution, or an upsampling (kernel = stride).

        Units lie `stride` times closer and do not all see as much: `size` is that of those that see most, `start` that of the
        first; `jump` may be a fraction.
        """
        span, jump = kernel_span(kernel, dilation), self.jump / stride
        reach = -(-span // stride) - 1  # units before, beside the nearest one
        first = -((span - 1 - pad_before) // stride)
        return ReceptiveField(
            self.size + reach * self.jump, int(jump) if jump.is_integer() else jump, self.start + first * self.jump
        )

    def union(self, *others):
        """The least field that holds this one and others: of a unit that sums or stacks several branches."""
        fields = (self, *others)
        start = min(field.start for field in fields)
        end = max(field.start + field.size for field in fields)
        return ReceptiveField(end - start, max(field.jump for field in fields), start)


def receptive_field(layers):
    """Of a chain of (kernel, stride, dilation, pad_before), first layer first.

    >>> receptive_field([(5, 1, 1, 0), (2, 2, 1, 0), (5, 1, 1, 0), (2, 2, 1, 0)])
    ReceptiveField(size=16, jump=4, start=0)
    """
    field = ReceptiveField()
    for layer in layers:
        field = field.after(*layer)
    return field
