"""Images from files, and into the form that a network takes.

Picture files need Pillow (extra `viz`); arrays (.npy) and tables of numbers (.txt, .csv) do not.  Brightness goes from 0 (black)
to 255 (white); arrays are taken as they are.
"""

import warnings
from pathlib import Path

import numpy as np

from fastconv.errors import DataError, MissingExtraError

__all__ = ["fit", "grey", "looks_inverted", "read"]

COLOURS = (1, 2, 3, 4)  # channels that a picture can have
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow and most programs make grey


def read(path, shape=()):
    """[(name, image)] of a file: one picture (H, W) or (H, W, 3), or each image of an array (N, H, W, C); of an array (N, H, W)
    where that is the `shape` (H, W, 1) that is wanted.
    """
    kind = Path(path).suffix.lower()
    if kind not in (".npy", ".txt", ".csv"):
        return [(path, from_picture(path))]
    try:
        array = np.load(path, allow_pickle=False) if kind == ".npy" else table(path, "," if kind == ".csv" else None)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); needed an array of numbers") from None
    return from_array(array, path, shape)


def table(path, delimiter):
    """The numbers of a text file, (rows, columns); none are no reason for a warning here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.loadtxt(path, delimiter=delimiter, ndmin=2)


def reason(error):
    """An exception's own words, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def from_array(array, path, shape):
    """The images of an array of 2 (H, W), 3 (H, W, C) or 4 axes (N, H, W, C); see `read`."""
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays; needed one: numpy.save writes it, numpy.savez does not")
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3, 4) or not array.size:
        raise DataError(f"{path}: holds {array.dtype} of shape {array.shape}; needed numbers (H, W), (H, W, C) or (N, H, W, C)")
    if not np.isfinite(array).all():
        raise DataError(f"{path}: holds values that are not finite; needed numbers")
    if array.ndim == 3 and (*array.shape[1:], 1) == tuple(shape) and array.shape[2] not in COLOURS:
        array = array[..., None]
    if array.ndim < 4:
        return [(path, array)]
    return [(f"{path}[{n}]", image) for n, image in enumerate(array)]


def from_picture(path):
    """A picture file as float32 (H, W) or (H, W, 3); what is transparent becomes white."""
    Image, ImageOps = pillow(f"reading {path}")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); needed a picture, such as PNG or JPEG, or .npy") from None
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel
        values = np.asarray(picture, np.float32)
        return values / 257 if values.max() > 255 else values
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        colours = np.asarray(picture, np.float32)
        return colours[..., 0] if (colours == colours[..., :1]).all() else colours
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"), np.float32)


def pillow(feature):
    """Pillow's two modules, or the error that names the extra."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingExtraError.of(feature, "Pillow", "viz") from None
    return Image, ImageOps


def grey(image, name="the image"):
    """An image of any colours as (H, W); a fourth channel, or a second one, says what is transparent."""
    if image.ndim == 2:
        return image
    if image.shape[2] not in COLOURS:
        raise DataError(f"{name}: has {image.shape[2]} channels (shape {image.shape}); needed (H, W), or 1 to 4 channels")
    return image[..., 0] if image.shape[2] < 3 else image[..., :3] @ LUMA


def fit(image, shape, name):
    """`image` in `shape` (height, width, channels): grey or colour as needed, shrunk or enlarged whole, its border filled up."""
    height, width, channels = shape
    if image.ndim == 2 or (image.shape[2] != channels and channels == 1):
        image = grey(image, name)[..., None]
    if image.shape[2] != channels:
        if image.shape[2] != 1:
            raise DataError(f"{name}: has {image.shape[2]} channels; the network takes {channels}")
        image = np.repeat(image, channels, axis=2)
    if image.shape[:2] != (height, width):
        image = np.stack([resized(plane, (width, height), name) for plane in np.moveaxis(image, 2, 0)], axis=2)
    return np.asarray(image, np.float32)


def resized(plane, size, name):
    """One channel in another size: no distortion, the rest filled with the brightness of its border."""
    Image, ImageOps = pillow(f"resizing {name} ({plane.shape[1]}×{plane.shape[0]} to {size[0]}×{size[1]})")
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    filled = ImageOps.pad(picture, size, Image.Resampling.BILINEAR, color=float(np.median(border(plane))))
    return np.asarray(filled)


def border(plane):
    """The outermost pixels."""
    return np.concatenate([plane[0], plane[-1], plane[:, 0], plane[:, -1]])


def looks_inverted(image, net):
    """Whether `image` is dark on light where a grey network was trained on light on dark, or the other way round.

    What a network was trained on shows in its `Normalize`: the mean brightness of its images, in units of 0 to 255.
    """
    from fastconv.layers import Normalize

    means = [layer.mean for layer in net.layers[:1] if isinstance(layer, Normalize) and not np.ndim(layer.mean)]
    if image.shape[2] != 1 or not means or not 1 < means[0] < 255:
        return False
    bright = np.median(border(image[..., 0])) > 127
    return bool(bright if means[0] < 100 else not bright if means[0] > 155 else False)
