"""`fastconv bench`: convolutions, poolings and networks measured on this machine, beside PyTorch where it is installed."""

import os
import subprocess
import sys

from fastconv.cli.usage import as_options, positive

HELP = "measure convolutions, beside PyTorch where it is installed"
ABOUT = """Measures a list of convolutions (default: layers of well-known networks), poolings or small networks.  Both libraries
get the same threads and take turns; compilation is shown apart.  Close other programs first: a busy machine gives numbers that
mean nothing."""
EXAMPLES = (
    ("fastconv bench --quick", "a first look"),
    ("fastconv bench --direction weight_grad --threads 1", ""),
    (
        "fastconv bench --direction networks",
        "from LeNet-5 to ResNet-50, evaluation and training; --quick: the small ones",
    ),
    ("fastconv bench --shapes mine.csv --json > old.json", "columns as in fastconv/bench_shapes.csv"),
    ("fastconv bench --shapes mine.csv --compare old.json", "what has changed since"),
    ("fastconv bench --passes 5", "on a machine that others use, too"),
    ("fastconv bench --isa avx2", "both libraries as on a CPU without AVX-512"),
)
DIRECTIONS = ("forward", "input_grad", "weight_grad", "pooling", "networks")
# what Numba, and oneDNN, PyTorch itself and its matrix products are told
ISAS = {
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
}


def arguments(parser):
    parser.add_argument("--shapes", metavar="FILE.csv", help="convolutions to measure, one a row")
    parser.add_argument("--direction", choices=DIRECTIONS, default="forward", help="default forward")
    parser.add_argument("--prepared", action="store_true", help="forward with weights packed before, as layers keep them")
    parser.add_argument("--quick", action="store_true", help="measure briefly; only large differences mean something")
    parser.add_argument(
        "--passes", type=positive, default=1, metavar="N", help="go through all rows N times; the median counts (default 1)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of both libraries (default: physical cores)")
    parser.add_argument("--isa", choices=ISAS, help="limit both libraries to an older instruction set")
    parser.add_argument("--no-peer", action="store_true", help="without PyTorch, even where it is installed")
    parser.add_argument("--compare", metavar="OLD.json", help="an older report (--json), to be shown beside this one")


def run(args, output):
    """Measure and print the report; each row is told as soon as it is there."""
    limits = ISAS.get(args.isa, {})
    if any(os.environ.get(name) != value for name, value in limits.items()):
        return again(limits)  # both libraries read these at their start
    from fastconv import benchmark

    with as_options(args):
        report = benchmark.run(
            args.shapes,
            args.direction,
            prepared=args.prepared,
            quick=args.quick,
            passes=args.passes,
            threads=args.threads,
            peer=not args.no_peer,
            compare=args.compare,
            progress=lambda row: output.message(f"{row.name}: {row.ms:.3f} ms"),
        )
    if output.as_json:
        output.document(report.to_json())
    else:
        output.text(report)
    return None


def again(limits):
    """The same command in a process that starts with these variables."""
    return subprocess.run([sys.executable, "-m", "fastconv", *sys.argv[1:]], env=os.environ | limits, check=False).returncode
