"""Fetch the original files of a data set: HTTP through pooch, a SHA-256 for every file, nothing kept that does not match."""

import hashlib
import time
from dataclasses import dataclass

from fastconv.errors import DataError, MissingExtraError
from fastconv.files import atomic_write

__all__ = ["RemoteFile", "fetch"]

TRIES = 3
PAUSE = 1.0  # seconds between tries
TIMEOUT = 30.0  # seconds without a byte, after which a server counts as dead


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set as its authors published it: bytes and SHA-256 are those of the file itself, still compressed."""

    name: str
    size: int
    sha256: str


class Checked:
    """A file that counts and hashes what is written to it, and refuses more than was published: a wrong server fills no disk."""

    def __init__(self, file, remote, url):
        self.file, self.remote, self.url = file, remote, url
        self.size, self.digest = 0, hashlib.sha256()

    def write(self, block):
        self.size += len(block)
        if self.size > self.remote.size:
            raise DataError(f"{self.url}: sends more than the {self.remote.size:,} bytes of the published file; nothing was kept")
        self.digest.update(block)
        return self.file.write(block)

    def flush(self):
        """Asked for after every block; one flush at the end is enough."""

    def confirm(self):
        got = self.digest.hexdigest()
        if (self.size, got) != (self.remote.size, self.remote.sha256):
            came = f"{self.size:,} bytes with SHA-256 {got}"
            needed = f"{self.remote.size:,} bytes with {self.remote.sha256}"
            raise DataError(f"{self.url}: came as {came}; needed {needed}; the bad file was removed")


def fetch(files, folder, base_url):
    """Bring those of `files` (RemoteFile) that `folder` lacks from `base_url`, each checked before it gets its name.

    Raises DataError that names the address and the folder, after three tries; MissingExtraError without pooch.
    """
    try:
        import pooch
    except ImportError:
        raise MissingExtraError.of("Downloading a data set", "pooch", "data") from None
    # A server that undoes the compression on the way would change the bytes that the SHA-256 is for.
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made ({error.strerror}); set FASTCONV_DATA to a folder that can be written"
        ) from error
    for remote in files:
        if not (folder / remote.name).exists():
            fetch_one(remote, folder, base_url, downloader)


def fetch_one(remote, folder, base_url, downloader):
    for left in reversed(range(TRIES)):
        try:
            return atomic_write(folder / remote.name, lambda file: receive(remote, base_url + remote.name, downloader, file))
        except DataError as error:
            if not left:
                raise DataError(f"{error}; try again later, or put {remote.name} into {folder} yourself") from error
            time.sleep(PAUSE)


def receive(remote, url, downloader, file):
    import requests  # pooch's own dependency

    checked = Checked(file, remote, url)
    try:
        downloader(url, checked, None)
    except requests.RequestException as error:
        raise DataError(f"{url}: cannot be fetched ({error})") from error
    checked.confirm()
