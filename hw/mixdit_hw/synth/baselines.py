"""Reference units that the project's figures are ratios to."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

OPERAND_WIDTH = 8
ACCUMULATOR_WIDTH = 32


class Int8Mac(wiring.Component):
    """INT8 multiply-accumulate unit: the project's clock is quoted as a ratio to this one's.

    Two operand registers, then one cycle for the multiplication and the accumulation. An operand
    pair given in cycle t is in `acc` from cycle t + 2 on. The accumulator wraps at 32 bits.

    Members
    -------
    a, b : In(signed(8))
        Operands; one pair every cycle.
    clear : In(1)
        Registered with the operands: the accumulator becomes 0 instead of adding that pair.
    acc : Out(signed(32))
        Sum of the products since the last clear.
    """

    a: In(signed(OPERAND_WIDTH))
    b: In(signed(OPERAND_WIDTH))
    clear: In(1)
    acc: Out(signed(ACCUMULATOR_WIDTH))

    LATENCY = 2

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return "int8_mac"

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        a = Signal.like(self.a, name="a_reg", reset_less=True)
        b = Signal.like(self.b, name="b_reg", reset_less=True)
        clear = Signal(name="clear_reg", reset_less=True)
        product = Signal(signed(2 * OPERAND_WIDTH))
        m.d.comb += product.eq(a * b)
        m.d.sync += [
            a.eq(self.a),
            b.eq(self.b),
            clear.eq(self.clear),
            # Written as add-then-clear and not as a mux of the two, which Yosys would merge with
            # the multiplier into one much larger $macc cell.
            self.acc.eq(self.acc + product),
        ]
        with m.If(clear):
            m.d.sync += self.acc.eq(0)
        return m
