"""Order of tiles, and addresses that follow it, against a plain Python order."""

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from engine_driver import simulate

from mixdit_hw.engine import tiles
from mixdit_hw.engine.tiles import TileAddress, TileLoop

WIDTH = 20
FLAGS = ("next", "last_in_panel", "last_streamed", "backwards")


class Walk(wiring.Component):
    """A loop and an address that follows it."""

    def __init__(self):
        self.loop, self.place = TileLoop(), TileAddress(WIDTH)
        super().__init__({"go": In(1), "address": Out(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loop, m.submodules.place = self.loop, self.place
        m.d.comb += [
            self.loop.start.eq(self.go),
            self.place.start.eq(self.go),
            self.address.eq(self.place.address),
            *(getattr(self.place, flag).eq(getattr(self.loop, flag)) for flag in FLAGS),
        ]
        return m


def order(stationary, streamed, panel):
    """Yield (stationary tile, streamed tile, flags) of each step, as docs/engine.md says."""
    for number, first in enumerate(range(0, stationary, panel)):
        held = range(first, min(first + panel, stationary))
        turn = list(range(streamed))[:: -1 if number % 2 else 1]
        for step, other in enumerate(turn):
            for tile in held:
                yield (
                    tile,
                    other,
                    {
                        "first_panel": first == 0,
                        "first_streamed": step == 0,
                        "last_in_panel": tile == held[-1],
                        "last_streamed": step == streamed - 1,
                        "last_panel": held[-1] == stationary - 1,
                        "panel_tiles": len(held),
                        "backwards": number % 2,
                    },
                )


def differences(cases, seed=0):
    """Count the steps of GEMMs, one after the other, in which a flag or an address is wrong."""
    dut, rng, wrong = Walk(), random.Random(seed), []

    async def drive(ctx):
        for sizes in cases:
            base, down, across = (rng.getrandbits(WIDTH) for _ in range(3))
            for name, value in zip(("stationary", "streamed", "panel"), sizes, strict=True):
                ctx.set(getattr(dut.loop, name), value)
            ctx.set(dut.place.base, base)
            ctx.set(dut.place.stationary_step, down)
            ctx.set(dut.place.streamed_step, across)
            ctx.set(dut.go, 1)
            await ctx.tick()
            ctx.set(dut.go, 0)
            for tile, other, flags in order(*sizes):
                ctx.set(dut.loop.next, 0)
                await ctx.tick().repeat(rng.choice([1, 1, 2]))
                address = (base + tile * down + other * across) % (1 << WIDTH)
                found = {name: ctx.get(getattr(dut.loop, name)) for name in flags}
                wrong.append(found != flags or ctx.get(dut.address) != address)
                ctx.set(dut.loop.next, 1)
                await ctx.tick()
            ctx.set(dut.loop.next, 0)

    simulate(dut, drive)
    return sum(wrong)


def test_small_ones_all():
    sizes = range(1, 4)
    assert differences([(a, b, p) for a in sizes for b in sizes for p in range(1, a + 2)]) == 0


def test_random_ones():
    rng = random.Random(1)
    cases = [(rng.randint(1, 11), rng.randint(1, 7), rng.randint(1, 12)) for _ in range(12)]
    assert differences(cases) == 0


def test_more_tiles_than_a_byte_counts():
    assert differences([(300, 1, 299), (1, 300, 1)]) == 0


@pytest.mark.parametrize("taken", [1, 2])
def test_fault_is_seen(taken, monkeypatch):
    """A multiplexer that always takes the same side."""
    monkeypatch.setattr(tiles, "Mux", lambda *args: args[taken])
    assert differences([(5, 3, 2)]) > 0
