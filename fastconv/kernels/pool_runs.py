"""Pooling along a run of results, and its gradients, as vector code: one vector of channels, or a few side by side.

What a run is, `runs` tells.
"""

from fastconv.kernels.intrinsics import emits
from fastconv.kernels.runs import RUN, over_channels, over_results, over_taps, sums_of

__all__ = [
    "average_grad_run",
    "average_run",
    "average_spread_run",
    "maximum_grad_run",
    "maximum_run",
    "maximum_spread_run",
]


def fetched(v, source, mask, ahead):
    """The vector at `source`; the cache line `ahead` numbers further is asked for, if that is not 0."""
    if ahead:
        v.prefetch(v.at(source, ahead))
    return v.load(source, mask)


@emits("most", "ahead")
def maximum_run(v, x, x_at, y, y_at, winner, wanted, channels, runs, at, most, ahead):
    """y[window] = the largest x of its taps, winner (if wanted) the first of these taps; NaN wins."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels) as (q, spare):
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))

        def few(places):
            best = [v.variable(v.load(v.at(x, start, offset), mask)) for offset, mask in places]
            where = [v.variable(v.numbers(run["tap"])) for _ in places]

            def compare(tap, step, _):
                number = v.numbers(tap)
                for (offset, mask), largest, winning in zip(places, best, where, strict=True):
                    value, known = fetched(v, v.at(x, start, offset, step), mask, ahead), v.builder.load(largest)
                    better = v.larger_or_nan(value, known)
                    v.builder.store(v.builder.select(better, value, known), largest)
                    v.builder.store(v.builder.select(better, number, v.builder.load(winning)), winning)

            over_taps(v, run, compare)
            for (offset, mask), largest in zip(places, best, strict=True):
                v.store(v.builder.load(largest), v.at(y, place, offset), mask)
            with v.only_if_not(wanted, 0):
                for (offset, mask), winning in zip(places, where, strict=True):
                    v.store(v.builder.load(winning), v.builder.gep(winner, [v.add(place, offset)]), mask)

        over_channels(v, channels, most, few, spare)


@emits("most", "ahead")
def maximum_grad_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at, most, ahead):
    """dx[pixel] = the sum of dy over the windows that it won."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels) as (q, spare):
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))

        def few(places):
            def won(tap, step, _, offset, mask):
                source = v.add(start, offset, step)
                mine = v.equal_whole(v.load(v.builder.gep(winner, [source]), mask), tap)
                return v.builder.select(mine, fetched(v, v.at(dy, source), mask, ahead), v.constant(0.0))

            for total, (offset, mask) in zip(sums_of(v, run, places, won), places, strict=True):
                v.store(total, v.at(dx, place, offset), mask)

        over_channels(v, channels, most, few, spare)


@emits("most", "ahead")
def average_run(v, x, x_at, y, y_at, counts, channels, runs, at, most, ahead):
    """y[window] = the sum of its taps / counts[window]"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels) as (q, spare):
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))
        count = v.splat(v.builder.load(v.at(counts, run["near"], (q, run["near_step"]))))

        def few(places):
            def seen(_, step, __, offset, mask):
                return fetched(v, v.at(x, start, offset, step), mask, ahead)

            for total, (offset, mask) in zip(sums_of(v, run, places, seen), places, strict=True):
                v.store(v.builder.fdiv(total, count), v.at(y, place, offset), mask)

        over_channels(v, channels, most, few, spare)


@emits("most", "ahead")
def average_grad_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at, most, ahead):
    """dx[pixel] = the sum of dy * shares[window] over the windows that see it"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels) as (q, spare):
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))
        near = v.add(run["near"], (q, run["near_step"]))

        def few(places):
            def shared(_, step, window, offset, mask):
                share = v.splat(v.builder.load(v.at(shares, near, window)))
                return v.builder.fmul(fetched(v, v.at(dy, start, offset, step), mask, ahead), share)

            for total, (offset, mask) in zip(sums_of(v, run, places, shared), places, strict=True):
                v.store(total, v.at(dx, place, offset), mask)

        over_channels(v, channels, most, few, spare)


@emits("most", "side")
def maximum_spread_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at, most, side):
    """dx[tap] = dy of its window, 0 where another tap won: for windows that cover every pixel once, a run of `maximum_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels, spreads=True) as (q, spare):
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))

        def few(places):
            sources = [v.add(start, offset) for offset, _ in places]
            known = [
                (v.load(v.at(dy, source), mask), v.load(v.builder.gep(winner, [source]), mask))
                for source, (_, mask) in zip(sources, places, strict=True)
            ]

            def put(tap, step, _):
                for (value, won), (offset, mask) in zip(known, places, strict=True):
                    kept = v.builder.select(v.equal_whole(won, tap), value, v.constant(0.0))
                    v.store(kept, v.at(dx, place, offset, step), mask)

            over_taps(v, run, put, side)

        over_channels(v, channels, most, few, spare)


@emits("most", "side")
def average_spread_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at, most, side):
    """dx[tap] = dy * share of its window: for windows that cover every pixel once, a run of `average_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with over_results(v, run, channels, spreads=True) as (q, spare):
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))
        share = v.splat(v.builder.load(v.at(shares, run["near"], (q, run["near_step"]))))

        def few(places):
            values = [v.builder.fmul(v.load(v.at(dy, start, offset), mask), share) for offset, mask in places]

            def put(_, step, __):
                for value, (offset, mask) in zip(values, places, strict=True):
                    v.store(value, v.at(dx, place, offset, step), mask)

            over_taps(v, run, put, side)

        over_channels(v, channels, most, few, spare)
