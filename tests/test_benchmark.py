"""The measuring itself: what is read, what is computed, what is printed; never how fast."""

import json
from dataclasses import replace

import pytest

import fastconv as fc
from fastconv import benchmark
from fastconv.benchmark import suite, twins
from fastconv.benchmark.shapes import NETWORKS
from fastconv.errors import DataError, OptionError

SMALL = [benchmark.Case("small", 1, 8, 8, 3, 4, 3, 3, pad=1), benchmark.Case("strided", 2, 9, 7, 4, 4, 3, 3, stride=2, groups=2)]


def test_our_list_of_shapes():
    cases = benchmark.read_shapes()
    assert len(cases) == len({case.name for case in cases}) == 54
    assert sum(case.plan().geometry.macs for case in cases if case.name == "vgg16_1_2") == 224 * 224 * 64 * 64 * 9


@pytest.mark.parametrize("direction", ["forward", "input_grad", "weight_grad"])
def test_a_report_adds_up(direction):
    seen = []
    report = benchmark.run(SMALL, direction, quick=True, progress=seen.append)
    assert [(row.name, row.ms) for row in report.rows] == [(row.name, row.ms) for row in seen]
    assert [row.name for row in seen] == ["small", "strided"]
    for row, case in zip(report.rows, SMALL, strict=True):
        assert row.peak_share == pytest.approx(row.gflops / report.context["peak_gflops"])
        assert row.gflops == pytest.approx(2 * case.plan().geometry.macs / row.ms / 1e6)
        assert row.algorithm == case.plan(direction).algorithm
        assert row.ratio is None or row.ratio == pytest.approx(row.torch_ms / row.ms)
    text, data = str(report), json.loads(report.to_json())
    assert "small" in text and "GFLOP/s" in text and "2 rows" in text.splitlines()[-1]
    assert data["schema"] == 1 and data["threads"] >= 1 and [row["name"] for row in data["rows"]] == ["small", "strided"]


def test_pytorch_comes_before_our_threads_start(monkeypatch):
    """Else it shares their OpenMP library, and waits in its way."""
    asked = []
    monkeypatch.setattr(suite, "torch_threads", lambda threads: asked.append("PyTorch"))
    monkeypatch.setattr(suite, "peak_gflops", lambda threads: asked.append("launch") or 1.0)
    benchmark.run(SMALL[:1], quick=True)
    assert asked[0] == "PyTorch" and "launch" in asked


def test_poolings_and_networks_have_lists_of_their_own():
    poolings = benchmark.run(direction="pooling", quick=True, peer=False)
    assert len(poolings.rows) == 20 and {row.direction for row in poolings.rows} >= {"max pool", "avg pool gradient"}
    assert poolings.rows[0].gflops is None and "20 rows" in str(poolings)
    networks = benchmark.run(direction="networks", quick=True)
    assert [row.direction for row in networks.rows] == ["forward", "training step"] * 2
    macs = 28 * 28 * 75 * 6 + 10 * 10 * 150 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    assert networks.rows[0].gflops == pytest.approx(2 * 64 * macs / networks.rows[0].ms / 1e6)
    with pytest.raises(OptionError, match="list of its own"):
        benchmark.run(SMALL, "pooling")


@pytest.mark.parametrize("peer", [True, False])
def test_of_several_passes_the_one_in_the_middle_counts(peer):
    seen = []
    report = benchmark.run(SMALL, quick=True, passes=3, peer=peer, progress=seen.append)
    assert [row.name for row in seen] == ["small", "strided"] * 3 and len(report.rows) == 2
    for k, row in enumerate(report.rows):
        passes = seen[k::2]
        key = "ms" if row.ratio is None else "ratio"
        assert getattr(row, key) == sorted(getattr(one, key) for one in passes)[1]
        assert row.first_call_s == passes[0].first_call_s
    assert "median of 3 passes" in str(report) and json.loads(report.to_json())["passes"] == 3


def test_prepared_weights():
    report = benchmark.run(SMALL, prepared=True, quick=True, peer=False)
    assert [row.direction for row in report.rows] == ["forward, prepared"] * 2
    with pytest.raises(OptionError, match="prepared"):
        benchmark.run(SMALL, "input_grad", prepared=True)


