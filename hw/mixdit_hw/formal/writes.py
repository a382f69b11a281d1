"""The writer is a lawful AXI4 master: its addresses, its words, and its end when it is stopped."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.writer import BURSTS, Writer
from mixdit_hw.formal.axi import assume_stays, check_burst, check_stays
from mixdit_hw.formal.inside import find, open_unit
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset


class _Bench(wiring.Component):
    """A writer with free requests, on a lawful bus, that once stopped is stopped for good.

    Words wait for it as streams do, each of its two sources by itself. The bus answers, on each
    port, only bursts whose address and last word it has taken.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Writer(config)
        super().__init__({**self._dut.signature.members, "mark": In(1)})
        self._ports = [getattr(self, f"axi_{n}") for n in range(config.ports)]

    def _wire(self, m: Module) -> Module:
        """Wire the writer through, restrict its neighbours; return the writer's inside."""
        never_reset(m)
        m.submodules.dut = dut = self._dut
        inside = open_unit(dut)
        for name, member in dut.signature.members.items():
            mine, its = getattr(self, name), getattr(dut, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(mine), its)
            else:
                m.d.comb += its.eq(mine) if name == "stop" else mine.eq(its)
        stopped, source, waited = Signal(), Signal(), Signal()
        word = Signal.like(self.i.payload)
        m.d.sync += [
            stopped.eq(self.stop),
            source.eq(self.source),
            waited.eq(self.i.valid & ~self.i.ready),
            word.eq(self.i.payload),
        ]
        assume(m, implies(stopped, self.stop))
        waits = waited & (source == self.source)
        assume(m, implies(waits, self.i.valid & (self.i.payload == word)))
        self._open = [self._count(m, n, port) for n, port in enumerate(self._ports)]
        return inside

    def _count(self, m: Module, n: int, port: wiring.PureInterface) -> tuple[Signal, Signal]:
        """Return the addresses and the last words that a port has taken and not answered."""
        counts = []
        answered = port.bvalid & port.bready
        for name, taken in (
            ("aw", port.awvalid & port.awready),
            ("w", port.wvalid & port.wready & port.wlast),
        ):
            count = Signal(range(2 * BURSTS + 1), name=f"{name}_open_{n}")
            m.d.sync += count.eq(count + taken - answered)
            assume(m, implies(port.bvalid, count != 0))
            counts.append(count)
        assume_stays(m, f"b_{n}", port.bvalid, port.bready, [port.bresp])
        return counts[0], counts[1]


class WriteProof(_Bench):
    """Channels that wait, bursts within pages, as many open bursts as fit; for ever."""

    def elaborate(self, platform: object) -> Module:
        """State them for each port."""
        m = Module()
        inside = self._wire(m)
        size = (self._config.port_bytes - 1).bit_length()
        for n, port in enumerate(self._ports):
            address = [port.awaddr, port.awlen, port.awsize, port.awburst]
            check_stays(m, f"aw_{n}", port.awvalid, port.awready, address)
            check_burst(m, f"aw_{n}", port.awvalid, port.awaddr, port.awlen, size)
            word = [port.wdata, port.wstrb, port.wlast]
            check_stays(m, f"w_{n}", port.wvalid, port.wready, word)
        self._check_open(m, inside)
        cover(m, "stopped_in_a_burst", self.stop & self.idle & (self._words(m) == 3))
        return m

    def _words(self, m: Module) -> Signal:
        """Return how many words that write nothing have gone out."""
        port, blanks = self._ports[0], Signal(3)
        m.d.sync += blanks.eq(blanks + (port.wvalid & port.wready & ~port.wstrb.any()))
        return blanks

    def _check_open(self, m: Module, inside: Module) -> None:
        """Check the counts of bursts that are not answered, and what `idle` says."""
        dut, lengths = self._dut, inside.submodules.lengths
        opened = dut._without_response
        for name, unit in (("lengths", lengths), ("places", inside.submodules.addresses)):
            open_unit(unit)
            check(m, f"level_of_{name}", unit._level == unit._stored + unit.o.valid)
        check(m, "addresses", inside.submodules.addresses._level == opened)
        check(m, "not_too_many", opened <= BURSTS)
        several = self._config.ports > 1
        if several:
            aw, w = find(inside, "aw_taken"), find(inside, "w_taken")
            check(m, "aw_taken", implies(aw.any(), dut._pending) & ~aw.all())
            check(m, "w_taken", implies(w.any(), lengths.o.valid) & ~w.all())
        for n, (port, (addresses, lasts)) in enumerate(zip(self._ports, self._open, strict=True)):
            early = w[n] & port.wlast if several else 0
            check(m, f"asked_{n}", addresses + port.awvalid == opened)
            check(m, f"begun_{n}", lasts + lengths._level - early == opened)
        asked = Cat(port.awvalid for port in self._ports).any()
        nothing = ~Cat(asked, *(Cat(pair) for pair in self._open)).any()
        check(m, "idle", self.idle == (nothing & (lengths._level == 0)))


