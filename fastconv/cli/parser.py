"""The arguments of the command; each sub-command adds its own."""

import argparse

from fastconv import __version__
from fastconv.cli import bench, edges, explain, info, predict, report, summary, train, warmup

__all__ = ["build_parser"]

COMMANDS = (train, predict, report, summary, explain, edges, bench, info, warmup)
EXIT_CODES = """\
exit codes: 0 done, 1 a bug of fastconv, 2 usage, 3 input, model or data that cannot be used, 4 training failed, 5 the machine
lacks something (memory, an optional package), 130 stopped by Ctrl-C, 141 the reader of the output has gone"""


class Parser(argparse.ArgumentParser):
    """Help that starts with examples, in ASCII so that every terminal can show it, and usage errors in one line."""

    def __init__(self, *, examples=(), **options):
        super().__init__(allow_abbrev=False, **options)
        self.examples = examples

    def format_help(self):
        lines = (f"  {command}\n" + (f"      {why}\n" if why else "") for command, why in self.examples)
        return f"examples:\n{''.join(lines)}\n{super().format_help()}"

    def parse_known_args(self, args=None, namespace=None):
        """A command refuses by itself what it does not know, so that the message names its own help."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message):
        self.exit(2, f"fastconv: {message}; see {self.prog} --help\n")


def add_shared(parser):
    """Options that may stand before or after the sub-command: one that is not given leaves the other place's value."""
    group = parser.add_argument_group("for every command", argument_default=argparse.SUPPRESS)
    group.add_argument("--json", action="store_true", help="the result as JSON, with the numbers of the text")
    group.add_argument("-q", "--quiet", action="store_true", help="results and errors only, no progress and no messages")
    group.add_argument("--no-color", action="store_true", help="no colours; the variable NO_COLOR does the same")
    group.add_argument("--debug", action="store_true", help="show the Python traceback of an error")


def build_parser():
    """The whole command line."""
    parser = Parser(
        prog="fastconv",
        description="Convolution and small convolutional networks on the CPU: train, use, measure, and look inside.",
        epilog=EXIT_CODES,
        examples=(
            ("fastconv train --save digits.safetensors", "learn handwritten digits, no download"),
            ("fastconv predict digits.safetensors my7.png", "what is on the picture?"),
            ("fastconv explain", "one convolution, product by product"),
        ),
    )
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    add_shared(parser)
    parser.set_defaults(run=None, json=False, quiet=False, no_color=False, debug=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(name, help=module.HELP, description=module.ABOUT, examples=module.EXAMPLES)
        module.arguments(sub)
        add_shared(sub)
        sub.set_defaults(run=module.run)
    return parser
