"""atomic_write: the old bytes or the new ones, and no third thing, whatever fails."""

import builtins
import errno
import os
import stat
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from fastconv import files
from fastconv.errors import FastconvError
from fastconv.files import atomic_write

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file system")


def only(folder, *names):
    """The folder holds these files and no left-over."""
    return sorted(os.listdir(folder)) == sorted(names)


@pytest.mark.parametrize(
    "content", [b"", b"new", bytearray(b"new"), memoryview(b"new")], ids=["empty", "bytes", "bytearray", "view"]
)
def test_bytes_arrive_in_a_new_and_in_an_old_file(tmp_path, content):
    (tmp_path / "old").write_bytes(b"longer than the new content")
    for name in ("new", "old"):
        atomic_write(tmp_path / name, content)
        assert (tmp_path / name).read_bytes() == bytes(content)
    assert only(tmp_path, "new", "old")


def test_a_writer_fills_the_file_and_a_path_may_be_a_string(tmp_path):
    atomic_write(str(tmp_path / "a"), lambda file: [file.write(b"12"), file.write(b"34")])
    assert (tmp_path / "a").read_bytes() == b"1234"


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    seen = []

    def write(file):
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())

    atomic_write(path, write)
    assert seen == [b"old"] and path.read_bytes() == b"new"


@pytest.mark.parametrize("fault", [RuntimeError("boom"), KeyboardInterrupt(), MemoryError()], ids=lambda e: type(e).__name__)
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    (tmp_path / "a").write_bytes(b"old")

    def write(file):
        file.write(b"half")
        raise fault

    with pytest.raises(type(fault)):
        atomic_write(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"old" and only(tmp_path, "a")


class FailingFile:
    """A file whose n-th write reports a full disk."""

    def __init__(self, path, mode, n):
        self.file, self.left = builtins.open(path, mode), n  # noqa: SIM115 - closed by __exit__

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, block):
        self.left -= 1
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(block)


@pytest.mark.parametrize("n", [1, 2, 7, 10])
@pytest.mark.parametrize("existed", [True, False])
def test_the_nth_write_on_a_full_disk_says_needed_and_free_and_keeps_the_old_file(tmp_path, monkeypatch, n, existed):
    path = tmp_path / "a"
    if existed:
        path.write_bytes(b"old")
    monkeypatch.setattr(files, "open", lambda path, mode: FailingFile(path, mode, n), raising=False)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(4321))
    with pytest.raises(FastconvError) as caught:
        atomic_write(path, lambda file: [file.write(b"x" * 100) for _ in range(10)])
    message = str(caught.value)
    assert str(path) in message and f"{(n - 1) * 100:,} bytes were needed" in message and "4,321 are free" in message
    assert ("the old file is intact" in message) == existed and "\n" not in message
    assert only(tmp_path, *["a"] * existed) and (not existed or path.read_bytes() == b"old")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_system_call_keeps_the_old_file(tmp_path, monkeypatch, call):
    def fail(*args):
        raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(FastconvError, match=r"Input/output error.*old file is intact"):
        atomic_write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and only(tmp_path, "a")


@posix
def test_the_system_limit_on_file_size_is_a_clear_error(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import resource, sys\nfrom fastconv.errors import FastconvError\nfrom fastconv.files import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    atomic_write(sys.argv[1], bytes(100_000))\nexcept FastconvError as error:\n    print(error)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(files.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True, env=env, check=True)
    assert "no room" in done.stdout and "100,000 bytes were needed" in done.stdout and "intact" in done.stdout
    assert (tmp_path / "a").read_bytes() == b"old" and only(tmp_path, "a")


@posix
def test_the_file_and_then_its_folder_are_forced_to_the_disk(tmp_path, monkeypatch):
    real, kinds = os.fsync, []
    monkeypatch.setattr(files.os, "fsync", lambda fd: [kinds.append(stat.S_ISDIR(os.fstat(fd).st_mode)), real(fd)])
    atomic_write(tmp_path / "a", b"new")
    assert kinds == [False, True]


@posix
def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a").read_bytes() == b"new"
    assert only(tmp_path, "link", "real") and only(tmp_path / "real", "a")


@posix
def test_permissions_stay_and_a_new_file_gets_the_usual_ones(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o640)
    (tmp_path / "usual").write_bytes(b"")
    for name in ("old", "new"):
        atomic_write(tmp_path / name, b"new")
    mode = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("old", "new", "usual")}
    assert mode["old"] == 0o640 and mode["new"] == mode["usual"]


@posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to a folder"])
def test_a_target_that_is_no_regular_file_is_refused_and_stays(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/null")
    else:
        (tmp_path / "d").mkdir()
        path.symlink_to(tmp_path / "d") if kind == "link to a folder" else path.mkdir()
    before = sorted(os.listdir(tmp_path)), path.stat().st_mode
    with pytest.raises(FastconvError, match="only a regular file can be replaced"):
        atomic_write(path, b"new")
    assert (sorted(os.listdir(tmp_path)), path.stat().st_mode) == before


@posix
def test_a_missing_folder_a_file_as_folder_and_a_loop_of_links_are_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "none" / "a", tmp_path / "file" / "a", tmp_path / "loop"):
        with pytest.raises(FastconvError, match="cannot be written") as caught:
            atomic_write(path, b"new")
        assert "\n" not in str(caught.value)
    assert only(tmp_path, "file", "loop")


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    contents = [bytes([i]) * 200_000 for i in range(8)]
    threads = [threading.Thread(target=atomic_write, args=(tmp_path / "a", c)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_bytes() in contents and only(tmp_path, "a")
