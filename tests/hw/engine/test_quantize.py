"""Quantizer against codec and packing: groups of K-blocks, bus word for bus word."""

from functools import partial

import numpy as np
import pytest
from engine_driver import TINY, send, simulate, take

from mixdit_hw.blocks import converter
from mixdit_hw.engine.config import ENGINES
from mixdit_hw.engine.quantize import Quantizer
from mixdit_sw.codec.pack import pack
from mixdit_sw.codec.reference import encode

PACES = [(1.0, 1.0), (0.5, 1.0), (1.0, 0.3), (0.6, 0.6)]


def case(config, groups, seed):
    """Return (tags and completes of each tile, its FP32 words, the bus words of its group)."""
    shape, rng = config.shape, np.random.default_rng(seed)
    kinds, inputs, golden = [], [], []
    for _ in range(groups):
        columns = shape.cols * shape.group_tiles
        x = rng.normal(size=(shape.rows, columns)) * np.exp2(rng.integers(-9, 9, (1, columns)))
        x[rng.random(x.shape) < 0.1] = 0
        x[rng.random(x.shape) < 0.01] = np.nan
        x = x.astype(np.float32)
        formats = [int(n) for n in rng.integers(len(shape.formats), size=shape.group)]
        tags = sum(n << 2 * i for i, n in enumerate(formats))
        width = 2 * shape.group
        for tile in range(shape.group_tiles):
            kinds.append(tags | (tile == shape.group_tiles - 1) << width)
            part = np.ascontiguousarray(x[:, tile * shape.cols : (tile + 1) * shape.cols])
            raw = part.tobytes()
            inputs += [raw[i : i + config.bus_bytes] for i in range(0, len(raw), config.bus_bytes)]
        stored = b"".join(
            pack(encode(x[:, 16 * i : 16 * i + 16], fmt), fmt).tobytes()
            for i, fmt in ((i, shape.block_formats[n]) for i, n in enumerate(formats))
        )
        stored += bytes(-len(stored) % config.bus_bytes)
        golden += [
            stored[i : i + config.bus_bytes] for i in range(0, len(stored), config.bus_bytes)
        ]
    return (
        kinds,
        [int.from_bytes(b, "little") for b in inputs],
        [int.from_bytes(b, "little") for b in golden],
    )


def run(config, groups, seed=0, chances=(1.0, 1.0)):
    kinds, inputs, golden = case(config, groups, seed)
    dut, found = Quantizer(config), []
    simulate(
        dut,
        partial(send, stream=dut.tile, items=kinds, chance=chances[0], seed=1),
        partial(send, stream=dut.i, items=inputs, chance=chances[0], seed=2),
        partial(take, stream=dut.o, count=len(golden), found=found, chance=chances[1], seed=3),
    )
    return found, golden


@pytest.mark.parametrize("chances", PACES)
def test_groups(chances):
    found, golden = run(TINY, 12, chances=chances)
    assert found == golden


def test_groups_of_a_wider_tile():
    found, golden = run(ENGINES["small"], 3, seed=4)
    assert found == golden


def test_fault_is_seen(monkeypatch):
    """Bits that are cut off instead of rounded."""
    cut = converter.KEPT_BITS
    monkeypatch.setattr(converter, "_round_to", lambda kept, sticky, bits: kept[cut - bits :])
    found, golden = run(TINY, 12)
    assert found != golden
