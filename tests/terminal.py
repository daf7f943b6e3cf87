"""The command line as tests use it: in this process or in one of its own."""

import contextlib
import functools
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fastconv.cli import main


def run(*argv):
    """(exit code, standard output, standard error) of the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()


def document(*argv):
    """The JSON document of a command that works and says nothing else."""
    code, out, err = run(*argv, "--json", "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(out, parse_constant=int)  # int("NaN") fails: JSON has no such word
    assert found["schema"] == 1
    return found


def start(*argv, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fastconv", *map(str, argv)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def trained_model():
    """The file of a network that has seen a thousand digits twice: right more often than not."""
    path = Path(FOLDER.name, "digits.safetensors")
    assert run("train", "--images", 1000, "--epochs", 2, "--threads", 1, "--quiet", "--save", path)[0] == 0
    return path
