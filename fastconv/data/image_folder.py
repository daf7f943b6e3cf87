"""Pictures of one's own: a folder for each class, as cameras and courses leave them."""

import os
from pathlib import Path

import numpy as np

from fastconv.data.folders import at_home
from fastconv.errors import DataError, MissingExtraError, OptionError
from fastconv.geometry import pair, whole
from fastconv.machine import require_memory

__all__ = ["image_folder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FITS = ("crop", "pad", "stretch")
MODES = {1: "L", 3: "RGB"}


def image_folder(path, size, *, channels=3, fit="crop", classes=None):
    """Pictures in a folder for each class: `path/cat/1.jpg`, `path/cat/2.png`, `path/dog/1.jpg`, …

    Parameters
    ----------
    path : the folder that holds those of the classes
    size : int or (height, width), pixels: what every picture is brought to
    channels : 3 for colour, 1 for grey
    fit : "crop" fills `size` and cuts off what stands over on both sides, "pad" shows the whole picture between black bars,
        "stretch" distorts it
    classes : names of the sub-folders in the order of their labels; default: all that are there, sorted.  For a second folder
        (test pictures) pass what the first gave, so that the labels mean the same

    Returns
    -------
    x, y, classes : new arrays, images uint8 (N, height, width, channels) from 0 to 255, labels int64 (N,), and the tuple of
        names; class after class, in each by file name, so shuffle before taking a part (`Trainer.fit` does)

    Read are files that end in .jpg, .png, .bmp, .gif (first picture), .tif, .webp, .pgm, .ppm; others and hidden ones are passed
    over.  A photograph is turned as its camera says; what is transparent becomes white.

    Raises
    ------
    DataError : no such folder, a class without pictures, or a file that is no picture, by name
    MemoryLimitError : more than fits;  MissingExtraError : Pillow is needed (extra `data`)
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise MissingExtraError.of("Reading pictures", "Pillow", "data") from None
    height, width = pair(size, "size")
    if whole(channels, "channels", 1) not in MODES:
        raise OptionError(f"channels: got {channels!r}; needed 3 (colour) or 1 (grey)")
    if fit not in FITS:
        raise OptionError(f"fit: got {fit!r}; needed one of {', '.join(FITS)}")
    if not isinstance(path, (str, os.PathLike)):
        raise OptionError(f'path: got {path!r}; needed the name of a folder, such as "pets"')
    classes = class_folders(at_home(path), classes)
    files = [(file, label) for label, folder in enumerate(classes.values()) for file in pictures(folder)]
    require_memory(len(files) * height * width * channels, f"{path}: {len(files):,} images of {height}×{width}×{channels}")
    x = np.empty((len(files), height, width, channels), np.uint8)
    for image, (file, _) in zip(x, files, strict=True):
        image[...] = read(file, (width, height), MODES[channels], fit).reshape(image.shape)
    return x, np.array([label for _, label in files], np.int64), tuple(classes)


def class_folders(path, classes):
    """{name: folder} in the order of the labels."""
    try:
        found = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); needed a folder that holds one for each class") from None
    if not found:
        raise DataError(f"{path}: holds no folders; needed one for each class, with its pictures in it")
    wanted = found if classes is None else list(classes)
    if set(wanted) != set(found) or len(set(wanted)) != len(wanted):
        raise DataError(f"{path}: holds the classes {', '.join(found)}; needed those of `classes`: {', '.join(map(str, wanted))}")
    return {name: path / name for name in wanted}


def pictures(folder):
    """The picture files of one class, sorted by name."""
    try:
        files = [Path(entry) for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); needed a folder of pictures") from None
    found = sorted(file for file in files if file.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{folder}: holds no pictures ({len(files):,} other files); needed {', '.join(SUFFIXES)}; or delete it")
    return found


def read(file, size, mode, fit):
    """One picture as uint8 (height, width) or (height, width, 3); `size` is (width, height), as Pillow counts."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            opened.draft(mode, (max(size),) * 2)  # a large JPEG is decoded small, which is faster
            return np.asarray(fitted(on_white(ImageOps.exif_transpose(opened)).convert(mode), size, fit))
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{file}: is no readable picture ({reason}); repair or delete it") from None


def on_white(picture):
    """`picture` in 8 bits a channel, without transparency."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits a pixel, of which Pillow would only keep what is above 255 as white
        return Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) // 257).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def fitted(picture, size, fit):
    """`picture` in `size`, averaged over the pixels that each new one covers."""
    from PIL import Image, ImageOps

    if fit == "stretch":
        return picture.resize(size, Image.Resampling.BILINEAR)
    return (ImageOps.fit if fit == "crop" else ImageOps.pad)(picture, size, Image.Resampling.BILINEAR)
