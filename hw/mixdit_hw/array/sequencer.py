"""Turns the precision tags of the operand beats into the control that the PEs follow."""

from amaranth.hdl import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.config import ArrayConfig
from mixdit_hw.pe.pe import control_layout
from mixdit_sw.codec.packets import passes
from mixdit_sw.formats import MAX_DIGITS

TAG = data.StructLayout({"a_digits": range(MAX_DIGITS + 1), "b_digits": range(MAX_DIGITS + 1)})
"""Precision of a K-block: digits of the A blocks and of the B blocks, 1..MAX_DIGITS."""


class Sequencer(wiring.Component):
    """Counts passes, interleaved outputs and tiles. Combinational from `tag` to `control`.

    A K-block takes, for each interleaved output in turn, the passes of `passes(a_digits,
    b_digits)`. The last beat of a tile is held back while the previous tile still drains, and until
    the sink is ready for a whole tile; no other beat waits.

    Members
    -------
    tag : TAG
        Precision of the beat's K-block.
    last : 1
        The K-block is its tile's last.
    valid, ready : 1
        A beat is offered; it is accepted.
    drain_ready : 1
        The sink can take a whole tile, from now on, without pause.
    control : control_layout
        Control of an accepted beat; zero when none is.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        super().__init__(
            {
                "tag": In(TAG),
                "last": In(1),
                "valid": In(1),
                "ready": Out(1),
                "drain_ready": In(1),
                "control": Out(control_layout(config.pe_accumulator)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Look the pass up; count; hold back the last beat."""
        m = Module()
        config = self._config
        count = Signal(range(MAX_DIGITS**2))
        slot = Signal(config.pe_accumulator.slot_shape)
        first = Signal(init=1)
        drain = Signal(range(config.drain_cycles))
        shift, done, block_end, tile_end, accept = (Signal() for _ in range(5))

        self._look_up(m, count, shift, done)
        m.d.comb += [
            block_end.eq(done & (slot == config.interleave - 1)),
            tile_end.eq(block_end & self.last),
            self.ready.eq(~tile_end | ((drain == 0) & self.drain_ready)),
            accept.eq(self.valid & self.ready),
        ]
        with m.If(accept):
            m.d.comb += [
                self.control.clear.eq(count == 0),
                self.control.shift.eq(shift),
                self.control.done.eq(done),
                self.control.first.eq(first),
                self.control.last.eq(tile_end),
                self.control.slot.eq(slot),
            ]
            m.d.sync += count.eq(Mux(done, 0, count + 1))
            with m.If(done):
                m.d.sync += slot.eq(Mux(block_end, 0, slot + 1))
            with m.If(block_end):
                m.d.sync += first.eq(self.last)
        with m.If(accept & tile_end):
            m.d.sync += drain.eq(config.drain_cycles - 1)
        with m.Elif(drain != 0):
            m.d.sync += drain.eq(drain - 1)
        return m

    def _look_up(self, m: Module, count: Signal, shift: Signal, done: Signal) -> None:
        """Find whether the counted pass moves the join register, and whether it is the last."""
        digits = range(1, self._config.max_digits + 1)
        with m.Switch(self.tag.as_value()):
            for p in digits:
                for q in digits:
                    table = passes(p, q)
                    shifts = sum(int(step.shift) << i for i, step in enumerate(table))
                    with m.Case(TAG.const({"a_digits": p, "b_digits": q}).as_value().value):
                        m.d.comb += [
                            shift.eq(Const(shifts, unsigned(len(table))).bit_select(count, 1)),
                            done.eq(count == len(table) - 1),
                        ]
