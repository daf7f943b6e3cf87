"""Pooling along a run of results, and its gradients, as vector code: one vector of channels, or a few side by side.

What a run is, `pool` tells.
"""

from fastconv.kernels.vector_ir import emits

__all__ = [
    "RUN",
    "SIDE_BY_SIDE",
    "average_grad_run",
    "average_run",
    "average_spread_run",
    "maximum_grad_run",
    "maximum_run",
    "maximum_spread_run",
]

# offsets of the first source and the first result; results and the steps between them; taps and the steps between those; what
# divides an average: numbers of windows, counted as the results or the taps are
RUN = (
    "a", "c", "count", "a_step", "c_step", "i", "j", "a_i", "a_j", "tap", "tap_i", "tap_j",
    "near", "near_step", "near_i", "near_j",
)  # fmt: skip


SIDE_BY_SIDE = 4  # vectors of channels that go through the taps together, where there are as many


def over_channels(v, channels, most, body):
    """body([(offset, mask), ...]) for all vectors of channels, `most` at a time while there are; a mask only for the last few."""
    done = v.index(0)
    for many in (most, 1)[most == 1 :]:
        times, first = v.builder.udiv(v.builder.sub(channels, done), v.index(many * v.lanes)), done
        with v.loop(times) as k:
            body([(v.add(first, (k, many * v.lanes), n * v.lanes), None) for n in range(many)])
        done = v.add(first, (times, many * v.lanes))
    with v.if_smaller(done, channels):
        body([(done, v.first_lanes(v.builder.sub(channels, done)))])


def over_taps(v, run, body):
    """body(number of the tap, its offset in the source, that of its window) in reading order."""
    with v.loop(run["i"]) as i, v.loop(run["j"]) as j:
        body(*(v.add(run.get(first, 0), (i, run[f"{name}_i"]), (j, run[f"{name}_j"])) for name, first in OFFSETS))


def sums_of(v, run, places, term):
    """The sums over the taps of term(tap, step, window, offset, mask), one for each of `places`."""
    totals = [v.variable(v.constant(0.0)) for _ in places]

    def add(*tap):
        for total, place in zip(totals, places, strict=True):
            v.builder.store(v.builder.fadd(v.builder.load(total), term(*tap, *place)), total)

    over_taps(v, run, add)
    return [v.builder.load(total) for total in totals]


OFFSETS = (("tap", "tap"), ("a", ""), ("near", ""))


@emits("most")
def maximum_run(v, x, x_at, y, y_at, winner, wanted, channels, runs, at, most):
    """y[window] = the largest x of its taps, winner (if wanted) the first of these taps; NaN wins."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))

        def few(places):
            best = [v.variable(v.load(v.at(x, start, offset), mask)) for offset, mask in places]
            where = [v.variable(v.numbers(run["tap"])) for _ in places]

            def compare(tap, step, _):
                number = v.numbers(tap)
                for (offset, mask), largest, winning in zip(places, best, where, strict=True):
                    value, known = v.load(v.at(x, start, offset, step), mask), v.builder.load(largest)
                    better = v.larger_or_nan(value, known)
                    v.builder.store(v.builder.select(better, value, known), largest)
                    v.builder.store(v.builder.select(better, number, v.builder.load(winning)), winning)

            over_taps(v, run, compare)
            for (offset, mask), largest in zip(places, best, strict=True):
                v.store(v.builder.load(largest), v.at(y, place, offset), mask)
            with v.only_if_not(wanted, 0):
                for (offset, mask), winning in zip(places, where, strict=True):
                    v.store_whole(v.builder.load(winning), v.builder.gep(winner, [v.add(place, offset)]), mask)

        over_channels(v, channels, most, few)


@emits("most")
def maximum_grad_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at, most):
    """dx[pixel] = the sum of dy over the windows that it won."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))

        def few(places):
            def won(tap, step, _, offset, mask):
                source = v.add(start, offset, step)
                mine = v.equal_whole(v.whole(v.builder.gep(winner, [source]), mask), tap)
                return v.builder.select(mine, v.load(v.at(dy, source), mask), v.constant(0.0))

            for total, (offset, mask) in zip(sums_of(v, run, places, won), places, strict=True):
                v.store(total, v.at(dx, place, offset), mask)

        over_channels(v, channels, most, few)


@emits("most")
def average_run(v, x, x_at, y, y_at, counts, channels, runs, at, most):
    """y[window] = the sum of its taps / counts[window]"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(x_at, run["a"], (q, run["a_step"])), v.add(y_at, run["c"], (q, run["c_step"]))
        count = v.splat(v.builder.load(v.at(counts, run["near"], (q, run["near_step"]))))

        def few(places):
            def seen(_, step, __, offset, mask):
                return v.load(v.at(x, start, offset, step), mask)

            for total, (offset, mask) in zip(sums_of(v, run, places, seen), places, strict=True):
                v.store(v.builder.fdiv(total, count), v.at(y, place, offset), mask)

        over_channels(v, channels, most, few)


@emits("most")
def average_grad_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at, most):
    """dx[pixel] = the sum of dy * shares[window] over the windows that see it"""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        start, place = v.add(dy_at, run["a"], (q, run["a_step"])), v.add(dx_at, run["c"], (q, run["c_step"]))
        near = v.add(run["near"], (q, run["near_step"]))

        def few(places):
            def shared(_, step, window, offset, mask):
                share = v.splat(v.builder.load(v.at(shares, near, window)))
                return v.builder.fmul(v.load(v.at(dy, start, offset, step), mask), share)

            for total, (offset, mask) in zip(sums_of(v, run, places, shared), places, strict=True):
                v.store(total, v.at(dx, place, offset), mask)

        over_channels(v, channels, most, few)


@emits("most")
def maximum_spread_run(v, dy, dy_at, dx, dx_at, winner, channels, runs, at, most):
    """dx[tap] = dy of its window, 0 where another tap won: for windows that cover every pixel once, a run of `maximum_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))

        def few(places):
            sources = [v.add(start, offset) for offset, _ in places]
            known = [
                (v.load(v.at(dy, source), mask), v.whole(v.builder.gep(winner, [source]), mask))
                for source, (_, mask) in zip(sources, places, strict=True)
            ]

            def put(tap, step, _):
                for (value, won), (offset, mask) in zip(known, places, strict=True):
                    kept = v.builder.select(v.equal_whole(won, tap), value, v.constant(0.0))
                    v.store(kept, v.at(dx, place, offset, step), mask)

            over_taps(v, run, put)

        over_channels(v, channels, most, few)


@emits("most")
def average_spread_run(v, dy, dy_at, dx, dx_at, shares, channels, runs, at, most):
    """dx[tap] = dy * share of its window: for windows that cover every pixel once, a run of `average_run`."""
    run = v.integers(v.builder.gep(runs, [at]), RUN)

    with v.loop(run["count"]) as q:
        place, start = v.add(dx_at, run["a"], (q, run["a_step"])), v.add(dy_at, run["c"], (q, run["c_step"]))
        share = v.splat(v.builder.load(v.at(shares, run["near"], (q, run["near_step"]))))

        def few(places):
            values = [v.builder.fmul(v.load(v.at(dy, start, offset), mask), share) for offset, mask in places]

            def put(_, step, __):
                for value, (offset, mask) in zip(values, places, strict=True):
                    v.store(value, v.at(dx, place, offset, step), mask)

            over_taps(v, run, put)

        over_channels(v, channels, most, few)
