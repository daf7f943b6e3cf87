"""The summary: the same numbers as text, JSON and HTML; aligned, safe, and readable on any terminal."""

import csv
import io
import json
import re
import sys

import pytest

import fastconv as fc
from fastconv import models
from fastconv.display.table import Column, Table
from fastconv.models import forecast
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


# ---- memory, times, dense layers, several sizes


def test_memory_of_a_training_step_counts_everything_twice():
    """A lecture's convention: values and gradients, of activations and of parameters."""
    memory = models.lenet5().summary(batch=10, training=True).memory
    assert memory.activations == memory.activation_gradients == 10 * 4 * 11_166
    assert memory.parameters == memory.parameter_gradients == 4 * 62_006
    assert memory.total == 2 * (10 * 4 * 11_166 + 4 * 62_006)
    vgg = models.vgg16().summary(training=True).memory
    assert (
        f"{(vgg.activations + vgg.activation_gradients) / 2**20:.1f}" == "116.3"
    )  # of which the lecture has 93 MB forward alone
    net = small()  # float64
    net.layers[0].trainable = False
    memory = net.summary(training=True).memory
    assert memory.parameters == 8 * net.n_parameters and memory.parameter_gradients == memory.parameters - 8 * 76
    text = " ".join(models.lenet5().summary(batch=64).text(width=200).split())
    assert "Memory of a forward pass with batch 64, if every array stays: activations 2.73 MiB + parameters 242.2 KiB" in text
    assert "43.6 KiB = 44.7 kB" in text


def test_dense_layers_in_the_place_of_convolutions_have_the_weights_of_the_lecture():
    summary = models.lenet5().summary(dense=True)
    assert summary.rows[1].as_dense == 14_450_688 and summary.rows[1].parameters == 456
    assert "14,450,688" in summary.text(width=200) and "14,450,688" not in models.lenet5().summary().text(width=200)
    wide = fc.Sequential([fc.Conv2D(64, 5, bias=False)], input_shape=(32, 32, 3)).rows()[1]
    assert (wide.as_dense, wide.parameters, round(wide.as_dense / wide.parameters)) == (154_140_672, 4_800, 32_113)


def test_one_network_at_several_sizes_keeps_its_parameters():
    found = [models.ten_filters((side, side, 3)).summary() for side in (6, 1000, 5000)]
    rows = json.loads(models.compare(found).json())["rows"]
    assert [row["parameters"] for row in rows] == [280] * 3
    assert [row["activations"] for row in rows] == [268, 12_960_040, 324_800_040]
    assert models.compare([models.ten_filters((6, 6, 3))]).json() == models.compare(found[:1]).json()
    with pytest.raises(fc.DTypeError, match=r"summaries\[1\]: got int; needed a network or its summary"):
        models.compare([found[0], 3])


def test_planned_convolutions_tell_algorithm_and_time(monkeypatch):
    monkeypatch.setattr("fastconv.models.forecast.cycles_per_second", lambda: 1e9)
    monkeypatch.setattr("fastconv.models.summary_table.cycles_per_second", lambda: 1e9)
    net = fc.Sequential([fc.Conv2D(64, 3, padding=1), fc.Conv2D(64, 3, padding=1), fc.Flatten()], input_shape=(56, 56, 64))
    plans = [fc.plan((2, 56, 56, 64), (3, 3, 64, 64), padding=1, direction=d) for d in ("forward", "weight_grad", "input_grad")]
    forward, training = net.summary(batch=2, plan=True), net.summary(batch=2, plan=True, training=True)
    assert forward.forecasts["conv2d_1"].algorithms == (plans[0].algorithm,)
    assert forward.forecasts["conv2d_1"].seconds == pytest.approx(plans[0].cycles / 1e9)
    assert forward.seconds == pytest.approx(2 * plans[0].cycles / 1e9)
    assert training.forecasts["conv2d_1"].algorithms == (plans[0].algorithm, plans[1].algorithm)  # its dx is not asked for
    assert training.forecasts["conv2d_2"].seconds == pytest.approx(sum(plan.cycles for plan in plans) / 1e9)
    text = " ".join(training.text(width=250).split())
    assert plans[0].algorithm in text
    assert "Time: an estimate for convolutions and dense layers alone, forward and both gradients" in text
    found = json.loads(forward.to_json())["forecasts"]["conv2d_2"]
    assert found == {"algorithms": [plans[0].algorithm], "seconds": forward.forecasts["conv2d_2"].seconds}


@pytest.mark.parametrize("units, turned", [(10, False), (1000, True)])
def test_dense_layers_are_planned_as_they_run(units, turned, monkeypatch):
    monkeypatch.setattr("fastconv.models.forecast.cycles_per_second", lambda: 1e9)
    x_shape, w_shape = (1, 4, 1, 512), (1, 1, 512, units)
    calls = [(x_shape, w_shape, name) for name in ("forward", "weight_grad", "input_grad")]
    if turned:
        calls[2] = (1, 512, 1, units), (1, 1, units, 4), "forward"
    plans = [fc.plan(x, w, direction=direction) for x, w, direction in calls]
    net = fc.Sequential([fc.Dense(512), fc.Dense(units, name="last")], input_shape=(20,))
    found = net.summary(batch=4, plan=True, training=True).forecasts["last"]
    assert found.algorithms == tuple(plan.algorithm for plan in plans)
    assert found.seconds == pytest.approx(sum(plan.cycles for plan in plans) / 1e9)


