"""The summary: the same numbers as text, JSON and HTML; aligned, safe, and readable on any terminal."""

import io
import json
import re
import sys

import pytest

import fastconv as fc
from fastconv import models
from fastconv.display.table import Column, Table
from test_models import small


def test_text_holds_every_count_with_its_formula():
    lines = str(models.lenet5().summary().text(width=200)).splitlines()
    by_layer = {line.split()[0]: line for line in lines if line}
    assert "(5·5·3 + 1)·6 = 456" in by_layer["conv2d_1"]
    assert "28×28×6" in by_layer["conv2d_1"]
    assert "352,800" in by_layer["conv2d_1"]
    assert "(400 + 1)·120 = 48,120" in by_layer["dense_1"]
    assert "62,006" in by_layer["total"]
    assert "(3·3·3 + 1)·10 = 280" in models.ten_filters().summary().text(width=200)


def test_text_states_its_conventions_with_numbers():
    text = " ".join(models.convnetjs_cifar().summary().text(width=200).split())
    assert "22,466 = 22,466 trainable + 0 not" in text
    assert "a MAC is one multiply and one add: 3,920,000; FLOPs = 2 × MACs = 7,840,000" in text
    assert "1 MiB = 1,024 KiB = 1,048,576 bytes" in text


def test_fixed_layers_and_running_statistics_are_counted_apart():
    net = small()
    net.layers[0].trainable = False
    summary = net.summary()
    assert (summary.totals.frozen, summary.totals.buffers) == (76, 8)
    assert summary.totals.trainable + 76 == summary.totals.parameters == net.n_parameters
    assert "(3·3·2 + 1)·4 = 76 (fixed)" in summary.text(width=200)
    assert "Buffers (running statistics), not counted: 8." in summary.text(width=200)


def test_pixels_that_no_window_reads_are_shown():
    net = fc.Sequential([fc.Conv2D(1, 3, stride=2), fc.MaxPool2D(2)], input_shape=(8, 10, 1))
    notes = net.summary().notes()
    assert "conv2d_1: no window reads the last 1 row and 1 column of its input." in notes
    assert "max_pool2d_1: no window reads the last 1 row of its input." in notes


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_columns_are_aligned_and_fit_the_width_where_words_allow(width):
    lines = models.lenet5().summary().text(width=width).splitlines()
    rule = next(line for line in lines if line.startswith("─"))
    rows = lines[2 : lines.index(rule) + 1]
    assert all(len(line) <= max(width, len(rule)) for line in lines)
    assert len(rule) <= max(width, 67)  # no word can be broken further
    ends = {m.end() for line in rows for m in re.finditer(r"\d+×\d+×\d+", line)}
    assert len(ends) <= 1


def test_json_holds_the_same_numbers():
    net = models.lenet5()
    found = json.loads(net.summary().to_json())
    assert found["schema"] == 1
    assert found["totals"]["parameters"] == 62_006
    assert found["totals"]["flops"] == 2 * found["totals"]["macs"] == 1_303_440
    assert found["layers"][1]["formula"] == "(5·5·3 + 1)·6"
    assert found["layers"][1]["output_shape"] == [28, 28, 6]
    assert found["layers"][4]["field"][0] == {"size": 16, "jump": 4, "start": 0}


def test_a_layer_named_script_is_not_live_in_html():
    net = fc.Sequential([fc.Conv2D(1, 1, name="<script>alert(1)</script>")], input_shape=(3, 3, 1), name="<img src=x>")
    page = net.summary()._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "(1·1·1 + 1)·1 = 2" in page


def test_a_layer_name_cannot_move_the_cursor():
    net = fc.Sequential([fc.ReLU(name="a\x1b[2Jb\nc")], input_shape=(3,))
    text = net.summary().text()
    assert "\x1b" not in text
    assert "a\\x1b[2Jb\\nc" in text


def test_plain_text_for_terminals_without_these_signs(monkeypatch):
    text = models.lenet5().summary().text(width=120, plain=True)
    assert text.isascii()
    assert "(5*5*3 + 1)*6 = 456" in text
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert str(models.lenet5().summary()).isascii()


def test_printing_a_summary_and_its_repr_are_the_table():
    summary = models.lenet5().summary()
    assert repr(summary) == str(summary) == summary.text()


def test_a_narrow_table_breaks_spare_columns_then_drops_them_and_counts_wide_characters():
    columns = Column("a", "a", spare=True), Column("b", "b", "right")
    table = Table(columns, ({"a": "one two three", "b": "x y"}, {"a": "漢字", "b": "z"}))
    assert table.text(width=20).splitlines()[2:] == ["one two three  x y", "漢字             z"]
    assert table.text(width=12).splitlines()[2:] == ["one two  x y", "three", "漢字       z"]
    assert table.text(width=10).splitlines()[2:] == ["one    x y", "two", "three", "漢字     z"]
    assert table.text(width=9).splitlines()[2:] == ["x y", "  z"]
    assert table.text(width=1).splitlines()[2:] == ["x", "y", "z"]


def test_a_table_gives_its_rows_as_json_untouched():
    table = Table((Column("n", "n", show="{:.1f}".format),), ({"n": 1.25, "hidden": [1]},))
    assert json.loads(table.json(schema=3)) == {"schema": 3, "rows": [{"n": 1.25, "hidden": [1]}]}
