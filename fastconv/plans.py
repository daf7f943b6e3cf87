"""The only place where an algorithm is chosen.

The choice follows from shape, dtype, CPU and direction alone, never from the number of threads or from a clock, so that the same
call always sums in the same order.  The two exceptions are asked for: `autotune`, and a limit of the workspace.
"""

import functools
import importlib
import math
import os
from dataclasses import dataclass

import numpy as np

from fastconv import algorithms, machine
from fastconv.algorithms import ALGORITHMS, DIRECTIONS, NAMES, Algorithm, Route
from fastconv.chains import chain_blocks
from fastconv.errors import OptionError
from fastconv.geometry import ConvGeometry

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "ChainPlan",
    "ConvPlan",
    "Route",
    "candidates",
    "conv_plan",
    "plan_chain",
    "remember",
    "set_workspace_limit",
]

MIB = 1 << 20
MEASURED = {}  # (geometry, dtype, direction) -> what `autotune` found to be the fastest


def mebibytes(value, name, nothing="None"):
    """A limit in MiB, None for none, as bytes."""
    try:
        limit = None if value is None else float(value) * MIB
    except (TypeError, ValueError):
        limit = -1
    if limit is not None and not limit >= 0:
        raise OptionError(f"{name}: got {value!r}; needed a number of MiB of at least 0, or {nothing} for no limit")
    return limit


LIMITS = {
    "workspace": mebibytes(os.environ.get("FASTCONV_WORKSPACE") or None, "FASTCONV_WORKSPACE", "no such variable")
}  # in bytes


def set_workspace_limit(mib):
    """From now on "auto" takes no algorithm whose workspace, beside input, output and weights, is above `mib` MiB.

    None takes the limit away.  The one with the smallest workspace always remains.  A workspace is counted as for two cores and
    weights that no layer keeps; each core more takes a few MiB more.  (The memory of workspaces is used again: each thread that
    calls keeps up to 16 MiB of it for its next call, until it ends, and all threads together 16 MiB more for batches of small
    images.)  `FASTCONV_WORKSPACE` sets the limit from the start; `plan` shows what it refuses.  The choice of the algorithm
    decides about the last bits of results.  Small networks that go as one chain have their values in memory of their own, which
    the limit does not touch.

    >>> import fastconv as fc
    >>> fc.set_workspace_limit(64)
    >>> fc.set_workspace_limit(None)
    """
    LIMITS["workspace"] = mebibytes(mib, "workspace limit")
    conv_plan.cache_clear()


def remember(geo, dtype, direction, name):
    """Let "auto" take the algorithm `name` for this call; None forgets it."""
    MEASURED.pop((geo, dtype, direction), None)
    if name is not None:
        MEASURED[geo, dtype, direction] = name
    conv_plan.cache_clear()


@functools.cache
def resolve(path):
    """The function behind "module.function" in kernels/; this is where Numba is first imported."""
    module, _, name = path.partition(".")
    return getattr(importlib.import_module(f"fastconv.kernels.{module}"), name)


@dataclass(frozen=True)
class ConvPlan:
    """What will run for one shape, and why.  Print it, or read its fields."""

    geometry: ConvGeometry
    dtype: np.dtype
    direction: str
    algorithm: str
    cycles: float  # estimate, of one core
    workspace: int  # bytes beside input, output and weights, of two cores
    refused: tuple  # ((name, reason), ...) of the other algorithms

    @functools.cached_property
    def route(self):
        return getattr(ALGORITHMS[NAMES.index(self.algorithm)], self.direction)

    @functools.cached_property
    def run(self):
        """The kernel's entry: forward(geo, x, w, b, activation, y), input_grad(geo, dy, w, dx) or weight_grad(geo, x, dy, dw)."""
        return resolve(self.route.run)

    @functools.cached_property
    def pools(self):
        """Whether `run` of the forward pass also takes a y of half as many rows and columns: the largest of each 2x2 results."""
        return self.route.pools(self.geometry)

    @property
    def packing(self):
        """What the arrangement of packed weights depends on; the image size and the batch are not in it."""
        geo = self.geometry
        return self.route.pack, geo.w_shape, geo.sh, geo.sw, geo.groups, geo.flip, self.dtype

    def pack(self, w, kept=False):
        """Contiguous HWIO weights of the plan's dtype, arranged for the kernel: for one call, or to be `kept` for many."""
        if self.geometry.flip:
            w = np.ascontiguousarray(w[::-1, ::-1])
        pack = self.route.pack if kept else self.route.pack_once
        return resolve(pack)(self.geometry, w) if pack else w

    def __str__(self):
        geo = self.geometry
        lines = [
            f"{self.direction}: x {geo.x_shape}, w {geo.w_shape}, y {geo.y_shape}, {self.dtype}",
            f"algorithm: {self.algorithm}, about {self.cycles / 1e6:,.3g} million cycles of one core",
            f"multiply-adds: {geo.macs:,}",
            f"workspace: {self.workspace / 2**20:,.2f} MiB",
        ]
        flushed = ALGORITHMS[NAMES.index(self.algorithm)].flushes and not machine.KEEP_DENORMALS
        lines.append(f"denormal numbers: {'count as zero (FASTCONV_DENORMALS=keep keeps them)' if flushed else 'kept'}")
        if any(geo.unread):
            lines.append(f"not read by any window: {geo.unread[0]} rows at the bottom, {geo.unread[1]} columns at the right")
        lines += [f"not {name}: {reason}" for name, reason in self.refused]
        return "\n".join(lines)


