"""Weights in panels, against the same arrangement written with NumPy; and the ways to work that only large calls take."""

from dataclasses import replace

import numpy as np
import pytest

import fastconv as fc
import oracle
from bounds import assert_same_bytes
from fastconv.geometry import ConvGeometry
from fastconv.kernels import packing, panels, parts, tiled, winograd, winograd_filters, winograd_sizes, winograd_weights
from routes import FLOATS

SHAPES = ((3, 3, 5, 7, 1), (1, 1, 70, 200, 1), (2, 3, 6, 132, 2), (3, 1, 8, 64, 1), (1, 2, 33, 16, 1))  # KH, KW, C, O, groups


@pytest.fixture
def sizes():
    """`winograd_sizes` of which a test may replace anything: nothing found before is used, nor kept what is found then."""
    found = winograd_sizes.are_filters_whole, winograd_sizes.is_whole_for_one_call, winograd_sizes.shared_panels
    for function in found:
        function.cache_clear()
    yield winograd_sizes
    for function in found:
        function.cache_clear()


def geometry(kh, kw, c, o, groups):
    return ConvGeometry.of((1, 8, 8, c), (kh, kw, c // groups, o), groups=groups)


def in_panels(columns, rows_of_panels):
    """What lies in the panels of `columns`(group), a function to (rows, channels), zero where a panel is wider."""
    packed = []
    for group, first, width, row in rows_of_panels:
        own = columns(group)[:, first : first + width]
        packed.append(np.pad(own, ((0, 0), (0, row - width))).ravel())
    return np.concatenate(packed)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_panels_hold_every_weight_and_zeros_behind(shape, dtype):
    geo, (_, _, _, o, groups) = geometry(*shape), shape
    w = np.random.default_rng(1).standard_normal(geo.w_shape).astype(dtype)
    flat, share = w.reshape(-1, o), o // groups
    rows = panels.forward_panels(geo, w.itemsize).rows.tolist()
    places = [(c // share, c % share, width, row) for _, _, c, _, _, row, width in rows]
    expected = in_panels(lambda group: flat[:, group * share : (group + 1) * share], places)
    assert_same_bytes(packing.pack_panels(geo, w), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_panels_of_a_gradient_hold_the_filter_backwards(shape, dtype):
    geo, (kh, kw, c, o, groups) = geometry(*shape), shape
    w = np.random.default_rng(2).standard_normal(geo.w_shape).astype(dtype)
    turned, share = w.reshape(kh * kw, c // groups, o)[::-1].transpose(0, 2, 1), c // groups  # (taps, O, C / groups)
    rows = panels.input_grad_panels(geo, w.itemsize).rows.tolist()
    places = [(at // share, at % share, width, row) for _, _, at, _, _, row, width in rows]
    filters = o // groups
    own = lambda group: turned[:, group * filters : (group + 1) * filters].reshape(-1, share)  # noqa: E731
    assert_same_bytes(packing.pack_flipped(geo, w), in_panels(own, places))


@pytest.mark.parametrize("more", ({}, {"dilation": (2, 3)}, {"groups": 2}, {"groups": 2, "dilation": 2}), ids=str)
def test_filters_made_whole_by_all_or_by_each_or_where_they_are_used_give_the_same_bytes(monkeypatch, more):
    w_shape, options = (3, 3, 20 // more.get("groups", 1), 70), {"padding": 1, **more}
    x, w = (np.random.default_rng(3).standard_normal(shape).astype("f4") for shape in ((2, 17, 15, 20), w_shape))
    results = []
    for whole, copies in ((True, 1), (True, 2), (False, 1)):
        monkeypatch.setattr(winograd, "is_whole_for_one_call", lambda *_, whole=whole: whole)
        monkeypatch.setattr(winograd, "filter_copies", lambda *of, copies=copies: min(copies, of[-1]))
        winograd.launches.cache_clear()
        y = fc.conv2d(x, w, algorithm="winograd", **options)
        results.append((y, fc.conv2d_input_grad(y, w, x.shape, algorithm="winograd", **options)))
    winograd.launches.cache_clear()
    for first, *others in zip(*results, strict=True):
        for other in others:
            assert_same_bytes(first, other)
    close = oracle.conv2d(x, w, **options)
    np.testing.assert_allclose(results[0][0], close, atol=1e-4 * abs(close).max())


@pytest.mark.parametrize("held", (50_000, 200_000, 1 << 20))
@pytest.mark.parametrize("whole", (True, False))
def test_winograd_gives_the_same_bytes_for_every_size_of_its_blocks(monkeypatch, held, whole):
    x, w = (np.random.default_rng(6).standard_normal(shape).astype("f4") for shape in ((2, 25, 22, 70), (3, 3, 70, 90)))
    monkeypatch.setattr(winograd, "is_whole_for_one_call", lambda *_: whole)
    winograd.launches.cache_clear()
    usual = fc.conv2d(x, w, algorithm="winograd")
    monkeypatch.setattr(winograd_sizes, "held_bytes", lambda: held)
    winograd.launches.cache_clear()
    try:
        assert_same_bytes(fc.conv2d(x, w, algorithm="winograd"), usual)
    finally:
        winograd.launches.cache_clear()


@pytest.mark.parametrize("stages", ((16_000_000, 4_000_000, 32), (60_000, 20_000, 3)), ids=("one", "many"))
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("more", ({}, {"dilation": (2, 3)}, {"groups": 2}), ids=str)
def test_a_weight_gradient_has_the_same_bytes_whoever_transforms_its_tiles(monkeypatch, more, dtype, stages):
    """By parts, or by elements in one stage or many, on one thread or two."""
    w_shape, options = (3, 3, 44 // more.get("groups", 1), 70), {"padding": 1, **more}
    x, dy = (np.random.default_rng(7).standard_normal(shape).astype(dtype) for shape in ((2, 27, 22, 44), (2, 27, 22, 70)))
    if "dilation" in more:
        dy = dy[:, : 27 - 2, : 22 - 4].copy()
    for name, value in zip(("SHARED_SUM_BYTES", "SHARED_TILE_BYTES", "LEAST_TILES"), stages, strict=True):
        monkeypatch.setattr(winograd_sizes, name, value)
    results, threads = [], fc.get_threads()
    try:
        for shared, count in ((False, 2), (True, 2), (True, 1)):
            monkeypatch.setattr(winograd_weights, "shares_tiles", lambda *_, shared=shared: shared)
            winograd_weights.tables.cache_clear()
            fc.set_threads(min(count, threads))
            results.append(fc.conv2d_weight_grad(dy, x, w_shape, algorithm="winograd", **options))
    finally:
        fc.set_threads(threads)
        winograd_weights.tables.cache_clear()
    for result in results[1:]:
        assert_same_bytes(result, results[0])
    close = oracle.conv2d_weight_grad(dy, x, w_shape, **options)
    np.testing.assert_allclose(results[0], close, atol=1e-4 * abs(close).max())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("more", ({}, {"stride": 2}, {"padding": 2, "pad_mode": "reflect"}, {"padding": 1}), ids=str)
@pytest.mark.parametrize("channels", ((300, 100), (260, 300), (100, 300)), ids=str)
def test_a_weight_gradient_of_single_pixels_is_shared_out_by_channels_or_by_filters(channels, more, dtype):
    """Where x and dy are arranged in panels first, and where they are not."""
    (c, o), random = channels, np.random.default_rng(8)
    x = random.standard_normal((2, 11, 12, c)).astype(dtype)
    dy = random.standard_normal(ConvGeometry.of(x.shape, (1, 1, c, o), **more).y_shape).astype(dtype)
    results, threads = [], fc.get_threads()
    try:
        for count in (1, 2):
            fc.set_threads(min(count, threads))
            results.append(fc.conv2d_weight_grad(dy, x, (1, 1, c, o), algorithm="tiled", **more))
    finally:
        fc.set_threads(threads)
    assert_same_bytes(*results)
    close = oracle.conv2d_weight_grad(dy, x, (1, 1, c, o), **more)
    np.testing.assert_allclose(results[0], close, atol=1e-5 * abs(close).max())


@pytest.mark.parametrize("l2, tiles_fit, wanted", [(1 << 20, True, True), (2 << 20, True, False), (2 << 20, False, True)])
def test_large_filters_are_made_where_they_are_used_before_a_far_last_cache(monkeypatch, sizes, l2, tiles_fit, wanted):
    monkeypatch.setattr(sizes, "cpu", lambda: replace(fc.machine.cpu(), vector_bytes=64, registers=32, l2=l2, l3=480 << 20))
    geo = ConvGeometry.of((1 if tiles_fit else 8, 56, 56, 256), (3, 3, 256, 192), padding=1)
    assert sizes.is_whole_for_one_call(geo, 4, False, 2) is wanted
    assert sizes.held_bytes() == l2 // 2


@pytest.mark.parametrize("images, threads, wanted", [(1, 2, False), (4, 2, True), (1, 16, True)], ids=str)
def test_threads_share_transformed_tiles_or_filters_whatever_is_less_if_all_have_a_panel(
    monkeypatch, sizes, images, threads, wanted
):
    monkeypatch.setattr(sizes, "cpu", lambda: replace(fc.machine.cpu(), vector_bytes=64, registers=32, l3=32 << 20))
    geo = ConvGeometry.of((images, 28, 28, 256), (3, 3, 256, 256), padding=2, dilation=2)
    assert sizes.is_whole_for_one_call(geo, 4, False, threads) is wanted


@pytest.mark.parametrize(
    "filters, tiles, threads, l3, wanted",
    [(64, 196, 2, 32, 2), (64, 196, 8, 32, 8), (64, 196, 16, 32, 1), (256, 196, 2, 32, 1), (64, 196, 2, 2, 1)],
    ids=("small", "small for 8", "few tiles for 16", "large", "last cache"),
)
def test_each_thread_makes_small_filters_for_itself(monkeypatch, filters, tiles, threads, l3, wanted):
    monkeypatch.setattr(winograd_sizes, "cpu", lambda: replace(fc.machine.cpu(), l3=l3 << 20))
    panels = winograd_sizes.filter_panels(filters, filters, 4)
    assert winograd_sizes.filter_copies(panels, tiles, 4, threads) == wanted


@pytest.mark.parametrize("l2, l3, wanted", [(1, 32, 10), (1, 8, 5), (2, 480, 5)], ids=("near", "small", "far"))
def test_as_many_transformed_filters_are_kept_as_the_last_cache_brings_back_soon(monkeypatch, l2, l3, wanted):
    monkeypatch.setattr(winograd_sizes, "cpu", lambda: replace(fc.machine.cpu(), l2=l2 << 20, l3=l3 << 20))
    assert winograd_sizes.kept_bytes() >> 20 == wanted


def test_weights_prepared_for_one_image_serve_a_batch_with_the_memory_that_its_plan_states(monkeypatch, sizes):
    """Whether filters are kept transformed is decided by the weights alone."""
    monkeypatch.setattr(sizes, "WHOLE_FILTERS", 1000)
    monkeypatch.setattr(winograd_filters, "kept_bytes", lambda: 1000)
    few, many = (ConvGeometry.of((n, 14, 14, 16), (3, 3, 16, 32), padding=1) for n in (1, 64))
    w = np.random.default_rng(4).standard_normal((3, 3, 16, 32)).astype("f4")
    assert winograd_filters.transform_filters(few, w) is w
    assert winograd_filters.transform_filters(many, w) is w
    assert sizes.is_whole_for_one_call(many, 4, False, 2)
    assert not sizes.are_filters_whole(few, 4, False)


# x, w, options, and how the forward pass on two threads brings its weights into panels
WAYS = (
    ((1, 20, 20, 9), (3, 3, 9, 16), {}, "as they are"),
    ((2, 24, 24, 40), (3, 3, 40, 70), {}, "by each thread"),
    ((1, 7, 7, 64), (3, 3, 64, 70), {"padding": 1}, "by the first tile"),
    ((3, 5, 5, 64), (3, 3, 64, 200), {"padding": 1, "stride": 2}, "by the first tile"),
    ((1, 7, 7, 64), (3, 3, 32, 80), {"groups": 2, "dilation": 2}, "by the first tile"),
    ((1, 3, 3, 16), (7, 7, 16, 80), {"padding": 3}, "before the first tile"),
)


def way(geo, itemsize, kept=False):
    walk = tiled.walk_of(geo, itemsize, 2, False, kept, 0)
    if walk.on_the_way:
        return "by the first tile" if walk.schedule.packing.all() else "before the first tile"
    if walk.order == packing.AS_IT_IS:
        return "as they are"
    if walk.order == packing.COPIED:
        return "copied"
    return "by each thread" if walk.room[0] > 1 else "first of all"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", WAYS, ids=str)
def test_weights_of_one_call_are_arranged_in_many_ways_for_the_same_bytes(case, dtype):
    check_way(*case, dtype)


@pytest.fixture
def second_cache(monkeypatch):
    """A function that arranges weights as for a second cache of so many bytes."""

    def of(size):
        cpu = replace(fc.machine.cpu(), l2=size)
        monkeypatch.setattr(panels, "cpu", lambda: cpu)
        tiled.walk_of.cache_clear()

    yield of
    tiled.walk_of.cache_clear()


@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_that_no_second_cache_holds_are_packed_by_all_threads_together(dtype, second_cache):
    second_cache(50_000)
    check_way((2, 24, 24, 40), (3, 3, 40, 70), {}, "first of all", dtype)


# a row of one image is one task; of many a thread has several
@pytest.mark.parametrize("x_shape, w_shape, expected", [
    ((1, 40, 40, 40), (1, 1, 40, 96), "copied"),
    ((2, 32, 32, 8), (3, 3, 8, 80), "copied"),
    ((1, 1, 1700, 16), (1, 3, 16, 96), "as they are"),
    ((1, 20, 20, 40), (1, 1, 40, 96), "as they are"),
])  # fmt: skip
@pytest.mark.parametrize("dtype", FLOATS)
def test_packed_weights_that_are_often_fetched_again_are_copied_by_each_thread(dtype, x_shape, w_shape, expected, second_cache):
    second_cache(13_000 * np.dtype(dtype).itemsize)
    geo, random = ConvGeometry.of(x_shape, w_shape), np.random.default_rng(8)
    if fc.machine.cpu().vector_bytes == 64:
        assert way(geo, np.dtype(dtype).itemsize, kept=True) == expected
    x, w, dy = (random.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, geo.y_shape))
    kept, results, threads = fc.prepare(w, x_shape, algorithm="tiled"), [], fc.get_threads()
    try:
        for count in (1, 2):
            fc.set_threads(min(count, threads))
            for weights in (w, kept):
                y = fc.conv2d(x, weights, algorithm="tiled")
                results.append((y, fc.conv2d_input_grad(dy, weights, x_shape, algorithm="tiled")))
    finally:
        fc.set_threads(threads)
    for y, dx in results[1:]:
        assert_same_bytes(y, results[0][0])
        assert_same_bytes(dx, results[0][1])
    np.testing.assert_allclose(y, oracle.conv2d(x, w), atol=1e-5 * geo.terms)
    np.testing.assert_allclose(dx, oracle.conv2d_input_grad(dy, w, x_shape), atol=1e-5 * geo.terms)


def check_way(x_shape, w_shape, options, expected, dtype):
    x, w = (np.random.default_rng(5).standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape))
    geo = ConvGeometry.of(x_shape, w_shape, **options)
    if dtype == np.float32 and fc.machine.cpu().vector_bytes == 64:
        assert way(geo, x.itemsize) == expected
    y = fc.conv2d(x, w, algorithm="tiled", **options)
    assert_same_bytes(y, fc.conv2d(x, fc.prepare(w, x_shape, algorithm="tiled", **options), algorithm="tiled", **options))
    terms = geo.terms + 1
    exact, size = (oracle.conv2d(*arrays, **options) for arrays in ((x, w), (abs(x), abs(w))))
    assert (abs(y - exact) <= terms * np.finfo(dtype).eps * size).all()


def one_by_one(positions, taps_of, every, source_step, source_every, tap_step):
    """`parts_of`, asking about every position."""
    found = []
    for position in positions:
        source, tap, taps = taps_of(position)
        if found and found[-1][3:] == [tap, taps]:
            found[-1][1] += 1
        else:
            found.append([position, 1, source, tap, taps])
    return [parts.Part(p, n, every, source, source_step, source_every, t, tap_step, taps) for p, n, source, t, taps in found]


def test_parts_of_an_axis_are_found_by_halving(monkeypatch):
    """In all cases what looking at every position finds, and a million positions in no time."""
    options = [(size, kernel, stride, dilation, before)
               for size in (1, 2, 5, 12) for kernel in (1, 2, 3, 5) for stride in (1, 2, 3, 7) for dilation in (1, 2, 3)
               for before in (0, 1, 4, 9)]  # fmt: skip
    calls = [(function, (0, results, size, *rest)) for size, *rest in options for results in (1, 4, 9, 17)
             for function in (parts.forward_parts, parts.input_grad_parts)]  # fmt: skip
    quick = [function(*arguments) for function, arguments in calls]
    monkeypatch.setattr(parts, "parts_of", one_by_one)
    assert quick == [function(*arguments) for function, arguments in calls]
    monkeypatch.undo()
    asked = []
    parts.parts_of(range(10**6), lambda q: (asked.append(q), (q, 0, 3))[1], 1, 1, 1, 1)
    assert len(asked) < 50
