"""Block RAM as an AXI4 slave, for the memory of an engine of one port."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.axi import axi_master


class AxiRam(wiring.Component):
    """Memory behind an AXI4 port: bursts of whole words, one at a time each way, a word a cycle.

    Addresses are counted modulo its size. Every answer is OKAY. A write is seen by reads that begin
    after its response.

    Parameters
    ----------
    address_bits, port_bytes
        Of the port.
    words
        What is in it at power-on; their number is a power of two.

    Members
    -------
    bus : AXI4 slave
    probe, at : 1, word number
        Read a word, while the bus is idle; it is at `data` from the next cycle on.
    data : word
        What was read last.
    """

    def __init__(self, address_bits: int, port_bytes: int, words: Sequence[int]) -> None:
        self._port_bytes, self._words = port_bytes, words
        super().__init__(
            {
                "bus": In(axi_master(address_bits, port_bytes)),
                "probe": In(1),
                "at": In(range(len(words))),
                "data": Out(8 * port_bytes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Two independent halves around the memory."""
        m = Module()
        shape = 8 * self._port_bytes
        memory = Memory(shape=shape, depth=len(self._words), init=self._words)
        m.submodules.memory = memory
        self._read(m, memory)
        self._write(m, memory)
        return m

    def _word(self, address: Signal) -> Signal:
        low = self._port_bytes.bit_length() - 1
        return address[low : low + len(self.at)]

    def _read(self, m: Module, memory: Memory) -> None:
        """Fetch a burst's words while the last one is taken."""
        bus, port = self.bus, memory.read_port()
        place, left = Signal.like(self.at), Signal(9)
        fetch = Signal()
        m.d.comb += [
            bus.arready.eq(left == 0),
            fetch.eq((left != 0) & (~bus.rvalid | bus.rready)),
            port.en.eq(fetch | self.probe),
            port.addr.eq(Mux(self.probe, self.at, place)),
            self.data.eq(port.data),
            bus.rdata.eq(port.data),
        ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [place.eq(self._word(bus.araddr)), left.eq(bus.arlen + 1)]
        with m.Elif(fetch):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]
        with m.If(~bus.rvalid | bus.rready):
            m.d.sync += [bus.rvalid.eq(fetch), bus.rlast.eq(left == 1)]

    def _write(self, m: Module, memory: Memory) -> None:
        """Take an address, its words, then answer."""
        bus, port = self.bus, memory.write_port(granularity=8)
        place, busy = Signal.like(self.at), Signal()
        m.d.comb += [
            bus.awready.eq(~busy & ~bus.bvalid),
            bus.wready.eq(busy),
            port.addr.eq(place),
            port.data.eq(bus.wdata),
            port.en.eq(Mux(busy & bus.wvalid, bus.wstrb, 0)),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [place.eq(self._word(bus.awaddr)), busy.eq(1)]
        with m.If(busy & bus.wvalid):
            m.d.sync += [place.eq(place + 1), busy.eq(~bus.wlast), bus.bvalid.eq(bus.wlast)]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
