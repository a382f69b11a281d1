"""The engine: an array that runs layers by itself from memory (docs/engine.md)."""

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from mixdit_hw.engine.axi import axi_lite_slave, axi_master
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.controller import Controller
from mixdit_hw.engine.core import Core
from mixdit_hw.engine.registers import ADDRESS_BITS, Registers
from mixdit_sw.engine.registers import COUNTERS, Register


class Engine(wiring.Component):
    """Registers, controller, and the core that it can reset by itself.

    Members
    -------
    control : AXI4-Lite slave
        Registers.
    axi_<n> : AXI4 masters
        Memory: a bus word is striped over the ports, which all see the same addresses.
    irq : 1
        A list has ended.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        port = axi_master(config.address_bits, config.port_bytes)
        super().__init__(
            {
                "control": Out(axi_lite_slave(ADDRESS_BITS)),
                **{f"axi_{n}": Out(port) for n in range(config.ports)},
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the three."""
        m = Module()
        config = self._config
        m.submodules.registers = registers = Registers(config)
        m.submodules.controller = controller = Controller(config)
        core = Core(config)
        # The core has a reset of its own: an error ends in it.
        m.domains.core = ClockDomain()
        m.submodules.core = DomainRenamer("core")(core)
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(ResetSignal() | controller.reset),
        ]
        for name in self.control.signature.members:
            inner, outer = getattr(registers.bus, name), getattr(self.control, name)
            is_out = self.control.signature.members[name].flow is Out
            m.d.comb += outer.eq(inner) if is_out else inner.eq(outer)
        for n in range(config.ports):
            connect(m, getattr(core, f"axi_{n}"), flipped(getattr(self, f"axi_{n}")))
        connect(m, controller.request, core.request)
        connect(m, core.words, controller.words)
        connect(m, controller.commands, core.commands)
        m.d.comb += [
            core.halt.eq(controller.halt),
            *(
                getattr(controller, name).eq(getattr(registers, name))
                for name in ("start", "stop", "clear", "list_address")
            ),
            *(
                getattr(controller, name).eq(getattr(core, name))
                for name in ("quiet", "bus_idle", "read_address", "write_address", "load_address")
            ),
            *(
                getattr(controller, f"{name}_error").eq(getattr(core, f"{name}_error"))
                for name in ("read", "write", "format", "length")
            ),
            registers.running.eq(controller.running),
            registers.error.eq(controller.error),
            registers.error_address.eq(controller.error_address),
            registers.status.eq(
                Cat(controller.running, controller.done, controller.failed, registers.saw_nan)
            ),
            self.irq.eq(registers.irq),
        ]
        events = {
            Register.CYCLES: 1,
            Register.BUSY: core.beat,
            Register.STALL_LOAD: core.waits,
            Register.STALL_DRAIN: core.drain_waits,
            Register.STALL_STORE: core.store_waits & ~core.converts,
            Register.STALL_CONVERT: core.store_waits & core.converts,
            Register.NAN_BLOCKS: core.nan_blocks,
            Register.TILES: core.tile_end,
        }
        for number, register in enumerate(COUNTERS):
            m.d.comb += registers.events[number].eq(events[register])
        return m
