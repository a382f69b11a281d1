"""The gather: a table in, the runs of its rows out, again and again."""

import random

import pytest
from engine_driver import TINY, four_by_four, send, simulate, take

from mixdit_hw.engine import gather
from mixdit_hw.engine.gather import Gather, run_layout

CHANCES = [(1.0, 1.0), (0.4, 1.0), (1.0, 0.3), (0.5, 0.5)]


def tables(cols, seed=0):
    """Tables: rows in order, in reverse, with steps, negative, in any order."""
    rng = random.Random(seed)
    count = 6 * cols
    yield list(range(count))
    yield list(range(count, 0, -1))
    yield [5 * n // 4 - 9 for n in range(count)]
    yield [rng.randrange(-(1 << 31), 1 << 31) for _ in range(cols)]
    yield rng.sample(range(count), count)
    yield [(1 << 31) - 1, *(-(1 << 31) + n for n in range(count - 1))]


def runs(table, cols):
    """(row, rows less one, ends a tile) of the table's runs."""
    found = []
    for first in range(0, len(table), cols):
        tile = table[first : first + cols]
        for n, row in enumerate(tile):
            if n and row == found[-1][0] + found[-1][1] + 1:
                found[-1][1] += 1
            else:
                found.append([row, 0, 0])
        found[-1][2] = 1
    return [tuple(run) for run in found]


def words(table, config):
    """The table's bus words."""
    lanes = config.shape.lanes
    filled = [*table, *[0] * (-len(table) % lanes)]
    return [
        sum((row & 0xFFFF_FFFF) << 32 * n for n, row in enumerate(filled[first : first + lanes]))
        for first in range(0, len(filled), lanes)
    ]


def gathered(config, all_tables, rounds, chances):
    """Return the runs that come for each table, as often as `rounds` says."""
    dut, cols, layout = Gather(config), config.shape.cols, run_layout(config)
    found = []

    async def drive(ctx):
        for table in all_tables:
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            await send(ctx, dut.i, words(table, config), chance=chances[0])
            ctx.set(dut.tiles, len(table) // cols)
            ctx.set(dut.active, 1)
            came = []
            await take(ctx, dut.o, rounds * len(runs(table, cols)), came, chance=chances[1])
            ctx.set(dut.active, 0)
            await ctx.tick()
            views = [layout.from_bits(word) for word in came]
            found.append([(view.row, view.more, view.ends_tile) for view in views])

    simulate(dut, drive)
    return found


@pytest.mark.parametrize("chances", CHANCES)
@pytest.mark.parametrize(
    "config", [TINY, four_by_four(), four_by_four(port_bytes=16)], ids=["tiny", "four", "wide"]
)
def test_runs(config, chances):
    cols = config.shape.cols
    given = list(tables(cols))
    assert gathered(config, given, 3, chances) == [3 * runs(table, cols) for table in given]


def test_an_entry_a_cycle():
    """Without pauses the runs of one row come one a cycle."""
    dut, config = Gather(TINY), TINY
    table = list(range(100, 100 - 8 * TINY.shape.cols, -1))

    async def drive(ctx):
        await send(ctx, dut.i, words(table, config))
        ctx.set(dut.tiles, 8)
        ctx.set(dut.active, 1)
        await take(ctx, dut.o, 1, [])
        ctx.set(dut.o.ready, 1)
        for _ in range(40):
            *_, valid = await ctx.tick().sample(dut.o.valid)
            assert valid

    simulate(dut, drive)


def test_fault_is_seen(monkeypatch):
    """Of rows that are compared in their lower half only, some go astray."""
    monkeypatch.setattr(gather, "ROW_BITS", 16)
    table = [0, 1 << 16]
    config = TINY
    assert gathered(config, [table], 1, (1.0, 1.0)) != [runs(table, config.shape.cols)]
