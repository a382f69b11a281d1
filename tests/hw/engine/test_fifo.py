"""Queue and slot: order, room, latency, whatever the pauses."""

import random
from functools import partial

import pytest
from engine_driver import send, simulate, take

from mixdit_hw.engine import fifo
from mixdit_hw.engine.fifo import Fifo, Slot

PACES = [(1.0, 1.0), (1.0, 0.3), (0.3, 1.0), (0.6, 0.5)]


def items(count=120, seed=0):
    rng = random.Random(seed)
    return [rng.getrandbits(8) for _ in range(count)]


def passed(dut, sent, valid, ready):
    found = []
    simulate(
        dut,
        partial(send, stream=dut.i, items=sent, chance=valid, seed=1),
        partial(take, stream=dut.o, count=len(sent), found=found, chance=ready, seed=2),
    )
    return found


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("depth", [2, 3, 5, 16])
def test_order(depth, pace):
    sent = items()
    assert passed(Fifo(8, depth), sent, *pace) == sent


@pytest.mark.parametrize("pace", PACES)
def test_slot_order(pace):
    sent = items()
    assert passed(Slot(8), sent, *pace) == sent


@pytest.mark.parametrize("depth", [2, 3, 7])
def test_room_and_emptiness(depth):
    """Ready while fewer than `depth` are inside, empty when none is, valid two cycles after."""
    dut, rng, inside = Fifo(8, depth), random.Random(depth), []
    levels = set()

    async def drive(ctx):
        for now in range(600):
            offer, accept = rng.random() < (0.9, 0.2)[now // 50 % 2], rng.random() < 0.5
            ctx.set(dut.i.valid, offer)
            ctx.set(dut.i.payload, now & 255)
            ctx.set(dut.o.ready, accept)
            *_, room, empty, there, oldest = await ctx.tick().sample(
                dut.i.ready, dut.empty, dut.o.valid, dut.o.payload
            )
            assert room == (len(inside) < depth)
            assert empty == (not inside)
            assert there == bool(inside and inside[0] <= now - 2)
            assert not there or oldest == inside[0] & 255
            if there and accept:
                inside.pop(0)
            if offer and room:
                inside.append(now)
            levels.add(len(inside))

    simulate(dut, drive)
    assert levels == set(range(depth + 1))


def test_slot_holds_one():
    dut = Slot(8)

    async def drive(ctx):
        ctx.set(dut.i.payload, 7)
        ctx.set(dut.i.valid, 1)
        assert ctx.get(dut.i.ready) and not ctx.get(dut.o.valid)
        await ctx.tick()
        assert ctx.get(dut.o.valid) and not ctx.get(dut.i.ready)
        ctx.set(dut.i.payload, 9)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o.payload) == 7
        ctx.set(dut.o.ready, 1)
        await ctx.tick()
        assert not ctx.get(dut.o.valid) and ctx.get(dut.i.ready)

    simulate(dut, drive)


def test_fault_is_seen(monkeypatch):
    """Places that do not wrap where the depth is no power of two."""
    monkeypatch.setattr(fifo, "Mux", lambda condition, wrapped, following: following)
    sent = items()
    assert passed(Fifo(8, 5), sent, 1.0, 1.0) != sent
