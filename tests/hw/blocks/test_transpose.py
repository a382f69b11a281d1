"""Transposition alone, and before the converter: blocks along columns."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from stream_driver import run_stream
from test_converter import expected

from mixdit_hw.blocks import transpose
from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.stored import block_layout
from mixdit_hw.blocks.transpose import Transpose
from mixdit_sw.formats import MX6, MX9

PAUSES = [{}, {"valid": 0.5}, {"ready": 0.4}, {"valid": 0.6, "ready": 0.6, "seed": 3}]
IDS = ["full", "slow-source", "slow-sink", "both"]


def tiles(count, seed=0, size=16):
    return np.random.default_rng(seed).integers(0, 1 << 32, (count, size, size), dtype=np.uint32)


def as_words(rows, size=16):
    return [sum(int(x) << 32 * i for i, x in enumerate(row)) for row in rows.reshape(-1, size)]


@pytest.mark.parametrize("pauses", PAUSES, ids=IDS)
def test_columns_in_order(pauses):
    x = tiles(5)
    found, cycles = run_stream(Transpose(), as_words(x), **pauses)
    assert found == as_words(x.transpose(0, 2, 1))
    assert pauses or cycles == 5 * 16, "a column a cycle, without a gap between tiles"


@pytest.mark.parametrize(("size", "columns"), [(2, 1), (8, 1), (8, 2), (8, 4), (16, 4)])
@pytest.mark.parametrize("pauses", PAUSES, ids=IDS)
def test_sizes(size, columns, pauses):
    """Square tiles of other sizes, of which several columns leave at a time."""
    x = tiles(5, size=size)
    dut = Transpose(size, columns)
    wanted = as_words(x.transpose(0, 2, 1), size * columns)
    found, cycles = run_stream(dut, as_words(x, size), count=len(wanted), **pauses)
    assert found == wanted
    beats = size // columns
    assert pauses or cycles == 4 * size + beats, "a row a cycle, without a gap between tiles"


def test_narrow_words():
    x = tiles(3) & 0xFF
    payloads = [sum(int(v) << 8 * i for i, v in enumerate(row)) for row in x.reshape(-1, 16)]
    found, _ = run_stream(Transpose(width=8), payloads)
    columns = x.transpose(0, 2, 1).reshape(-1, 16)
    assert found == [sum(int(v) << 8 * i for i, v in enumerate(row)) for row in columns]


class ColumnConverter(wiring.Component):
    """Transposition, then conversion to the first of some formats."""

    def __init__(self, formats):
        self.transpose, self.converter = Transpose(), MxConverter(formats)
        rows = stream.Signature(self.transpose.i.payload.shape())
        blocks = stream.Signature(block_layout(formats))
        super().__init__({"i": In(rows), "o": Out(blocks)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.transpose, m.submodules.converter = self.transpose, self.converter
        wiring.connect(m, wiring.flipped(self.i), self.transpose.i)
        m.d.comb += [
            self.converter.i.payload.words.eq(self.transpose.o.payload.as_value()),
            self.converter.i.valid.eq(self.transpose.o.valid),
            self.transpose.o.ready.eq(self.converter.i.ready),
        ]
        wiring.connect(m, self.converter.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize("pauses", PAUSES[::3], ids=IDS[::3])
def test_blocks_along_columns(pauses):
    """V as A.V takes it: 16 tokens of a channel make a block."""
    rng = np.random.default_rng(1)
    v = (rng.standard_normal((64, 16)) * np.exp2(rng.integers(-9, 9, (64, 16)))).astype(np.float32)
    found, _ = run_stream(ColumnConverter((MX9, MX6)), as_words(v.view(np.uint32)), **pauses)
    columns = v.reshape(4, 16, 16).transpose(0, 2, 1).reshape(-1, 16)
    assert found == expected(columns, np.zeros(len(columns), int), (MX9, MX6))


def test_fault_is_seen(monkeypatch):
    """Rows that are not rotated meet the wrong banks."""
    exact = transpose._rotate_up
    calls = []

    def lazy(m, name, words, places, width):
        calls.append(places)
        return words if len(calls) == 1 else exact(m, name, words, places, width)

    monkeypatch.setattr(transpose, "_rotate_up", lazy)
    x = tiles(2)
    assert run_stream(Transpose(), as_words(x))[0] != as_words(x.transpose(0, 2, 1))
