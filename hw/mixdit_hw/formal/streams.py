"""An offered payload stays until it is taken, and a full pipeline loses no cycle."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.formal.properties import check, cover, implies, never_reset


class StreamProof(wiring.Component):
    """A component between an input and an output stream, with free neighbours on both sides.

    Parameters
    ----------
    dut : Component
        With streams `i` and `o`; its other inputs are free in every cycle as well.
    beats : int
        Cycles in a row with a transfer on both sides, which must be possible.
    """

    def __init__(self, dut: wiring.Component, beats: int) -> None:
        self._dut, self._beats = dut, beats
        super().__init__(dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Wire the component through; state the properties."""
        m = Module()
        m.submodules.dut = self._dut
        wiring.connect(m, wiring.flipped(self), self._dut)
        never_reset(m)
        payload = Value.cast(self.o.payload)
        waiting = Signal()
        before = Signal(len(payload))
        m.d.sync += [waiting.eq(self.o.valid & ~self.o.ready), before.eq(payload)]
        check(m, "valid_stays", implies(waiting, self.o.valid))
        check(m, "payload_stays", implies(waiting, payload == before))

        both = self.i.valid & self.i.ready & self.o.valid & self.o.ready
        streak = Signal(range(self._beats + 1))
        m.d.sync += streak.eq(Mux(both, Mux(streak == self._beats, streak, streak + 1), 0))
        cover(m, "full_rate", streak == self._beats)
        cover(m, "waits", waiting)
        return m
