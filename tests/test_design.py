"""`design`: every answer is checked by a convolution that is computed, and nothing that fits is left out."""

import itertools

import numpy as np
import pytest

import fastconv as fc
from fastconv.errors import OptionError, ShapeError


def settings(answers):
    return [(a.kernel, a.stride, a.padding) for a in answers]


def computed(answer):
    """The output size that conv2d gives."""
    x = np.zeros((1, answer.size))
    for _ in range(answer.layers):
        taps = np.ones((1, answer.kernel))
        options = {"stride": (1, answer.stride), "padding": (0, answer.padding), "dilation": (1, answer.dilation)}
        x = fc.conv2d(x, taps, algorithm="direct", **options)
    return x.shape[1]


@pytest.mark.parametrize(
    "wanted",
    [
        {"size": 32, "output": 28},
        {"size": 13, "output": 5, "dilation": 2},
        {"size": 32, "output": 8, "layers": 2},
        {"size": 20, "field": 5, "layers": (1, 2)},
        {"output": 6, "field": 7, "layers": range(1, 4)},
        {"size": 10, "output": 4, "unread": True},
    ],
    ids=str,
)
def test_every_answer_gives_what_was_wanted(wanted):
    for answer in fc.design(**wanted):
        assert computed(answer) == answer.output == wanted.get("output", answer.output)
        assert answer.field.size == wanted.get("field", answer.field.size)
        assert answer.unread == 0 or "unread" in wanted


def test_nothing_that_fits_is_left_out():
    """Against all settings of one layer, each counted by hand: 15 pixels to 5."""
    expected = set()
    for k, s, p in itertools.product(range(1, 12), range(1, 12), range(6)):
        starts = range(-p, 15 + p - k + 1, s)
        if s <= k and p <= k // 2 and len(starts) == 5 and starts[-1] + k >= 15:
            expected.add((k, s, p))
    assert set(settings(fc.design(15, output=5))) == expected and (3, 3, 0) in expected


def test_layers_of_the_lectures_are_found():
    assert settings(fc.design(6, output=6, kernel=3, stride=1)) == [(3, 1, 1)]
    assert (5, 1, 2) in settings(fc.design(32, output=32))
    assert settings(fc.design(224, output=112, kernel=7, stride=2)) == [(7, 2, 3)]
    assert settings(fc.design(224, output=55, kernel=11, stride=4)) == [(11, 4, 2), (11, 4, 3)]  # the paper has none and says 55
    (answer,) = fc.design(output=55, kernel=11, stride=4, padding=0)
    assert answer.size == 227


def test_three_layers_of_3_see_as_much_as_one_of_7_with_fewer_weights():
    answers = {a.layers: a for a in fc.design(32, field=7, stride=1, output=32, layers=range(1, 4))}
    assert (answers[3].kernel, answers[3].weights) == (3, 27) and (answers[1].kernel, answers[1].weights) == (7, 49)


def test_layers_before_count():
    before = fc.ReceptiveField(size=6, jump=2)  # LeNet: conv 5, pool 2
    (answer,) = fc.design(14, output=10, field=14, stride=1, padding=0, after=before)
    assert (answer.kernel, answer.field.size) == (5, 14)


def test_what_cannot_be_names_the_nearest():
    with pytest.raises(ShapeError, match="nothing gives an output of 4 and reads every pixel") as caught:
        fc.design(10, output=4, kernel=3, stride=2)
    assert "kernel 3, stride 2, padding 0: 10 -> 4, sees 3, 1 unread: pass unread=True" in str(caught.value)
    with pytest.raises(ShapeError, match=r"the nearest is kernel 3, stride 1, padding 1: 10 -> 10.*leave more settings open"):
        fc.design(10, output=11, kernel=3, stride=1)
    with pytest.raises(ShapeError, match="no such layer sees 8 pixels"):
        fc.design(10, field=8, kernel=3)
    with pytest.raises(ShapeError, match="no such layer fits the input"):
        fc.design(4, output=1, kernel=9, padding=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "design: got no output"),
        ({"field": 3}, "needed output=, or field= with size="),
        ({"size": 0, "output": 3}, "size: got 0"),
        ({"size": 5, "output": 2.5}, "output: got 2.5"),
        ({"size": 5, "output": 3, "padding": -1}, "padding: got -1"),
        ({"size": 5, "output": 3, "layers": [1, 0]}, "layers: got 0"),
    ],
)
def test_wrong_wishes_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        fc.design(**options)
