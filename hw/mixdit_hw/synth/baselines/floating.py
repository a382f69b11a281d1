"""Floating-point baselines: products of small formats, accumulated in FP32."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ...pe.fp32 import STATE
from ...sharing import Shared
from .fp32_loop import Fp32Loop, term_layout
from .pipeline import LoopPipeline, delay

FP32_BIAS = 127
ONE_CYCLE = LoopPipeline()


@dataclass(frozen=True)
class FloatFormat:
    """A small floating-point format: sign, exponent, fraction, most significant first.

    Attributes
    ----------
    name
        Of the format.
    exp_bits, man_bits
        Bits of the exponent and of the fraction.
    finite
        It has no Inf, and NaN is the code of all ones only (E4M3); else an exponent of all ones is
        Inf or NaN.
    """

    name: str
    exp_bits: int
    man_bits: int
    finite: bool = False

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return 1 + self.exp_bits + self.man_bits

    @property
    def sig_bits(self) -> int:
        """Bits of a significand, its leading 1 included."""
        return 1 + self.man_bits

    @property
    def bias(self) -> int:
        """What is subtracted from a stored exponent."""
        return (1 << (self.exp_bits - 1)) - 1

    @property
    def product_exp_bits(self) -> int:
        """Bits of a product's exponent, biased as FP32's, signed."""
        top = 2 * ((1 << self.exp_bits) - 1) - 2 * self.bias + FP32_BIAS + 1
        return max(top.bit_length() + 1, 9)


FP16 = FloatFormat("fp16", 5, 10)
BF16 = FloatFormat("bf16", 8, 7)
FP8 = FloatFormat("fp8", 4, 3, finite=True)
FLOAT_FORMATS = (FP16, BF16, FP8)


class SignificandMultiplier(wiring.Component):
    """Unsigned multiplier, combinational.

    Members
    -------
    a, b : In(a_bits), In(b_bits)
        Operands.
    product : Out(a_bits + b_bits)
        Their product.
    """

    def __init__(self, a_bits: int, b_bits: int) -> None:
        self.module_name = f"multiplier_{a_bits}x{b_bits}"
        super().__init__({"a": In(a_bits), "b": In(b_bits), "product": Out(a_bits + b_bits)})

    def elaborate(self, platform: object) -> Module:
        """Describe the unit."""
        m = Module()
        m.d.comb += self.product.eq(self.a * self.b)
        return m


class FloatMac(wiring.Component):
    """Floating-point multiply-accumulate unit: acc <- acc + a * b, rounded once to FP32.

    Subnormal operands and results count as zero; Inf or NaN in an operand makes the sum NaN, and a
    sum beyond FP32 is Inf, both until the next clear (`Fp32Loop`). Operand registers, then the
    multiplier, then the loop.

    Members
    -------
    a, b : In(fmt.bits)
        Operands; one pair every cycle. `interleave` sums take turns.
    clear : In(1)
        Makes the sum 0 instead of adding the pair it comes with.
    acc : Out(STATE)
        The sum of this turn, `pipeline.latency` cycles after its operands.

    Parameters
    ----------
    fmt
        Format of the operands.
    pipeline
        Its stages. Of those before the loop, one ends behind the multiplier, another cuts it in
        two.
    """

    def __init__(self, fmt: FloatFormat, pipeline: LoopPipeline = ONE_CYCLE) -> None:
        self.fmt, self.pipeline = fmt, pipeline
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "clear": In(1), "acc": Out(STATE)})

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"{self.fmt.name}_mac{self.pipeline.suffix}"

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, add."""
        m = Module()
        fmt = self.fmt
        before = self.pipeline.cuts
        a, b, clear = (
            delay(m, getattr(self, name), 1, f"{name}_reg") for name in ("a", "b", "clear")
        )
        m.submodules.loop = loop = Shared(
            Fp32Loop(2 * fmt.sig_bits, fmt.product_exp_bits, self.pipeline.interleave)
        )
        split = before == 2
        product = self._significand(m, a, b, split=split)
        exp, sign, used, nan = (
            delay(m, x, split, f"{x.name}_early") for x in self._exponent(m, a, b)
        )
        term = Signal(term_layout(2 * fmt.sig_bits, fmt.product_exp_bits))
        m.d.comb += [
            term.sig.eq(Mux(product[-1], product, product << 1)),
            term.exp.eq(exp + product[-1]),
            Cat(term.sign, term.used, term.nan).eq(Cat(sign, used, nan)),
        ]
        m.d.comb += [
            loop.term.eq(delay(m, term, before > 0, "term")),
            loop.clear.eq(delay(m, clear, before, "late_clear")),
            self.acc.eq(loop.acc),
        ]
        return m

    def _significand(self, m: Module, a: Value, b: Value, *, split: bool) -> Value:
        """Multiply the significands; with `split`, in two parts that are registered."""
        man, bits = self.fmt.man_bits, self.fmt.sig_bits
        x, y = (Cat(v[:man], Const(1, 1)) for v in (a, b))
        if not split:
            m.submodules.multiplier = unit = Shared(SignificandMultiplier(bits, bits))
            m.d.comb += [unit.a.eq(x), unit.b.eq(y)]
            return unit.product
        half = bits // 2
        m.submodules.low = low = Shared(SignificandMultiplier(bits, half))
        m.submodules.high = high = Shared(SignificandMultiplier(bits, bits - half))
        m.d.comb += [low.a.eq(x), low.b.eq(y[:half]), high.a.eq(x), high.b.eq(y[half:])]
        product = Signal(2 * bits)
        low_reg, high_reg = delay(m, low.product, 1, "low"), delay(m, high.product, 1, "high")
        m.d.comb += product.eq(low_reg + (high_reg << half))
        return product

    def _exponent(self, m: Module, a: Value, b: Value) -> list[Signal]:
        """Return the product's exponent if its significand is below 2, sign, and flags."""
        fmt = self.fmt
        man = fmt.man_bits
        exps = [v[man:-1] for v in (a, b)]
        exp = Signal(signed(fmt.product_exp_bits), name="exp")
        sign, used, nan = (Signal(unsigned(1), name=n) for n in ("sign", "used", "nan"))
        specials = [
            v[:-1].all() if fmt.finite else e.all() for v, e in zip((a, b), exps, strict=True)
        ]
        m.d.comb += [
            exp.eq(exps[0] + exps[1] + (FP32_BIAS - 2 * fmt.bias)),
            sign.eq(a[-1] ^ b[-1]),
            used.eq(exps[0].any() & exps[1].any()),
            nan.eq(specials[0] | specials[1]),
        ]
        return [exp, sign, used, nan]
