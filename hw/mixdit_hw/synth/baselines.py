"""Reference units that the project's figures are ratios to."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sharing import Shared

OPERAND_WIDTH = 8
ACCUMULATOR_WIDTH = 32


class Int8Multiplier(wiring.Component):
    """Signed multiplier, combinational.

    Members
    -------
    a, b : In(signed(8))
        Operands.
    product : Out(signed(16))
        Their product.
    """

    a: In(signed(OPERAND_WIDTH))
    b: In(signed(OPERAND_WIDTH))
    product: Out(signed(2 * OPERAND_WIDTH))

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return "int8_multiplier"

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        m.d.comb += self.product.eq(self.a * self.b)
        return m


class Int8Mac(wiring.Component):
    """INT8 multiply-accumulate unit: the project's clock is quoted as a ratio to this one's.

    Two operand registers, then one cycle for the multiplication and the accumulation. The
    accumulator wraps at 32 bits. Only it is reset.

    Members
    -------
    a, b : In(signed(8))
        Operands; one pair every cycle.
    clear : In(1)
        Makes the accumulator 0 instead of adding the pair it comes with.
    acc : Out(signed(32))
        Sum of the products since the last clear, `LATENCY` cycles after their operands.
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
        # A module of its own: Yosys would merge it with the adder into one much larger $macc cell.
        m.submodules.multiplier = multiplier = Shared(Int8Multiplier())
        clear = Signal(reset_less=True)
        a = Signal.like(self.a, name="a_reg", reset_less=True)
        b = Signal.like(self.b, name="b_reg", reset_less=True)
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        m.d.sync += [
            a.eq(self.a),
            b.eq(self.b),
            clear.eq(self.clear),
            self.acc.eq(self.acc + multiplier.product),
        ]
        with m.If(clear):
            m.d.sync += self.acc.eq(0)
        return m
