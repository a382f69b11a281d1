"""A start that comes while a list runs changes nothing, the counters included."""

from amaranth.sim import Simulator

from mixdit_hw.engine.config import ENGINES
from mixdit_hw.engine.registers import Registers
from mixdit_sw.engine.registers import COUNTERS, Control, Register


def test_counters_go_on():
    dut = Registers(ENGINES["tiny"])
    bus = dut.bus

    async def write_start(ctx):
        ctx.set(bus.awaddr, Register.CONTROL)
        ctx.set(bus.wdata, Control.START)
        ctx.set(bus.wstrb, 15)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        ctx.set(bus.bready, 1)
        await ctx.tick()

    async def cycles(ctx):
        ctx.set(bus.araddr, Register.CYCLES)
        ctx.set(bus.arvalid, 1)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        value = ctx.get(bus.rdata)
        ctx.set(bus.rready, 1)
        await ctx.tick()
        return value

    async def bench(ctx):
        ctx.set(dut.events[COUNTERS.index(Register.CYCLES)], 1)
        ctx.set(dut.running, 1)
        await ctx.tick().repeat(5)
        await write_start(ctx)
        ctx.set(dut.running, 0)
        assert await cycles(ctx) == 7
        await write_start(ctx)
        assert await cycles(ctx) == 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
