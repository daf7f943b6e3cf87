"""`fastconv bench`: convolutions measured on this machine, beside PyTorch where it is installed."""

from fastconv.cli.usage import positive

HELP = "measure convolutions, beside PyTorch where it is installed"
ABOUT = """Measures a list of convolutions (default: layers of well-known networks).  Both libraries get the same threads and take
turns; compilation is shown apart.  Close other programs first: a busy machine gives numbers that mean nothing."""
EXAMPLES = (
    ("fastconv bench --quick", "a first look"),
    ("fastconv bench --direction weight_grad --threads 1", ""),
    ("fastconv bench --shapes mine.csv --json > result.json", "columns as in fastconv/bench_shapes.csv"),
)


def arguments(parser):
    parser.add_argument("--shapes", metavar="FILE.csv", help="convolutions to measure, one a row")
    parser.add_argument(
        "--direction", choices=("forward", "input_grad", "weight_grad"), default="forward", help="default forward"
    )
    parser.add_argument("--quick", action="store_true", help="measure briefly; only large differences mean something")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads of both libraries (default: physical cores)")


def run(args, output):
    """Measure and print the report; each row is told as soon as it is there."""
    from fastconv import benchmark

    report = benchmark.run(
        args.shapes,
        args.direction,
        quick=args.quick,
        threads=args.threads,
        progress=lambda row: output.message(f"{row.name}: {row.ms:.3f} ms"),
    )
    if output.as_json:
        output.document(report.to_json())
    else:
        output.text(report)
