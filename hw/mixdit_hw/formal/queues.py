"""Queues lose nothing, reorder nothing, and neither overflow nor underflow."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.fifo import Fifo, Slot
from mixdit_hw.formal.inside import open_unit
from mixdit_hw.formal.properties import check, cover, implies, never_reset


class QueueProof(wiring.Component):
    """A queue beside a count of what is inside, with one thing followed from end to end.

    Which one is free, so what holds for it holds for all: it leaves as it was put in, when as many
    have left as were inside before it.

    Members
    -------
    i, o : stream of width bits
        Of the queue.
    mark : 1
        Follow what is put in now, if nothing is being followed.
    """

    def __init__(self, width: int, depth: int) -> None:
        self._width, self._depth = width, depth
        streams = {"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))}
        super().__init__({**streams, "mark": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Count and follow."""
        m = Module()
        never_reset(m)
        m.submodules.dut = dut = self._unit()
        inside = open_unit(dut)
        wiring.connect(m, wiring.flipped(self.i), dut.i)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        put, take = Signal(), Signal()
        m.d.comb += [put.eq(self.i.valid & self.i.ready), take.eq(self.o.valid & self.o.ready)]
        # One more than fits would be seen.
        count = Signal(range(self._depth + 2))
        m.d.sync += count.eq(count + put - take)
        check(m, "fits", count <= self._depth)
        check(m, "takes_if_room", self.i.ready == (count != self._depth))
        check(m, "offers_what_is_there", implies(self.o.valid, count != 0))
        stalled = Signal()
        m.d.sync += stalled.eq((count != 0) & ~self.o.valid)
        check(m, "offers_soon", implies(stalled, self.o.valid))

        followed, ahead = Signal(), Signal.like(count, name="ahead")
        item = Signal(self._width)
        leaves = Signal()
        m.d.comb += leaves.eq(followed & take & (ahead == 0))
        with m.If(~followed & put & self.mark):
            m.d.sync += [followed.eq(1), item.eq(self.i.payload), ahead.eq(count - take)]
        with m.Elif(leaves):
            m.d.sync += followed.eq(0)
        with m.Elif(take):
            m.d.sync += ahead.eq(ahead - 1)
        check(m, "is_inside", implies(followed, ahead < count))
        check(m, "leaves_as_it_came", implies(leaves, self.o.payload == item))
        self._invariant(m, dut, inside, count, followed, ahead, item)
        cover(m, "full_when_followed", leaves & (count == self._depth))
        return m

    def _unit(self) -> Fifo | Slot:
        return Fifo(self._width, self._depth)

    def _invariant(
        self,
        m: Module,
        dut: Fifo | Slot,
        inside: Module,
        count: Signal,
        followed: Signal,
        ahead: Signal,
        item: Signal,
    ) -> None:
        """State where in the unit what is counted and followed is."""
        depth, level, stored = self._depth, dut._level, dut._stored
        to, fro = dut._put_at, dut._fetch_at
        row = inside.submodules.memory.read_port(domain="comb")
        m.d.comb += row.addr.eq(_wrap(fro + ahead - dut.o.valid, depth))
        at_output = dut.o.valid & (ahead == 0)
        check(m, "level", (level == count) & (level == stored + dut.o.valid))
        check(m, "empty", dut.empty == (count == 0))
        check(m, "places", (fro < depth) & (to == _wrap(fro + stored, depth)))
        held = Mux(at_output, dut.o.payload, row.data)
        check(m, "is_kept", implies(followed, held == item))


class SlotProof(QueueProof):
    """The same for a slot, a queue of one."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 1)

    def _unit(self) -> Fifo | Slot:
        return Slot(self._width)

    def _invariant(
        self,
        m: Module,
        dut: Fifo | Slot,
        inside: Module,
        count: Signal,
        followed: Signal,
        ahead: Signal,
        item: Signal,
    ) -> None:
        check(m, "level", dut.o.valid == count)
        check(m, "is_kept", implies(followed, dut.o.payload == item))


def _wrap(place: Value, depth: int) -> Value:
    """Return a place below twice the depth, modulo the depth."""
    return Mux(place >= depth, place - depth, place)
