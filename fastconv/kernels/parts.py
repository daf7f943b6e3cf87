"""The positions along one axis of a result, in groups that sum over the same taps: so nothing has to be padded, and no loop tests
where an image ends."""

from bisect import bisect_left
from dataclasses import dataclass
from math import gcd

__all__ = ["Part", "forward_parts", "input_grad_parts", "readers", "tap_parts"]


@dataclass(frozen=True)
class Part:
    """Positions first, first + every, ... of one axis of the result that all sum over the same taps.

    Tap e of the sum reads position `source + e * source_step` of a (for the first position; one position on moves it by
    `source_every`) and is tap `tap + e * tap_step` of the filter.
    """

    first: int
    count: int
    every: int
    source: int
    source_step: int
    source_every: int
    tap: int
    tap_step: int
    taps: int


def parts_of(positions, taps_of, every, source_step, source_every, tap_step):
    """Neighbouring `positions` with the same taps as Parts; taps_of(position) gives (source of first tap, first tap, taps)."""
    found, i = [], 0
    while i < len(positions):
        source, *seen = taps_of(positions[i])
        rest, differs = positions[i:], lambda position, seen=seen: [*taps_of(position)[1:]] != seen
        if seen[1]:  # taps that are left behind do not come again
            count = bisect_left(rest, True, key=differs)
        else:
            count = next((n for n, position in enumerate(rest) if differs(position)), len(rest))
        found.append(Part(positions[i], count, every, source, source_step, source_every, seen[0], tap_step, seen[1]))
        i += count
    return found


def forward_parts(first, end, size, kernel, stride, dilation, before):
    """Parts of the output positions first ... end: output q reads input q*stride - before + tap*dilation."""

    def taps_of(q):
        start = q * stride - before
        tap = min(kernel, max(0, -(start // dilation)))
        return start + tap * dilation, tap, max(0, min(kernel, -(-(size - start) // dilation)) - tap)

    return parts_of(range(first, end), taps_of, 1, dilation, stride, 1)


def input_grad_parts(first, end, outputs, kernel, stride, dilation, before):
    """Parts of the input positions first ... end, one series for each remainder by the stride: the filter is flipped, so that
    input h gets from output p = (h + before - i*dilation) / stride through tap kernel - 1 - i, with p and tap both going up."""
    tap_step = stride // gcd(stride, dilation)
    parts = []
    for series in range(first, min(first + stride, end)):

        def taps_of(h):
            meets = [i for i in range(kernel) if (h + before - i * dilation) % stride == 0]
            inside = [i for i in meets if 0 <= (h + before - i * dilation) // stride < outputs]
            return ((h + before - inside[-1] * dilation) // stride, kernel - 1 - inside[-1], len(inside)) if inside else (0, 0, 0)

        parts += parts_of(range(series, end, stride), taps_of, stride, dilation * tap_step // stride, 1, tap_step)
    return parts


def tap_parts(count, size, kernel, stride, dilation, before):
    """The positions 0 ... count that see a tap, for each tap a Part, first one that all of them see; an empty list if there is no
    such tap."""
    found = []
    for tap in range(kernel):
        first, end = readers(tap * dilation - before, size, stride, 0, count)
        if end > first:
            source = first * stride + tap * dilation - before
            found.append(Part(first, end - first, 1, source, dilation, stride, tap, 1, 1))
    found.sort(key=lambda part: -part.count)
    return found if found and found[0].count == count else []


def readers(offset, size, stride, first, end):
    """The outputs p in first ... end whose tap at `offset` falls on the image: 0 <= p*stride + offset < size."""
    return max(first, -(offset // stride)), min(end, -(-(size - offset) // stride))
