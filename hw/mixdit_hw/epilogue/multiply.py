"""FP32 product, rounded once to nearest even."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.carry_save import compress, partial_products
from mixdit_hw.epilogue.rounding import round_word
from mixdit_hw.pe.adder import add
from mixdit_hw.pe.fp32 import EXP_BITS, EXP_MAX, NAN, SIG_BITS, STATE

BIAS = 127

ADDED = 38
"""Bits of the product that the first stage adds; the rest would make it the slower one."""

UPPER = 2 * SIG_BITS - ADDED
PARTS = data.StructLayout(
    {
        "rest": 1,
        "added": ADDED - SIG_BITS + 2,
        "rows": data.ArrayLayout(UPPER, 2),
        "carry": 1,
        "exp": signed(EXP_BITS + 2),
        "sign": 1,
        "special": 1,
    }
)
"""A product: its upper bits as two rows and a carry to be added, those below, and whether any
further down is set. If it is special, the word is in `rest`, `added` and `rows`."""


class Fp32Multiply(wiring.Component):
    """a * b by the rule of docs/epilogue.md, or a as it is.

    A pipeline of `LATENCY` registers that move when `advance` is 1; one word a cycle.

    Members
    -------
    a, b : STATE
        Factors. Subnormals count as +0.
    on : 1
        Multiply; else the result is a, bit for bit.
    advance : 1
        Enable of all registers.
    o : STATE
        The result, `LATENCY` advances later.
    """

    LATENCY = 2

    a: In(STATE)
    b: In(STATE)
    on: In(1)
    advance: In(1)
    o: Out(STATE)

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return "fp32_multiply"

    def elaborate(self, platform: object) -> Module:
        """Multiply and settle the special cases; register; add, round; register."""
        m = Module()
        parts, word = Signal(PARTS, reset_less=True), Signal(STATE)
        out = Signal(STATE, reset_less=True)
        m.d.comb += self.o.eq(out)
        special, result = self._special(m)
        product, carry = self._multiply(m)
        held = Cat(parts.rest, parts.added, parts.rows)
        with m.If(self.advance):
            m.d.sync += [
                held.eq(Mux(special, result.as_value(), product)),
                parts.carry.eq(carry),
                parts.exp.eq(self.a.exp + self.b.exp - BIAS),
                parts.sign.eq(self.a.sign ^ self.b.sign),
                parts.special.eq(special),
                out.eq(word),
            ]
        self._round(m, parts, word, platform)
        return m

    def _special(self, m: Module) -> tuple[Signal, Signal]:
        """Return whether the result is no rounded product, and then the result."""
        special, result = Signal(), Signal(STATE)
        a, b = self.a, self.b
        a_zero, b_zero = ~a.exp.any(), ~b.exp.any()
        a_top, b_top = a.exp.all(), b.exp.all()
        nan = (a_top & (a.fraction.any() | b_zero)) | (b_top & (b.fraction.any() | a_zero))
        m.d.comb += special.eq(~self.on | a_zero | b_zero | a_top | b_top)
        with m.If(~self.on):
            m.d.comb += result.eq(a)
        with m.Elif(nan):
            m.d.comb += result.eq(NAN)
        with m.Elif(a_top | b_top):
            m.d.comb += [result.exp.eq(EXP_MAX), result.sign.eq(a.sign ^ b.sign)]
        return special, result

    def _multiply(self, m: Module) -> tuple[Value, Value]:
        """Return `rest`, `added` and `rows` of the product, and the carry."""
        a, b = (Cat(x.fraction, Const(1, 1)) for x in (self.a, self.b))
        x, y = compress(m, partial_products(a, b), 2 * SIG_BITS)
        lower = Signal(ADDED + 1)
        padded = [Cat(row[:ADDED], Const(0, 1)) for row in (x, y)]
        m.d.comb += lower.eq(add(m, *padded, Const(0, 1)))
        rest = lower[: SIG_BITS - 2].any()
        return Cat(rest, lower[SIG_BITS - 2 : ADDED], x[ADDED:], y[ADDED:]), lower[-1]

    def _round(self, m: Module, parts: data.View, word: data.View, platform: object) -> None:
        """Add the rows, normalize by at most one bit, round; set `word`."""
        total, normal = Signal(SIG_BITS + 3), Signal(SIG_BITS + 3)
        exp = Signal(signed(EXP_BITS + 2))
        upper = add(m, parts.rows[0], parts.rows[1], parts.carry)
        m.d.comb += [
            total.eq(Cat(parts.rest, parts.added, upper)),
            normal.eq(Mux(total[-1], total, total << 1)),
            exp.eq(parts.exp + total[-1]),
        ]
        rounded = round_word(m, parts.sign, exp, normal, platform)
        held = Cat(parts.rest, parts.added, parts.rows)
        m.d.comb += word.eq(Mux(parts.special, held, rounded.as_value()))
