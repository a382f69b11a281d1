"""Registers: counters count to their last bit, reads give and writes change what the table says."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.registers import COUNTER_BITS, Registers
from mixdit_hw.formal.axi import check_stays
from mixdit_hw.formal.inside import find, surround
from mixdit_hw.formal.properties import check, cover, implies
from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.registers import COUNTERS, IDENTITY, VERSION, Register


class RegistersProof(wiring.Component):
    """Registers with a free host, a free controller and free events.

    All that they hold is kept beside them; the offsets are those of docs/programming.md.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Registers(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Keep, read, compare."""
        m = Module()
        dut = self._dut
        self._inside = surround(m, self, dut)
        bus = self.bus
        write, mask = Signal(), Signal(32)
        m.d.comb += [
            write.eq(bus.awvalid & bus.awready & bus.wvalid & bus.wready),
            mask.eq(Cat(bit.replicate(8) for bit in bus.wstrb)),
        ]
        check(m, "address_and_data", bus.awready == bus.wready)
        control = write & (bus.awaddr[2:] == 0x20 >> 2)
        commands = Mux(control & bus.wstrb[0], bus.wdata[:3], 0)
        check(m, "control", Cat(self.start, self.stop, self.clear) == commands)
        address, enable = self._written(m, write, mask)
        check(m, "list_address", self.list_address == address)
        check(m, "enable", find(self._inside, "enable") == enable)
        counters = self._counters(m)
        nans = counters[Register.NAN_BLOCKS]
        check(m, "saw_nan", self.saw_nan == (nans != 0))
        check(m, "irq", self.irq == (enable & (self.status[1] | self.status[2])))
        self._check_read(m, self._table(counters, address, enable))
        check_stays(m, "r", bus.rvalid, bus.rready, [bus.rdata, bus.rresp])
        check_stays(m, "b", bus.bvalid, bus.bready, [bus.bresp])
        answered = Signal()
        m.d.sync += answered.eq(write)
        check(m, "write_answered", implies(answered, bus.bvalid))
        cover(m, "counts", bus.rvalid & bus.rready & (bus.rdata == 3) & self.running)
        return m

    def _written(self, m: Module, write: Value, mask: Value) -> tuple[Signal, Signal]:
        """Return LIST_ADDRESS and INTERRUPT_ENABLE."""
        bus, address, enable = self.bus, Signal(64), Signal()
        for half, place in enumerate((0x38, 0x3C)):
            part = address.word_select(half, 32)
            with m.If(write & (bus.awaddr[2:] == place >> 2)):
                m.d.sync += part.eq((part & ~mask) | (bus.wdata & mask))
        with m.If(write & (bus.awaddr[2:] == 0x2C >> 2) & bus.wstrb[0]):
            m.d.sync += enable.eq(bus.wdata[0])
        return address, enable

    def _counters(self, m: Module) -> dict[Register, Signal]:
        """Return the counters: while it runs they count, a start sets them to 0."""
        counters = {}
        for number, register in enumerate(COUNTERS):
            name = register.name.lower()
            count = Signal(COUNTER_BITS, name=f"{name}_expected")
            with m.If(self.running):
                m.d.sync += count.eq(count + self.events[number])
            with m.Elif(self.start):
                m.d.sync += count.eq(0)
            check(m, name, find(self._inside, name) == count)
            counters[register] = count
        return counters

    def _table(
        self, counters: dict[Register, Signal], address: Value, enable: Value
    ) -> dict[int, Value]:
        """Return the value at each offset that has one."""
        config, shape = self._config, self._config.shape
        features = sum(1 << i for i, name in enumerate(STEPS) if name in shape.steps)
        features |= config.transposes << 4
        for i, fmt in enumerate(config.array.block_formats):
            features |= fmt.magnitude_bits << 8 + 4 * i
        table: dict[int, Value] = {
            0x00: Const(IDENTITY, 32),
            0x04: Const(VERSION, 32),
            0x08: Const(shape.rows | shape.cols << 16, 32),
            0x0C: Const(shape.bus_bytes | shape.address_bits << 16, 32),
            0x10: Const(shape.a_words | shape.b_words << 16, 32),
            0x14: Const(features, 32),
            0x24: self.status,
            0x28: self.error,
            0x2C: enable,
        }
        wide = [(0x30, self.error_address), (0x38, address)]
        wide += [(0x40 + 8 * n, counters[register]) for n, register in enumerate(COUNTERS)]
        for offset, value in wide:
            table |= {offset: value[:32], offset + 4: value[32:]}
        return table

    def _check_read(self, m: Module, table: dict[int, Value]) -> None:
        """Check that a read gives what was there when it was asked, anywhere else zero."""
        bus, expected, asked = self.bus, Signal(32), Signal()
        value = Signal(32)
        with m.Switch(bus.araddr[2:]):
            for offset, content in table.items():
                with m.Case(offset >> 2):
                    m.d.comb += value.eq(content)
        taken = bus.arvalid & bus.arready
        m.d.sync += [asked.eq(taken), expected.eq(value)]
        check(m, "read", implies(asked, bus.rvalid & (bus.rdata == expected)))
