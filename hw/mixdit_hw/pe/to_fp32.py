"""Conversion of a drained accumulator to FP32, at the edge of a cluster."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.pe import aligned
from mixdit_hw.pe.accumulator import AccumulatorConfig
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
        """Delay, or: magnitude and normalization, register, rounding, register."""
        m = Module()
        kind = self._accumulator.kind
        if not isinstance(kind, Aligned):
            word = Signal(STATE)
            m.d.sync += [word.eq(self.i), self.o.eq(word)]
            return m
        width = kind.significand_bits
        sign = self.i.significand[-1]
        magnitude = Signal(width)
        m.d.comb += magnitude.eq((self.i.significand ^ sign.replicate(width)) + sign)
        normal, zeros = normalize(m, magnitude)
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
        self._round(m, parts, weight, kind.step_bits)
        return m

    def _round(self, m: Module, parts: data.View, weight: Signal, guard: int) -> None:
        """Round the normalized magnitude to a significand; pick the special cases.

        The window counts from the block's bits; the significand has `guard` bits below them.
        """
        below = len(parts.normal) - SIG_BITS
        rounded = Signal(SIG_BITS + 1)
        exp = Signal(signed(len(weight) + 1))
        m.d.comb += [
            rounded.eq(round_to_even(parts.normal)),
            exp.eq(weight + (FRACTION_BIAS + below - guard) - parts.zeros + rounded[-1]),
        ]
        infinite = Signal()
        m.d.comb += infinite.eq(exp >= EXP_MAX)
        with m.If(parts.nan):
            m.d.sync += self.o.eq(NAN)
        with m.Elif(~parts.normal[-1] | (exp <= 0)):
            m.d.sync += self.o.eq(0)
        with m.Else():
            m.d.sync += [
                self.o.sign.eq(parts.sign),
                self.o.exp.eq(Mux(infinite, EXP_MAX, exp)),
                self.o.fraction.eq(Mux(infinite, 0, rounded[: SIG_BITS - 1])),
            ]
