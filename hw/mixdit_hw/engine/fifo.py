"""A queue in a block RAM."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.hdl._ast import ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class Fifo(wiring.Component):
    """First in, first out; what is put in can be taken two cycles later.

    Members
    -------
    i, o : stream of shape
        In while fewer than `depth` are inside, the one at the output among them; out.
    empty : 1
        Nothing is inside.
    """

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self._shape, self._depth = shape, depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Keep the output at the memory's read register."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._shape, depth=self._depth, init=[])
        to, fro = memory.write_port(), memory.read_port()
        stored, level = Signal(range(self._depth + 1)), Signal(range(self._depth + 1))
        put, fetch, take = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(level != self._depth),
            self.empty.eq(level == 0),
            put.eq(self.i.valid & self.i.ready),
            take.eq(self.o.valid & self.o.ready),
            fetch.eq((stored != 0) & (~self.o.valid | self.o.ready)),
            to.data.eq(self.i.payload),
            to.en.eq(put),
            fro.en.eq(fetch),
            self.o.payload.eq(fro.data),
        ]
        m.d.sync += [stored.eq(stored + put - fetch), level.eq(level + put - take)]
        put_at, fetch_at = Signal(range(self._depth)), Signal(range(self._depth))
        for enable, address, place in ((put, to.addr, put_at), (fetch, fro.addr, fetch_at)):
            m.d.comb += address.eq(place)
            with m.If(enable):
                m.d.sync += place.eq(Mux(place == self._depth - 1, 0, place + 1))
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(fetch)
        # What its proof speaks of (mixdit_hw.formal.queues).
        self._stored, self._level, self._put_at, self._fetch_at = stored, level, put_at, fetch_at
        return m


class Slot(wiring.Component):
    """Room for one thing: in while it is empty, out from the next cycle on.

    Members
    -------
    i, o : stream of shape
    """

    def __init__(self, shape: ShapeLike) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        """A register and whether it is full."""
        m = Module()
        held = Signal(self._shape, reset_less=True)
        m.d.comb += [self.i.ready.eq(~self.o.valid), self.o.payload.eq(held)]
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), held.eq(self.i.payload)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
