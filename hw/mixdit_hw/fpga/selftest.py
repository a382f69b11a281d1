"""A top that fits any board: clock in, lights out; the engine tests itself at power-on."""

from amaranth.hdl import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.engine import Engine
from mixdit_hw.fpga.axi_ram import AxiRam
from mixdit_hw.fpga.host import SelfTestHost
from mixdit_hw.fpga.program import SelfTestProgram

RESET_CYCLES = 15
"""Cycles of reset after power-on."""


class SelfTest(wiring.Component):
    """An engine, a memory with its program, and a host that starts it and looks at the results.

    Parameters
    ----------
    config
        The engine.
    program
        What it runs, and what memory must hold then.

    Members
    -------
    clock : 1
        The only clock.
    running, passed, failed, mismatch : 1
        The test has not ended; or how; memory was not as expected.
    """

    def __init__(self, config: EngineConfig, program: SelfTestProgram) -> None:
        self._config, self._program = config, program
        lights = ("running", "passed", "failed", "mismatch")
        super().__init__({"clock": In(1), **{light: Out(1) for light in lights}})

    def elaborate(self, platform: object) -> Module:
        """Reset after power-on; wire the three."""
        m = Module()
        config, program = self._config, self._program
        m.domains.power = ClockDomain(reset_less=True)
        m.domains.sync = ClockDomain()
        started = Signal(range(RESET_CYCLES + 1))
        with m.If(started != RESET_CYCLES):
            m.d.power += started.eq(started + 1)
        m.d.comb += [
            ClockSignal("power").eq(self.clock),
            ClockSignal().eq(self.clock),
            ResetSignal().eq(started != RESET_CYCLES),
        ]
        m.submodules.engine = engine = Engine(config)
        m.submodules.ram = ram = AxiRam(config.address_bits, config.port_bytes, program.before)
        m.submodules.host = host = SelfTestHost(
            program.list_address, 8 * config.port_bytes, program.after
        )
        connect(m, engine.axi_0, ram.bus)
        connect(m, host.bus, engine.control)
        m.d.comb += [
            ram.probe.eq(host.probe),
            ram.at.eq(host.at),
            host.data.eq(ram.data),
            self.running.eq(~host.passed & ~host.failed),
            self.passed.eq(host.passed),
            self.failed.eq(host.failed),
            self.mismatch.eq(host.mismatch),
        ]
        return m