def test_depthwise_and_grouped_convolutions_are_planned_too():
    layers = [fc.DepthwiseConv2D(3), fc.Conv2D(8, 3, groups=2), fc.SeparableConv2D(4, 3), fc.Conv2DTranspose(4, 3)]
    net = fc.Sequential(layers, input_shape=(12, 12, 8))
    found = net.summary(plan=True).forecasts
    assert found["depthwise_conv2d_1"].algorithms == (fc.plan((1, 12, 12, 8), (3, 3, 1, 8), groups=8).algorithm,)
    assert len(found) == 4 and all(one.seconds > 0 for one in found.values())


def test_the_speed_of_this_machine_is_measured_once():
    speed = forecast.cycles_per_second()
    assert 1e7 < speed < 1e13 and forecast.cycles_per_second() == speed


def test_layers_that_go_as_one_chain_are_marked():
    summary = models.lenet5().summary(batch=64, plan=True)
    if summary.chain:  # there are CPUs without
        assert "* conv2d_1 to dense_3 go through the cache as one chain" in " ".join(summary.notes())
    assert models.lenet5(dtype="float64").summary(plan=True).chain == ()


# ---- other forms


def test_csv_has_a_line_for_each_row_with_plain_numbers(tmp_path):
    text = models.lenet5().summary().to_csv(tmp_path / "lenet5.csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert (tmp_path / "lenet5.csv").read_text() == text
    assert [int(row["parameters"]) for row in rows] == [0, 456, 0, 2416, 0, 0, 48_120, 10_164, 850]
    assert [row["output"] for row in rows][1:3] == ["28×28×6", "14×14×6"]
    assert [rows[4][f"{key}_height"] for key in ("size", "jump", "start")] == ["16", "4", "0"]
    assert rows[5]["size_height"] == ""  # all


def test_html_is_a_whole_document_without_script_and_without_network(tmp_path):
    page = models.lenet5().summary().to_html(tmp_path / "lenet5.html")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "(5·5·3 + 1)·6 = 456" in page and "<title>LeNet-5</title>" in page
    assert not re.search(r"<script|src=|href=|url\(|@import", page)


# ---- blocks


def with_blocks():
    inner = fc.Concat([fc.Conv2D(4, 1), [fc.Conv2D(2, 1), fc.Conv2D(4, 3, padding=1)]])
    body = [fc.Conv2D(6, 3, padding=1, activation="relu"), inner]
    layers = [fc.Conv2D(8, 3, padding=1), fc.Residual(body, activation="relu"), fc.Flatten(), fc.Dense(3)]
    return fc.Sequential(layers, input_shape=(6, 5, 3))


def test_names_inside_blocks_are_short_in_text_and_whole_in_json():
    summary = with_blocks().summary(expand_nested=True)
    names = [line.split("  ")[0] if line[0] != " " else line[:14].rstrip() for line in summary.text(width=250).splitlines()[3:11]]
    assert names == [
        "input",
        "conv2d_1",
        "  conv2d_1",
        "    conv2d_1",
        "    conv2d_2",
        "    conv2d_3",
        "  concat_1",
        "residual_1",
    ]
    rows = json.loads(summary.to_json())["layers"]
    assert [(row["name"], row["parent"]) for row in rows[2:4]] == [
        ("residual_1.conv2d_1", "residual_1"),
        ("residual_1.concat_1.conv2d_1", "residual_1.concat_1"),
    ]
    assert "expand_nested opens them" in " ".join(with_blocks().summary().notes())
    assert "expand_nested" not in " ".join(summary.notes())


@pytest.mark.parametrize("opened", [False, True])
def test_columns_add_up_to_their_totals_folded_and_opened(opened, monkeypatch):
    monkeypatch.setattr("fastconv.models.forecast.cycles_per_second", lambda: 1e3)
    monkeypatch.setattr("fastconv.models.summary_table.cycles_per_second", lambda: 1e3)
    summary = with_blocks().summary(opened, plan=True, dense=True)
    table = summary.table()

    def column(key, rows):
        return [
            float(cell.split("= ")[-1].split("\u00a0")[0].replace(",", ""))
            for row in rows
            if (cell := row.get(key, "")) and "(" not in cell[:1]
        ]

    for key in ("activations", "macs", "dense"):
        assert sum(column(key, table.rows)) == column(key, table.foot)[0], key
    parameters = [row.parameters for row in summary.rows]
    assert sum(parameters) == summary.totals.parameters == with_blocks().n_parameters
    assert sum(column("time", table.rows)) == pytest.approx(column("time", table.foot)[0], abs=0.1)
    assert set(summary.forecasts) - {"dense_1"} == {
        f"{place}conv2d_{n}" for place, n in [("", 1), ("residual_1.", 1), *(("residual_1.concat_1.", n) for n in (1, 2, 3))]
    }


def test_html_folds_what_is_inside_a_block():
    page = with_blocks().summary().to_html()
    assert page.count("<input type=checkbox") == 1 and page.count("<tbody class=inside>") == 1
    inside = page[page.index("<tbody class=inside>") :]
    inside = inside[: inside.index("</tbody>")]
    assert inside.count("<tr>") == 6 and f"{'&nbsp;' * 12}conv2d_3" in inside
    assert "checkbox" not in models.lenet5().summary().to_html()


@pytest.mark.parametrize("width", ["x", 0, 1.5])
def test_a_width_that_is_none_is_named(width):
    with pytest.raises(fc.OptionError, match="width: got"):
        models.lenet5().summary().text(width=width)


@pytest.mark.parametrize("threads, words", [(1, "batch 1, 1 thread: cycles"), (2, "batch 1, 2 threads: cycles")])
def test_a_plan_counts_its_threads(threads, words, monkeypatch):
    for place in ("forecast", "summary_table"):
        monkeypatch.setattr(f"fastconv.models.{place}.cycles_per_second", lambda: 1e9)
    monkeypatch.setattr("fastconv.models.summary_table.get_threads", lambda: threads)
    assert any(words in note for note in models.ten_filters().summary(plan=True).notes())
