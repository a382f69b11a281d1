"""AXI4 write master: requests for stretches of memory and their bus words in, bursts out."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.axi import INCR, axi_master, fork
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.fifo import Fifo

BURSTS = 16
"""Bursts that have no response yet, at most."""


def write_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of a request: first bus word, their number, at least 1, and from which of two sources.

    The longest is a tile of FP32, or a group of the longest K-blocks.
    """
    shape = config.shape
    group = max(shape.group_beats((fmt,) * shape.group, False) for fmt in shape.block_formats)
    beats = range(max(shape.tile_beats, group) + 1)
    return data.StructLayout({"address": config.beat_bits, "beats": beats, "source": 1})


class Writer(wiring.Component):
    """Writes the words of `i` where requests say, in bursts.

    A burst ends at the request's end or at a multiple of `config.burst` words. Its first word is
    offered two cycles after its address, or later. All ports move together.

    Members
    -------
    request : stream of write_layout
        Where the next words go.
    i : stream of words
        Bus words, from the present `source`.
    source : 1
        That of the present burst.
    stop : 1
        Begin no burst; complete those begun with words that write nothing.
    idle : 1
        Nothing is begun or without response.
    error : 1
        A burst had an error response, at `error_address` (in bus words).
    axi_<n>
        Ports; of these the write channels.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        port = axi_master(config.address_bits, config.port_bytes)
        super().__init__(
            {
                "request": In(stream.Signature(write_layout(config))),
                "i": In(stream.Signature(8 * config.bus_bytes)),
                "source": Out(1),
                "stop": In(1),
                "idle": Out(1),
                "error": Out(1),
                "error_address": Out(config.beat_bits),
                **{f"axi_{n}": Out(port) for n in range(config.ports)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Three channels, tied by a queue of lengths and one of addresses."""
        m = Module()
        config = self._config
        burst = data.StructLayout({"length": 8, "source": 1})
        m.submodules.lengths = lengths = Fifo(burst, BURSTS)
        m.submodules.addresses = addresses = Fifo(config.beat_bits, BURSTS)
        begins, pending = self._begin(m, lengths, addresses)
        self._send(m, lengths)
        answered = self._answer(m, addresses)
        self._without_response = without_response = Signal(range(BURSTS + 1))
        m.d.sync += without_response.eq(without_response + begins - answered)
        m.d.comb += self.idle.eq((without_response == 0) & ~pending)
        return m

    def _ports(self) -> list:
        return [getattr(self, f"axi_{n}") for n in range(self._config.ports)]

    def _begin(self, m: Module, lengths: Fifo, addresses: Fifo) -> tuple[Signal, Signal]:
        """Cut requests into bursts; return that one is put on the bus now, or is waiting there."""
        config, ports = self._config, self._ports()
        address, left = Signal(config.beat_bits), Signal.like(self.request.payload.beats)
        beats = Signal(range(config.burst + 1))
        free, begins, source = Signal(), Signal(), Signal()
        self._pending = pending = Signal()
        shown, shown_len = Signal(config.beat_bits), Signal(8)
        valids, taken = fork(m, "aw", pending, [port.awready for port in ports])
        to_boundary = config.burst - address[: (config.burst - 1).bit_length()]
        m.d.comb += [
            beats.eq(Mux(left < to_boundary, left, to_boundary)),
            free.eq(~pending | taken),
            begins.eq((left != 0) & lengths.i.ready & addresses.i.ready & free & ~self.stop),
            self.request.ready.eq((left == 0) & ~self.stop),
            lengths.i.payload.length.eq(beats - 1),
            lengths.i.payload.source.eq(source),
            lengths.i.valid.eq(begins),
            addresses.i.payload.eq(address),
            addresses.i.valid.eq(begins),
        ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [
                source.eq(self.request.payload.source),
                address.eq(self.request.payload.address),
                left.eq(self.request.payload.beats),
            ]
        with m.If(free):
            m.d.sync += pending.eq(begins)
        with m.If(begins):
            m.d.sync += [
                shown.eq(address),
                shown_len.eq(beats - 1),
                address.eq(address + beats),
                left.eq(left - beats),
            ]
        with m.If(self.stop):
            m.d.sync += left.eq(0)
        shift = (config.port_bytes - 1).bit_length()
        for port, valid in zip(ports, valids, strict=True):
            m.d.comb += [
                port.awvalid.eq(valid),
                port.awaddr.eq(shown << shift),
                port.awlen.eq(shown_len),
                port.awsize.eq(shift),
                port.awburst.eq(INCR),
            ]
        return begins, pending

    def _send(self, m: Module, lengths: Fifo) -> None:
        """Send the words of the bursts that have begun.

        A word that waits on the bus when `stop` comes stays as it is.
        """
        config, ports = self._config, self._ports()
        count = Signal(8)
        offered, last, blank, held = Signal(), Signal(), Signal(), Signal()
        valids, taken = fork(m, "w", offered, [port.wready for port in ports])
        m.d.comb += [
            blank.eq(self.stop & ~held),
            offered.eq(lengths.o.valid & (self.i.valid | blank)),
            last.eq(count == lengths.o.payload.length),
            self.source.eq(lengths.o.payload.source),
            self.i.ready.eq(lengths.o.valid & taken & ~blank),
            lengths.o.ready.eq(offered & taken & last),
        ]
        m.d.sync += held.eq(offered & ~taken & ~blank)
        with m.If(offered & taken):
            m.d.sync += count.eq(Mux(last, 0, count + 1))
        width = 8 * config.port_bytes
        for n, (port, valid) in enumerate(zip(ports, valids, strict=True)):
            m.d.comb += [
                port.wvalid.eq(valid),
                port.wdata.eq(Mux(blank, 0, self.i.payload.word_select(n, width))),
                port.wstrb.eq(Mux(blank, 0, -1)),
                port.wlast.eq(last),
            ]

    def _answer(self, m: Module, addresses: Fifo) -> Value:
        """Take the responses of all ports together; return that they have come."""
        ports = self._ports()
        answered = Signal()
        m.d.comb += [
            answered.eq(Cat(port.bvalid for port in ports).all()),
            addresses.o.ready.eq(answered),
            self.error.eq(answered & Cat(port.bresp[1] for port in ports).any()),
            self.error_address.eq(addresses.o.payload),
        ]
        m.d.comb += [port.bready.eq(answered) for port in ports]
        return answered
