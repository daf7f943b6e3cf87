"""CIFAR-10: the binary version and the zip of JPEG files are read right; damaged and hostile archives are refused by name."""

import contextlib
import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from damage import damaged, refuses
from fastconv import data
from fastconv.data import cifar, cifar_zip, kept
from fastconv.errors import DataError

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_cifar = pytest.mark.skipif(
    not (SHARED / "cifar10" / "cifar10-jpeg.zip").is_file(), reason=f"the CIFAR zip is not in {SHARED}"
)


@pytest.fixture(autouse=True)
def images_are_kept_apart(monkeypatch, tmp_path_factory):
    """What these tests decode is not kept among this user's images; returns the place."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    return kept.place("cifar10-jpeg")


# ---- binary version


@pytest.fixture
def small(monkeypatch):
    """CIFAR-10 with 4 records a file in place of 10,000; returns {name: bytes}."""
    monkeypatch.setattr(cifar, "PER_FILE", 4)
    monkeypatch.setattr(cifar, "FILE_SIZE", 4 * cifar.RECORD)
    monkeypatch.setattr(cifar, "LARGEST_TAR", 250_000)
    records = np.random.default_rng(1).integers(0, 256, (6, 4, cifar.RECORD), np.uint8)
    records[:, :, 0] %= 10
    return {name: r.tobytes() for name, r in zip(cifar.BATCHES, records, strict=True)}


def tar_of(files, folder="cifar-10-batches-bin/", level=9, extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=level) as archive:
        for member in extra:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in files:
            member = tarfile.TarInfo(folder + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name, size=0, **fields):
    info = tarfile.TarInfo(name)
    info.size = size
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def check_small(sets, files):
    """The arrays hold the pixels that the record format says."""
    (x, y), (xt, yt) = sets
    assert (x.shape, xt.shape, x.dtype, y.dtype) == ((20, 32, 32, 3), (4, 32, 32, 3), np.uint8, np.int64)
    for position in range(24):
        name, record = cifar.BATCHES[position // 4], position % 4
        raw = files[name][record * 3073 : (record + 1) * 3073]
        image, label = (x[position], y[position]) if position < 20 else (xt[record], yt[record])
        assert label == raw[0]
        for row, column, channel in ((0, 0, 0), (5, 17, 1), (31, 30, 2)):
            assert image[row, column, channel] == raw[1 + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize("sub", ["", "cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin"])
def test_cifar_bin_files_are_read_from_every_place(tmp_path, small, sub):
    (tmp_path / sub).mkdir(parents=True, exist_ok=True)
    for name, content in small.items():
        (tmp_path / sub / name).write_bytes(content)
    check_small(data.cifar10(tmp_path), small)


def test_cifar_tar_is_read_whatever_the_order_and_the_company(tmp_path, small):
    company = [
        member("cifar-10-batches-bin", type=tarfile.DIRTYPE),
        member("cifar-10-batches-bin/readme.html", 88),
        member("../../data_batch_1.bin", 4 * 3073),
        member("/etc/data_batch_2.bin", 4 * 3073),
        member("cifar-10-batches-bin/../data_batch_3.bin", 4 * 3073),
        member("cifar-10-batches-bin/data_batch_4.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("cifar-10-batches-bin/test_batch.bin", type=tarfile.CHRTYPE),
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / cifar.ARCHIVE.name).write_bytes(tar_of(reversed(small.items()), extra=company))
    check_small(data.cifar10(tmp_path / "in"), small)
    assert os.listdir(tmp_path) == ["in"] and os.listdir(tmp_path / "in") == [cifar.ARCHIVE.name]  # nothing was unpacked


def test_cifar_tar_lies_are_refused(tmp_path, small):
    path, files = tmp_path / cifar.ARCHIVE.name, list(small.items())
    bad_label = b"\x0a" + small["test_batch.bin"][1:]
    zeros = member("cifar-10-batches-bin/zeros", 300_000)
    flipped = bytearray(tar_of(files, level=0))
    flipped[5000] ^= 1  # a pixel: only the checksum at the end of the gzip can notice
    cases = {
        "one missing": (tar_of(files[:5]), "lacks test_batch.bin"),
        "one too short": (
            tar_of([(n, c[:-1]) if n == "data_batch_3.bin" else (n, c) for n, c in files]),
            "lacks data_batch_3.bin",
        ),
        "one twice": (tar_of([*files, files[2]]), "data_batch_3.bin twice"),
        "another folder": (tar_of(files, folder="../"), "lacks data_batch_1.bin"),
        "symbolic links": (
            tar_of(files[1:], extra=[member("cifar-10-batches-bin/data_batch_1.bin", type=tarfile.SYMTYPE)]),
            "lacks",
        ),
        "label 10": (tar_of([*files[:5], ("test_batch.bin", bad_label)]), "label 10"),
        "a bomb": (tar_of(files, extra=[zeros]), "unpacks to far more"),
        "too many members": (tar_of(files, extra=[member(f"m{i}") for i in range(101)]), "lacks"),
        "cut short": (tar_of(files)[:-3000], "cannot be read"),
        "a flipped bit": (bytes(flipped), "CRC"),
        "not gzip": (b"hello", "cannot be read"),
        "empty": (b"", "cannot be read"),
    }
    for name, (content, words) in cases.items():
        path.write_bytes(content)
        refuses(lambda: data.cifar10(tmp_path), path, words)
        assert os.listdir(tmp_path) == [cifar.ARCHIVE.name], name


def test_damaged_archives_never_give_another_error(tmp_path, small, small_zip):
    chance = random.Random(4)
    plain_tar = gzip.decompress(tar_of(small.items()))
    for _ in range(50):
        header = bytearray(plain_tar)
        header[512 * chance.randrange(2) + chance.randrange(512)] = chance.randrange(256)
        contents = (damaged(tar_of(small.items()), chance), gzip.compress(bytes(header), 1), damaged(small_zip(), chance))
        for name, content in zip((cifar.ARCHIVE.name, cifar.ARCHIVE.name, cifar_zip.ZIP_NAME), contents, strict=True):
            path = tmp_path / name
            path.write_bytes(content)
            with contextlib.suppress(DataError):
                data.cifar10(tmp_path)
            path.unlink()


def test_cifar_bin_lies_are_refused(tmp_path, small):
    for change, words in (
        (lambda c: c[:-1], "12,291 bytes; needed 12,292"),
        (lambda c: c + c, "12,293"),
        (lambda c: b"\x0a" + c[1:], "label 10"),
    ):
        for name, content in small.items():
            (tmp_path / name).write_bytes(change(content) if name == "data_batch_2.bin" else content)
        refuses(lambda: data.cifar10(tmp_path), tmp_path, "data_batch_2.bin", words)


def test_cifar_download_is_read_and_the_pickles_are_not(tmp_path, small, monkeypatch):
    asked = []

    def fetch(files, folder, base_url):
        asked.append(([file.name for file in files], base_url))
        folder.mkdir()
        (folder / cifar.ARCHIVE.name).write_bytes(tar_of(small.items()))

    monkeypatch.setattr(cifar, "fetch", fetch)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    refuses(lambda: data.cifar10(tmp_path), "pickles, which can run code")
    for _ in range(2):  # the second time it is there
        check_small(data.cifar10(tmp_path, download=True), small)
    assert asked == [(["cifar-10-binary.tar.gz"], "https://www.cs.toronto.edu/~kriz/")]


# ---- CIFAR-10 as a zip of JPEG files


def jpeg(colour, size=(32, 32), mode="RGB", kind="JPEG"):
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.new(mode, size, colour).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.fixture
def small_zip(monkeypatch):
    """A function that makes a zip with 2 + 1 images a class in place of 5,000 + 1,000, with changes: {name: bytes or None}."""
    monkeypatch.setattr(cifar_zip, "PER_CLASS", {"train": 2, "test": 1})
    classes = data.class_names("cifar10")
    names = [(f"{part}/{c}/{n:04d}.jpg", (20 * i, 100 * n, 50)) for part, count in (("test", 1), ("train", 2))
             for i, c in enumerate(classes) for n in range(count)]  # fmt: skip
    good = {name: jpeg(colour) for name, colour in names}

    def make(changes=None, compression=zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name, content in {**good, **(changes or {})}.items():
                if content is not None:
                    archive.writestr(name, content)
        return buffer.getvalue()

    return make


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_zip_images_get_their_labels_and_their_order(tmp_path, small_zip, compression):
    (tmp_path / "cifar10").mkdir()
    evil = {"../evil.jpg": b"1", "/etc/evil": b"2", "train/cat/../../evil": b"3", "train/cat/": b"", "readme": b"4"}
    (tmp_path / "cifar10" / cifar_zip.ZIP_NAME).write_bytes(small_zip(evil, compression))
    (x, y), (xt, yt) = data.cifar10(tmp_path)
    assert y.tolist() == [*range(10), *range(10)] and yt.tolist() == [*range(10)] and y.dtype == np.int64
    assert x.shape == (20, 32, 32, 3) and xt.shape == (10, 32, 32, 3) and x.dtype == np.uint8 and x.flags.writeable
    expected = [(20 * (i % 10), 100 * (i // 10), 50) for i in range(20)]
    assert abs(x[:, 7, 9].astype(int) - expected).max() <= 4  # JPEG rounds colours
    assert sorted(os.listdir(tmp_path)) == ["cifar10"]


def test_zip_lies_are_refused(tmp_path, small_zip):
    name, path = "train/cat/0001.jpg", tmp_path / cifar_zip.ZIP_NAME
    good = small_zip()
    encrypted = bytearray(good)
    encrypted[encrypted.rindex(b"PK\1\2", 0, encrypted.rindex(name.encode())) + 8] |= 1
    bad_crc = bytearray(small_zip(compression=zipfile.ZIP_STORED))
    bad_crc[bad_crc.index(name.encode()) + len(name) + 300] ^= 1
    huge_directory = good[:-10] + struct.pack("<I", 4_000_000_000) + good[-6:]
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = io.BytesIO(good)
        with zipfile.ZipFile(twice, "a") as archive:
            archive.writestr(name, jpeg((1, 2, 3)))
    cases = {
        "missing": (small_zip({name: None}), "lacks train/cat/0001.jpg"),
        "twice": (twice.getvalue(), "1 names twice"),
        "not an image": (small_zip({name: b"hello"}), "no readable JPEG"),
        "empty image": (small_zip({name: b""}), "no readable JPEG"),
        "cut image": (small_zip({name: jpeg((9, 9, 9))[:-200]}), "no readable JPEG"),
        "a PNG": (small_zip({name: jpeg((9, 9, 9), kind="PNG")}), "no readable JPEG"),
        "too small": (small_zip({name: jpeg((9, 9, 9), size=(32, 31))}), "is 32×31 RGB; needed 32×32 RGB"),
        "grey": (small_zip({name: jpeg(9, mode="L")}), "is 32×32 L"),
        "a bomb": (small_zip({name: bytes(50_000_000)}), "50,000,000 bytes long"),
        "unusual compression": (small_zip(compression=zipfile.ZIP_LZMA), "unusual way"),
        "encrypted": (bytes(encrypted), "encrypted"),
        "damaged": (bytes(bad_crc), "Bad CRC-32"),
        "cut short": (good[:-1], "does not end as a zip"),
        "a huge directory": (huge_directory, "4,000,000,000 bytes"),
        "a million members": (good[:-22] + b"PK\6\7" + bytes(16) + good[-22:], "zip64"),
        "no zip": (b"hello" * 100, "does not end as a zip"),
        "empty": (b"", "cannot be read"),
    }
    for kind, (content, words) in cases.items():
        path.write_bytes(content)
        refuses(lambda: data.cifar10(tmp_path), path, words)
        assert os.listdir(tmp_path) == [path.name], kind


def same(one, other):
    return all((a == b).all() for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True))


def test_a_zip_is_decoded_once(tmp_path, small_zip, monkeypatch):
    (tmp_path / cifar_zip.ZIP_NAME).write_bytes(small_zip())
    first = data.cifar10(tmp_path)
    monkeypatch.setattr(cifar_zip, "decode", None)
    again = data.cifar10(tmp_path)
    assert same(first, again) and again[0][0].flags.writeable and again[0][1].dtype == np.int64


def test_another_zip_or_another_pillow_is_decoded_again(tmp_path, small_zip, monkeypatch):
    path = tmp_path / cifar_zip.ZIP_NAME
    path.write_bytes(small_zip())
    first = data.cifar10(tmp_path)
    path.write_bytes(small_zip({"train/cat/0001.jpg": jpeg((200, 10, 30))}))
    assert not same(first, data.cifar10(tmp_path))
    monkeypatch.setattr("PIL.__version__", "0.0")
    monkeypatch.setattr(cifar_zip, "decode", lambda *_: np.full((32, 32, 3), 7, np.uint8))
    assert (data.cifar10(tmp_path)[0][0] == 7).all()


DAMAGE = {
    "cut": lambda b: b[:-1],
    "longer": lambda b: b + b"!",
    "empty": lambda b: b"",
    "a flipped bit": lambda b: b[:5000] + bytes([b[5000] ^ 1]) + b[5001:],
    "a flipped bit of the checksum": lambda b: b[:33] + bytes([b[33] ^ 1]) + b[34:],
    "of another zip": lambda b: bytes(32) + b[32:],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_kept_images_are_not_believed(tmp_path, small_zip, images_are_kept_apart, how):
    (tmp_path / cifar_zip.ZIP_NAME).write_bytes(small_zip())
    first, place = data.cifar10(tmp_path), images_are_kept_apart
    good = place.read_bytes()
    place.write_bytes(DAMAGE[how](good))
    assert same(first, data.cifar10(tmp_path))
    assert place.read_bytes() == good  # written again


def test_images_that_cannot_be_kept_are_decoded_each_time(tmp_path, small_zip, monkeypatch):
    (tmp_path / cifar_zip.ZIP_NAME).write_bytes(small_zip())
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "file"))
    assert same(data.cifar10(tmp_path), data.cifar10(tmp_path))
    monkeypatch.delenv("FASTCONV_CACHE_DIR")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *a, **k: "~nobody-of-this-name/cache")
    assert same(data.cifar10(tmp_path), data.cifar10(tmp_path))


@needs_cifar
def test_the_shared_cifar_zip_has_the_layout_that_is_read(monkeypatch):
    monkeypatch.setattr(cifar_zip, "PER_CLASS", {"train": 20, "test": 20})  # all 60,000 take several seconds
    image = pytest.importorskip("PIL.Image")
    (x, y), (xt, _) = data.cifar10(SHARED)
    assert x.shape == xt.shape == (200, 32, 32, 3) and np.bincount(y).tolist() == [20] * 10
    with zipfile.ZipFile(SHARED / "cifar10" / "cifar10-jpeg.zip") as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{part}/{c}/{n:04d}.jpg"
            for part, count in (("train", 5000), ("test", 1000))
            for c in data.class_names("cifar10")
            for n in range(count)
        )
        seventh_frog = np.asarray(image.open(archive.open("train/frog/0007.jpg")))
    assert (x[76] == seventh_frog).all() and y[76] == 6
