"""Data sets: the original formats are read right, and damaged, lying and hostile files are refused by name."""

import contextlib
import gzip
import hashlib
import http.server
import os
import random
import struct
import sys
import threading
import time
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from damage import damaged, refuses
from fastconv import data
from fastconv.data import cifar, cifar_zip, download, folders, idx, make_digits
from fastconv.data import mnist as load_mnist
from fastconv.errors import DataError, FastconvError, MissingExtraError, OptionError

mnist_module = sys.modules["fastconv.data.mnist"]  # the package's name `mnist` is the function
digits_module = sys.modules["fastconv.data.digits"]
SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_mnist = pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason=f"MNIST is not in {SHARED}")
# SHA-256 of MNIST's unpacked training images, published beside that of the .gz files
UNPACKED_TRAIN = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    """No data set of this machine's user is seen, and the local server is not asked through a proxy."""
    monkeypatch.delenv("FASTCONV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache" / "fastconv"))


@pytest.fixture(scope="module")
def original():
    """MNIST read by plain NumPy, without fastconv."""

    def read(name, header):
        return np.frombuffer(gzip.decompress((SHARED / "mnist" / name).read_bytes()), np.uint8, offset=header)

    train = read("train-images-idx3-ubyte.gz", 16).reshape(60000, 28, 28), read("train-labels-idx1-ubyte.gz", 8)
    test = read("t10k-images-idx3-ubyte.gz", 16).reshape(10000, 28, 28), read("t10k-labels-idx1-ubyte.gz", 8)
    return train, test


# ---- embedded digits


def check_arrays(sets, counts, shape):
    for (x, y), count in zip(sets, counts, strict=True):
        assert x.shape == (count, *shape) and x.dtype == np.uint8 and x.flags.writeable and x.flags.c_contiguous
        assert y.shape == (count,) and y.dtype == np.int64 and y.flags.writeable and set(y) == set(range(10))


def test_digits_are_fresh_writable_arrays():
    first, second = data.digits(), data.digits()
    check_arrays(first, (10_000, 2_000), (28, 28, 1))
    first[0][0][:] = 0
    assert second[0][0].any()


@needs_mnist
def test_digits_are_every_sixth_and_every_fifth_of_mnist(original):
    for (x, y), (images, labels), step in zip(data.digits(), original, (6, 5), strict=True):
        assert (x[..., 0] == images[::step]).all() and (y == labels[::step]).all()


def test_digits_are_small_and_say_their_licence():
    sizes = {path.name: path.stat().st_size for path in digits_module.FOLDER.iterdir()}
    assert sum(sizes.values()) < 2_500_000 and len(sizes) == 5
    assert "Creative Commons Attribution-Share Alike 3.0" in (digits_module.FOLDER / "LICENSE.txt").read_text()


@needs_mnist
def test_make_digits_makes_the_same_files_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_digits", str(SHARED / "mnist"), str(tmp_path / "new")])
    make_digits.main()
    printed = capsys.readouterr().out
    for new in (tmp_path / "new").iterdir():
        old = (digits_module.FOLDER / new.name).read_bytes()
        assert gzip.decompress(new.read_bytes()) == gzip.decompress(old)
        if "ng" not in zlib.ZLIB_RUNTIME_VERSION:  # zlib-ng packs the same bytes in another way
            assert new.read_bytes() == old
        assert hashlib.sha256(new.read_bytes()).hexdigest() in printed
    assert len(printed.splitlines()) == 4


# ---- IDX


