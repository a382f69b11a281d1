"""The operand buffer against a plain list: places, room, and what is read."""

import random

import pytest
from engine_driver import simulate

from mixdit_hw.engine import buffer
from mixdit_hw.engine.buffer import OperandBuffer


def differences(depth, steps=600, seed=0):
    """Count the cycles in which something differs; any order of reads, releases in order."""
    dut, rng, wrong = OperandBuffer(1, depth), random.Random(seed), []
    words, freed, levels = [], 0, set()

    def place(ctx, port, n):
        ctx.set(port.address, n % depth)
        ctx.set(port.count, n % (1 << len(port.count)))

    async def drive(ctx):
        nonlocal freed
        shown = None
        for step in range(steps):
            used = len(words) - freed
            levels.add(used)
            written = ctx.get(dut.written.address), ctx.get(dut.written.count)
            laps = 1 << len(dut.written.count)
            wrong.append(written != (len(words) % depth, len(words) % laps))
            wrong.append(ctx.get(dut.space) != (used < depth))
            wrong.append(shown is not None and ctx.get(dut.data.as_value()) != shown)
            writes = used < depth and rng.random() < (0.9, 0.2)[step // 60 % 2]
            reads = used and rng.random() < 0.6
            releases = used and rng.random() < 0.3
            word = rng.getrandbits(len(dut.word.as_value()))
            ctx.set(dut.write, writes)
            ctx.set(dut.word.as_value(), word)
            ctx.set(dut.read, reads)
            at = rng.randrange(freed, len(words)) if used else rng.randrange(depth)
            place(ctx, dut.at, at)
            until = rng.randint(freed, len(words))
            ctx.set(dut.release, releases)
            place(ctx, dut.until, until)
            await ctx.tick()
            shown = words[at] if reads else shown
            freed = until if releases else freed
            if writes:
                words.append(word)

    simulate(dut, drive)
    assert levels == set(range(depth + 1))
    return sum(wrong)


@pytest.mark.parametrize("depth", [2, 4, 5])
def test_ring(depth):
    assert differences(depth) == 0


def test_fault_is_seen(monkeypatch):
    """An address that does not wrap where the depth is no power of two."""
    monkeypatch.setattr(buffer, "Mux", lambda condition, wrapped, following: following)
    assert differences(5) > 0
