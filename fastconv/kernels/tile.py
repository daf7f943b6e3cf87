"""The register tile: a few rows times a few vectors of results that stay in registers while all their terms are added.

    c[m, n] = bias[n] (or c[m, n]) + sum over i, j, k of  a[m*a_m + i*a_i + j*a_j + k*a_k] * b[(i*b_i + j*b_j + k*b_k)*b_row + n]

with m < rows and n < cols vectors of lanes.  Every step is free, so that one generator serves the forward pass (rows are
pixels, k channels), both gradients and matrix products; where `Tile.beside` rows lie side by side in a, m*a_m is
(m // beside)*a_m + m % beside.  The order of the sum is i, j, k, whatever the size of the tile.
"""

import functools
from dataclasses import dataclass

from numba import types

from fastconv.kernels.aligned import LINE
from fastconv.kernels.codes import LEAKY_RELU, LEAKY_SLOPE, RELU
from fastconv.kernels.intrinsics import emits, function_address
from fastconv.machine import Kernel, cpu

__all__ = [
    "MOST_ROWS",
    "ROWS_AHEAD",
    "STEPS",
    "Tile",
    "add_outer_product",
    "call_tile",
    "call_tile_with",
    "compiled_address",
    "most_rows",
    "tile_address",
]

# of weights, between asking for them and reading them; more that lie a multiple of 4 KiB apart would push each other out of the
# first cache, which has room for 8 or 12 of them
ROWS_AHEAD = 6

# what a tile reads from its block of int64: steps in numbers (b: in rows of b), counts, what happens before and after the sum
STEPS = ("a_m", "a_i", "a_j", "a_k", "b_i", "b_j", "b_k", "c_m", "i", "j", "k", "accumulate", "activation")

# rows of the tallest tile with 1, 2, ... 6 vectors of columns, by number of vector registers; taller ones spill
MOST_ROWS = {
    16: (0, 12, 6, 4, 3, 2, 2),  # SSE, AVX2: 12 sums, 1-3 of a or of b, whichever are fewer, and 1 of the others
    32: (0, 16, 8, 7, 6, 5, 4),  # AVX-512, NEON: a is an operand in memory
}
MOST_BESIDE = (0, 30, 14, 7, 6, 5, 4)  # AVX-512, where the rows lie side by side in a and need no registers for their places


def most_rows(beside=False):
    """`MOST_ROWS` of this CPU; of rows `beside` each other there may be more."""
    return MOST_BESIDE if beside and cpu().vector_bytes == 64 else MOST_ROWS[cpu().registers]


@dataclass(frozen=True)
class Tile:
    """What is fixed when a tile is compiled."""

    itemsize: int
    lanes: int
    rows: int
    cols: int
    masked: bool  # only `tail` lanes of the last vector exist
    beside: int = 0  # rows that lie side by side in a, so that none needs a register for its place; a_m to the next so many
    packs: bool = False  # what it reads of b is written down, row after row, for the tiles that come
    asks: bool = False  # for each term one more cache line is asked for, of what the tiles that come will read

    @property
    def name(self):
        kind = f"{self.rows}x{self.cols}{'_masked' * self.masked}{f'_beside{self.beside}' * (self.beside > 0)}"
        kind += f"{'_packs' * self.packs}{'_asks' * self.asks}"
        return f"tile_{8 * self.itemsize}bit_{self.lanes}lanes_{kind}"


