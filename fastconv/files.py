"""Files that are never half written: after a crash or on a full disk the old file is still there, whole.

The new content goes to a temporary file in the same folder (a rename is atomic only inside one file system), is forced to the
disk, and takes the place of the old file in one step.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from pathlib import Path

from fastconv.errors import FastconvError

__all__ = ["atomic_write"]

NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # disk, file-size limit, quota


def atomic_write(path, content):
    """Write a file so that readers see the old bytes or the new ones, never a mixture.

    Parameters
    ----------
    path : str or Path; a symbolic link is followed and stays a link, an existing file keeps its permissions
    content : bytes-like, or a function that gets the binary file, open for writing, and fills it

    Raises
    ------
    FastconvError : the target is not a regular file, its folder cannot be written, or there is no room.  The message says what
        was needed and what is free; the old file is intact and the temporary one is gone.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(Path(folder, "a.bin"), b"123")
    ...     Path(folder, "a.bin").read_bytes()
    b'123'
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".fastconv-{secrets.token_hex(8)}.tmp")
    needed = None if callable(content) else memoryview(content).nbytes
    try:
        exists = is_regular(target)
        with open(temporary, "xb") as file:
            try:
                content(file) if callable(content) else file.write(content)
            finally:
                needed = needed or file.tell()
            file.flush()
            os.fsync(file.fileno())
        if exists:
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise FastconvError(explain(error, target, needed)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)  # gone already when the write succeeded
    sync_folder(target.parent)


def is_regular(target):
    """True for a file that may be replaced, False where there is none; anything else is refused."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise FastconvError(f"{target} is {kind}, and only a regular file can be replaced; give another path")
    return True


def explain(error, target, needed):
    """One line from an OSError: what failed, how much room was needed and is left, and that nothing was lost."""
    fate = "the old file is intact" if os.path.exists(target) else "nothing was written"
    if error.errno not in NO_ROOM:
        return f"{target} cannot be written ({error.strerror or error}); {fate}; give a path in a folder that can be written"
    room = f"at least {needed or 0:,} bytes were needed, {shutil.disk_usage(target.parent).free:,} are free on its disk"
    return f"{target}: no room ({error.strerror}): {room}; {fate}; free some space or give a path on another disk"


def sync_folder(folder):
    """Make the new name survive a power cut, where the system can do that."""
    if os.name == "nt":
        return  # Windows opens no folders
    with contextlib.suppress(OSError):  # some network file systems refuse; the file itself is complete by now
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
