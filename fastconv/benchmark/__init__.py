"""Speed, measured: convolutions, poolings and small networks, beside PyTorch where it is installed.

The functions to compare take turns in short blocks with a pause before each (a thread pool that still spins from its last
call slows the next one down); medians are reported.  Both libraries use the same threads; compilation is over before, and shown
apart.
"""

from fastconv.benchmark.clock import measure, peak_gflops
from fastconv.benchmark.report import Report, Row
from fastconv.benchmark.shapes import FIELDS, Case, PoolCase, read_shapes
from fastconv.benchmark.suite import run

__all__ = ["FIELDS", "Case", "PoolCase", "Report", "Row", "measure", "peak_gflops", "read_shapes", "run"]