class WriteWordsProof(_Bench):
    """Words on each port: as many as its addresses say, the last marked, whenever it is stopped.

    One burst is followed, any of them, and the words before it are counted. After `stop`, as many
    cycles of the bus as there are words and answers to come, and one, end in `idle`. Cycles of
    the bus are those in which every port takes what is offered, and gives the answers it owes.
    """

    def elaborate(self, platform: object) -> Module:
        """Count words on each port."""
        m = Module()
        self._wire(m)
        owed = [self._follow(m, n, port) for n, port in enumerate(self._ports)]
        self._check_stop(m, owed)
        return m

    def _follow(self, m: Module, n: int, port: wiring.PureInterface) -> Signal:
        """Follow a burst of a port; return the words that are to come."""
        waited, appears = Signal(name=f"asked_{n}"), Signal(name=f"appears_{n}")
        owed, left = Signal(16, name=f"owed_{n}"), Signal(16, name=f"left_{n}")
        sent = Signal(name=f"sent_{n}")
        m.d.comb += [
            appears.eq(port.awvalid & ~waited),
            left.eq(owed + Mux(appears, port.awlen + 1, 0)),
            sent.eq(port.wvalid & port.wready),
        ]
        m.d.sync += [waited.eq(port.awvalid & ~port.awready), owed.eq(left - sent)]
        check(m, f"word_of_a_burst_{n}", implies(port.wvalid, left != 0))
        followed, ahead = Signal(name=f"followed_{n}"), Signal(16, name=f"ahead_{n}")
        length, number = Signal(8, name=f"length_{n}"), Signal(8, name=f"number_{n}")
        mine, last = Signal(name=f"mine_{n}"), Signal(name=f"last_{n}")
        m.d.comb += [mine.eq(followed & (ahead == 0)), last.eq(number == length)]
        with m.If(appears & self.mark & ~followed):
            m.d.sync += [followed.eq(1), ahead.eq(owed - sent), length.eq(port.awlen), number.eq(0)]
        with m.Elif(sent & mine):
            m.d.sync += [number.eq(number + 1), followed.eq(~last)]
        with m.Elif(sent):
            m.d.sync += ahead.eq(ahead - 1)
        check(m, f"last_{n}", implies(mine & port.wvalid, port.wlast == last))
        cover(m, f"second_burst_{n}", mine & sent & last & (length == 1) & (left == 2))
        return left

    def _check_stop(self, m: Module, owed: list[Signal]) -> None:
        """Check that the bound after `stop` is kept."""
        stopped, allowed = Signal(), Signal(16)
        serves = Cat(
            port.awready & port.wready & (port.bvalid | (addresses == 0) | (lasts == 0))
            for port, (addresses, lasts) in zip(self._ports, self._open, strict=True)
        ).all()
        m.d.sync += stopped.eq(self.stop)
        with m.If(~stopped):
            most = owed[0]
            for words in owed[1:]:
                most = Mux(words > most, words, most)
            m.d.sync += allowed.eq(most + self._dut._without_response + 1 - serves)
        with m.Elif(allowed != 0):
            m.d.sync += allowed.eq(allowed - serves)
        check(m, "stops", implies(stopped & (allowed == 0), self.idle))
        was_idle = Signal()
        m.d.sync += was_idle.eq(self.idle & self.stop)
        check(m, "stays_idle", implies(was_idle, self.idle))
        cover(m, "stops_late", stopped & ~self.idle & (allowed == 1) & serves)
