"""`fastconv report`: a training run as one HTML page."""

HELP = "a training run as one HTML page"
ABOUT = """Writes what fastconv train --run FOLDER has stored as one HTML file: learning curves, the accuracy of each class, what
is taken for what, the worst mistakes, the filters of the first layer, the network and all settings.  Nothing is fetched and no
script is in it (needs the extra viz)."""
EXAMPLES = (
    ("fastconv report digits-run", "writes digits-run/report.html"),
    ("fastconv report digits-run --save monday.html", ""),
)


def arguments(parser):
    parser.add_argument("folder", metavar="RUN", help="a folder that train --run has filled")
    parser.add_argument("--save", metavar="FILE.html", help="default: report.html in the folder")


def run(args, output):
    """Write the page and say where it is."""
    from fastconv.viz import report

    path = report(args.folder, args.save)
    output.result(f"written to {path}", report=str(path))
