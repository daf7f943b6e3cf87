"""What all tests need before they begin."""

import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: the tests of Ctrl-C need it, in children, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

MOST_PROCESSES = 2  # of 2 GB each, most of it compiled code


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Whole folders go to two processes: much of a run on an empty kernel cache is compilation, which uses one core.

    File by file, so that both compile less; the slow tests one by one, since some files have half of them.  `-n 0` keeps all in
    one process; so does --pdb, and a pytest without xdist.
    """
    option = config.option
    is_chosen = option.usepdb or hasattr(config, "workerinput") or getattr(option, "numprocesses", 0) is not None
    if not is_chosen and all(Path(arg).is_dir() for arg in config.args):
        option.numprocesses, option.maxprocesses = "auto", MOST_PROCESSES
        option.dist = "worksteal" if option.markexpr == "full" else "loadfile"
