"""Each fault in the engine's checks, walkers, loader and result path is rejected by a proof."""

import sys
from functools import partial

import pytest
from test_engine_faults import HEAVY, fails

from mixdit_hw.engine import (
    controller,
    gather,
    load_walker,
    loader,
    output_buffer,
    quantize,
    registers,
    store,
    tiles,
)
from mixdit_hw.engine.config import ENGINES
from mixdit_hw.formal import gathers, loading, loads, results, rules, stored, stores
from mixdit_hw.formal import registers as registers_proof
from mixdit_hw.formal import tiles as tiles_proof
from mixdit_hw.formal.engine_proofs import FEW_STEPS, NARROW

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="bitwuzla has no package for macOS"
)


@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ('(fields["panel"] > depth) | ', "", "command_is_judged"),
        pytest.param("| (held > depth)", "", "command_is_judged", marks=HEAVY),
        pytest.param("key=lambda rule: -rule[1]", "key=lambda rule: rule[1]", "reported"),
        pytest.param(
            '["col_tiles"] > most', '["col_tiles"] >= most', "command_is_judged", marks=HEAVY
        ),
        pytest.param("if name not in config.steps", "if not name", "command_is_judged"),
        pytest.param(
            "self.error_address.eq(present << shift)",
            "self.error_address.eq(pointer << shift)",
            "reported",
            marks=HEAVY,
        ),
        pytest.param(
            "(self.write_error, Error.WRITE", "(self.write_error, Error.READ", "unit_error"
        ),
        pytest.param('~fields["wait"] | self.quiet', "self.quiet", "waits_for_quiet", marks=HEAVY),
    ],
)
def test_rules(monkeypatch, old, new, property_):
    harness = partial(rules.RulesProof, FEW_STEPS)
    found = fails(monkeypatch, controller, rules, "Controller", old, new, harness, 7)
    assert property_ in found


@pytest.mark.parametrize(
    ("name", "old", "new", "property_"),
    [
        ("TileLoop", "self.backwards.eq(~self.backwards)", "self.backwards.eq(0)", "backwards"),
        pytest.param(
            "TileLoop", "left.eq(left - self.panel)", "left.eq(left - 1)", "left", marks=HEAVY
        ),
        pytest.param(
            "TileAddress",
            "panel_start - self.streamed_step",
            "panel_start + self.streamed_step",
            "tile_address",
            marks=HEAVY,
        ),
    ],
)
def test_tiles(monkeypatch, name, old, new, property_):
    harness = tiles_proof.TilesProof
    assert property_ in fails(monkeypatch, tiles, tiles_proof, name, old, new, harness, 9)


@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("begins_tile | (entry != behind)", "entry != behind", "row_1"),
        ("behind.eq(entry + 1)", "behind.eq(entry + 2)", "longest_1"),
        ("shown.eq(lane)", "shown.eq(lane + 1)", "first_row"),
        pytest.param("Mux(begins, 0, more + 1)", "Mux(begins, 0, more)", "longest_1", marks=HEAVY),
        pytest.param("begins_tile.eq(column == 0)", "begins_tile.eq(column == 1)", "ends_tile"),
        pytest.param("with m.If(~self.o.valid | self.o.ready):", "if m:", "run_stays", marks=HEAVY),
        pytest.param("lane.eq(0), word.eq(0)]", "lane.eq(0)]", "first_row", marks=HEAVY),
        pytest.param(
            "| ~self.o.valid | self.o.ready)", "& self.o.ready)", "longest_1", marks=HEAVY
        ),
    ],
)
def test_gather(monkeypatch, old, new, property_):
    harness = partial(gathers.GatherProof, gathers.square_tiles(16), 2)
    assert property_ in fails(monkeypatch, gather, gathers, "Gather", old, new, harness, 12)


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        (
            "kept = loop.first_streamed & ~loop.first_panel",
            "kept = loop.first_streamed",
            "asks_or_goes_on",
        ),
        ("todo.eq(todo & (todo - 1))", "todo.eq(0)", "todo"),
        (
            "Mux(loop.backwards, address - step, address + step)",
            "address + step",
            "streamed_address",
        ),
    ],
)
def test_load_walker(monkeypatch, old, new, property_):
    harness = partial(loads.LoadsProof, NARROW)
    found = fails(monkeypatch, load_walker, loads, "LoadWalker", old, new, harness, 14)
    assert property_ in found


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("Mux(completes, group_beats, 0)", "group_beats", "c_address"),
        ("column.eq(panel_column)]", "column.eq(0)]", "column"),
        ("beats.eq(beats // 2)", "beats.eq(beats)", "beats"),
        ("self.tile.valid.eq(active & ~self.bad_format)", "self.tile.valid.eq(active)", "offered"),
    ],
)
def test_store_walker(monkeypatch, old, new, property_):
    harness = partial(stores.StoresProof, stores.half_groups())
    assert property_ in fails(monkeypatch, store, stores, "StoreWalker", old, new, harness, 12)


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("reserved != TILES)", "reserved <= TILES)", "room"),
        ("array.cluster_rows - 1 - (beat", "(beat", "word_0"),
        ("bank == TILES - 1, 0", "bank == TILES - 1, 1", "word_0"),
        ("last & (tiles > 1)", "last", "complete_when_whole"),
    ],
)
def test_output_buffer(monkeypatch, old, new, property_):
    harness = partial(results.ResultsProof, results.stacked_clusters(1))
    name = "OutputBuffer"
    assert property_ in fails(monkeypatch, output_buffer, results, name, old, new, harness, 15)


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("done & (last_in_section | last_in_group))", "done & last_in_section)", "packet_"),
        ("(have & (used == limit))", "0", "bad_length"),
        ("word.last.eq(left == 1)", "word.last.eq(left == 2)", "flags_"),
        ("known.eq(tag < len(formats))", "known.eq(1)", "bad_format"),
        ("unpacker.digit.eq(digits - 1 - digit)", "unpacker.digit.eq(digit)", "packet_"),
    ],
)
def test_loader(monkeypatch, old, new, property_):
    harness = partial(loading.LoadingProof, loading.two_formats())
    found = fails(monkeypatch, loader, loading, "Loader", old, new, harness, 13)
    assert any(name.startswith(property_) for name in found)


@HEAVY
@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        ("Mux(bank, place_out + beats, place_out)", "place_out", "word_"),
        ("flush.eq(ends)", "flush.eq(0)", "goes_on"),
        ("fro.addr.eq(beat)", "fro.addr.eq(0)", "row_1"),
    ],
)
def test_quantizer(monkeypatch, old, new, property_):
    harness = partial(stored.QuantizerProof, stores.half_groups())
    found = fails(monkeypatch, quantize, stored, "Quantizer", old, new, harness, 17)
    assert any(name.startswith(property_) for name in found)


@pytest.mark.parametrize(
    ("old", "new", "property_"),
    [
        (
            "count.eq(count + self.events[number])",
            "count.eq(count + (self.events[number] != 0))",
            "tiles",
        ),
        ("(part & ~mask) | ", "", "list_address"),
    ],
)
def test_registers(monkeypatch, old, new, property_):
    harness = partial(registers_proof.RegistersProof, ENGINES["small"])
    unit, name = registers, "Registers"
    assert property_ in fails(monkeypatch, unit, registers_proof, name, old, new, harness, 4)
