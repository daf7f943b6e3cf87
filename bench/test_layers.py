"""Every layer of fastconv/bench_shapes.csv, forward and both gradients, as whole calls, and PyTorch in both of its layouts."""

import pytest

from fastconv import benchmark, machine
from fastconv.plans import DIRECTIONS

CASES = benchmark.read_shapes()


def note(benchmark_fixture, case, direction, library, seconds):
    """The context that makes the figure understandable."""
    plan = case.plan(direction)
    benchmark_fixture.extra_info.update(
        library=library,
        x=case.x_shape,
        w=case.w_shape,
        options=case.options,
        threads=machine.get_threads(),
        gflops=round(2 * plan.geometry.macs / seconds / 1e9, 1),
        plan=str(plan) if library == "fastconv" else "",
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fastconv(benchmark, case, direction):
    from fastconv.benchmark import ours

    benchmark.group = f"{case.name} {direction}"
    benchmark.pedantic(ours(case, direction), rounds=15, warmup_rounds=2)
    note(benchmark, case, direction, "fastconv", benchmark.stats.stats.median)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pytorch(benchmark, torch, case, direction, layout):
    from fastconv.benchmark import theirs

    benchmark.group = f"{case.name} {direction}"
    benchmark.pedantic(theirs(case, direction)[layout], rounds=15, warmup_rounds=2)
    note(benchmark, case, direction, f"PyTorch {layout}", benchmark.stats.stats.median)
