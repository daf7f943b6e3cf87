"""A strided convolution as one of stride 1, against the same arrangement written with NumPy."""

import numpy as np
import pytest

from bounds import assert_same_bytes
from fastconv.geometry import ConvGeometry
from fastconv.kernels import phases
from routes import FLOATS

CALLS = (  # x, w, options
    ((2, 13, 17, 5), (4, 4, 5, 3), {"stride": 2, "padding": 1}),
    ((1, 27, 25, 3), (11, 11, 3, 2), {"stride": 4}),
    ((1, 9, 8, 40), (3, 3, 40, 2), {"stride": (2, 3), "padding": ((0, 1), (2, 0))}),
    ((1, 8, 30, 1), (5, 7, 1, 1), {"stride": (3, 2), "padding": ((5, 0), (7, 4))}),  # rows and columns of padding alone
    ((1, 3, 3, 2), (2, 2, 2, 2), {"stride": 2, "padding": ((0, 9), (0, 9))}),
    ((2, 12, 11, 4), (2, 5, 4, 1), {"stride": (1, 3), "padding": 1, "pad_mode": "reflect"}),
)
EVERY_CALL = pytest.mark.parametrize(("x_shape", "w_shape", "options"), CALLS, ids=str)


def numbers(shape, dtype):
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)


def padded(x, geo, **mode):
    """What the windows read of x with its padding, and zeros to the end of the last step."""
    x = np.pad(x, ((0, 0), *geo.pads, (0, 0)), **mode)[:, : (geo.p - 1) * geo.sh + geo.kh, : (geo.q - 1) * geo.sw + geo.kw]
    flat = geo.at_stride_one
    return np.pad(x, ((0, 0), (0, flat.h * geo.sh - x.shape[1]), (0, flat.w * geo.sw - x.shape[2]), (0, 0)))


def in_steps(x, geo):
    """(N, I, sh, J, sw, C) -> (N, I, J, sh sw C)"""
    flat = geo.at_stride_one
    return x.reshape(geo.n, flat.h, geo.sh, flat.w, geo.sw, geo.c).swapaxes(2, 3).reshape(flat.x_shape)


@pytest.mark.parametrize("dtype", FLOATS)
@EVERY_CALL
def test_pixels_of_a_step_become_channels(x_shape, w_shape, options, dtype):
    geo, x = ConvGeometry.of(x_shape, w_shape, **options), numbers(x_shape, dtype)
    wanted = in_steps(padded(x, geo, mode=options.get("pad_mode", "constant")), geo)
    assert_same_bytes(phases.image_at_stride_one(geo, x), wanted)


@EVERY_CALL
def test_the_convolution_stays_the_same(x_shape, w_shape, options):
    """Whole numbers: no sum rounds."""
    geo = ConvGeometry.of(x_shape, w_shape, **options)
    flat = geo.at_stride_one
    x, w = numbers(x_shape, np.float64) % 17, numbers(w_shape, np.float64) % 13
    image, filters = phases.image_at_stride_one(geo, x), phases.filters_at_stride_one(geo, w)
    assert (flat.p, flat.q, flat.sh, flat.sw, flat.is_padded) == (geo.p, geo.q, 1, 1, False)
    windows = np.lib.stride_tricks.sliding_window_view(image, (flat.kh, flat.kw), axis=(1, 2))
    there = padded(x, geo, mode=options.get("pad_mode", "constant"))
    taps = np.lib.stride_tricks.sliding_window_view(there, (geo.kh, geo.kw), axis=(1, 2))[:, :: geo.sh, :: geo.sw]
    wanted = np.einsum("npqcij,ijco->npqo", taps[:, : geo.p, : geo.q], w)
    np.testing.assert_array_equal(np.einsum("npqcij,ijco->npqo", windows, filters), wanted)


@EVERY_CALL
def test_gradients_come_back_to_their_pixels_and_taps(x_shape, w_shape, options):
    geo = ConvGeometry.of(x_shape, w_shape, **{**options, "pad_mode": "constant"})
    flat, (top, _), (left, _) = geo.at_stride_one, *geo.pads
    dx, image = np.full(x_shape, np.nan, "f4"), numbers(flat.x_shape, np.float32)
    phases.join_image(geo, image, dx)
    pixels = image.reshape(geo.n, flat.h, flat.w, geo.sh, geo.sw, geo.c).swapaxes(2, 3)
    pixels = pixels.reshape(geo.n, flat.h * geo.sh, flat.w * geo.sw, geo.c)
    pixels = np.pad(pixels, ((0, 0), (0, top + geo.h), (0, left + geo.w), (0, 0)))  # what no window reads has no gradient
    assert_same_bytes(dx, pixels[:, top : top + geo.h, left : left + geo.w])
    w, dw = numbers(w_shape, np.float32), np.full(w_shape, np.nan, "f4")
    phases.join_filters(geo, phases.filters_at_stride_one(geo, w), dw)
    assert_same_bytes(dw, w)


def test_stride_one_is_left_alone():
    geo = ConvGeometry.of((1, 5, 5, 2), (3, 3, 2, 4), padding=1)
    x = np.zeros((1, 5, 5, 2), "f4")
    assert geo.at_stride_one is geo
    assert phases.image_at_stride_one(geo, x) is x
