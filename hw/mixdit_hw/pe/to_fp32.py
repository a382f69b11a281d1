"""Conversion of a drained accumulator to FP32, at the edge of a cluster."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.pe import aligned
from mixdit_hw.pe.accumulator import AccumulatorConfig
from mixdit_hw.pe.adder import add
from mixdit_hw.pe.fp32 import (
    EXP_MAX,
    FRACTION_BIAS,
    NAN,
    SIG_BITS,
    STATE,
    normalize,
    round_to_even,
)
from mixdit_sw.gemm.kinds import Aligned

LATE_LEVELS = 2
"""Levels of the normalization behind the register: those for leading zeros below 4."""


class ToFp32(wiring.Component):
    """state -> FP32 word, rounded once to nearest even. Two cycles, one word a cycle.

    Overflow gives Inf, underflow +0, the NaN flag 0x7FC00000. An fp32 accumulator is such a word
    already and only delayed.

    Members
    -------
    i : state_layout
        A drained accumulator.
    o : STATE
        Its value, `LATENCY` cycles later.
    """

    LATENCY = 2

    def __init__(self, accumulator: AccumulatorConfig) -> None:
        self._accumulator = accumulator
        super().__init__({"i": In(accumulator.state_layout), "o": Out(STATE)})

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return f"to_fp32_{self._accumulator.kind}"

    def elaborate(self, platform: object) -> Module:
        """Delay, or: magnitude and most of the normalization, register, its end and rounding."""
        m = Module()
        kind = self._accumulator.kind
        if not isinstance(kind, Aligned):
            word = Signal(STATE)
            m.d.sync += [word.eq(self.i), self.o.eq(word)]
            return m
        width = kind.significand_bits
        sign = self.i.significand[-1]
        magnitude = Signal(width)
        inverted = self.i.significand ^ sign.replicate(width)
        m.d.comb += magnitude.eq(add(m, inverted, Const(0, width), sign, platform))
        high = range(LATE_LEVELS, (width - 1).bit_length())
        normal, zeros = normalize(m, magnitude, high)
        parts = Signal(
            data.StructLayout(
                {
                    "normal": width,
                    "zeros": len(zeros),
                    "window": self.i.window.shape(),
                    "sign": 1,
                    "nan": 1,
                }
            )
        )
        m.d.sync += [
            parts.normal.eq(normal),
            parts.zeros.eq(zeros),
            parts.window.eq(self.i.window),
            parts.sign.eq(sign),
            parts.nan.eq(self.i.nan),
        ]
        step_log2 = kind.step_bits.bit_length() - 1
        weight = Signal(signed(aligned.weight_bits(self._accumulator.exponent_bits)))
        m.d.comb += weight.eq(Cat(Const(0, step_log2), parts.window).as_signed())
        self._round(m, parts, weight, kind.guard_bits - aligned.exponent_offset(kind))
        return m

    def _round(self, m: Module, parts: data.View, weight: Signal, guard: int) -> None:
        """Round the normalized magnitude to a significand; pick the special cases.

        `guard` is what the stored window is too high by.
        """
        below = len(parts.normal) - SIG_BITS
        almost = Signal.like(parts.normal, name="almost_normal")
        m.d.comb += almost.eq(parts.normal)
        normal, last_zeros = normalize(m, almost, range(LATE_LEVELS))
        zeros = Cat(last_zeros, parts.zeros)
        rounded = Signal(SIG_BITS + 1)
        exp = Signal(signed(len(weight) + 1))
        m.d.comb += [
            rounded.eq(round_to_even(normal)),
            exp.eq(weight + (FRACTION_BIAS + below - guard) - zeros + rounded[-1]),
        ]
        infinite = Signal()
        m.d.comb += infinite.eq(exp >= EXP_MAX)
        with m.If(parts.nan):
            m.d.sync += self.o.eq(NAN)
        with m.Elif(~normal[-1] | (exp <= 0)):
            m.d.sync += self.o.eq(0)
        with m.Else():
            m.d.sync += [
                self.o.sign.eq(parts.sign),
                self.o.exp.eq(Mux(infinite, EXP_MAX, exp)),
                self.o.fraction.eq(Mux(infinite, 0, rounded[: SIG_BITS - 1])),
            ]
