"""The named edge filters give the lectures' numbers, and cannot be changed by accident."""

import numpy as np
import pytest

from fastconv import edges
from fastconv.errors import DTypeError, OptionError, ShapeError

A = [[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]]
STEP = [[10, 10, 10, 0, 0, 0]] * 6
BLOCKS = [[10, 10, 10, 0, 0, 0]] * 3 + [[0, 0, 0, 10, 10, 10]] * 3


def correlate(image, f):
    """Valid cross-correlation by the definition."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(image, float), f.shape)
    return (windows * f).sum(axis=(2, 3)).tolist()


@pytest.mark.parametrize(
    ("name", "image", "answer"),
    [
        ("vertical", A, [[-5, -4, 0, 8], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]),
        ("vertical", STEP, [[0, 30, 30, 0]] * 4),
        ("vertical", np.fliplr(STEP), [[0, -30, -30, 0]] * 4),
        ("horizontal", BLOCKS, [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]),
        ("sobel_x", A, [[-12, -8, 5, 16], [-10, 0, 3, 5], [-3, -2, -8, -14], [0, -6, -4, -18]]),
        ("sobel_x", STEP, [[0, 40, 40, 0]] * 4),
        ("scharr_x", A, [[-64, -40, 35, 80], [-30, 8, 13, 23], [-21, -6, -40, -70], [12, -34, -16, -62]]),
        ("scharr_x", STEP, [[0, 160, 160, 0]] * 4),
    ],
)
def test_filters_give_the_worked_examples(name, image, answer):
    assert correlate(image, edges.ALL[name]) == answer


@pytest.mark.parametrize("name", edges.ALL)
def test_every_filter_is_named_immutable_and_blind_to_flat_regions(name):
    f = edges.ALL[name]
    assert f is getattr(edges, name) and name in edges.__all__
    assert f.dtype == np.float32 and f.ndim == 2 and f.any() and f.sum() == 0
    with pytest.raises(ValueError, match="read-only"):
        f[0, 0] = 9
    with pytest.raises(ValueError, match="WRITEABLE"):
        f.setflags(write=True)


@pytest.mark.parametrize("kind", ["sobel", "scharr", "prewitt"])
def test_the_y_filter_is_the_x_filter_for_the_image_turned_over(kind):
    x, y = edges.ALL[f"{kind}_x"], edges.ALL[f"{kind}_y"]
    assert correlate(np.transpose(A), y) == np.transpose(correlate(A, x)).tolist()


def test_diagonal_filters_answer_most_to_their_own_direction():
    rows, columns = np.mgrid[:7, :7]
    light_upper_left = np.where(rows + columns < 6, 10, 0)  # the edge runs "/"
    own, other = (np.array(correlate(light_upper_left, edges.ALL[f"diagonal_{angle}"])) for angle in (45, 135))
    assert own.max() == 30 and own.min() == 0 and abs(other).max() < 30
    mirrored = np.array(correlate(np.fliplr(light_upper_left), edges.diagonal_135))
    assert (mirrored == np.fliplr(own)).all()


def test_laplacians_answer_to_a_point_but_not_to_a_ramp():
    ramp = np.add.outer(3 * np.arange(5), 2 * np.arange(5))
    point = np.zeros((3, 3))
    point[1, 1] = 1
    for f, centre in ((edges.laplacian, -4), (edges.laplacian_8, -8)):
        assert not np.any(correlate(ramp, f)) and correlate(point, f) == [[centre]]


@pytest.mark.parametrize(
    ("channels", "of", "used"),
    [
        ("red", 3, [0]),
        ("blue", 3, [2]),
        ("all", 4, [0, 1, 2, 3]),
        (1, 3, [1]),
        (np.int64(0), 1, [0]),
        (["red", "green", 0], 3, [0, 1]),
        ((2, 0), 3, [0, 2]),
        (np.array([1]), 2, [1]),
        (range(2), 5, [0, 1]),
    ],
)
def test_on_channels_puts_the_filter_there_and_zeros_elsewhere(channels, of, used):
    w = edges.on_channels(edges.vertical, channels, of)
    assert w.shape == (3, 3, of, 1) and w.dtype == np.float32 and w.flags.writeable
    for c in range(of):
        assert (w[:, :, c, 0] == (edges.vertical if c in used else 0)).all()


def test_on_channels_takes_any_real_filter_that_is_not_square():
    assert edges.on_channels([[1, 2, 3]]).shape == (1, 3, 3, 1)
    assert edges.on_channels(np.eye(2)).dtype == np.float64
    assert edges.on_channels(np.eye(2, dtype=np.uint8)).dtype == np.float32


@pytest.mark.parametrize("channels", ["purple", 3, -1, 1.0, True, None, [], [0, "violet"], [[0]], ""], ids=repr)
def test_on_channels_refuses_a_channel_that_is_not_there(channels):
    with pytest.raises(OptionError, match="channels: got"):
        edges.on_channels(edges.vertical, channels)


def test_on_channels_names_what_else_is_wrong():
    with pytest.raises(OptionError, match=r"'green'.*from 0 to 0"):
        edges.on_channels(edges.vertical, "green", of=1)
    for of in (0, -2, 1.5, None, True):
        with pytest.raises(OptionError, match="of: got"):
            edges.on_channels(edges.vertical, "all", of)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        edges.on_channels([1, 0, -1])
    for f in ([[1j]], [["a"]], [[None]]):
        with pytest.raises(DTypeError, match="f: got"):
            edges.on_channels(f)


def test_the_sample_image_is_fresh_bytes_and_makes_every_filter_answer():
    image = edges.sample_image()
    assert image.shape == (64, 64) and image.dtype == np.uint8 and image is not edges.sample_image()
    assert (image[:, 0] == 200).all() and (image[:, -1] == 40).all()
    for f in edges.ALL.values():
        answer = np.array(correlate(image, f))
        assert answer.max() >= 100 and answer.min() <= -100