def idx_bytes(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


IMAGES = np.random.default_rng(5).integers(0, 256, (6, 4, 3), np.uint8)


@pytest.mark.parametrize("name", ["a-ubyte", "a-ubyte.gz"])
def test_idx_round_trip(tmp_path, name):
    content = idx_bytes(IMAGES)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    images = idx.read_images(tmp_path / name, 6, 4, 3)
    assert images.shape == (6, 4, 3, 1) and (images[..., 0] == IMAGES).all() and images.flags.writeable


LIES = {
    "nothing in it": (lambda b: b"", "begins with ;"),
    "another magic number": (lambda b: b"\x1f" + b[1:], "begins with 1f 00 08 03; needed 00 00 08 03"),
    "floats": (lambda b: b[:2] + b"\x0d" + b[3:], "needed 00 00 08 03"),
    "labels in place of images": (lambda b: idx_bytes(np.arange(6)), "3 axes"),
    "ends inside the header": (lambda b: b[:9], "ends inside its header of 16 bytes"),
    "ends after the header": (lambda b: b[:16], "ends after 0 of 72"),
    "one byte short": (lambda b: b[:-1], "ends after 71 of 72"),
    "one byte long": (lambda b: b + b"\0", "goes on after of 72"),
    "more images than wanted": (lambda b: idx_bytes(IMAGES[:5]), "(5, 4, 3); needed (6, 4, 3)"),
    "4 billion images": (lambda b: b[:4] + b"\xff" * 12 + b[16:], "4294967295"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("lie", LIES)
def test_idx_refuses_lies(tmp_path, lie, packed):
    change, words = LIES[lie]
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(change(idx_bytes(IMAGES))) if packed else change(idx_bytes(IMAGES)))
    refuses(partial(idx.read_images, path, 6, 4, 3), path, words)


def test_idx_refuses_damaged_gzip(tmp_path):
    path, good = tmp_path / "a.gz", gzip.compress(idx_bytes(IMAGES), 0)
    flipped = bytearray(good)
    flipped[60] ^= 1  # compression level 0 stores bytes as they are: only the checksum at the end can notice
    for bad in (good[:-9], good[:-4], good[:12], b"", b"not gzip", bytes(flipped)):
        path.write_bytes(bad)
        refuses(partial(idx.read_images, path, 6, 4, 3), path)


def test_idx_does_not_unpack_beyond_what_it_needs(tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES) + bytes(100_000_000), 1))
    with open(path, "rb") as packed:
        monkeypatch.setattr(idx.gzip, "open", lambda *a: gzip.GzipFile(fileobj=packed))
        refuses(lambda: idx.read_images(path, 6, 4, 3), "goes on after")
        assert packed.tell() < path.stat().st_size / 2


def test_labels_out_of_range_and_missing_files_are_named(tmp_path):
    (tmp_path / "l").write_bytes(idx_bytes(np.array([3, 10, 1])))
    refuses(lambda: idx.read_labels(tmp_path / "l", 3), tmp_path / "l", "label 10", "0 to 9")
    refuses(lambda: idx.read_labels(tmp_path / "none", 3), tmp_path / "none", "cannot be read")


def test_random_damage_never_gives_another_error(tmp_path):
    """Any flipped, cut or inserted byte of a gzip or plain file ends in DataError or in the right number of images."""
    chance, path = random.Random(3), tmp_path / "a.gz"
    for content in (gzip.compress(idx_bytes(IMAGES)), idx_bytes(IMAGES)):
        path = path.with_suffix("" if content[:1] == b"\0" else ".gz")
        for _ in range(150):
            path.write_bytes(damaged(content, chance))
            with contextlib.suppress(DataError):
                assert idx.read_images(path, 6, 4, 3).shape == (6, 4, 3, 1)


# ---- MNIST and Fashion-MNIST


@needs_mnist
@pytest.mark.parametrize("where", ["its own folder", "the folder above", "FASTCONV_DATA"])
def test_mnist_is_read_from_every_place(original, monkeypatch, where):
    if where == "FASTCONV_DATA":
        monkeypatch.setenv("FASTCONV_DATA", str(SHARED))
    sets = load_mnist({"its own folder": SHARED / "mnist", "the folder above": str(SHARED)}.get(where))
    check_arrays(sets, (60_000, 10_000), (28, 28, 1))
    for (x, y), (images, labels) in zip(sets, original, strict=True):
        assert (x[..., 0] == images).all() and (y == labels).all()


@needs_mnist
def test_the_shared_mnist_has_the_published_content():
    unpacked = gzip.decompress((SHARED / "mnist" / "train-images-idx3-ubyte.gz").read_bytes())
    assert hashlib.sha256(unpacked).hexdigest() == UNPACKED_TRAIN


