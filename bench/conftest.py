"""Settings of the speed measurements: `python -m pytest bench` (they are no tests; nothing here asserts a time)."""

import pytest

from fastconv import machine

try:  # before fastconv's threads start, so that PyTorch's wait for their work as long as they are used to
    import torch as pytorch
except ImportError:
    pytorch = None


@pytest.fixture(scope="session")
def torch():
    """PyTorch on the same number of threads; the measurement is skipped where it is not installed."""
    if pytorch is None:
        pytest.skip('PyTorch is not installed (pip install ".[bench]")')
    pytorch.set_num_threads(machine.get_threads())
    return pytorch


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastconv"] = {key: str(value) for key, value in machine.info().items()}
