"""Winograd's tiles: every result in exactly one, smaller ones where an image ends, multiplied at some of the same points."""

from fractions import Fraction

import numpy as np
import pytest

import fastconv as fc
import oracle
from fastconv.geometry import ConvGeometry
from fastconv.kernels import winograd_areas, winograd_sizes
from fastconv.kernels.winograd_matrices import matrices
from fastconv.kernels.winograd_sizes import N, outputs
from fastconv.kernels.winograd_tiles import elements

SIZES = (2, 3, 4, 5)  # of filters


@pytest.mark.parametrize("size", SIZES)
def test_smaller_tiles_are_exact_with_the_filters_of_whole_ones(size):
    rng = np.random.default_rng(0)
    _, g_whole, _ = matrices(outputs(size), size)
    for m in range(1, outputs(size)):
        n = m + size - 1
        at, _, bt = matrices(m, size, N)
        g = [g_whole[i] for i in elements(n)]
        w, d = ([Fraction(int(v)) for v in rng.integers(-9, 9, count)] for count in (size, n))
        products = [dot(g[i], w) * dot(bt[i], d) for i in range(n)]
        assert [dot(row, products) for row in at] == [dot(w, d[i : i + size]) for i in range(m)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dilations", [(1, 1), (2, 2), (3, 1), (2, 5)], ids=str)
@pytest.mark.parametrize("results", [(14, 13), (12, 8), (3, 1), (1, 21), (5, 16)], ids=str)
def test_every_result_is_in_one_tile_and_ranges_hold_the_tiles_of_an_element(size, dilations, results):
    images, (p, q), reach = 3, results, [(size - 1) * d for d in dilations]
    lattices = winograd_areas.lattices_of((images, p, q, 1), (images, p, q, 1), dilations, tuple(r // 2 for r in reach))
    areas, count = winograd_areas.areas_of(images, lattices, size)
    written, tiles = np.zeros((images, p, q), int), []
    for (first, rows, cols, p0, q0, m_rows, m_cols, n_rows, n_cols), lattice in areas:
        assert first == len(tiles)
        own = written[:, lattice.y_at // q :: dilations[0], lattice.y_at % q :: dilations[1]]
        assert own.shape[1:] == (lattice.P, lattice.Q)
        for n in range(images):
            for r in range(rows):
                for c in range(cols):
                    top, left = p0 + r * m_rows, q0 + c * m_cols
                    own[n, top : top + m_rows, left : left + m_cols] += 1
                    tiles.append({i * N + j for i in elements(n_rows) for j in elements(n_cols)})
    assert (written == 1).all() and len(tiles) == count
    for e, ranges in enumerate(winograd_areas.ranges_of(areas, count)):
        assert [e in tile for tile in tiles] == [sum(first <= t < end for first, end in ranges) for t in range(count)]
    geo = ConvGeometry.of((images, p, q, 1), (size, size, 1, 1), padding="same", dilation=dilations)
    assert winograd_sizes.tile_counts(geo, False) == (count, sum(map(len, tiles)))


@pytest.mark.parametrize("dilation, size, most", [(1, 13, 1), (1, 14, 1), (2, 28, 1), (3, 27, 1), (12, 65, 4)])
def test_the_tiles_that_have_an_element_are_neighbours(dilation, size, most):
    """So that each element is one product, or few where lattices differ in size."""
    shape = (2, size, size, 1)
    lattices = winograd_areas.lattices_of(shape, shape, (dilation, dilation), (dilation, dilation))
    assert len(lattices) == dilation**2
    assert {len(ranges) for ranges in winograd_areas.ranges_of(*winograd_areas.areas_of(2, lattices, 3))} == {most}


@pytest.mark.parametrize("images, blocks", [(0, 1), (1, 1)])
def test_no_more_blocks_than_tiles_but_one(images, blocks):
    geo = ConvGeometry.of((images, 3, 3, 8), (3, 3, 8, 600), padding=1)
    assert winograd_sizes.tile_blocks(geo, 8) == blocks


def test_many_lattices_are_not_cheap():
    """Each has areas of its own: 10,000 of 3x3 pixels."""
    plan = fc.plan((1, 300, 300, 16), (3, 3, 16, 16), padding=100, dilation=100)
    assert plan.algorithm == "tiled"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(2, 13, 14), (1, 3, 2), (3, 7, 21)], ids=str)
def test_images_that_end_with_smaller_tiles(size, shape):
    """Whole ones, lower ones, narrower ones, and those that are both, forward and backward."""
    rng = np.random.default_rng(1)
    n, h, w = shape
    x, filters = (rng.standard_normal(s).astype("f4") for s in ((n, h, w, 19), (size, size, 19, 21)))
    y = fc.conv2d(x, filters, padding="same", algorithm="winograd")
    close(y, oracle.conv2d(x, filters, padding="same"))
    close(
        fc.conv2d_input_grad(y, filters, x.shape, padding="same", algorithm="winograd"),
        oracle.conv2d_input_grad(y, filters, x.shape, padding="same"),
    )
    close(
        fc.conv2d_weight_grad(y, x, filters.shape, padding="same", algorithm="winograd"),
        oracle.conv2d_weight_grad(y, x, filters.shape, padding="same"),
    )


def close(result, exact):
    np.testing.assert_allclose(result, exact, atol=2e-5 * abs(exact).max())


@pytest.mark.parametrize("size", SIZES)
def test_error_with_sparse_numbers_of_all_magnitudes(size):
    """The bound of the module's text, tile by tile, where results cancel and neighbours are a million times larger."""
    rng, m, pad = np.random.default_rng(2), outputs(size), size // 2
    for h, w, c in ((9, 6, 3), (13, 14, 1), (7, 2, 5), (5, 11, 8)):
        x = rng.standard_normal((1, h, w, c)) * (rng.random((1, h, w, c)) < 0.3) * 10.0 ** rng.integers(-3, 4, (1, h, w, c))
        x, filters = (
            a.astype("f4") for a in (x, rng.standard_normal((size, size, c, 20)) * (rng.random((size, size, c, 20)) < 0.5))
        )
        error = abs(fc.conv2d(x, filters, padding=pad, algorithm="winograd") - oracle.conv2d(x, filters, padding=pad))[0]
        around = np.pad(abs(x[0]).astype(float), ((pad, N), (pad, N), (0, 0)))
        weights, share = abs(filters).sum((0, 1), dtype=float), 4 * (size * size * c + 1) * np.finfo("f4").eps
        for p in range(0, error.shape[0], m):
            for q in range(0, error.shape[1], m):
                bound = share * (around[p : p + N, q : q + N].max((0, 1)) @ weights)
                assert (error[p : p + m, q : q + m] <= bound).all()
