"""Settings of the speed measurements: `python -m pytest bench` (they are no tests; nothing here asserts a time)."""

import pytest

from fastconv import machine


@pytest.fixture(scope="session")
def torch():
    """PyTorch on the same number of threads; the measurement is skipped where it is not installed."""
    torch = pytest.importorskip("torch", reason='PyTorch is not installed (pip install ".[bench]")')
    torch.set_num_threads(machine.get_threads())
    return torch


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastconv"] = {key: str(value) for key, value in machine.info().items()}
