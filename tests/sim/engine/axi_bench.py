"""cocotb side of test_engine_axi: cocotbext-axi is memory and bus, the driver is the host."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from mixdit_sim.simulator import payload
from mixdit_sw.engine.driver import Driver

PERIOD_NS = 10
PATIENCE_US = 2_000
MEMORY_BYTES = 1 << 20


class Host:
    """The engine's registers as blocking functions, for code that knows nothing of cocotb."""

    def __init__(self, dut, control):
        self.dut, self.control = dut, control
        self.read = resume(self._read)
        self.write = resume(self._write)
        self.wait = resume(self._wait)

    async def _read(self, offset):
        answer = await self.control.read(offset, 4)
        assert answer.resp == 0
        return int.from_bytes(answer.data, "little")

    async def _write(self, offset, value):
        answer = await self.control.write(offset, int(value).to_bytes(4, "little"))
        assert answer.resp == 0

    async def _wait(self):
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), PATIENCE_US, "us")


class Bench:
    """Memories at all ports, a host at the registers, random pauses on every channel."""

    def __init__(self, dut, seed):
        self.dut, self.random, self.share = dut, random.Random(seed), 0
        ports = sum(hasattr(dut, f"axi_{n}__araddr") for n in range(8))
        self.memories = [
            AxiRam(AxiBus.from_prefix(dut, f"axi_{n}_"), dut.clk, dut.rst, size=MEMORY_BYTES)
            for n in range(ports)
        ]
        control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control_"), dut.clk, dut.rst)
        self.host = Host(dut, control)
        for unit in (*self.memories, control):
            for channel in ("aw", "w", "b"):
                self._pause(getattr(unit.write_if, f"{channel}_channel"))
            for channel in ("ar", "r"):
                self._pause(getattr(unit.read_if, f"{channel}_channel"))

    def _pause(self, channel):
        channel.set_pause_generator(iter(lambda: self.random.random() < self.share, None))

    async def reset(self):
        Clock(self.dut.clk, PERIOD_NS, unit="ns").start()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)
        assert len(self.memories) == payload()["ports"]

    def load(self, image, port_bytes):
        stripe = port_bytes * len(self.memories)
        for n, memory in enumerate(self.memories):
            part = b"".join(
                image[at + n * port_bytes :][:port_bytes] for at in range(0, len(image), stripe)
            )
            memory.write(0, part)

    def dump(self, size, port_bytes):
        count = len(self.memories)
        parts = [bytes(memory.read(0, size // count)) for memory in self.memories]
        return b"".join(
            part[at : at + port_bytes]
            for at in range(0, size // count, port_bytes)
            for part in parts
        )

    async def run(self, case):
        """Run a list with the driver, which waits for the interrupt or polls; perhaps stop it."""
        self.share = case["pauses"]
        host = self.host
        wait = host.wait if case["interrupt"] else None
        driver = await bridge(Driver)(host.read, host.write, wait)
        task = cocotb.start_soon(bridge(driver.run)(case["list_address"]))
        if case["stop"] is not None:
            await RisingEdge(self.dut.open)
            await ClockCycles(self.dut.clk, case["stop"])
            await bridge(driver.stop)()
        outcome = await with_timeout(task, 2 * PATIENCE_US, "us")
        await FallingEdge(self.dut.clk)
        assert not self.dut.irq.value
        assert not self.dut.broken.value, f"AXI rules broken: {self.dut.broken.value}"
        assert not self.dut.control_broken.value, "a response changed while it waited"
        assert not self.dut.open.value, "the bus is not idle after the list's end"
        return {
            "error": outcome.error,
            "error_address": outcome.error_address,
            "saw_nan": outcome.saw_nan,
            "counters": {register.name: count for register, count in outcome.counters.items()},
        }


@cocotb.test()
async def run_programs(dut):
    job = payload()
    folder = Path(job["folder"])
    bench = Bench(dut, job["seed"])
    await bench.reset()
    outcomes = []
    for number, case in enumerate(job["cases"]):
        image = (folder / f"image_{number}.bin").read_bytes()
        bench.load(image, job["port_bytes"])
        outcomes.append(await bench.run(case))
        (folder / f"result_{number}.bin").write_bytes(bench.dump(len(image), job["port_bytes"]))
    (folder / "outcomes.json").write_text(json.dumps(outcomes))
