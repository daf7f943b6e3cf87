"""Pictures of networks and runs (matplotlib, extra `viz`), and a run as one HTML page.

Each function gives a `matplotlib.figure.Figure`: a notebook shows it, `figure.savefig("curves.png")` keeps it.
"""

from fastconv.viz.figures import activations, confusion, curves, filters, mistakes
from fastconv.viz.report import report

__all__ = ["activations", "confusion", "curves", "filters", "mistakes", "report"]
