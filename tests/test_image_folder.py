"""Folders of pictures: every kind of picture becomes the right pixels and label, and a broken one is named."""

import os
import sys

import numpy as np
import pytest

from damage import refuses
from fastconv import data
from fastconv.errors import MemoryLimitError, MissingExtraError, OptionError

Image = pytest.importorskip("PIL.Image")


def picture(folder, name, colour, size=(40, 20), mode="RGB", **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(folder / name, **options)
    return folder / name


@pytest.fixture
def zoo(tmp_path):
    """Two cats, one dog and one emu, with company that is passed over."""
    picture(tmp_path / "emu", "1.JPG", (0, 0, 255), quality=95)
    picture(tmp_path / "cat", "b.png", (255, 0, 0))
    picture(tmp_path / "cat", "a.bmp", (0, 255, 0))
    picture(tmp_path / "dog", "1.gif", 200, mode="L")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"no picture")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.txt").write_text("not a class")
    return tmp_path


def test_classes_are_sorted_and_pictures_too(zoo):
    x, y, classes = data.image_folder(zoo, 8)
    assert classes == ("cat", "dog", "emu")
    assert x.shape == (4, 8, 8, 3) and x.dtype == np.uint8 and y.dtype == np.int64 and y.tolist() == [0, 0, 1, 2]
    expected = [(0, 255, 0), (255, 0, 0), (200, 200, 200), (0, 0, 255)]
    assert abs(x.astype(int) - np.array(expected)[:, None, None]).max() <= 3  # JPEG rounds colours


def test_a_second_folder_gets_the_labels_of_the_first(zoo, tmp_path):
    _, y, classes = data.image_folder(str(zoo), (6, 9), channels=1, classes=["emu", "cat", "dog"])
    assert y.tolist() == [0, 1, 1, 2] and classes == ("emu", "cat", "dog")
    refuses(lambda: data.image_folder(zoo, 8, classes=["cat", "dog"]), zoo, "holds the classes cat, dog, emu", "cat, dog")
    refuses(lambda: data.image_folder(zoo, 8, classes=["cat", "dog", "emu", "emu"]), "needed those of `classes`")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_pictures_of_another_form_are_cropped_padded_or_stretched(tmp_path, fit):
    """20×40 pixels, the left quarter and the right quarter white, into 8×8."""
    (tmp_path / "a").mkdir()
    pixels = np.full((20, 40), 100, np.uint8)
    pixels[:, :10] = pixels[:, 30:] = 255
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    x = data.image_folder(tmp_path, 8, channels=1, fit=fit)[0][0, ..., 0]
    if fit == "crop":
        assert (x[:, 1:7] == 100).all() and (x[:, 0] < 130).all()  # a new pixel is a mean that reaches a little over its border
    elif fit == "pad":
        assert (x[:2] == 0).all() and (x[6:] == 0).all() and (x[3:5, 0] == 255).all() and (x[3:5, 3:5] == 100).all()
    else:
        assert (x[:, 0] == 255).all() and (x[:, 3:5] == 100).all() and (x[:, 7] == 255).all()


def test_every_mode_becomes_8_bits_without_transparency(tmp_path):
    folder = tmp_path / "only"
    picture(folder, "1.png", 1, mode="1")
    picture(folder, "2.png", (10, 20, 30, 0), mode="RGBA")
    picture(folder, "3.png", (70, 60), mode="LA")
    Image.fromarray(np.full((5, 5), 40 * 257, np.uint16)).save(folder / "4.png")
    picture(folder, "5.tif", (0, 255, 255, 0), mode="CMYK")
    picture(folder, "6.png", 90, mode="P")
    x = data.image_folder(tmp_path, 4)[0][:, 2, 2].astype(int)
    assert x[0].tolist() == [255] * 3 and x[1].tolist() == [255] * 3 and x[3].tolist() == [40] * 3
    assert abs(x[2] - (255 + (70 - 255) * 60 / 255)).max() <= 1
    assert x[4].tolist() == [255, 0, 0]


def test_photographs_are_turned_as_the_camera_says(tmp_path):
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, 10:] = 255  # the right half is bright; turned by a quarter clockwise, the lower half is
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png", exif=exif)
    x = data.image_folder(tmp_path, (20, 10), channels=1)[0][0, ..., 0]
    assert (x[:9] == 0).all() and (x[11:] == 255).all()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "cut": None,
    "a bomb": b"P5 100000 100000 255\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_picture_is_named(zoo, kind):
    name = "broken.pgm" if kind == "a bomb" else "broken.png"
    path = zoo / "dog" / name
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(zoo / "good.png")
    path.write_bytes((zoo / "good.png").read_bytes()[:2000] if BROKEN[kind] is None else BROKEN[kind])
    refuses(lambda: data.image_folder(zoo, 8), path, "is no readable picture", "repair or delete it")


def test_folders_without_pictures_and_no_folder_are_refused(tmp_path, zoo):
    refuses(lambda: data.image_folder(tmp_path / "none", 8), tmp_path / "none", "No such file", "one for each class")
    refuses(lambda: data.image_folder(zoo / "readme.txt", 8), "Not a directory")
    refuses(lambda: data.image_folder(zoo / "cat", 8), zoo / "cat", "holds no folders")
    (zoo / "fox").mkdir()
    (zoo / "fox" / "notes.txt").write_text("later")
    refuses(lambda: data.image_folder(zoo, 8), zoo / "fox", "holds no pictures (1 other files)")


def test_wrong_options_and_a_missing_extra_are_named(zoo, monkeypatch):
    for options, message in [
        ({"size": 0}, "size: got 0"),
        ({"size": 8, "channels": 2}, "channels: got 2"),
        ({"size": 8, "fit": "zoom"}, "fit: got 'zoom'; needed one of crop, pad, stretch"),
    ]:
        with pytest.raises(OptionError, match=message):
            data.image_folder(zoo, **options)
    with pytest.raises(MemoryLimitError, match="4 images of 4000000×4000000×3 needs"):
        data.image_folder(zoo, 4_000_000)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[data\]"'):
        data.image_folder(zoo, 8)


def test_nothing_is_written(zoo):
    before = sorted(os.walk(zoo))
    data.image_folder(zoo, 8)
    assert sorted(os.walk(zoo)) == before
