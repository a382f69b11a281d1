"""A host in hardware: starts the engine, waits for its end, compares memory with what must be."""

from collections.abc import Sequence

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.axi import axi_lite_slave
from mixdit_hw.engine.registers import ADDRESS_BITS
from mixdit_sw.engine.registers import Control, Register, Status


class SelfTestHost(wiring.Component):
    """Runs one command list after reset; then `passed` or `failed` is set, and that is all.

    It has passed if the engine ends with DONE and no other bit of STATUS, and every word of memory
    is as expected.

    Parameters
    ----------
    list_address
        Byte address of the command list.
    word_bits
        Width of a memory word.
    expected
        Memory after the run; the number of words is a power of two.

    Members
    -------
    bus : AXI4-Lite slave
        The engine's registers.
    probe, at, data : 1, word number, word
        Reads memory: a word is at `data` the cycle after `probe`.
    passed, failed : 1
        How it ended.
    mismatch : 1
        A word of memory is wrong.
    """

    def __init__(self, list_address: int, word_bits: int, expected: Sequence[int]) -> None:
        self._list_address, self._word_bits, self._expected = list_address, word_bits, expected
        super().__init__(
            {
                "bus": Out(axi_lite_slave(ADDRESS_BITS).flip()),
                "probe": Out(1),
                "at": Out(range(len(expected))),
                "data": In(word_bits),
                "passed": Out(1),
                "failed": Out(1),
                "mismatch": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Write registers; read STATUS until the list has ended; compare."""
        m = Module()
        bus = self.bus
        writes = [
            (Register.LIST_ADDRESS, self._list_address & 0xFFFF_FFFF),
            (Register.LIST_ADDRESS + 4, self._list_address >> 32),
            (Register.CONTROL, Control.START),
        ]
        number = Signal(range(len(writes) + 1))
        m.d.comb += [
            bus.awaddr.eq(Array(Const(int(offset), ADDRESS_BITS) for offset, _ in writes)[number]),
            bus.wdata.eq(Array(Const(int(value), 32) for _, value in writes)[number]),
            bus.wstrb.eq(0b1111),
            bus.awprot.eq(0),
            bus.arprot.eq(0),
            bus.araddr.eq(Register.STATUS),
        ]
        self._look(m)
        with m.FSM():
            with m.State("WRITE"):
                m.d.comb += [bus.awvalid.eq(1), bus.wvalid.eq(1)]
                with m.If(bus.awready & bus.wready):
                    m.d.sync += number.eq(number + 1)
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += bus.bready.eq(1)
                with m.If(bus.bvalid & (number == len(writes))):
                    m.next = "ASK"
                with m.Elif(bus.bvalid):
                    m.next = "WRITE"
            with m.State("ASK"):
                m.d.comb += bus.arvalid.eq(1)
                with m.If(bus.arready):
                    m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += bus.rready.eq(1)
                with m.If(bus.rvalid):
                    m.next = "ASK"
                    with m.If(bus.rdata == Status.DONE):
                        m.next = "COMPARE"
                    with m.Elif((bus.rdata & ~Const(Status.BUSY, 32)).any()):
                        m.next = "FAILED"
            self._compare(m)
        return m

    def _look(self, m: Module) -> None:
        """Remember a word that is not as expected; both come the cycle after they are asked for."""
        m.submodules.expected = expected = Memory(
            shape=self._word_bits, depth=len(self._expected), init=self._expected
        )
        port = expected.read_port()
        asked = Signal()
        with m.If(asked & (self.data != port.data)):
            m.d.sync += self.mismatch.eq(1)
        m.d.comb += [port.addr.eq(self.at), port.en.eq(self.probe)]
        m.d.sync += asked.eq(self.probe)

    def _compare(self, m: Module) -> None:
        """Ask for a word a cycle, then judge."""
        with m.State("COMPARE"):
            m.d.comb += self.probe.eq(1)
            m.d.sync += self.at.eq(self.at + 1)
            with m.If(self.at == len(self._expected) - 1):
                m.next = "LAST"
        with m.State("LAST"):
            m.next = "JUDGE"
        with m.State("JUDGE"):
            m.next = "PASSED"
            with m.If(self.mismatch):
                m.next = "FAILED"
        with m.State("PASSED"):
            m.d.comb += self.passed.eq(1)
        with m.State("FAILED"):
            m.d.comb += self.failed.eq(1)
