"""The products between the transforms of Winograd's algorithm: all rows of one element of V times a panel of its U, in one call.

As a register tile of `tile` each few rows would be a call of their own, and with the 12 terms of a first layer a call takes a
third as long as its arithmetic.
"""

import functools
from dataclasses import dataclass

import numpy as np

from fastconv.kernels.aligned import LINE
from fastconv.kernels.blocks import balanced
from fastconv.kernels.intrinsics import emits, inlined
from fastconv.kernels.tile import add_outer_product, compiled_address, most_rows

__all__ = ["MORE", "ProductTile", "product", "product_table"]

MORE = 3  # arguments of a tile beside the usual ones


@dataclass(frozen=True)
class ProductTile:
    """c[g, m, n] (+)= sum over k of a[(g rows + m) a_m + k a_k] b[k, n] for g < groups, m < rows and n < cols vectors; b and c
    lie row after row.  `steps` = (a_m, a_k).

    For every term a cache line is asked for, of what the products that come will read: those of a group from the address `ahead`
    on, of the next group `ahead_step` bytes further.
    """

    itemsize: int
    lanes: int
    rows: int
    cols: int

    @property
    def name(self):
        return f"winograd_{8 * self.itemsize}bit_{self.lanes}lanes_product{self.rows}x{self.cols}"

    def write(self, v, a, b, c, _, steps, groups, terms, more, ahead, ahead_step):
        (a_m, a_k), row = (v.integer(steps, i) for i in range(2)), self.cols * v.lanes
        pairs = [(m, n) for m in range(self.rows) for n in range(self.cols)]
        sums = {pair: v.variable(v.constant(0.0)) for pair in pairs}
        places_of = v.places(a_m, self.rows)
        with v.loop(groups) as g:
            a_g, c_g = v.at(a, (v.add((g, self.rows)), a_m)), v.at(c, (g, self.rows * row))
            place = {(m, n): v.at(c_g, m * row + n * v.lanes) for m, n in pairs}
            with v.either(more) as (again, first):
                with again:
                    for pair in pairs:
                        v.builder.store(v.load(place[pair]), sums[pair])
                with first:
                    for pair in pairs:
                        v.builder.store(v.constant(0.0), sums[pair])
            asked = v.pointer(v.add(ahead, (g, ahead_step)))
            with v.loop(terms) as k:
                v.keep_rolled()
                places, b_k = places_of(v.at(a_g, (k, a_k))), v.at(b, (k, row))
                v.prefetch(v.at(asked, (k, LINE // self.itemsize)))
                add_outer_product(
                    v, sums, self.rows, self.cols,
                    lambda m, places=places: v.splat(v.builder.load(places[m])),
                    lambda n, b_k=b_k: v.load(v.at(b_k, n * v.lanes)),
                )  # fmt: skip
            for pair in pairs:
                v.store(v.builder.load(sums[pair]), place[pair])


@functools.cache
def product_address(tile):
    """Address of a compiled `ProductTile`."""
    return compiled_address(tile.name, tile.write, tile.itemsize, tile.lanes, MORE)


@functools.lru_cache(maxsize=256)
def product_table(panels, itemsize, counts):
    """The addresses of the tiles for so many rows, for each kind of panel; those of no rows are the rows of the tallest."""
    most = [most_rows()[vectors] for vectors, _ in panels.kinds]
    addresses = np.zeros((len(most), max(most) + 1), np.int64)
    addresses[:, 0] = most
    for kind, (vectors, _) in enumerate(panels.kinds):
        for height in {part for count in counts for part in balanced(count, most[kind])}:
            addresses[kind, height] = product_address(ProductTile(itemsize, panels.lanes, height, vectors))
    return addresses


@emits()
def call_product(v, a, a_at, address, b, b_at, c, c_at, steps, groups, terms, more, ahead, ahead_step):
    """Run the tile at `address` on arrays from the given offsets on."""
    c = v.at(c, c_at)
    v.call(address, v.at(a, a_at), v.at(b, b_at), c, c, steps, groups, terms, more, ahead, ahead_step)


@inlined
def product(a, a_at, b, b_at, c, c_at, row, count, terms, more, addresses, steps, ahead, ahead_row):
    """c = a b, or c += a b (`more` = 1): `count` rows, and a panel of `row` numbers as columns.

    `addresses` is a row of `product_table`; what lies at the address
    `ahead` is asked for, `ahead_row` bytes further for every row.
    """
    most = addresses[0]
    parts = (count + most - 1) // most
    rows = count // parts
    taller = count - parts * rows
    if taller:
        high = rows + 1
        call_product(a, a_at, addresses[high], b, b_at, c, c_at, steps, taller, terms, more, ahead, high * ahead_row)
        a_at, c_at, ahead = a_at + taller * high * steps[0], c_at + taller * high * row, ahead + taller * high * ahead_row
    call_product(a, a_at, addresses[rows], b, b_at, c, c_at, steps, parts - taller, terms, more, ahead, rows * ahead_row)
