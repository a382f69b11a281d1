"""The processing element: digit packets in, one output (or a few that take turns) each."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.packet import EXPONENT_BITS, PACKET
from mixdit_hw.pe.accumulator import Accumulator, AccumulatorConfig
from mixdit_hw.pe.dot import DOT_BITS, Dot, dot_latency
from mixdit_hw.sharing import Shared
from mixdit_sw.formats import DIGIT_BITS


def control_layout(accumulator: AccumulatorConfig) -> data.StructLayout:
    """Layout of the control that travels beside a pair of packets.

    `clear` and `shift`: the join register starts anew, or moves up one digit, before the pass is
    added. `done`: the pass is its block's last. `first`, `last`, `slot`: see `Accumulator`.
    """
    return data.StructLayout(
        {"clear": 1, "shift": 1, "done": 1, "first": 1, "last": 1, "slot": accumulator.slot_shape}
    )


def pe_name(accumulator: AccumulatorConfig, *, dot_register: bool, fabric: str) -> str:
    """Return the name of a PE's module, which encodes all its parameters."""
    c = accumulator
    return (
        f"pe_{c.kind}_d{c.block_bits}_r{int(dot_register)}{int(c.prepare_register)}"
        f"_l{c.loop_latency}_i{c.interleave}{'' if fabric == 'gates' else f'_{fabric}'}"
    )


class PE(wiring.Component):
    """Dot product of a packet pair, join of digit passes, accumulation.

    One pair of packets a cycle. A pair in the operand registers is in the join register one cycle
    later (one more with `dot_register`, and on an FPGA), in the accumulator `accumulator.latency`
    cycles after that, and the cycle after that in the drain register if it ends a tile.

    Members
    -------
    a, b : PACKET
        The pair, from operand registers outside.
    control : control_layout
        What to do with it.
    drain_in, drain_out : state_layout
        The drain chain.
    """

    def __init__(
        self, accumulator: AccumulatorConfig, *, dot_register: bool, fabric: str = "gates"
    ) -> None:
        self._accumulator = accumulator
        self._fabric = fabric
        self._dot_register = dot_register
        super().__init__(
            {
                "a": In(PACKET),
                "b": In(PACKET),
                "control": In(control_layout(accumulator)),
                "drain_in": In(accumulator.state_layout),
                "drain_out": Out(accumulator.state_layout),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return pe_name(self._accumulator, dot_register=self._dot_register, fabric=self._fabric)

    def elaborate(self, platform: object) -> Module:
        """Wire the stages."""
        m = Module()
        config = self._accumulator
        m.submodules.dot = dot = Shared(Dot(self._fabric))
        m.submodules.accumulator = accumulator = Accumulator(config)
        product = Signal(
            data.StructLayout(
                {
                    "sum": signed(DOT_BITS),
                    "carry": 1,
                    "exponent": signed(EXPONENT_BITS + 1),
                    "nan": 1,
                }
            ),
            reset_less=True,
        )
        passed = Signal.like(self.control, name="passed_control")
        m.d.comb += [dot.a.eq(self.a.lanes), dot.b.eq(self.b.lanes)]
        exponent = self.a.exponent + self.b.exponent
        beside = [self.control.as_value(), exponent, self.a.nan | self.b.nan]
        for stage in range(dot_latency(self._fabric)):
            later = [Signal.like(x, name=f"beside_{stage}_{i}") for i, x in enumerate(beside)]
            m.d.sync += [register.eq(x) for register, x in zip(later, beside, strict=True)]
            beside = later
        domain = m.d.sync if self._dot_register else m.d.comb
        domain += [
            product.sum.eq(dot.sum),
            product.carry.eq(dot.carry),
            product.exponent.eq(beside[1]),
            product.nan.eq(beside[2]),
            passed.eq(beside[0]),
        ]

        joined = Signal(signed(config.block_bits), reset_less=True)
        exponent = Signal.like(product.exponent, reset_less=True)
        nan = Signal(reset_less=True)
        control = Signal.like(self.control, name="joined_control")
        before = Signal.like(joined, reset_less=False)
        moved = Mux(passed.shift, joined << DIGIT_BITS, joined)
        if config.block_bits > DOT_BITS:
            m.d.comb += before.eq(Mux(passed.clear, 0, moved))
        m.d.sync += [
            joined.eq(before + product.sum + product.carry),
            exponent.eq(product.exponent - config.exponent_offset),
            nan.eq(product.nan),
            control.eq(passed),
        ]
        m.d.comb += [
            accumulator.block.eq(joined),
            accumulator.exponent.eq(exponent),
            accumulator.nan.eq(nan),
            accumulator.valid.eq(control.done),
            accumulator.first.eq(control.first),
            accumulator.last.eq(control.last),
            accumulator.slot.eq(control.slot),
            accumulator.drain_in.eq(self.drain_in),
            self.drain_out.eq(accumulator.drain_out),
        ]
        return m
