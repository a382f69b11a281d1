"""The sequencer keeps its promises to array and sink, from any state of its counters."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.array.sequencer import TAG, Sequencer
from mixdit_hw.config import ArrayConfig
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_hw.pe.pe import control_layout
from mixdit_sw.formats import MAX_DIGITS


def bound(config: ArrayConfig) -> int:
    """Cycles within which a tile ends if nobody keeps the sequencer waiting.

    From any values of its counters: the pass counter may have to wrap around, then the passes
    of all interleaved outputs follow, from the first if the slot is none of them; the last
    beat waits for the drain.
    """
    wrap = 1 << (MAX_DIGITS**2 - 1).bit_length()
    slots = 1 << (config.interleave - 1).bit_length()
    return wrap + slots * config.max_digits**2 + config.drain_cycles


class SequencerProof(wiring.Component):
    """Control without a beat, distance between tiles, and the end of a tile.

    The tag is free but legal, and stays until its K-block is over, as the operands' order demands.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        super().__init__(
            {
                "tag": In(TAG),
                "last": In(1),
                "valid": In(1),
                "drain_ready": In(1),
                "ready": Out(1),
                "control": Out(control_layout(config.pe_accumulator)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the sequencer; state the properties."""
        m = Module()
        m.submodules.dut = dut = Sequencer(self._config)
        for name in ("tag", "last", "valid", "drain_ready"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += [self.ready.eq(dut.ready), self.control.eq(dut.control)]
        never_reset(m)
        accepted = Signal()
        tile_end = Signal()
        m.d.comb += [
            accepted.eq(self.valid & self.ready),
            tile_end.eq(accepted & self.control.last),
        ]
        self._assume_tags(m, accepted)
        check(m, "control_zero", implies(~accepted, self.control.as_value() == 0))
        self._check_distance(m, tile_end)
        self._check_end(m, tile_end)
        cover(m, "tile_end", tile_end)
        return m

    def _assume_tags(self, m: Module, accepted: Signal) -> None:
        """Assume legal tags; the same tag and `last` until the block of all outputs is over."""
        for digits in (self.tag.a_digits, self.tag.b_digits):
            assume(m, (digits >= 1) & (digits <= self._config.max_digits))
        inside = Signal()
        tag, last = Signal.like(self.tag, name="tag_before"), Signal(name="last_before")
        last_slot = self.control.slot == self._config.interleave - 1
        with m.If(accepted):
            m.d.sync += [
                inside.eq(~(self.control.done & last_slot)),
                tag.eq(self.tag),
                last.eq(self.last),
            ]
        assume(m, implies(inside, (self.tag == tag) & (self.last == last)))

    def _check_distance(self, m: Module, tile_end: Signal) -> None:
        """Check that last beats of tiles are at least `drain_cycles` apart."""
        distance = self._config.drain_cycles
        since = Signal(range(distance + 1), init=distance)
        m.d.sync += since.eq(Mux(tile_end, 1, Mux(since == distance, distance, since + 1)))
        check(m, "distance", implies(tile_end, since >= distance))
        check(m, "distance_counts", since <= distance)
        cover(m, "least_distance", tile_end & (since == distance))

    def _check_end(self, m: Module, tile_end: Signal) -> None:
        """Check that a tile ends within `bound` cycles of beats and a ready sink."""
        limit = bound(self._config)
        waited = Signal(range(limit + 1))
        offered = self.valid & self.drain_ready & self.last
        m.d.sync += waited.eq(Mux(offered & ~tile_end, waited + 1, 0))
        check(m, "tile_ends", waited < limit)