def write_tile(tile, v, a, b, c, bias, block, tail, b_row, there=None):
    """The instructions of one tile; `there` is the address of the rows that it writes, or of the lines that it asks for."""
    rows, cols = tile.rows, tile.cols
    step = v.integers(block, STEPS)
    mask = [v.first_lanes(tail) if tile.masked and n == cols - 1 else None for n in range(cols)]
    sums = {(m, n): v.variable(v.constant(0.0)) for m in range(rows) for n in range(cols)}
    place = {(m, n): v.at(c, (m, step["c_m"]), n * v.lanes) for m, n in sums}
    with v.either(step["accumulate"]) as (again, first):
        with again:
            for m, n in sums:
                v.builder.store(v.load(place[m, n], mask[n]), sums[m, n])
        with first:
            for n in range(cols):
                value = v.load(v.at(bias, n * v.lanes), mask[n])
                for m in range(rows):
                    v.builder.store(value, sums[m, n])
    beside = tile.beside or 1
    rows_of = v.places(step["a_m"], -(-rows // beside), one_each=tile.packs)
    with v.loop(step["i"]) as i, v.loop(step["j"]) as j:
        a_ij = v.at(a, (i, step["a_i"]), (j, step["a_j"]))
        row_ij = v.add((i, step["b_i"]), (j, step["b_j"]))
        b_ij = v.at(b, (row_ij, b_row))
        with v.loop(step["k"]) as k:
            v.keep_rolled()
            a_k, b_k = v.at(a_ij, (k, step["a_k"])), v.at(b_ij, (v.builder.mul(k, step["b_k"]), b_row))

            places = rows_of(a_k)

            def values(m):
                return v.splat(v.builder.load(v.at(places[m // beside], m % beside)))

            def weights(n):
                found = v.load(v.at(b_k, n * v.lanes), mask[n])
                if tile.packs:
                    target = v.at(v.pointer(there), (v.add(row_ij, (k, step["b_k"])), cols * v.lanes))
                    v.prefetch(v.at(b_k, (b_row, ROWS_AHEAD), n * v.lanes))
                    v.store(found, v.at(target, n * v.lanes))
                return found

            if tile.asks:
                v.prefetch(v.at(v.pointer(there), (k, LINE // tile.itemsize)))
            add_outer_product(v, sums, rows, cols, values, weights)
    activate(v, step["activation"], sums.values())
    for m, n in sums:
        v.store(v.builder.load(sums[m, n]), place[m, n], mask[n])


def add_outer_product(v, sums, rows, cols, row, column):
    """sums[m, n] += row(m) * column(n): a register for each of those that are fewer, and one for the others in turn, since the
    sums need all that are left."""
    by_rows = rows < cols
    held = [row(m) for m in range(rows)] if by_rows else [column(n) for n in range(cols)]
    for other in range(max(rows, cols)):
        passing = column(other) if by_rows else row(other)
        for kept, register in enumerate(held):
            at = (kept, other) if by_rows else (other, kept)
            v.builder.store(v.multiply_add(passing, register, v.builder.load(sums[at])), sums[at])


def activate(v, code, registers):
    """ReLU or leaky ReLU on all sums, before they leave the registers."""
    for known, slope in ((RELU, None), (LEAKY_RELU, LEAKY_SLOPE)):
        with v.only_if(code, known):
            for register in registers:
                value = v.builder.load(register)
                negative = v.constant(0.0) if slope is None else v.builder.fmul(value, v.constant(slope))
                v.builder.store(v.where_negative(value, negative), register)


@functools.cache
def tile_address(tile):
    """Address of the compiled `Tile`; compiled, or loaded from the kernel cache, at the first request."""
    return compiled_address(
        tile.name, functools.partial(write_tile, tile), tile.itemsize, tile.lanes, int(tile.packs or tile.asks)
    )


def compiled_address(name, body, itemsize, lanes, more=0):
    """Address of the function that `body` writes; the name must say everything that `body` knows, it is its key in the cache."""
    dtype = types.float32 if itemsize == 4 else types.float64
    pointer = function_address(name, body, dtype, lanes, more)

    def address():
        return pointer()

    address.__name__ = name
    compiled = Kernel(address, parallel=False, fastmath=())
    KEEP.append(compiled)
    return compiled()


KEEP = []  # the compiled tiles themselves: their code must outlive their address


@emits()
def call_tile(v, a, a_at, address, b, b_at, c, c_at, bias, bias_at, blocks, block_at, tail, b_row):
    """Run the tile at `address` on arrays from the given offsets on; its steps are blocks[block_at:]."""
    block = v.builder.gep(blocks, [block_at])
    v.call(address, v.at(a, a_at), v.at(b, b_at), v.at(c, c_at), v.at(bias, bias_at), block, tail, b_row)


@emits()
def call_tile_with(v, a, a_at, address, b, b_at, c, c_at, bias, bias_at, blocks, block_at, tail, b_row, there):
    """The same for a tile that packs to the address `there`, or asks for what lies there."""
    block = v.builder.gep(blocks, [block_at])
    v.call(address, v.at(a, a_at), v.at(b, b_at), v.at(c, c_at), v.at(bias, bias_at), block, tail, b_row, there)
