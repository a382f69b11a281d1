"""The engine's registers behind AXI4-Lite (docs/programming.md)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.axi import axi_lite_slave
from mixdit_hw.engine.config import EngineConfig
from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.registers import COUNTERS, IDENTITY, VERSION, Control, Register, Status

ADDRESS_BITS = 8
COUNTER_BITS = 48


class Registers(wiring.Component):
    """Registers and counters.

    A write is taken when address and data are both there. What is not a register reads as zero and
    ignores writes.

    Members
    -------
    bus : AXI4-Lite slave
    start, stop, clear : 1
        Written to CONTROL in this cycle.
    list_address : int
        Bytes.
    status, error, error_address
        What the registers of these names read.
    running : 1
        Counters count; else `start` zeroes them.
    events : int for each of COUNTERS
        What is added to it in this cycle.
    saw_nan : 1
        NaN blocks have been counted.
    irq : 1
        A list has ended and its end was not cleared yet.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        most = max(config.heights)
        super().__init__(
            {
                "bus": Out(axi_lite_slave(ADDRESS_BITS)),
                "start": Out(1),
                "stop": Out(1),
                "clear": Out(1),
                "list_address": Out(64),
                "status": In(4),
                "error": In(4),
                "error_address": In(config.address_bits),
                "running": In(1),
                "events": In(data.ArrayLayout(range(most + 1), len(COUNTERS))),
                "saw_nan": Out(1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Counters, and the two halves of the bus."""
        m = Module()
        enable = Signal()
        values = {
            **self._parameters(),
            Register.STATUS: self.status,
            Register.ERROR: self.error,
            Register.INTERRUPT_ENABLE: enable,
            **_wide(Register.ERROR_ADDRESS, self.error_address),
            **_wide(Register.LIST_ADDRESS, self.list_address),
        }
        for number, register in enumerate(COUNTERS):
            count = Signal(COUNTER_BITS, name=register.name.lower())
            with m.If(self.running):
                m.d.sync += count.eq(count + self.events[number])
            with m.Elif(self.start):
                m.d.sync += count.eq(0)
            values |= _wide(register, count)
            if register is Register.NAN_BLOCKS:
                m.d.comb += self.saw_nan.eq(count.any())
        self._read(m, values)
        self._write(m, enable)
        finished = (
            self.status[Status.DONE.bit_length() - 1] | self.status[Status.ERROR.bit_length() - 1]
        )
        m.d.comb += self.irq.eq(enable & finished)
        return m

    def _parameters(self) -> dict[int, Value]:
        config = self._config
        formats = sum(
            fmt.magnitude_bits << 4 * i for i, fmt in enumerate(config.array.block_formats)
        )
        steps = sum(1 << i for i, name in enumerate(STEPS) if name in config.steps)
        return {
            Register.IDENTITY: Const(IDENTITY, 32),
            Register.VERSION: Const(VERSION, 32),
            Register.TILE: Const(config.heights[0] | config.heights[1] << 16, 32),
            Register.BUS: Const(config.bus_bytes | config.address_bits << 16, 32),
            Register.WORDS: Const(config.words | config.words << 16, 32),
            Register.FEATURES: Const(steps | config.transposes << 4 | formats << 8, 32),
        }

    def _read(self, m: Module, values: dict[int, Value]) -> None:
        """Answer a read in the next cycle; one at a time."""
        bus = self.bus
        m.d.comb += bus.arready.eq(~bus.rvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(bus.araddr[2:]):
                for offset, value in values.items():
                    with m.Case(offset >> 2):
                        m.d.sync += bus.rdata.eq(value)
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _write(self, m: Module, enable: Signal) -> None:
        """Act on a write and answer it in the next cycle; one at a time."""
        bus = self.bus
        write = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            bus.awready.eq(write),
            bus.wready.eq(write),
        ]
        with m.If(write):
            m.d.sync += bus.bvalid.eq(1)
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        mask = Cat(bit.replicate(8) for bit in bus.wstrb)
        with m.If(write), m.Switch(bus.awaddr[2:]):
            with m.Case(Register.CONTROL >> 2):
                bits = bus.wdata & mask
                m.d.comb += [
                    self.start.eq((bits & Control.START).any()),
                    self.stop.eq((bits & Control.STOP).any()),
                    self.clear.eq((bits & Control.CLEAR).any()),
                ]
            with m.Case(Register.INTERRUPT_ENABLE >> 2):
                m.d.sync += enable.eq(Mux(bus.wstrb[0], bus.wdata[0], enable))
            for word in range(2):
                with m.Case((Register.LIST_ADDRESS >> 2) + word):
                    part = self.list_address.word_select(word, 32)
                    m.d.sync += part.eq((part & ~mask) | (bus.wdata & mask))


def _wide(register: int, value: Value) -> dict[int, Value]:
    """Return the two words of a value with up to 64 bits."""
    return {int(register): value[:32], int(register) + 4: value[32:]}
