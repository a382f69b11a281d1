"""Packer against the golden rounding to BF16; store walker against a plain order of tiles."""

import random
from functools import partial

import numpy as np
import pytest
from engine_driver import TINY, four_by_four, send, simulate, take
from test_tiles import order

from mixdit_hw.engine import store
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.store import Packer, StoreWalker, tile_layout
from mixdit_sw.engine.commands import Output
from mixdit_sw.gemm.epilogue import to_bf16

PACES = [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4), (0.6, 0.6)]


def results(count, seed=0):
    """FP32 words as the array and the epilogue give them: no subnormals, no negative zero."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 32, count, dtype=np.uint32)
    low = rng.choice([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], count).astype(np.uint32)
    words = np.where(rng.random(count) < 0.6, words & 0xFFFF0000 | low, words)
    words[rng.random(count) < 0.1] |= 0x7F800000
    words[rng.random(count) < 0.05] = 0x7F7FFFFF
    words[words & 0x7F800000 == 0] = 0
    words[::19] = 0x7FC00000
    words[::23] = 0xFF800000
    return words.astype(np.uint32)


def joined(words, bits):
    return sum(int(word) << bits * i for i, word in enumerate(words))


def passed(config, *, tiles=14, seed=0, chances=(1.0, 1.0)):
    """Return the bus words that the packer gives for tiles of both kinds, and what it must."""
    shape, rng = config.shape, random.Random(seed)
    kinds = [rng.choice([Output.FP32, Output.BF16]) for _ in range(tiles)]
    words = results(tiles * shape.rows * shape.cols, seed).reshape(tiles, -1)
    inputs = [joined(part, 32) for part in words.reshape(-1, shape.lanes)]
    golden = []
    for kind, tile in zip(kinds, words, strict=True):
        if kind == Output.BF16:
            rounded = to_bf16(tile.view(np.float32)).reshape(-1, 2 * shape.lanes)
            golden += [joined(part, 16) for part in rounded]
        else:
            golden += [joined(part, 32) for part in tile.reshape(-1, shape.lanes)]
    dut, found = Packer(config), []
    simulate(
        dut,
        partial(
            send,
            stream=dut.narrow,
            items=[k == Output.BF16 for k in kinds],
            chance=chances[0],
            seed=1,
        ),
        partial(send, stream=dut.i, items=inputs, chance=chances[0], seed=2),
        partial(take, stream=dut.o, count=len(golden), found=found, chance=chances[1], seed=3),
    )
    return found, golden


@pytest.mark.parametrize("chances", PACES)
@pytest.mark.parametrize("config", [TINY, four_by_four()], ids=["tiny", "four"])
def test_words(config, chances):
    found, golden = passed(config, chances=chances)
    assert found == golden


def test_many_roundings():
    found, golden = passed(TINY, tiles=300, seed=5)
    assert found == golden


FAULTS = {
    "truncates": lambda word: word.as_value()[16:],
    "ties_up": lambda word: (word.as_value()[16:] + word.as_value()[15])[:16],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_seen(fault, monkeypatch):
    monkeypatch.setattr(store, "_to_bf16", FAULTS[fault])
    found, golden = passed(TINY, tiles=60)
    assert found != golden


def commands_and_tiles(config, count, seed=0):
    """Random commands, and the tiles that they must give."""
    rng, layout = random.Random(seed), command_layout(config)
    mask = (1 << config.beat_bits) - 1
    commands, tiles = [], []
    for _ in range(count):
        values = {
            "stationary_b": rng.getrandbits(1),
            "row_tiles": rng.randint(1, 6),
            "col_tiles": rng.randint(1, 5),
            "panel": rng.randint(1, 4),
            "output": rng.getrandbits(1),
            "c_address": rng.getrandbits(config.beat_bits),
            "c_row_beats": rng.getrandbits(32),
            "c_col_beats": rng.getrandbits(32),
        }
        steps = rng.getrandbits(4)
        raw = layout.const(values).as_value().value
        commands.append(raw | steps << layout["steps"].offset)
        b = values["stationary_b"]
        sizes = values["row_tiles"], values["col_tiles"]
        for held, streamed, _ in order(sizes[b], sizes[1 - b], values["panel"]):
            row, col = (streamed, held) if b else (held, streamed)
            address = values["c_address"] + row * values["c_row_beats"]
            address = address + col * values["c_col_beats"] & mask
            beats = config.shape.tile_beats // (2 if values["output"] == Output.BF16 else 1)
            tiles.append((address, beats, 0, 1, steps, values["output"]))
    return commands, tiles


@pytest.mark.parametrize("chances", PACES)
def test_walker(chances):
    commands, tiles = commands_and_tiles(TINY, 8)
    dut, found = StoreWalker(TINY), []
    simulate(
        dut,
        partial(send, stream=dut.command, items=commands, chance=chances[0]),
        partial(take, stream=dut.tile, count=len(tiles), found=found, chance=chances[1]),
    )
    views = [tile_layout(TINY).from_bits(bits) for bits in found]
    assert [
        (
            view.write.address,
            view.write.beats,
            view.write.source,
            view.stored,
            view.steps.as_bits(),
            view.output,
        )
        for view in views
    ] == tiles


def test_tags_of_no_format():
    """They are said where they lie, and no tile of their group is offered."""
    values = {"stationary_b": 1, "row_tiles": 1, "col_tiles": 16, "panel": 16}
    values |= {"output": Output.OPERAND, "tags_address": 0x1234}
    dut, seen, taken = StoreWalker(TINY), [], []

    async def watch(ctx):
        ctx.set(dut.tile.ready, 1)
        async for _, _, bad, valid in ctx.tick().sample(dut.bad_format, dut.tile.valid):
            taken.append(valid)
            if bad:
                seen.append(ctx.get(dut.tags_address))
                return

    command = command_layout(TINY).const(values).as_value().value
    # The second K-block's tag is none.
    simulate(
        dut,
        partial(send, stream=dut.command, items=[command]),
        partial(send, stream=dut.tags, items=[0b1101]),
        watch,
    )
    assert seen == [0x1234]
    assert sum(taken) == TINY.shape.group_tiles
