"""The gearbox against a list of bytes."""

import random

import pytest
from engine_driver import simulate

from mixdit_hw.engine import gearbox
from mixdit_hw.engine.gearbox import Gearbox, granule


def differences(word, takes, steps=800, seed=0):
    """Count the cycles in which level or front differ from a plain list's."""
    dut, rng, wrong = Gearbox(word, takes), random.Random(seed), []
    unit = granule(word, takes)
    held = []

    async def drive(ctx):
        for _ in range(steps):
            front = int.from_bytes(bytes(held[: max(takes)]), "little")
            seen = ctx.get(dut.front) & ((1 << 8 * min(len(held), max(takes))) - 1)
            wrong.append(ctx.get(dut.level) * unit != len(held) or seen != front)
            number = rng.randrange(len(takes))
            takes_now = takes[number] <= len(held) and rng.random() < 0.7
            left = len(held) - takes[number] * takes_now
            clears = rng.random() < 0.05
            puts = (clears or left < max(takes)) and rng.random() < 0.7
            data = rng.randbytes(word)
            ctx.set(dut.take, takes_now)
            ctx.set(dut.size, number)
            ctx.set(dut.put, puts)
            ctx.set(dut.data, int.from_bytes(data, "little"))
            ctx.set(dut.clear, clears)
            await ctx.tick()
            rest = [] if clears else held[len(held) - left :]
            held[:] = [*rest, *(data if puts else b"")]

    simulate(dut, drive)
    return sum(wrong)


SIZES = [(8, (16, 24, 36)), (8, (5, 3)), (4, (32,)), (32, (64, 96, 144)), (128, (8, 12))]


@pytest.mark.parametrize(("word", "takes"), SIZES)
def test_bytes(word, takes):
    assert differences(word, takes, seed=word) == 0


def test_fault_is_seen(monkeypatch):
    """A word that is put a granule too early, over what is left."""
    monkeypatch.setattr(gearbox, "landing", lambda place, part: max(0, place + part - 1))
    assert differences(8, (5, 3)) > 0
