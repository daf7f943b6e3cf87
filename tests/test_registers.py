"""The sums of a tile stay in registers while their terms are added: no vector goes to the stack in the loops of its assembly."""

import dataclasses
import functools
import platform
import re
import sys

import llvmlite.binding as llvm
import numba
import pytest
from llvmlite import ir
from numba import types

from fastconv import machine
from fastconv.kernels.batch_weights import Outer, tile_of
from fastconv.kernels.group_sizes import MOST_WINDOWS
from fastconv.kernels.group_tile import GroupTile
from fastconv.kernels.group_winograd import Products
from fastconv.kernels.intrinsics import add_function, function_address
from fastconv.kernels.panels import WIDEST
from fastconv.kernels.tile import MOST_ROWS, Tile, most_rows, write_tile
from fastconv.kernels.vector_ir import lanes_of
from fastconv.kernels.winograd_products import MORE as PRODUCT_MORE
from fastconv.kernels.winograd_products import ProductTile

LANES = lanes_of(4)
WIDTHS = range(1, WIDEST[machine.cpu().registers] + 1)
KINDS = ((False, False), (True, False), (False, True))  # masked, asks
WALKED = [Tile(4, LANES, most_rows()[cols], cols, masked, asks=asks) for cols in WIDTHS for masked, asks in KINDS]
BESIDE = [
    Tile(4, LANES, rows, cols, masked, beside=beside)
    for cols in WIDTHS
    for masked in (False, True)
    for rows in [most_rows(beside=True)[cols]]
    for beside in (rows // 2, rows)
]
PRODUCTS = [ProductTile(4, LANES, most_rows()[cols], cols) for cols in WIDTHS]
PACKS = [Tile(4, LANES, most_rows()[cols], cols, False, packs=True) for cols in WIDTHS]


def tiles_of_groups(processor):
    """Those of a group of images."""
    lanes, rows = processor.vector_bytes // 4, MOST_ROWS[processor.registers]
    return [
        *[GroupTile(lanes, rows[cols], cols, pooled=False) for cols in (1, 4)],
        GroupTile(lanes, rows[4], 4, pooled=True),
        *[Products(lanes, rows[windows], 1, windows) for windows in range(1, MOST_WINDOWS + 1)],
        *[Products(lanes, rows[2 * windows], 2, windows) for windows in range(1, MOST_WINDOWS // 2 + 1)],
        *[Outer(lanes, *tile_of(filters, processor)) for filters in (1, 2, 3, 5, 16)],
    ]


GROUPS = tiles_of_groups(machine.cpu())
NEON = dataclasses.replace(machine.cpu(), vector_bytes=16, registers=32, has_fma=True)
FOR_NEON = [
    *[Tile(4, 4, MOST_ROWS[32][cols], cols, False, asks=asks) for cols in range(1, WIDEST[32] + 1) for asks in (False, True)],
    *[ProductTile(4, 4, MOST_ROWS[32][cols], cols) for cols in range(1, WIDEST[32] + 1)],
    *[Tile(4, 4, MOST_ROWS[32][cols], cols, False, beside=MOST_ROWS[32][cols] // 2) for cols in range(1, WIDEST[32] + 1)],
    *tiles_of_groups(NEON),
]

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
X86_ONLY = pytest.mark.skipif(not (IS_X86 and machine.cpu().has_fma), reason="reads x86 assembly with multiply-adds")


def body_of(tile):
    return functools.partial(write_tile, tile) if isinstance(tile, Tile) else tile.write


def more_of(tile):
    """Arguments besides the usual ones."""
    return PRODUCT_MORE if isinstance(tile, ProductTile) else int(getattr(tile, "asks", False) or getattr(tile, "packs", False))


def assembly(tile):
    """Compiled anew: what comes from the kernel cache cannot be read."""
    pointer = function_address(tile.name, body_of(tile), types.float32, tile.lanes, more_of(tile))
    compiled = numba.njit(lambda: pointer())
    compiled.compile(())
    return compiled.inspect_asm(())


def innermost_loops(text):
    """The blocks of instructions that end with a jump to their own beginning."""
    for label, block in re.findall(r"^(\.LBB\w+):.*?\n(.*?)(?=^\.?\w+:)", text, re.MULTILINE | re.DOTALL):
        inside, jump, _ = re.sub(r"[\t ]" + re.escape(label) + r"\n", "\0", block).partition("\0")
        if jump:
            yield inside


def spills(text, multiply, moves):
    """(loops that multiply, instructions in them that move a vector to or from the stack)"""
    loops = [block for block in innermost_loops(text) if re.search(multiply, block)]
    return len(loops), [line.strip() for block in loops for line in block.splitlines() if re.search(moves, line)]


@X86_ONLY
@pytest.mark.parametrize("tile", [*WALKED, *BESIDE, *PRODUCTS, *PACKS, *GROUPS], ids=lambda tile: tile.name)
def test_sums_stay_in_registers(tile):
    loops, moved = spills(assembly(tile), "vfmadd", r"mm.*\(%rsp|\(%rsp.*mm")
    assert loops and not moved


@X86_ONLY
@pytest.mark.parametrize("tile", [*WALKED, *BESIDE, *PRODUCTS, GROUPS[0]], ids=lambda tile: tile.name)
def test_places_stay_in_registers(tile):
    """A tile of one vector loads a number for each multiply-add; to load where it lies would take as long again."""
    loops, moved = spills(assembly(tile), "vfmadd", r"\(%rsp")
    assert loops and not moved


@pytest.fixture
def neon(monkeypatch):
    """All that is written from now on is for a CPU with NEON; its machine for LLVM."""
    if not machine.cpu().has_fma:
        pytest.skip("whether to write multiply-adds was decided for this CPU, which has none")
    for name, module in list(sys.modules.items()):
        if name.startswith("fastconv.") and getattr(module, "cpu", None) is machine.cpu:
            monkeypatch.setattr(module, "cpu", lambda: NEON)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(cpu="neoverse-n1", opt=3)


def assembly_for(target, tile):
    written = ir.Module(name=tile.name)
    written.triple, written.data_layout = target.triple, str(target.target_data)
    add_function(written, tile.name, body_of(tile), types.float32, tile.lanes, more_of(tile))
    module = llvm.parse_assembly(str(written))
    passes = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    return target.emit_assembly(module)


def spills_on_neon(neon, tile):
    return spills(assembly_for(neon, tile), "fmla", r"\bq\d+,.*\[sp")


@pytest.mark.parametrize("tile", FOR_NEON, ids=lambda tile: tile.name)
def test_sums_stay_in_the_registers_of_neon(neon, tile):
    loops, moved = spills_on_neon(neon, tile)
    assert loops and not moved


def test_a_tile_that_is_too_tall_is_found_out(neon):
    loops, moved = spills_on_neon(neon, Tile(4, 4, MOST_ROWS[32][4] + 4, 4, False))
    assert loops and moved