@needs_mnist
def test_one_set_is_not_taken_for_the_other(tmp_path):
    refuses(lambda: data.fashion_mnist(SHARED / "mnist"), "train-labels", "this is mnist, not fashion_mnist")
    labels = np.zeros(60_000, np.uint8)
    labels[:10] = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]  # how Fashion-MNIST begins
    for name in mnist_module.NAMES:
        (tmp_path / name).write_bytes(idx_bytes(labels))
    refuses(lambda: load_mnist(tmp_path), "this is fashion_mnist, not mnist")


@pytest.mark.parametrize("load", [load_mnist, data.fashion_mnist, data.cifar10], ids=lambda f: f.__name__)
def test_a_missing_set_names_folder_files_and_a_way_out(tmp_path, monkeypatch, load):
    first = {"cifar10": "data_batch_1.bin"}.get(load.__name__, "train-images-idx3-ubyte")
    refuses(lambda: load(tmp_path), load.__name__, tmp_path, tmp_path / load.__name__, first, "download=True", "FASTCONV_DATA")
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "elsewhere"))
    refuses(load, tmp_path / "elsewhere" / load.__name__, tmp_path / "cache" / "fastconv" / "data" / load.__name__)
    with pytest.raises(OptionError, match="folder: got 7"):
        load(7)


def test_three_of_four_files_are_not_a_set(tmp_path):
    for name in mnist_module.NAMES[:3]:
        (tmp_path / name).write_bytes(b"")
    refuses(lambda: load_mnist(tmp_path), "not found", mnist_module.NAMES[3])


@pytest.mark.parametrize(("name", "three"), [("digits", "3"), ("mnist", "3"), ("fashion_mnist", "Dress"), ("cifar10", "cat")])
def test_class_names(name, three):
    names = data.class_names(name)
    assert len(set(names)) == 10 and names[3] == three


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(OptionError, match=r"'imagenet'.*digits, mnist, fashion_mnist, cifar10"):
        data.class_names("imagenet")


# ---- download


