"""Registers behind AXI4-Lite: what reads back, what acts, what counts, with pauses on the bus."""

import random

import pytest
from engine_driver import TINY, four_by_four, simulate

from mixdit_hw.engine import registers
from mixdit_hw.engine.registers import ADDRESS_BITS, Registers
from mixdit_sw.engine.registers import COUNTERS, IDENTITY, VERSION, Control, Register, Status

FULL = 15


class Bus:
    """A host at the AXI4-Lite port, whose channels come in any order."""

    def __init__(self, ctx, dut, seed=0, chance=1.0):
        self.ctx, self.dut, self.bus = ctx, dut, dut.bus
        self.rng, self.chance = random.Random(seed), chance

    async def tick(self, *signals):
        _, _, *values = await self.ctx.tick().sample(*signals)
        return values

    async def write(self, offset, value, strobes=FULL):
        """Write; return the outputs (start, stop, clear) in the cycle in which it is taken."""
        ctx, bus, dut = self.ctx, self.bus, self.dut
        ctx.set(bus.awaddr, offset)
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, strobes)
        acts, address, data = None, False, False
        while acts is None:
            address |= self.rng.random() < self.chance
            data |= self.rng.random() < self.chance
            ctx.set(bus.awvalid, address)
            ctx.set(bus.wvalid, data)
            aw, w, *found = await self.tick(bus.awready, bus.wready, dut.start, dut.stop, dut.clear)
            taken = address and data and aw
            assert aw == w and (taken or not any(found))
            acts = tuple(found) if taken else None
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        answered = False
        while not answered:
            ready = self.rng.random() < self.chance
            ctx.set(bus.bready, ready)
            valid, response = await self.tick(bus.bvalid, bus.bresp)
            assert valid and response == 0
            answered = ready
        ctx.set(bus.bready, 0)
        return acts

    async def read(self, offset):
        """Read a register."""
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.araddr, offset)
        ctx.set(bus.arvalid, 1)
        (ready,) = await self.tick(bus.arready)
        assert ready
        ctx.set(bus.arvalid, 0)
        while True:
            ready = self.rng.random() < self.chance
            ctx.set(bus.rready, ready)
            valid, value, response = await self.tick(bus.rvalid, bus.rdata, bus.rresp)
            assert valid and response == 0
            if ready:
                ctx.set(bus.rready, 0)
                return value

    async def read_wide(self, offset):
        return await self.read(offset) | await self.read(offset + 4) << 32


def with_bus(config, drive, **options):
    dut = Registers(config)

    async def bench(ctx):
        await drive(ctx, dut, Bus(ctx, dut, **options))

    simulate(dut, bench)


@pytest.mark.parametrize("config", [TINY, four_by_four(steps=("bias", "residual"))])
def test_parameters(config):
    shape = config.shape

    async def drive(ctx, dut, bus):
        assert await bus.read(Register.IDENTITY) == IDENTITY
        assert await bus.read(Register.VERSION) == VERSION
        assert await bus.read(Register.TILE) == shape.rows | shape.cols << 16
        assert await bus.read(Register.BUS) == shape.bus_bytes | shape.address_bits << 16
        assert await bus.read(Register.WORDS) == shape.a_words | shape.b_words << 16
        steps = ("row_scale", "col_scale", "bias", "residual")
        features = sum(1 << i for i, name in enumerate(steps) if name in config.steps)
        # MX9, MX6, MX4 by their magnitude bits.
        features |= (shape.rows == shape.cols) << 4
        features |= 7 << 8 | 4 << 12 | 2 << 16
        assert await bus.read(Register.FEATURES) == features

    with_bus(config, drive)


@pytest.mark.parametrize("chance", [1.0, 0.5])
def test_random_writes(chance):
    """Only LIST_ADDRESS and INTERRUPT_ENABLE keep what is written, byte by byte; CONTROL acts."""
    rng, wanted = random.Random(3), [0, 0]
    offsets = [*range(0, 1 << ADDRESS_BITS, 4), *3 * [Register.LIST_ADDRESS], Register.CONTROL]
    offsets += [Register.LIST_ADDRESS + 4] * 3 + [Register.INTERRUPT_ENABLE] * 2

    async def drive(ctx, dut, bus):
        enable = 0
        before = {o: await bus.read(o) for o in range(0, 1 << ADDRESS_BITS, 4)}
        for _ in range(150):
            offset, value = rng.choice(offsets), rng.getrandbits(32)
            strobes = rng.choice([FULL, rng.getrandbits(4)])
            mask = sum(255 << 8 * i for i in range(4) if strobes >> i & 1)
            acts = await bus.write(offset, value, strobes)
            bits = value & mask if offset == Register.CONTROL else 0
            control = (Control.START, Control.STOP, Control.CLEAR)
            assert acts == tuple(bool(bits & bit) for bit in control)
            if offset in (Register.LIST_ADDRESS, Register.LIST_ADDRESS + 4):
                half = (offset - Register.LIST_ADDRESS) // 4
                wanted[half] = wanted[half] & ~mask | value & mask
            if offset == Register.INTERRUPT_ENABLE and strobes & 1:
                enable = value & 1
            assert ctx.get(dut.list_address) == wanted[0] | wanted[1] << 32
        after = {o: await bus.read(o) for o in before}
        before |= {Register.LIST_ADDRESS: wanted[0], Register.LIST_ADDRESS + 4: wanted[1]}
        assert after == before | {Register.INTERRUPT_ENABLE: enable}

    with_bus(TINY, drive, seed=1, chance=chance)


def test_counters():
    """They count while running, are zeroed by a start, and have 48 bits."""
    rng = random.Random(5)

    async def drive(ctx, dut, bus):
        totals = [0] * len(COUNTERS)
        for turn in range(4):
            if turn:
                await bus.write(Register.CONTROL, Control.START)
                totals = [0] * len(COUNTERS)
            for _ in range(60):
                running = rng.random() < 0.7
                events = [rng.randint(0, max(TINY.heights)) for _ in COUNTERS]
                ctx.set(dut.running, running)
                for i, value in enumerate(events):
                    ctx.set(dut.events[i], value)
                await ctx.tick()
                if running:
                    totals = [a + b for a, b in zip(totals, events, strict=True)]
            ctx.set(dut.running, 0)
            assert [await bus.read_wide(name) for name in COUNTERS] == totals
            nan = totals[COUNTERS.index(Register.NAN_BLOCKS)]
            assert ctx.get(dut.saw_nan) == bool(nan)

    with_bus(TINY, drive)


def test_status_and_interrupt():
    async def drive(ctx, dut, bus):
        ctx.set(dut.error, 9)
        ctx.set(dut.error_address, 0xAB_CDEF_0128)
        assert await bus.read(Register.ERROR) == 9
        assert await bus.read_wide(Register.ERROR_ADDRESS) == 0xAB_CDEF_0128
        for enable in (0, 1):
            await bus.write(Register.INTERRUPT_ENABLE, enable)
            for status in range(16):
                ctx.set(dut.status, status)
                assert await bus.read(Register.STATUS) == status
                ended = bool(status & (Status.DONE | Status.ERROR))
                assert ctx.get(dut.irq) == (enable and ended)

    with_bus(TINY, drive)


def test_fault_is_seen(monkeypatch):
    """Parts of a register that take the whole word whatever the strobes say."""
    monkeypatch.setattr(registers, "Cat", lambda *args: registers.Const(0xFFFF_FFFF, 32))
    with pytest.raises(AssertionError):
        test_random_writes(1.0)
