"""cocotb side of `test_mutation`: every mutant runs the trials until one tells it apart."""

import json
from pathlib import Path

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge, SimTimeoutError, with_timeout

from mixdit_sim.engine.bench import PERIOD_NS, EngineBench
from mixdit_sim.simulator import payload
from mixdit_sw.engine.registers import Control, Register

REGISTER_SPACE = 0x100


class MutantBench(EngineBench):
    """Runs trials and looks at everything that software can see."""

    async def restart(self):
        """Reset everything; the clock runs already."""
        await self.pulse("rst", 3)
        await FallingEdge(self.dut.clk)

    async def keep_waiting(self):
        """Leave answers untaken while more is asked for; return what is seen meanwhile."""
        dut, seen = self.dut, []
        dut.control__rready.value = 0
        dut.control__bready.value = 0
        await self.read(Register.TILE)
        await self.write(Register.LIST_ADDRESS, 0x1111_1111, 15)
        dut.control__araddr.value = Register.BUS
        dut.control__awaddr.value = Register.LIST_ADDRESS
        dut.control__wdata.value = 0x2222_2222
        for _ in range(3):
            dut.control__arvalid.value = 1
            dut.control__awvalid.value = 1
            dut.control__wvalid.value = 1
            await FallingEdge(dut.clk)
            channels = ("arready", "rvalid", "rdata", "awready", "wready", "bvalid")
            seen += [int(getattr(dut, f"control__{name}").value) for name in channels]
        # An address without data, and data without an address, are not taken.
        for name in ("arvalid", "awvalid", "wvalid"):
            getattr(dut, f"control__{name}").value = 0
        dut.control__rready.value = 1
        dut.control__bready.value = 1
        for _ in range(2):
            await FallingEdge(dut.clk)
            seen += [int(dut.control__rvalid.value), int(dut.control__bvalid.value)]
        for name in ("awvalid", "wvalid"):
            getattr(dut, f"control__{name}").value = 1
            await FallingEdge(dut.clk)
            seen += [int(dut.control__awready.value), int(dut.control__bvalid.value)]
            getattr(dut, f"control__{name}").value = 0
        return [*seen, await self.read(Register.LIST_ADDRESS)]

    async def set_address(self, address):
        """Write LIST_ADDRESS byte by byte, over what must not stay; return what it is meanwhile."""
        seen = []
        for half in range(2):
            offset = Register.LIST_ADDRESS + 4 * half
            word = address >> 32 * half & 0xFFFF_FFFF
            await self.write(offset, ~word & 0xFFFF_FFFF, 15)
            for byte in range(4):
                mask = 255 << 8 * byte
                await self.write(offset, word & mask | ~word & ~mask & 0xFFFF_FFFF, 1 << byte)
                seen.append(await self.read(offset))
        return seen

    async def run_trial(self, trial):
        """Return how a trial ended: the end's cycle, and all registers before and after."""
        dut = self.dut
        for name, value in trial["knobs"].items():
            getattr(dut, name).value = value
        await self.pulse("load")
        waited = await self.keep_waiting()
        seen = [*waited, *await self.set_address(trial["list_address"])]
        for enable in (0, 1):
            await self.write(Register.INTERRUPT_ENABLE, enable)
            seen.append(await self.read(Register.INTERRUPT_ENABLE))
        seen.append(await self.read(Register.STATUS))
        # The memory starts with all the credit that it can have.
        await self.cycles(2 * trial["knobs"]["price"])
        await self.write(Register.CONTROL, Control.START)
        if trial["stop_after"] is not None:
            await self.cycles(trial["stop_after"])
            seen.append(await self.read(Register.STATUS))
            await self.write(Register.CONTROL, Control.STOP)
        try:
            if not dut.irq.value:
                await with_timeout(RisingEdge(dut.irq), PERIOD_NS * trial["patience"], "ns")
        except SimTimeoutError:
            return "hang"
        await FallingEdge(dut.clk)
        seen += [await self.read(offset) for offset in range(0, REGISTER_SPACE, 4)]
        await self.write(Register.CONTROL, Control.CLEAR)
        seen += [int(dut.irq.value), await self.read(Register.STATUS), int(dut.broken.value)]
        await self.pulse("dump")
        return seen


async def verdict(bench, job, mutant, reference):
    """Return the number of the trial that tells a mutant apart, and how; None if none does."""
    bench.dut.mutant.value = mutant
    await bench.restart()
    for number, trial in enumerate(job["trials"]):
        if mutant:
            trial = {**trial, "patience": reference[number]["patience"]}
        found = await bench.run_trial(trial)
        result = Path(job["folder"]) / f"result_{trial['knobs']['number']}_0.hex"
        memory = result.read_text() if found != "hang" else ""
        if not mutant:
            assert found != "hang", f"trial {number} hangs without a mutant"
            cycles = found[-3 - REGISTER_SPACE // 4 + Register.CYCLES // 4]
            patience = 2 * cycles + 2 * trial["knobs"]["latency"] + 300
            reference.append({"registers": found, "memory": memory, "patience": patience})
        elif found != reference[number]["registers"]:
            return [number, "hang" if found == "hang" else "registers"]
        elif memory != reference[number]["memory"]:
            return [number, "memory"]
    return None


@cocotb.test()
async def try_mutants(dut):
    """Write a line for each mutant as soon as its verdict is there: some end the simulation."""
    job = payload()
    folder = Path(job["folder"])
    bench = MutantBench(dut)
    dut.mutant.value = 0
    await bench.reset()
    reference = []
    await verdict(bench, job, 0, reference)
    (folder / "reference.json").write_text(json.dumps(reference))
    with (folder / "verdicts.jsonl").open("a") as file:
        for mutant in job["mutants"]:
            file.write(json.dumps([mutant, "began"]) + "\n")
            file.flush()
            file.write(json.dumps([mutant, await verdict(bench, job, mutant, reference)]) + "\n")
            file.flush()