def test_an_older_report_beside_this_one(tmp_path):
    old = benchmark.run(SMALL[:1], quick=True, peer=False)
    path = tmp_path / "old.json"
    path.write_text(old.to_json())
    report = benchmark.run(SMALL, quick=True, peer=False, compare=path)
    known, new = report.rows
    assert known.old_ms == old.rows[0].ms and known.change == pytest.approx(known.old_ms / known.ms)
    assert new.old_ms is None and "faster than before" in str(report) and "before / now" in str(report)
    assert "of another machine" not in str(report)
    path.write_text(old.to_json().replace('"threads": ', '"threads": 1'))
    report = benchmark.run(SMALL, quick=True, peer=False, compare=path)
    assert f"the older report is of another machine or setting: threads 1{old.context['threads']}, now" in str(report)
    for text in (
        "{}",
        '{"rows": [{"name": "a", "direction": "forward", "ms": "5"}]}',
        old.to_json().replace('"ms": ', '"ms": -'),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match="cannot be read as a report"):
            benchmark.run(SMALL, quick=True, peer=False, compare=path)


@pytest.mark.parametrize("ratios, middle", [((1.2, 0.8), 0.8), ((0.9, 1.4, 1.1), 1.1), ((1.0, 3.0, 2.0, 4.0), 2.0)])
def test_the_pass_in_the_middle_flatters_nobody(ratios, middle):
    """Of an even number the worse one of the two; without PyTorch the slower one."""
    from fastconv.benchmark.suite import in_the_middle

    row = benchmark.run(SMALL[:1], quick=True, peer=False).rows[0]
    assert in_the_middle([replace(row, ratio=ratio) for ratio in ratios]).ratio == middle
    assert in_the_middle([replace(row, ms=1 / ratio) for ratio in ratios]).ms == pytest.approx(1 / middle)


def test_taking_turns_measures_each_function():
    calls = []
    seconds = benchmark.measure({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, turns=2, block=0.0)
    assert set(seconds) == {"a", "b"} and min(seconds.values()) >= 0
    assert "".join(calls) == "aaaabbbb" * 2  # once to wake up, three times measured, in turns


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "at least one row"),
        ("name,n\nx,1\n", "column h"),
        (",".join(benchmark.FIELDS) + "\nx,1,2,3,4,5,six,7,1,0,1,1\n", "line 2"),
        (",".join(benchmark.FIELDS) + "\nx,1,8,8,4,4,3,3,1,1,1,0\n", "line 2: groups: got 0"),
        (",".join(benchmark.FIELDS) + "\nx,1,8,8,4,4,3,3,1,1,1,1\ny,1,2,2,4,4,5,5,1,0,1,1\n", "line 3: height: a kernel of 5"),
    ],
)
def test_a_bad_list_of_shapes_is_refused(tmp_path, text, message):
    path = tmp_path / "shapes.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        benchmark.run(path)


def test_a_missing_list_or_direction_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        benchmark.read_shapes(tmp_path / "none.csv")
    with pytest.raises(OptionError, match="forward"):
        benchmark.run(SMALL, "sideways")


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: f"{case.name}-{case.training}")
def test_twins_of_networks_have_the_same_layers(case):
    """As many parameters, and outputs of the same shape, on images as small as the network takes."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    small = {"width": 0.25} if case.name in ("vgg16", "resnet18", "resnet50", "alexnet", "googlenet", "mobilenet_v1") else {}
    net = getattr(fc.models, case.name)(**dict(case.options), **small)
    module = twins.twin(net).eval()
    assert sum(parameter.numel() for parameter in module.parameters()) == net.n_parameters
    with torch.inference_mode():
        y = module(torch.zeros(2, net.input_shape[2], *net.input_shape[:2]))
    assert tuple(y.shape) == (2, *net.output_shape)


def test_twins_keep_activations():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    layers = [fc.Conv2D(4, 3, activation="tanh"), fc.Flatten(), fc.Dense(3, activation="sigmoid"), fc.Dense(2, activation="relu")]
    kinds = [type(module) for module in twins.twin(fc.Sequential(layers, input_shape=(5, 5, 1)))]
    nn = torch.nn
    assert kinds == [nn.Conv2d, nn.Tanh, nn.Flatten, nn.Linear, nn.Sigmoid, nn.Linear, nn.ReLU]