def candidates(geo, dtype, direction, wanted="auto"):
    """({name: cycles} of the algorithms that may run, {name: the reason why not} of the others)."""
    cpu, reasons, costs = machine.cpu(), {}, {}
    for algorithm in ALGORITHMS:
        route = getattr(algorithm, direction)
        reason = route.fits(geo, dtype)
        if reason or (wanted == "auto" and (reason := route.only_if_asked(geo, dtype))):
            reasons[algorithm.name] = reason
        else:
            costs[algorithm.name] = route.cost(geo, dtype, cpu) / 2  # of half cycles
    if wanted == "auto" and (limit := LIMITS["workspace"]) is not None:
        needed = {name: workspace_of(geo, dtype, direction, name) for name in costs}
        for name, size in needed.items():
            if size > max(limit, min(needed.values())):
                reasons[name] = f"needs {size / MIB:,.1f} MiB of workspace; the limit is {limit / MIB:,.1f} MiB"
                del costs[name]
    return costs, reasons


def workspace_of(geo, dtype, direction, name):
    """Bytes of the route's workspace; true convolution (`flip`) copies its filters before, or their gradient at last."""
    turned = math.prod(geo.w_shape) * dtype.itemsize if geo.flip else 0
    return getattr(ALGORITHMS[NAMES.index(name)], direction).workspace(geo, dtype.itemsize) + turned


def chosen(geo, dtype, direction, wanted):
    """(name of the algorithm, cycles, refused)."""
    costs, reasons = candidates(geo, dtype, direction, wanted)
    if wanted in reasons:
        raise OptionError(f'algorithm="{wanted}" cannot serve this call: {reasons[wanted]}; use algorithm="auto"')
    best, why = wanted, f', and "{wanted}" was asked for'
    if wanted == "auto":
        measured = MEASURED.get((geo, dtype, direction))
        best, why = (measured, f", and {measured} was measured to be the fastest") if measured in costs else (None, "")
    best = best or min(costs, key=costs.get)
    for name, cost in costs.items():
        if name != best:
            reasons[name] = f"estimated {cost / 1e6:,.3g} million cycles" + why
    return best, costs[best], tuple(reasons.items())


@functools.lru_cache(maxsize=4096, typed=True)
def conv_plan(x_shape, w_shape, dtype, direction, stride, padding, dilation, groups, pad_mode, flip, algorithm):
    """The `ConvPlan` of NHWC and HWIO shapes; all arguments hashable (`functional.arrays.freeze`), each answer remembered."""
    if direction not in DIRECTIONS:
        raise OptionError(f"direction: got {direction!r}; needed one of {', '.join(DIRECTIONS)}")
    if algorithm != "auto" and algorithm not in NAMES:
        raise OptionError(f'algorithm: got {algorithm!r}; needed "auto" or one of {", ".join(NAMES)}')
    geo = ConvGeometry.of(
        x_shape, w_shape, stride=stride, padding=padding, dilation=dilation, groups=groups, pad_mode=pad_mode, flip=flip
    )
    name, cycles, refused = chosen(geo, dtype, direction, algorithm)
    return ConvPlan(geo, dtype, direction, name, cycles, workspace_of(geo, dtype, direction, name), refused)


@dataclass(frozen=True)
class ChainPlan:
    """Which run of a network's Ops goes through the cache as one chain, and why the others go one by one."""

    chains: tuple  # ((first, last), ...) positions in the program, both included
    refused: tuple  # ((position, kind, reason), ...)
    blocks: tuple  # of the chain, as kernels/ takes them
    batch: int
    training: bool

    def ready(self):
        """The kernels' chain; its tiles are compiled, or loaded from the kernel cache, here."""
        return resolve("chain.chain_of")(self.blocks, self.batch, self.training, not algorithms.WINOGRAD_OFF)

    def __str__(self):
        lines = [f"ops {first} to {last}: one chain" for first, last in self.chains]
        lines += [f"op {position} ({kind}): by itself: {reason}" for position, kind, reason in self.refused]
        return "\n".join(lines)


def plan_chain(ops, dtype, mode="inference"):
    """The `ChainPlan` of a program, a tuple of Ops as `models.program.lower` makes it for "inference" or "training"."""
    if mode not in ("inference", "training"):
        raise OptionError(f"mode: got {mode!r}; needed inference or training")
    first, end, blocks, reasons = chain_blocks(ops, machine.cpu().vector_bytes // 4, mode == "training")
    if np.dtype(dtype) != np.float32:
        blocks, reasons = (), dict.fromkeys(range(len(ops)), "chains compute in float32")
    refused = tuple((position, ops[position].kind, reason) for position, reason in sorted(reasons.items()))
    chains = ((first, end - 1),) if blocks else ()
    return ChainPlan(chains, refused, blocks, ops[0].in_shape[0] if ops else 0, mode == "training")
