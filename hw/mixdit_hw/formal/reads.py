"""The reader is a lawful AXI4 master, asks for no more than it may, stops, and mixes nothing up."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.reader import Reader
from mixdit_hw.formal.axi import assume_stays, check_burst, check_stays
from mixdit_hw.formal.inside import find, surround
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset


class ReadProof(wiring.Component):
    """A reader with free requests, receiver and `stop`, on a lawful bus.

    The bus gives words only to bursts that it has taken, in any cycle, on each port by itself.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Reader(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Count beside each port the words that it owes."""
        m = Module()
        config = self._config
        dut = self._dut
        inside = surround(m, self, dut)
        size = (config.port_bytes - 1).bit_length()
        owed = []
        for n in range(config.ports):
            port, name = getattr(self, f"axi_{n}"), f"ar_{n}"
            ask = [port.araddr, port.arlen, port.arsize, port.arburst]
            check_stays(m, name, port.arvalid, port.arready, ask)
            check_burst(m, name, port.arvalid, port.araddr, port.arlen, size)
            owed.append(self._count(m, n))
            shown = Mux(port.arvalid, port.arlen + 1, 0)
            check(m, f"on_way_{n}", dut._on_way == owed[n] + shown)
            answer = [port.rdata, port.rresp, port.rlast]
            assume_stays(m, f"r_{n}", port.rvalid, port.rready, answer)
        check(m, "not_too_many", dut._on_way <= config.outstanding)
        if config.ports > 1:
            taken = find(inside, "ar_taken")
            check(m, "taken", implies(taken.any(), dut._pending) & ~taken.all())
        self._check_stop(m, owed)
        words = [Value.cast(self.o.payload)]
        check_stays(m, "words", self.o.valid | self.stop, self.o.ready | self.stop, words)
        cover(m, "all_on_way", dut._on_way == config.outstanding)
        return m

    def _count(self, m: Module, n: int) -> Signal:
        """Return the words that a port has taken bursts of, and not given; it gives no others."""
        port = getattr(self, f"axi_{n}")
        owed = Signal(range(2 * self._config.outstanding + 1), name=f"owed_{n}")
        taken, given = port.arvalid & port.arready, port.rvalid & port.rready
        m.d.sync += owed.eq(owed + Mux(taken, port.arlen + 1, 0) - given)
        assume(m, implies(port.rvalid, owed != 0))
        return owed

    def _check_stop(self, m: Module, owed: list[Signal]) -> None:
        """Check what `idle` says, and that it comes within `outstanding` + 1 cycles of the bus.

        Cycles of the bus are those in which every port takes what is asked, and gives what it owes.
        """
        ports = [getattr(self, f"axi_{n}") for n in range(self._config.ports)]
        quiet = ~Cat(*owed, *(port.arvalid for port in ports)).any()
        check(m, "idle", self.idle == quiet)
        serves = Cat(
            port.arready & (port.rvalid | (count == 0))
            for port, count in zip(ports, owed, strict=True)
        ).all()
        most = self._config.outstanding + 1
        waited, was_idle = Signal(range(most + 2)), Signal()
        m.d.sync += [
            waited.eq(Mux(self.stop & ~self.idle, waited + serves, 0)),
            was_idle.eq(self.idle & self.stop),
        ]
        # Each such cycle brings it nearer.
        nearer = waited + self._dut._on_way + self._dut._pending <= most
        check(m, "stops", implies(self.stop & ~self.idle, nearer))
        check(m, "stays_idle", implies(was_idle & self.stop, self.idle))
        cover(m, "stops_late", waited == most - 1)


class ReadOrderProof(wiring.Component):
    """A reader that is never stopped: words carry the addresses and targets of their requests.

    One request is followed, any of them; the words of those before it are counted.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Reader(config)
        super().__init__({**self._dut.signature.members, "mark": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Follow a request from its acceptance to its last word."""
        m = Module()
        never_reset(m)
        m.submodules.dut = dut = self._dut
        for name in dut.signature.members:
            mine, its = getattr(self, name), getattr(dut, name)
            if isinstance(mine, Signal):
                m.d.comb += its.eq(mine) if name == "stop" else mine.eq(its)
            else:
                wiring.connect(m, wiring.flipped(mine), its)
        assume(m, ~self.stop)
        assume(m, self.request.payload.beats != 0)
        accepted, given = Signal(), Signal()
        m.d.comb += [
            accepted.eq(self.request.valid & self.request.ready),
            given.eq(self.o.valid & self.o.ready),
        ]
        due = Signal(32)
        m.d.sync += due.eq(due + Mux(accepted, self.request.payload.beats, 0) - given)
        check(m, "only_what_is_due", implies(self.o.valid, due != 0))
        followed, ahead = Signal(), Signal.like(due, name="ahead")
        request = Signal.like(self.request.payload)
        number = Signal.like(self.request.payload.beats)
        mine, last = Signal(), Signal()
        m.d.comb += [
            mine.eq(followed & (ahead == 0)),
            last.eq(number == request.beats - 1),
        ]
        with m.If(accepted & self.mark & ~followed):
            m.d.sync += [
                followed.eq(1),
                ahead.eq(due - given),
                request.eq(self.request.payload),
                number.eq(0),
            ]
        with m.Elif(given & mine):
            m.d.sync += [number.eq(number + 1), followed.eq(~last)]
        with m.Elif(given):
            m.d.sync += ahead.eq(ahead - 1)
        word = self.o.payload
        expected = Signal.like(word.address)
        m.d.comb += expected.eq(request.address + number)
        shown = mine & self.o.valid
        check(m, "address", implies(shown, word.address == expected))
        check(m, "last", implies(shown, word.last == last))
        check(m, "target", implies(shown, word.target.as_value() == request.target.as_value()))
        cover(m, "second_request", shown & last & (request.beats == 2) & (due > 2))
        return m