class Server(http.server.ThreadingHTTPServer):
    """Serves `answers[name]`: bytes, or a function of the request handler; counts the requests."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path[1:]
        self.server.asked.append(name)
        answer = self.server.answers.get(name)
        if answer is None:
            self.send_error(404)
        elif callable(answer):
            answer(self)
        else:
            self.send(answer, len(answer))

    def send(self, content, announced):
        self.send_response(200)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


CONTENT = bytes(range(256)) * 4000
REMOTE = download.RemoteFile("a.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_a_good_file_is_fetched_once(server, tmp_path):
    server.answers["a.gz"] = CONTENT
    for _ in range(2):
        download.fetch([REMOTE], tmp_path / "new" / "folder", server.url)
    assert (tmp_path / "new" / "folder" / "a.gz").read_bytes() == CONTENT and server.asked == ["a.gz"]


BAD_SERVERS = {
    "cut short": (lambda h: h.send(CONTENT[:5000], len(CONTENT)), "a.gz"),
    "short and content with it": (CONTENT[:5000], "5,000 bytes with SHA-256"),
    "wrong bytes": (CONTENT[:-1] + b"!", "the bad file was removed"),
    "too long": (CONTENT + b"!", "sends more than the 1,024,000 bytes"),
    "a page with an excuse": (b"<html>Sorry!</html>", REMOTE.sha256),
    "not there": (None, "404"),
    "an internal error": (lambda h: h.send_error(500), "500"),
    "silence": (lambda h: time.sleep(1), "timed out"),
}


@pytest.mark.parametrize("kind", BAD_SERVERS)
def test_bad_servers_leave_nothing_behind_and_are_named(server, tmp_path, monkeypatch, kind):
    answer, words = BAD_SERVERS[kind]
    server.answers["a.gz"] = answer
    monkeypatch.setattr(download, "TIMEOUT", 0.1 if kind == "silence" else 30)
    refuses(lambda: download.fetch([REMOTE], tmp_path, server.url), server.url + "a.gz", words, f"put a.gz into {tmp_path}")
    assert list(tmp_path.iterdir()) == [] and len(server.asked) == download.TRIES


def test_an_endless_answer_is_given_up(server, tmp_path):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(CONTENT)
        except OSError:
            pass  # the other side hung up

    server.answers["a.gz"] = endless
    refuses(lambda: download.fetch([REMOTE], tmp_path, server.url), "sends more than")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_first_answer_is_tried_again(server, tmp_path):
    def first_bad(handler):
        content = CONTENT if len(server.asked) > 1 else CONTENT[:100]
        handler.send(content, len(content))

    server.answers["a.gz"] = first_bad
    download.fetch([REMOTE], tmp_path, server.url)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT and len(server.asked) == 2


def test_no_server_and_no_folder_are_one_line(server, tmp_path):
    refuses(lambda: download.fetch([REMOTE], tmp_path, "http://127.0.0.1:9/"), "http://127.0.0.1:9/a.gz", "cannot be fetched")
    (tmp_path / "file").write_bytes(b"")
    refuses(lambda: download.fetch([REMOTE], tmp_path / "file" / "x", server.url), tmp_path / "file" / "x", "cannot be made")


def test_a_full_disk_during_a_download_is_told_and_not_tried_again(server, tmp_path, monkeypatch):
    def full(self, block):
        raise OSError(28, "No space left on device")

    server.answers["a.gz"] = CONTENT
    monkeypatch.setattr(download.Checked, "write", full)
    with pytest.raises(FastconvError, match="No space left on device"):
        download.fetch([REMOTE], tmp_path, server.url)
    assert list(tmp_path.iterdir()) == [] and len(server.asked) == 1


@pytest.mark.parametrize("package", ["pooch", "PIL"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    call = {
        "pooch": lambda: download.fetch([REMOTE], tmp_path, "http://x/"),
        "PIL": lambda: cifar_zip.read_zip(tmp_path / "a.zip"),
    }
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[data\]"'):
        call[package]()


@needs_mnist
def test_mnist_is_downloaded_into_its_place_and_found_there_again(server, tmp_path, monkeypatch, original):
    paths = [SHARED / "mnist" / f"{name}.gz" for name in mnist_module.NAMES]
    server.answers.update({path.name: path.read_bytes() for path in paths})
    packed_here = tuple(  # the shared files hold the same pixels, packed by another gzip
        download.RemoteFile(p.name, p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths
    )
    monkeypatch.setitem(mnist_module.FILES, "mnist", packed_here)
    (x, _), _ = load_mnist(download=True, _base_url=server.url)
    assert (x[..., 0] == original[0][0]).all()
    assert sorted(os.listdir(tmp_path / "cache" / "fastconv" / "data" / "mnist")) == sorted(p.name for p in paths)
    load_mnist()
    load_mnist(download=True, _base_url=server.url)  # what is there is not asked for again
    assert len(server.asked) == 4


def test_without_download_nothing_is_asked_for(server, tmp_path):
    for load in (load_mnist, data.fashion_mnist, data.cifar10):
        refuses(lambda load=load: load(tmp_path, _base_url=server.url), "not found")
    assert server.asked == []


def test_downloads_go_to_the_folder_given_else_to_fastconv_data_else_to_the_cache(tmp_path, monkeypatch):
    assert folders.home("mnist", tmp_path) == tmp_path / "mnist"
    assert folders.home("mnist", tmp_path / "mnist") == tmp_path / "mnist"
    assert folders.home("mnist") == tmp_path / "cache" / "fastconv" / "data" / "mnist"
    monkeypatch.setenv("FASTCONV_DATA", str(tmp_path / "mine"))
    assert folders.home("cifar10") == tmp_path / "mine" / "cifar10"


def test_every_published_file_has_a_sha256():
    files = [*mnist_module.FILES["mnist"], *mnist_module.FILES["fashion_mnist"], cifar.ARCHIVE]
    assert all(len(bytes.fromhex(f.sha256)) == 32 and f.size > 0 for f in files) and len({f.sha256 for f in files}) == 9
    assert all(url.startswith("https://") and url.endswith("/") for url in (*mnist_module.SOURCES.values(), cifar.SOURCE))
