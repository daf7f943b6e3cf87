"""Explanations: the products are those of the operation, and the page shows them."""

import json
import subprocess
import sys

import numpy as np
import pytest

import fastconv as fc

LECTURE = [[3, 0, 1, 2, 7, 4], [1, 5, 8, 9, 3, 1], [2, 7, 2, 5, 1, 3], [0, 1, 3, 1, 7, 8], [4, 2, 1, 6, 2, 8], [2, 4, 5, 2, 3, 9]]
VERTICAL = [[1, 0, -1]] * 3

OPTIONS = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (2, 3), "padding": "same", "dilation": (1, 2)},
    {"padding": "full", "flip": True},
    {"padding": ((2, 0), (1, 3)), "dilation": 2, "flip": True, "stride": 2},
    {"groups": 2, "padding": 1},
    {"padding": 2, "pad_mode": "reflect"},
    {"padding": (2, 3), "pad_mode": "circular", "stride": 2, "flip": True},
    {"padding": 1, "pad_mode": "replicate", "groups": 2},
]


def integers(shape, seed):
    """Small whole numbers in float32: sums of products are exact, so that results can be compared for equality."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def arrays(options, n=2):
    x = integers((n, 8, 9, 4), 1)
    w = integers((3, 2, 4 // options.get("groups", 1), 6), 2)
    b = integers(6, 3)
    y = fc.conv2d(x, w, b, **options)
    return x, w, b, y, integers(y.shape, 4)


def some_places(shape, count=12):
    random = np.random.default_rng(0)
    corners = [(0,) * len(shape), tuple(n - 1 for n in shape)]
    return corners + [tuple(int(random.integers(n)) for n in shape) for _ in range(count)]


def name(options):
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_values_are_those_of_the_operations(options):
    x, w, b, y, dy = arrays(options)
    dw = fc.conv2d_weight_grad(dy, x, w.shape, **options)
    dx = fc.conv2d_input_grad(dy, w, x.shape, **options)
    for of, exact in (("y", y), ("dw", dw), ("dx", dx)):
        for at in some_places(exact.shape):
            found = fc.explain(x, w, b, at=at, of=of, dy=dy, **options)
            assert found.value == exact[at], found.element


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_indices_follow_the_layout(options):
    x, w, b, y, dy = arrays(options)
    given = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), b
    found = fc.explain(*given, at=(1, 4, 2, 0), layout="NCHW", **options)
    assert found.value == y[1, 2, 0, 4]
    dx = fc.conv2d_input_grad(dy, w, x.shape, **options)
    found = fc.explain(*given, at=(0, 3, 7, 1), of="dx", dy=dy.transpose(0, 3, 1, 2), layout="NCHW", **options)
    assert found.value == dx[0, 7, 1, 3]
    dw = fc.conv2d_weight_grad(dy, x, w.shape, **options)
    found = fc.explain(*given, at=(5, 1, 2, 0), of="dw", dy=dy.transpose(0, 3, 1, 2), layout="NCHW", **options)
    assert found.value == dw[2, 0, 1, 5]


def test_images_without_batch_or_channels_keep_their_indices():
    x, w = integers((7, 6, 4), 1), integers((3, 3, 4, 5), 2)
    assert fc.explain(x, w, at=(4, 3, 2)).value == fc.conv2d(x, w)[4, 3, 2]
    assert fc.explain(x[None], w, at=(4, 3, 2)).element == "y[0, 4, 3, 2]"
    flat, f = x[..., 0], w[..., 0, 0]
    y = fc.conv2d(flat, f)
    assert fc.explain(flat, f, at=(4, 3)).value == y[4, 3]
    assert fc.explain(flat, f, at=(-1, -1)).at == (4, 3)
    dw = fc.conv2d_weight_grad(y, flat, f.shape)
    assert fc.explain(flat, f, at=(1, 2), of="dw", dy=y).value == dw[1, 2]
    dx = fc.conv2d_input_grad(y, f, flat.shape)
    assert fc.explain(flat, f, at=(5, 0), of="dx", dy=y).value == dx[5, 0]


def test_fractions_agree_to_rounding_and_activations_are_applied():
    random = np.random.default_rng(5)
    x, w, b = (random.standard_normal(shape, np.float32) for shape in ((1, 6, 6, 3), (3, 3, 3, 4), 4))
    for activation in (None, "relu", "leaky_relu", "sigmoid", "tanh"):
        y = fc.conv2d(x, w, b, activation=activation)
        for at in some_places(y.shape, 4):
            found = fc.explain(x, w, b, at=at, activation=activation)
            assert found.value == pytest.approx(y[at], rel=1e-5, abs=1e-5)
            assert found.before == pytest.approx(sum(part.sum for part in found.parts) + b[at[-1]])


def test_prepared_weights_bytes_and_lists_are_taken():
    x, w = np.full((5, 5), 200, np.uint8), fc.prepare(np.ones((3, 3, 1, 1), np.float32), (1, 5, 5, 1))
    assert fc.explain(x, [[1] * 3] * 3, at=(0, 0)).value == 1800
    assert fc.explain(x[None, ..., None], w, at=(0, 0, 0)).value == 1800


def test_the_parts_are_the_window_and_the_filter():
    found = fc.explain(LECTURE, VERTICAL, at=(0, 3), padding="same")
    (part,) = found.parts
    assert part.left.tolist() == [[0, 0, 0], [1, 2, 7], [8, 9, 3]]
    assert part.right.tolist() == VERTICAL
    assert part.padding.tolist() == [[True] * 3, [False] * 3, [False] * 3]
    assert part.products.sum() == found.value == -1
    with pytest.raises(ValueError, match="read-only"):
        part.left[0, 0] = 1


def test_a_pixel_that_no_window_reads_has_gradient_zero():
    found = fc.explain(np.ones((6, 6)), np.ones((2, 2)), at=(2, 2), of="dx", dy=np.ones((2, 2)), stride=3)
    assert found.value == 0 and found.terms == 0
    assert "No window reads this pixel" in str(found)


def test_the_page_shows_the_whole_arithmetic():
    assert fc.explain(LECTURE, VERTICAL, [2], at=(0, 0), padding="same").text(width=100, plain=True).splitlines() == [
        "y[0, 0] = -3",
        "x 6x6, w 3x3 (height x width), padding 1",
        "y[p, q] = b + sum over i, j of  x[p + i - 1, q + j - 1] * w[i, j]",
        "The window: rows -, 0, 1 and columns -, 0, 1 of x.",
        "[Brackets] mark padding, and so does -.",
        "",
        "  x               w          x * w",
        "  [0]  [0]  [0]   1  0  -1   0  0   0",
        "  [0]    3    0   1  0  -1   0  0   0",
        "  [0]    1    5   1  0  -1   0  0  -5",
        "",
        "0*1 + 0*0 + 0*(-1) + 0*1 + 3*0 + 0*(-1) + 0*1 + 1*0 + 5*(-1) = -5",
        "",
        "  channel 0  -5",
        "  bias b[0]   2",
        "  -------------",
        "  y[0, 0]    -3",
    ]


def test_the_page_of_an_input_gradient_says_that_the_filter_is_read_backwards():
    dy = np.ones((4, 4))
    page = str(fc.explain(LECTURE, VERTICAL, at=(2, 3), of="dx", dy=dy))
    assert "rows p = 0, 1, 2 and columns q = 1, 2, 3 of y" in page
    assert "filter rows i = 2, 1, 0 and columns j = 2, 1, 0" in page
    assert "rotated by 180 degrees" in page
    assert "rotated by 180 degrees." not in str(fc.explain(LECTURE, VERTICAL, at=(2, 3), of="dx", dy=dy, flip=True))


def test_large_sums_are_folded_with_their_counts():
    x, w, dy = integers((3, 40, 40, 64), 1), integers((3, 3, 64, 2), 2), integers((3, 38, 38, 2), 3)
    page = str(fc.explain(x, w, at=(0, 1, 2, 1)))
    assert "The other 62 channels in the same way." in page and "49 more channels" in page
    page = str(fc.explain(x, w, at=(0, 1, 2, 1), of="dw", dy=dy))
    assert "(38×38 numbers each, shown in part)" in page and "1,444 products: " in page
    assert len(page.splitlines()) < 150


@pytest.mark.parametrize("of", ["y", "dw", "dx"])
def test_json_has_the_numbers_of_the_page(of):
    x, w, b, _, dy = arrays({"padding": 1})
    found = fc.explain(x, w, b, at=(1, 0, 2, 3), of=of, dy=dy, padding=1)
    read = json.loads(found.to_json())
    assert read["schema"] == 1 and read["element"] == found.element and read["value"] == found.value
    left, right = {"y": "xw", "dw": ("x", "dy"), "dx": ("dy", "w")}[of]
    for part, shown in zip(found.parts, read["parts"], strict=True):
        assert np.array_equal(np.array(shown[left]) * np.array(shown[right]), part.products)
        assert shown["sum"] == part.sum
    assert sum(part["sum"] for part in read["parts"]) + (read["bias"] or 0) == read["before_activation"]


def test_json_stays_valid_where_numbers_are_not_finite():
    found = fc.explain([[np.nan, 1.0], [np.inf, 2.0]], [[1.0, 1.0]], at=(0, 0))
    assert np.isnan(found.value)
    assert json.loads(found.to_json(), parse_constant=pytest.fail)["value"] == "nan"
    assert "nan" in str(found)


def test_html_is_escaped_and_needs_nothing_from_outside():
    html = fc.explain(LECTURE, VERTICAL, at=(0, 0), padding=1)._repr_html_()
    assert html.count("<table") == html.count("</table>") == 3
    assert "http" not in html and "<script" not in html
    assert html.count("background") == 5  # the padding of a corner window


ERRORS = [
    ({"at": (4, 0)}, "at: got p = 4; needed 0 to 3, (p, q) within y, which has shape (4, 4)"),
    ({"at": (0, -5)}, "at: got q = -5; needed 0 to 3"),
    ({"at": (0, 0, 0)}, "at: got (0, 0, 0); needed 2 numbers (p, q)"),
    ({"at": 3}, "at: got 3; needed whole numbers (p, q)"),
    ({"at": (0.5, 1)}, "at: got (0.5, 1); needed whole numbers (p, q)"),
    ({"at": (3, 0), "of": "dw", "dy": np.ones((4, 4))}, "at: got i = 3; needed 0 to 2, (i, j) within dw"),
    ({"at": (0, 6), "of": "dx", "dy": np.ones((4, 4))}, "at: got w = 6; needed 0 to 5, (h, w) within dx"),
    ({"at": (0, 0), "of": "db"}, "of: got 'db'; needed \"y\" (output)"),
    ({"at": (0, 0), "of": "dx"}, 'dy: needed for of="dw" and of="dx"'),
    ({"at": (0, 0), "of": "dw", "dy": np.ones((3, 4))}, "dy: got (1, 3, 4, 1)"),
    ({"at": (0, 0), "activation": "swish"}, "activation: got 'swish'"),
    ({"at": (0, 0), "padding": "sane"}, "padding: got 'sane'"),
    ({"at": (0, 0), "b": [1, 2]}, "b: got shape (2,); needed (1,)"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS, ids=[message[:30] for _, message in ERRORS])
def test_errors_say_what_was_needed(arguments, message):
    with pytest.raises(fc.FastconvError) as raised:
        fc.explain(LECTURE, VERTICAL, **arguments)
    assert str(raised.value).startswith(message)


def test_numba_is_not_needed():
    code = (
        "import sys, fastconv as fc\n"
        "print(fc.explain([[1, 2], [3, 4]], [[1, 1]], at=(1, 0), of='dx', dy=[[1], [2]]))\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
