"""Random calls: every option and their combinations, small enough for thousands of them."""

import numpy as np

from cases import Case
from pool_cases import PoolCase

MAX_MACS = 300_000  # a case stays far below a millisecond


def random_cases(seed, count):
    """`count` valid cases: channels 1-65, kernels 1-7, strides and dilations 1-3, every padding, groups and depthwise."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        case = random_case(rng)
        if is_valid(case):
            found.append(case)
    return tuple(found)


def random_case(rng):
    kind = rng.choice(["any", "3x3", "1x1", "grouped", "depthwise", "square"], p=[0.35, 0.2, 0.1, 0.15, 0.1, 0.1])
    groups, c, o = random_channels(rng, kind)
    side = whole(rng, 2, 8)
    kernel = {"3x3": (3, 3), "1x1": (1, 1), "square": (side, side)}.get(kind, (whole(rng, 1, 7), whole(rng, 1, 7)))
    plain = kind == "3x3"  # the layer that most networks are made of, and that has algorithms of its own
    return Case(
        n=whole(rng, 1, 3),
        h=whole(rng, 1, 14),
        w=whole(rng, 1, 14),
        c=c,
        o=o,
        k=kernel,
        stride=1 if plain else either(rng, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
        padding=either(rng, "valid", "same", "full", whole(rng, 0, 4), (whole(rng, 0, 4), whole(rng, 0, 4)), four_sides(rng)),
        dilation=1 if plain or kind == "square" else either(rng, 1, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
        groups=groups,
        pad_mode=either(rng, "constant", "constant", "constant", "reflect", "replicate", "circular"),
        flip=bool(rng.random() < 0.1),
    )


def random_channels(rng, kind):
    """(groups, channels, filters), the last two from 1 to 65."""
    if kind == "grouped":
        groups = whole(rng, 2, 8)
        return groups, groups * whole(rng, 1, 65 // groups), groups * whole(rng, 1, 65 // groups)
    if kind == "depthwise":
        c = whole(rng, 1, 65)
        return c, c, c * either(rng, 1, whole(rng, 1, 65 // c))
    return 1, whole(rng, 1, 65), whole(rng, 1, 65)


def whole(rng, least, most):
    return int(rng.integers(least, most + 1))


def either(rng, *values):
    return values[rng.integers(len(values))]


def four_sides(rng):
    return tuple((whole(rng, 0, 4), whole(rng, 0, 4)) for _ in range(2))


def is_valid(case, most_macs=MAX_MACS):
    """The window fits, the padding mode can show that many pixels, and the case is quick."""
    most = {"reflect": (case.h - 1, case.w - 1), "circular": (case.h, case.w)}.get(case.pad_mode)
    if most and any(max(sides) > limit for sides, limit in zip(case.walk.pad, most, strict=True)):
        return False
    return min(case.walk.out) > 0 and case.macs <= most_macs


def random_pool_cases(seed, count):
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        size = (whole(rng, 1, 5), whole(rng, 1, 5))
        padding = tuple((whole(rng, 0, k // 2), whole(rng, 0, k // 2)) for k in size)
        case = PoolCase(
            n=whole(rng, 1, 3),
            h=whole(rng, 1, 14),
            w=whole(rng, 1, 14),
            c=whole(rng, 1, 65),
            size=size,
            stride=either(rng, None, whole(rng, 1, 3), (whole(rng, 1, 3), whole(rng, 1, 3))),
            padding=either(rng, 0, (min(padding[0]), min(padding[1])), padding),
            ceil_mode=bool(rng.random() < 0.5),
            count_include_pad=bool(rng.random() < 0.5),
        )
        if case.h + sum(case.pad[0]) >= size[0] and case.w + sum(case.pad[1]) >= size[1]:
            found.append(case)
    return tuple(found)
