"""`autotune`: measure which algorithm is the fastest for one call on this machine, and let "auto" take it from then on."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastconv import functional as F
from fastconv import machine, plans
from fastconv.benchmark.clock import measure
from fastconv.errors import DataError, FastconvError, OptionError
from fastconv.files import atomic_write
from fastconv.functional.arrays import freeze

__all__ = ["Tuned", "autotune", "load_tuned"]

HOPELESS = 20  # times the cycles of the cheapest estimate: not measured
OPTIONS = ("stride", "padding", "dilation", "groups", "pad_mode", "flip", "layout")
FIELDS = ("cpu", "threads", "direction", "x_shape", "w_shape", "dtype", "options", "algorithm")


@dataclass(frozen=True)
class Tuned:
    """What `autotune` measured: to print, or to read."""

    direction: str
    x_shape: tuple
    w_shape: tuple
    dtype: str
    options: dict
    milliseconds: dict  # algorithm -> median
    estimated: str  # what "auto" took before
    algorithm: str  # the fastest, which "auto" takes now
    cpu: str
    threads: int

    def __str__(self):
        head = f"{self.direction}: x {self.x_shape}, w {self.w_shape}, {self.dtype}, {self.threads} threads of {self.cpu}"
        notes = {self.estimated: "  (estimated to be the fastest)", self.algorithm: "  <- taken from now on"}
        rows = sorted(self.milliseconds.items(), key=lambda row: row[1])
        return "\n".join([head, *(f"{name:15} {ms:10.3f} ms{notes.get(name, '')}" for name, ms in rows)])


def autotune(x_shape, w_shape, *, direction="forward", dtype="float32", store=None, **options):
    """Measure every algorithm that "auto" may take for this call, and let it take the fastest in this process.

    The only place where a clock decides: results may differ in their last bits from those of another choice, and from run to run
    where two algorithms are equally fast.  That is why nothing is measured, and nothing is read from a file, unless asked for.

    Parameters
    ----------
    x_shape, w_shape, direction, dtype : as in `plan`
    options : stride, padding, dilation, groups, pad_mode, flip, layout, as in `conv2d`
    store : path of a JSON file to which the choice is added; `load_tuned` reads it in another process

    Returns
    -------
    Tuned : print it

    >>> import fastconv as fc
    >>> found = fc.autotune((1, 8, 8, 4), (3, 3, 4, 8), padding="same")
    >>> found.algorithm == fc.plan((1, 8, 8, 4), (3, 3, 4, 8), padding="same").algorithm
    True
    """
    if "algorithm" in options:
        raise OptionError(f"algorithm: got {options['algorithm']!r}; autotune finds the algorithm: leave it out")
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise OptionError(f"autotune: got {unknown[0]!r}; needed options of conv2d, some of {', '.join(OPTIONS)}")
    plan = F.plan(x_shape, w_shape, direction=direction, dtype=dtype, **options)
    x_shape, w_shape = (tuple(map(int, shape)) for shape in (x_shape, w_shape))
    options = {name: freeze(value) for name, value in options.items()}
    cycles, _ = plans.candidates(plan.geometry, plan.dtype, direction)
    estimated = min(cycles, key=cycles.get)
    names = [name for name, cost in cycles.items() if cost <= HOPELESS * cycles[estimated]]
    calls = {name: call_of(plan, direction, name, x_shape, w_shape, options) for name in names}
    for call in calls.values():
        call()  # compiles
    milliseconds = {name: 1e3 * seconds for name, seconds in measure(calls).items()}
    best = min(milliseconds, key=milliseconds.get)
    plans.remember(plan.geometry, plan.dtype, direction, best)
    here = this_cpu(), machine.get_threads()
    found = Tuned(direction, x_shape, w_shape, str(plan.dtype), options, milliseconds, estimated, best, *here)
    if store is not None:
        add_to(Path(store), found)
    return found


def this_cpu():
    return f"{machine.cpu().brand} ({machine.cpu().llvm_name})"


def call_of(plan, direction, algorithm, x_shape, w_shape, options):
    """One call of `algorithm`, as a user makes it."""
    geo, random = plan.geometry, np.random.default_rng(0)
    y_shape = (geo.n, geo.p, geo.q, geo.o) if options.get("layout", "NHWC") == "NHWC" else (geo.n, geo.o, geo.p, geo.q)
    y_shape = {4: y_shape, 3: y_shape[1:], 2: (geo.p, geo.q)}[len(x_shape)]
    x, w, dy = (random.standard_normal(shape, np.float32).astype(plan.dtype) for shape in (x_shape, w_shape, y_shape))
    more = {**options, "algorithm": algorithm}
    return {
        "forward": lambda: F.conv2d(x, w, **more),
        "input_grad": lambda: F.conv2d_input_grad(dy, w, x_shape, **more),
        "weight_grad": lambda: F.conv2d_weight_grad(dy, x, w_shape, **more),
    }[direction]


def add_to(path, found):
    """The file with one more choice; an older one for the same call is replaced."""
    entry = {name: getattr(found, name) for name in FIELDS}
    entry = json.loads(json.dumps(entry))
    same = FIELDS[:-1]
    kept = [old for old in (read(path) if path.exists() else []) if any(old[name] != entry[name] for name in same)]
    atomic_write(path, json.dumps([*kept, entry], indent=1).encode())


def read(path):
    """The choices in a file."""
    try:
        entries = json.loads(Path(path).read_text())
        if not isinstance(entries, list) or not all(isinstance(e, dict) and set(FIELDS) <= set(e) for e in entries):
            raise ValueError(f"it is not a list of objects with {', '.join(FIELDS)}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as choices of autotune ({error}); needed a file that autotune stored") from error
    return entries


def load_tuned(path):
    """Let "auto" take what `autotune(store=path)` found, as far as it was measured on this CPU with this number of threads.

    Returns the number of choices taken over.  DataError: the file is none of ours; then nothing has been taken over.
    """
    here, found = (this_cpu(), machine.get_threads()), []
    for number, entry in enumerate(read(path)):
        if (entry["cpu"], entry["threads"]) != here:
            continue
        try:
            found.append(choice(**{name: entry[name] for name in FIELDS[2:]}))
        except (FastconvError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path}, entry {number}: no call of fastconv ({error}); run autotune again to store it") from error
    taken = [call for call in found if call[-1] in plans.candidates(*call[:-1])[0]]
    for call in taken:
        plans.remember(*call)
    return len(taken)


def choice(direction, x_shape, w_shape, dtype, options, algorithm):
    """(geometry, dtype, direction, algorithm) of an entry."""
    if not isinstance(algorithm, str) or not isinstance(direction, str):
        raise TypeError(f"algorithm {algorithm!r}, direction {direction!r}: needed two names")
    options = {str(name): as_tuples(value) for name, value in options.items()}
    plan = F.plan(tuple(x_shape), tuple(w_shape), direction=direction, dtype=dtype, **options)
    return plan.geometry, plan.dtype, direction, algorithm


def as_tuples(value):
    """Lists of JSON as the tuples that they were."""
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value
