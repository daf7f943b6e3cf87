"""The command `fastconv`: one file a sub-command, and what they share.

Results go to the standard output, messages and progress to the standard error.  Exit codes: 0 done; 1 a bug of fastconv; 2 usage;
3 input, model or data that cannot be used; 4 training failed; 5 the machine lacks something (memory, an optional package); 130
stopped by Ctrl-C; 141 the reader of the output has gone.

Modules of sub-commands import what they need when they run, so that help, `info` and `summary` answer at once.
"""

import os
import sys
import traceback
import warnings

from fastconv.cli.output import Output
from fastconv.cli.parser import build_parser
from fastconv.errors import FastconvError

__all__ = ["main"]

BUG, ENVIRONMENT, INTERRUPTED, PIPE_CLOSED = 1, 5, 130, 141


def main(argv=None):
    """Run the command with `argv` (default: the process's arguments); its exit code.  Wrong usage raises SystemExit(2)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if "--no-color" in argv:
        os.environ["NO_COLOR"] = "1"  # read by argparse and rich
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help()
        return 0
    output = Output(as_json=args.json, quiet=args.quiet)
    with warnings.catch_warnings():
        warnings.showwarning = output.warning
        return guarded(args, output)


def guarded(args, output):
    """Run the sub-command; every failure becomes one line and an exit code."""
    try:
        code = args.run(args, output) or 0
        output.flush()
        return code
    except BrokenPipeError:
        forget_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return failed(args, output, "stopped by Ctrl-C", INTERRUPTED)
    except FastconvError as error:
        return failed(args, output, str(error).splitlines()[0], error.exit_code)
    except MemoryError as error:
        return failed(args, output, f"not enough memory {error}".strip(), ENVIRONMENT)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return failed(args, output, f"a bug, please report it: {what} (--debug shows where)", BUG)


def failed(args, output, line, code):
    """One line on the standard error, the traceback before it with --debug."""
    if args.debug:
        traceback.print_exc()
    output.error(line)
    return code


def forget_output():
    """Send what is still buffered nowhere: Python would complain about the closed pipe once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
