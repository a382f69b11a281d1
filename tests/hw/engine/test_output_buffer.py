"""The output buffer: clusters' drains in, rows of tiles out, as many tiles as there is room for."""

import random
from functools import partial

import pytest
from engine_driver import TINY, four_by_four, simulate, take

from mixdit_hw.engine.loader import row_order
from mixdit_hw.engine.output_buffer import OutputBuffer

SKEW = 3
"""Cycles from one cluster's first result to the next one's, at most."""


def tiles_of(config, count, seed=0):
    """FP32 words of C tiles, row by row."""
    rng, array = random.Random(seed), config.array
    return [
        [[rng.getrandbits(32) for _ in range(array.cols)] for _ in range(array.rows)]
        for _ in range(count)
    ]


def drained(config, tile, r, c):
    """Results of a cluster: rows of PEs from the bottom, a word for each column."""
    array, order = config.array, row_order(config)
    columns = slice(c * array.cluster_cols, (c + 1) * array.cluster_cols)
    for row in reversed(range(array.cluster_rows)):
        part = tile[order[r * array.cluster_rows + row]][columns]
        yield sum(value << 32 * i for i, value in enumerate(part))


def passed(config, tiles, *, ready=1.0, seed=0):
    """Return the words that come out, with their steps."""
    dut, rng, found, beats = OutputBuffer(config), random.Random(seed), [], config.shape.tile_beats
    rows, cols = config.array.cluster_grid
    grid = [(r, c) for r in range(rows) for c in range(cols)]
    steps = [rng.getrandbits(4) for _ in tiles]
    events = {}

    async def array(ctx):
        """Tiles end when there is room; each cluster drains a while later, the last one last."""
        waiting, now, free_at = list(tiles), 0, 0
        while waiting or events:
            ends = bool(waiting and now >= free_at and ctx.get(dut.drain_ready)) and (
                rng.random() < 0.8
            )
            if ends:
                tile, start = waiting.pop(0), now + 4
                for r, c in grid:
                    for i, word in enumerate(drained(config, tile, r, c)):
                        events.setdefault(start + SKEW * (r + c) + i, {})[r, c] = word
                free_at = now + config.array.cluster_rows + 1
            due = events.pop(now, {})
            for r, c in grid:
                port = getattr(dut, f"i_{r}_{c}")
                ctx.set(port.valid, (r, c) in due)
                junk = rng.getrandbits(len(port.payload.as_value()))
                ctx.set(port.payload.as_value(), due.get((r, c), junk))
            ctx.set(dut.tile_end, ends)
            await ctx.tick()
            ctx.set(dut.tile_end, 0)
            now += 1
        for r, c in grid:
            ctx.set(getattr(dut, f"i_{r}_{c}").valid, 0)

    async def store(ctx):
        for step in steps:
            while not ctx.get(dut.complete) or rng.random() < 0.2:
                ctx.set(dut.take, 0)
                await ctx.tick()
            ctx.set(dut.steps.as_value(), step)
            ctx.set(dut.take, 1)
            await ctx.tick()
            ctx.set(dut.steps.as_value(), rng.getrandbits(4))
            ctx.set(dut.take, 0)

    sink = partial(take, stream=dut.o, count=beats * len(tiles), found=found, chance=ready)
    # The sink first: what it sets in a cycle decides whether a tile is complete.
    simulate(dut, sink, array, store, limit=4000)
    golden = []
    for tile, step in zip(tiles, steps, strict=True):
        values = [value for row in tile for value in row]
        for at in range(0, len(values), config.shape.lanes):
            part = values[at : at + config.shape.lanes]
            beat = sum(value << 32 * i for i, value in enumerate(part))
            golden.append(beat | step << 32 * config.shape.lanes)
    return found, golden


CONFIGS = {
    "tiny": TINY,
    "rows_of_clusters_in_turn": four_by_four(),
    "two_rows_a_word": four_by_four(port_bytes=16),
}


@pytest.mark.parametrize("ready", [1.0, 0.4])
@pytest.mark.parametrize("name", CONFIGS)
def test_rows_from_the_top(name, ready):
    config = CONFIGS[name]
    found, golden = passed(config, tiles_of(config, 12), ready=ready)
    assert found == golden


def test_no_room_for_a_fourth_tile():
    dut = OutputBuffer(TINY)

    async def drive(ctx):
        assert ctx.get(dut.drain_ready) and not ctx.get(dut.complete)
        ctx.set(dut.tile_end, 1)
        for _ in range(2):
            await ctx.tick()
            assert ctx.get(dut.drain_ready)
        await ctx.tick()
        ctx.set(dut.tile_end, 0)
        assert not ctx.get(dut.drain_ready)

    simulate(dut, drive)


def test_fault_is_seen(monkeypatch):
    """Rows are read in another order than they are to leave."""
    exact = OutputBuffer._memories
    monkeypatch.setattr(
        OutputBuffer,
        "_memories",
        lambda self, m, address, fetch, came: exact(self, m, address ^ 1, fetch, came),
    )
    found, golden = passed(TINY, tiles_of(TINY, 8))
    assert found != golden
