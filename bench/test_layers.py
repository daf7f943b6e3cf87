"""Every layer of fastconv/bench_shapes.csv, forward and both gradients, poolings and networks, as whole calls, and PyTorch."""

import pytest

from fastconv import benchmark, machine
from fastconv.benchmark import tasks
from fastconv.plans import DIRECTIONS

TASKS = [
    *(tasks.convolution(case, direction) for case in benchmark.read_shapes() for direction in DIRECTIONS),
    *tasks.poolings(),
    *tasks.networks(),
]
EVERY_TASK = pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name} {task.what}")


def timed(benchmark_fixture, task, library, call):
    """Measure, with the context that makes the figure understandable."""
    benchmark_fixture.group = f"{task.name} {task.what}"
    benchmark_fixture.pedantic(call, rounds=15, warmup_rounds=2)
    gflops = task.flops / benchmark_fixture.stats.stats.median / 1e9
    benchmark_fixture.extra_info.update(library=library, threads=machine.get_threads(), gflops=round(gflops, 1))


@EVERY_TASK
def test_fastconv(benchmark, task):
    timed(benchmark, task, f"fastconv {task.algorithm}", task.make())


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@EVERY_TASK
def test_pytorch(benchmark, torch, task, layout):
    timed(benchmark, task, f"PyTorch {layout}", task.make_peers()[layout])
