"""The sums of a tile stay in registers while their terms are added: no vector goes to the stack in the loops of its assembly."""

import functools
import platform
import re

import numba
import pytest
from numba import types

from fastconv import machine
from fastconv.kernels.batch_weights import Outer, tile_of
from fastconv.kernels.group_sizes import MOST_WINDOWS
from fastconv.kernels.group_tile import GroupTile
from fastconv.kernels.group_winograd import Products
from fastconv.kernels.intrinsics import function_address
from fastconv.kernels.panels import WIDEST
from fastconv.kernels.tile import Tile, most_rows, write_tile
from fastconv.kernels.vector_ir import lanes_of

LANES = lanes_of(4)
WIDTHS = range(1, WIDEST[machine.cpu().registers] + 1)
WALKED = [Tile(4, LANES, most_rows()[cols], cols, masked) for cols in WIDTHS for masked in (False, True)]
GROUPS = [
    *[GroupTile(LANES, most_rows()[cols], cols, pooled=False) for cols in (1, 4)],
    GroupTile(LANES, most_rows()[4], 4, pooled=True),
    *[Products(LANES, most_rows()[windows], windows) for windows in range(1, MOST_WINDOWS + 1)],
    *[Outer(LANES, *tile_of(filters)) for filters in (1, 2, 3, 16)],
]

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
pytestmark = pytest.mark.skipif(not (IS_X86 and machine.cpu().has_fma), reason="reads x86 assembly with multiply-adds")


def assembly(tile):
    """Compiled anew: what comes from the kernel cache cannot be read."""
    body = functools.partial(write_tile, tile) if isinstance(tile, Tile) else tile.write
    pointer = function_address(tile.name, body, types.float32, tile.lanes)
    compiled = numba.njit(lambda: pointer())
    compiled.compile(())
    return compiled.inspect_asm(())


def innermost_loops(text):
    """The blocks of instructions that end with a jump to their own beginning."""
    for label, block in re.findall(r"^(\.LBB\w+):\n(.*?)(?=^\.?\w+:)", text, re.MULTILINE | re.DOTALL):
        inside, jump, _ = block.partition(f"\t{label}\n")
        if jump:
            yield inside


def spills(tile):
    """(loops that multiply, instructions in them that move a vector to or from the stack)"""
    loops = [block for block in innermost_loops(assembly(tile)) if re.search("vfmadd", block)]
    moved = [line.strip() for block in loops for line in block.splitlines() if "mm" in line and "(%rsp" in line]
    return len(loops), moved


@pytest.mark.parametrize("tile", [*WALKED, *GROUPS], ids=lambda tile: tile.name)
def test_sums_stay_in_registers(tile):
    loops, moved = spills(tile)
    assert loops and not moved
