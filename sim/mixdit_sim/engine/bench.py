"""cocotb side of `mixdit_sim.engine.rtl`: loads programs, starts them, waits for the interrupt."""

import json
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout

from mixdit_sim.engine.testbench import KNOBS
from mixdit_sim.simulator import payload
from mixdit_sw.engine.registers import COUNTERS, Control, Register

PERIOD_NS = 10


class EngineBench:
    """Drives registers and the memories' knobs at falling edges."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    async def reset(self) -> None:
        """Start the clock and reset everything."""
        dut = self.dut
        for name in KNOBS:
            getattr(dut, name).value = 0
        for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "araddr", "arvalid"):
            getattr(dut, f"control__{name}").value = 0
        dut.control__bready.value = 1
        dut.control__rready.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
        await self.pulse("rst", 3)
        await FallingEdge(dut.clk)

    async def write(self, offset: int, value: int, strobes: int = 15) -> None:
        """Write a register, or those bytes of it whose strobes are set."""
        dut = self.dut
        dut.control__awaddr.value = offset
        dut.control__wdata.value = value
        dut.control__wstrb.value = strobes
        dut.control__awvalid.value = 1
        dut.control__wvalid.value = 1
        await FallingEdge(dut.clk)
        dut.control__awvalid.value = 0
        dut.control__wvalid.value = 0
        await FallingEdge(dut.clk)

    async def read(self, offset: int) -> int:
        """Read a register."""
        dut = self.dut
        dut.control__araddr.value = offset
        dut.control__arvalid.value = 1
        await FallingEdge(dut.clk)
        dut.control__arvalid.value = 0
        value = dut.control__rdata.value.to_unsigned()
        await FallingEdge(dut.clk)
        return value

    async def read_wide(self, offset: int) -> int:
        """Read a register of two words."""
        return await self.read(offset) | await self.read(offset + 4) << 32

    async def cycles(self, count: int) -> None:
        """Let cycles pass."""
        for _ in range(count):
            await FallingEdge(self.dut.clk)

    async def pulse(self, name: str, count: int = 1) -> None:
        """Set an input for a cycle, or several."""
        getattr(self.dut, name).value = 1
        await self.cycles(count)
        getattr(self.dut, name).value = 0

    async def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """Run a program; return how it ended."""
        dut = self.dut
        for name, value in case["knobs"].items():
            getattr(dut, name).value = value
        await self.pulse("load")
        address = case["list_address"]
        await self.write(Register.LIST_ADDRESS, address & 0xFFFF_FFFF)
        await self.write(Register.LIST_ADDRESS + 4, address >> 32)
        await self.write(Register.INTERRUPT_ENABLE, 1)
        # The memory starts with all the credit that it can have.
        await self.cycles(2 * case["knobs"]["price"])
        await self.write(Register.CONTROL, Control.START)
        ends = await self.disturb(case["disturbance"])
        if ends and not dut.irq.value:
            await with_timeout(RisingEdge(dut.irq), PERIOD_NS * case["patience"], "ns")
        await FallingEdge(dut.clk)
        outcome = {
            "error": await self.read(Register.ERROR),
            "error_address": await self.read_wide(Register.ERROR_ADDRESS),
            "status": await self.read(Register.STATUS),
            "counters": {name.name: await self.read_wide(name) for name in COUNTERS},
        }
        await self.write(Register.CONTROL, Control.CLEAR)
        assert not dut.irq.value, "the interrupt was not cleared"
        assert not dut.broken.value, f"AXI rules broken: {dut.broken.value}"
        assert not dut.open.value, "the bus is not idle after the list's end"
        if "dump_first" in case["knobs"]:
            await self.pulse("dump")
        return outcome

    async def disturb(self, disturbance: dict[str, Any] | None) -> bool:
        """Do something to a running engine; return whether its list still ends in an interrupt."""
        if disturbance is None:
            return True
        await self.cycles(disturbance["cycle"])
        match disturbance["action"]:
            case "stop":
                await self.write(Register.CONTROL, Control.STOP)
            case "start":
                await self.write(Register.LIST_ADDRESS, disturbance["address"])
                await self.write(Register.CONTROL, Control.START)
            case "reset":
                await self.pulse("rst")
                return False
        return True


@cocotb.test()
async def run_programs(dut: Any) -> None:
    """Run the programs of the payload one after the other; leave how they ended in its folder."""
    job = payload()
    bench = EngineBench(dut)
    await bench.reset()
    outcomes = [await bench.run(case) for case in job["cases"]]
    (Path(job["folder"]) / "outcomes.json").write_text(json.dumps(outcomes))
