"""AXI4 read master: requests for stretches of memory in, their bus words out, in order."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.axi import INCR, axi_master, fork
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.fifo import Fifo
from mixdit_sw.engine.commands import FIELDS


class Destination:
    """Where bus words go."""

    COMMAND, A, B, EXTRA, TAGS, TABLE, SOURCE = range(7)


TARGET = data.StructLayout(
    {
        "destination": 3,
        "k_blocks": FIELDS["k_blocks"].width,
        "words": FIELDS["a_words"].width,
    }
)
"""What the receiver of an operand tile must know of it; for a source, see its `row_layout`."""


def request_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of a request: first bus word, their number (at least 1), and the target."""
    beats = FIELDS["a_beats"].width
    return data.StructLayout({"address": config.beat_bits, "beats": beats, "target": TARGET})


def word_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of a bus word: its data, its address, whether it ends its request, the target."""
    return data.StructLayout(
        {
            "data": 8 * config.bus_bytes,
            "address": config.beat_bits,
            "last": 1,
            "target": TARGET,
        }
    )


class Reader(wiring.Component):
    """Asks for what requests name, in bursts, and hands the words on as they come.

    A burst ends at the request's end or at a multiple of `config.burst` words. Bursts are asked
    for as long as fewer than `config.outstanding` words would be on their way; words wait on the
    bus while their receiver is not ready. All ports move together.

    Members
    -------
    request : stream of request_layout
        What to read.
    o : stream of word_layout
        Bus words.
    stop : 1
        Ask for nothing more and drop what comes.
    idle : 1
        Nothing is asked for or on its way.
    error : 1
        The present word has an error response.
    axi_<n>
        Ports; of these the read channels.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        port = axi_master(config.address_bits, config.port_bytes)
        super().__init__(
            {
                "request": In(stream.Signature(request_layout(config))),
                "o": Out(stream.Signature(word_layout(config))),
                "stop": In(1),
                "idle": Out(1),
                "error": Out(1),
                **{f"axi_{n}": Out(port) for n in range(config.ports)},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Two halves that share the queue of requests and the count of words on their way."""
        m = Module()
        m.submodules.queue = queue = Fifo(request_layout(self._config), self._config.requests)
        # In bus words; a burst may be added while fewer than a burst's words are missing to it.
        self._on_way = on_way = Signal(range(self._config.outstanding + 1))
        asked, asked_beats = self._ask(m, queue, on_way)
        came = self._hand_on(m, queue)
        m.d.sync += on_way.eq(on_way + Mux(asked, asked_beats, 0) - came)
        m.d.comb += self.idle.eq((on_way == 0) & ~self._pending)
        return m

    def _ask(self, m: Module, queue: Fifo, on_way: Signal) -> tuple[Value, Value]:
        """Cut requests into bursts; return that one is put on the bus now, and its words."""
        config = self._config
        ports = [getattr(self, f"axi_{n}") for n in range(config.ports)]
        address, left = Signal(config.beat_bits), Signal(len(self.request.payload.beats))
        beats = Signal(range(config.burst + 1))
        room, free, asks, ends = Signal(), Signal(), Signal(), Signal()
        self._pending = pending = Signal()
        shown = Signal(config.beat_bits)
        shown_len = Signal(8)
        valids, taken = fork(m, "ar", pending, [port.arready for port in ports])
        to_boundary = config.burst - address[: (config.burst - 1).bit_length()]
        m.d.comb += [
            beats.eq(Mux(left < to_boundary, left, to_boundary)),
            room.eq(on_way <= config.outstanding - config.burst),
            free.eq(~pending | taken),
            asks.eq((left != 0) & room & free & ~self.stop),
            ends.eq((left == 0) | (asks & (left == beats))),
            queue.i.payload.eq(self.request.payload),
            queue.i.valid.eq(self.request.valid & ends & ~self.stop),
            self.request.ready.eq(queue.i.ready & ends & ~self.stop),
        ]
        with m.If(free):
            m.d.sync += pending.eq(asks)
        with m.If(asks):
            m.d.sync += [
                shown.eq(address),
                shown_len.eq(beats - 1),
                address.eq(address + beats),
                left.eq(left - beats),
            ]
        with m.If(self.request.valid & self.request.ready):
            m.d.sync += [address.eq(self.request.payload.address), left.eq(queue.i.payload.beats)]
        with m.If(self.stop):
            m.d.sync += left.eq(0)
        shift = (config.port_bytes - 1).bit_length()
        for port, valid in zip(ports, valids, strict=True):
            m.d.comb += [
                port.arvalid.eq(valid),
                port.araddr.eq(shown << shift),
                port.arlen.eq(shown_len),
                port.arsize.eq(shift),
                port.arburst.eq(INCR),
            ]
        return asks, beats

    def _hand_on(self, m: Module, queue: Fifo) -> Value:
        """Give each word to the request it belongs to; return that one has come."""
        ports = [getattr(self, f"axi_{n}") for n in range(self._config.ports)]
        count = Signal(len(self.request.payload.beats))
        there, came, last = Signal(), Signal(), Signal()
        m.d.comb += [
            there.eq(Cat(port.rvalid for port in ports).all()),
            self.o.valid.eq(there & queue.o.valid & ~self.stop),
            came.eq(there & (self.stop | (queue.o.valid & self.o.ready))),
            last.eq(count == queue.o.payload.beats - 1),
            self.o.payload.data.eq(Cat(port.rdata for port in ports)),
            self.o.payload.address.eq(queue.o.payload.address + count),
            self.o.payload.last.eq(last),
            self.o.payload.target.eq(queue.o.payload.target),
            queue.o.ready.eq(came & last),
            self.error.eq(came & ~self.stop & Cat(port.rresp[1] for port in ports).any()),
        ]
        m.d.comb += [port.rready.eq(came) for port in ports]
        with m.If(came):
            m.d.sync += count.eq(Mux(last, 0, count + 1))
        return came
