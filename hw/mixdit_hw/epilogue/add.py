"""FP32 sum, rounded once to nearest even."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.epilogue.rounding import round_word
from mixdit_hw.pe.adder import add
from mixdit_hw.pe.fp32 import (
    EXP_BITS,
    EXP_MAX,
    NAN,
    SIG_BITS,
    STATE,
    normalize,
    shift_right_sticky,
)

GUARD = 3
"""Guard, round and sticky bits below the significand."""

WIDTH = SIG_BITS + GUARD

PARTS = data.StructLayout({"total": WIDTH + 1, "exp": EXP_BITS, "sign": 1, "special": 1})
"""The sum; or the result, if it is special, in the lower bits of `total`, `exp` and `sign`."""


class Fp32Add(wiring.Component):
    """a + b by the rule of docs/epilogue.md, or a as it is.

    A pipeline of `LATENCY` registers that move when `advance` is 1; one word a cycle.

    Members
    -------
    a, b : STATE
        Addends. Subnormals count as +0.
    on : 1
        Add; else the result is a, bit for bit.
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
        return "fp32_add"

    def elaborate(self, platform: object) -> Module:
        """Settle the special cases, align and add; register; normalize, round; register."""
        m = Module()
        parts, word = Signal(PARTS, reset_less=True), Signal(STATE)
        out = Signal(STATE, reset_less=True)
        m.d.comb += self.o.eq(out)
        special, result = self._special(m)
        total, exp, sign = self._sum(m, platform)
        with m.If(self.advance):
            m.d.sync += [
                parts.total.eq(Mux(special, result.fraction, total)),
                parts.exp.eq(Mux(special, result.exp, exp)),
                parts.sign.eq(Mux(special, result.sign, sign)),
                parts.special.eq(special),
                out.eq(word),
            ]
        self._round(m, parts, word, platform)
        return m

    def _special(self, m: Module) -> tuple[Signal, Signal]:
        """Return whether the result is no rounded sum, and then the result."""
        special, result = Signal(), Signal(STATE)
        a, b = self.a, self.b
        a_top, b_top = a.exp.all(), b.exp.all()
        opposite = a_top & b_top & (a.sign ^ b.sign)
        nan = (a_top & a.fraction.any()) | (b_top & b.fraction.any()) | opposite
        m.d.comb += special.eq(~self.on | a_top | b_top)
        with m.If(~self.on):
            m.d.comb += result.eq(a)
        with m.Elif(nan):
            m.d.comb += result.eq(NAN)
        with m.Else():
            m.d.comb += [result.exp.eq(EXP_MAX), result.sign.eq(Mux(a_top, a.sign, b.sign))]
        return special, result

    def _sum(self, m: Module, platform: object) -> tuple[Signal, Value, Value]:
        """Return total, exponent and sign of the sum; no bit that rounding needs is lost."""
        a, b = self.a, self.b
        a_sig, b_sig = (Mux(x.exp.any(), Cat(x.fraction, Const(1, 1)), 0) for x in (self.a, self.b))
        diff, swap, gap = Signal(signed(EXP_BITS + 1)), Signal(), Signal(EXP_BITS)
        distance = Signal(range(WIDTH + 1))
        big, small, aligned = Signal(WIDTH), Signal(WIDTH), Signal(WIDTH)
        total, unlike = Signal(WIDTH + 1), Signal()
        m.d.comb += [
            diff.eq(b.exp - a.exp),
            swap.eq(b.as_value()[:-1] > a.as_value()[:-1]),
            gap.eq(Mux(swap, diff, -diff)),
            distance.eq(Mux(gap >= WIDTH, WIDTH, gap)),
            big.eq(Mux(swap, b_sig, a_sig) << GUARD),
            small.eq(Mux(swap, a_sig, b_sig) << GUARD),
            unlike.eq(a.sign ^ b.sign),
        ]
        shifted, lost = shift_right_sticky(m, small, distance)
        m.d.comb += [
            aligned.eq(shifted | lost),
            total.eq(
                add(
                    m,
                    Cat(big, Const(0, 1)),
                    Cat(aligned, Const(0, 1)) ^ unlike.replicate(WIDTH + 1),
                    unlike,
                    platform,
                )
            ),
        ]
        return total, Mux(swap, b.exp, a.exp), Mux(swap, b.sign, a.sign)

    def _round(self, m: Module, parts: data.View, word: data.View, platform: object) -> None:
        """Normalize and round the sum; set `word`."""
        total, exp = Signal(WIDTH + 1), Signal(signed(EXP_BITS + 2))
        m.d.comb += total.eq(parts.total)
        normal, zeros = normalize(m, total)
        m.d.comb += exp.eq(parts.exp + 1 - zeros)
        rounded = round_word(m, parts.sign, exp, normal, platform)
        with m.If(parts.special):
            m.d.comb += [
                word.fraction.eq(parts.total),
                word.exp.eq(parts.exp),
                word.sign.eq(parts.sign),
            ]
        with m.Elif(normal[-1]):
            m.d.comb += word.eq(rounded)
