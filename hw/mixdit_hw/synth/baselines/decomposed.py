"""A PE of 2-bit multipliers that adds to an FP32 sum in every pass, as MixDiT's ancestor has."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from ...packet import EXPONENT_BITS
from ...pe.fp32 import FRACTION_BIAS, SIG_BITS, STATE, normalize
from ...sharing import Shared
from .fp32_loop import Fp32Loop, term_layout
from .pipeline import LoopPipeline, delay

MULTIPLIERS = 16
DIGIT = 2
GROUP = 4
SUM_BITS = 17
"""Signed sum of a pass: 4 * 127**2 at most, for one MX9 product."""
_EXP_BITS = EXPONENT_BITS + 3
ONE_CYCLE = LoopPipeline()


class Mode(enum.Enum, shape=2):
    """Format of both operands: multiply-adds a cycle are 16, 4 and 1."""

    MX4 = 0
    MX6 = 1
    MX9 = 2


OPERAND = data.StructLayout(
    {
        "mag": data.ArrayLayout(DIGIT, MULTIPLIERS),
        "sign": data.ArrayLayout(1, MULTIPLIERS),
        "tau": data.ArrayLayout(1, MULTIPLIERS // 2),
        "exponent": signed(EXPONENT_BITS),
        "nan": 1,
    }
)
"""Elements of one pass: 16 of MX4, 4 of MX6 or 1 of MX9, from lane 0 on.

`mag`: 2-bit digits of the magnitudes, an element's least significant digit first. `tau`: of each
pair of elements. `exponent`: the block's e; an element is worth +-mag * 2**(e + 1 - tau).
"""


class DecomposedPe(wiring.Component):
    """Sixteen 2-bit multipliers for 16 MX4, 4 MX6 or 1 MX9 multiply-adds a cycle, summed in FP32.

    After each multiplier, its product is shifted by the micro-exponents and signed; groups of four
    are put together by digit weight, then the groups. Each pass's sum becomes a floating-point
    number and is added to the FP32 sum, rounded to nearest even (`Fp32Loop`). No bit is lost before
    that, exponents do not wrap.

    Members
    -------
    a, b : In(OPERAND)
        Operands of a pass; one every cycle. `interleave` sums take turns.
    mode : In(Mode)
        Their format.
    clear : In(1)
        Makes the sum 0 instead of adding the pass it comes with.
    acc : Out(STATE)
        The sum of this turn, `pipeline.latency` cycles after its operands.

    Parameters
    ----------
    pipeline
        Its stages. Of those before the loop, one ends behind the integer sum, another behind its
        normalization.
    """

    def __init__(self, pipeline: LoopPipeline = ONE_CYCLE) -> None:
        self.pipeline = pipeline
        super().__init__(
            {
                "a": In(OPERAND),
                "b": In(OPERAND),
                "mode": In(Mode),
                "clear": In(1),
                "acc": Out(STATE),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"decomposed_pe{self.pipeline.suffix}"

    def elaborate(self, platform: object) -> Module:
        """Register, multiply, normalize, add."""
        m = Module()
        before = self.pipeline.cuts
        a, b, mode, clear = (
            delay(m, getattr(self, name), 1, f"{name}_reg") for name in ("a", "b", "mode", "clear")
        )
        m.submodules.dot = dot = Shared(DecomposedDot())
        m.d.comb += [dot.a.eq(a), dot.b.eq(b), dot.mode.eq(mode)]
        exponent, nan = Signal(signed(EXPONENT_BITS + 1)), Signal()
        m.d.comb += [exponent.eq(a.exponent + b.exponent), nan.eq(a.nan | b.nan)]
        total, exponent, nan = (
            delay(m, x, before > 0, f"{name}_reg")
            for x, name in ((dot.total, "total"), (exponent, "exponent"), (nan, "nan"))
        )
        term = _to_float(m, total, exponent, nan)
        m.submodules.loop = loop = Shared(
            Fp32Loop(SUM_BITS - 1, _EXP_BITS, self.pipeline.interleave)
        )
        m.d.comb += [
            loop.term.eq(delay(m, term, before > 1, "term_reg")),
            loop.clear.eq(delay(m, clear, before, "late_clear")),
            self.acc.eq(loop.acc),
        ]
        return m


def _to_float(m: Module, total: Value, exponent: Value, nan: Value) -> Signal:
    """Return total * 2**exponent as a term of the loop."""
    width = SUM_BITS - 1
    term = Signal(term_layout(width, _EXP_BITS))
    magnitude = Signal(width)
    m.d.comb += magnitude.eq((total[:width] ^ total[-1].replicate(width)) + total[-1])
    normal, zeros = normalize(m, magnitude)
    m.d.comb += [
        term.sig.eq(normal),
        term.exp.eq(exponent + (FRACTION_BIAS - (SIG_BITS - width)) - zeros),
        term.sign.eq(total[-1]),
        term.used.eq(normal[-1]),
        term.nan.eq(nan),
    ]
    return term


class DecomposedDot(wiring.Component):
    """The integer part of a pass. Combinational.

    Members
    -------
    a, b, mode
        As in `DecomposedPe`; exponent and NaN flag do not matter.
    total : Out(signed(SUM_BITS))
        Sum of the products, each times 2**(2 - tau_a - tau_b).
    """

    a: In(OPERAND)
    b: In(OPERAND)
    mode: In(Mode)
    total: Out(signed(SUM_BITS))

    module_name = "decomposed_dot"

    def elaborate(self, platform: object) -> Module:
        """Multiply and shift, put groups together, add them."""
        m = Module()
        whole, joined = Signal(), Signal()
        m.d.comb += [whole.eq(self.mode == Mode.MX9), joined.eq(self.mode != Mode.MX4)]
        groups = []
        for g in range(GROUP):
            products = [self._product(m, g, k, joined=joined, whole=whole) for k in range(GROUP)]
            groups.append(_weigh(m, f"group_{g}", products, joined, DIGIT))
        m.d.comb += self.total.eq(_weigh(m, "sum", groups, whole, 2 * DIGIT))
        return m

    def _product(self, m: Module, g: int, k: int, *, joined: Value, whole: Value) -> Signal:
        """Return the product of multiplier k of group g: shifted and signed."""
        name = f"{g}_{k}"
        lane = GROUP * g + k
        # Digits of the elements: k = 2 i + j takes digit i of a and j of b, and so does g.
        a_digit, b_digit = (
            Mux(
                whole,
                x.mag[2 * (g >> n & 1) + (k >> n & 1)],
                Mux(joined, x.mag[2 * g + (k >> n & 1)], x.mag[lane]),
            )
            for x, n in ((self.a, 1), (self.b, 0))
        )
        (a_tau, a_sign), (b_tau, b_sign) = (
            (
                Mux(whole, x.tau[0], Mux(joined, x.tau[g // 2], x.tau[lane // 2])),
                Mux(whole, x.sign[0], Mux(joined, x.sign[g], x.sign[lane])),
            )
            for x in (self.a, self.b)
        )
        x, y = Signal(DIGIT, name=f"a_{name}"), Signal(DIGIT, name=f"b_{name}")
        product = Signal(2 * DIGIT, name=f"product_{name}")
        shifted = Signal(2 * DIGIT + 2, name=f"shifted_{name}")
        negative = Signal(name=f"negative_{name}")
        result = Signal(signed(2 * DIGIT + 3), name=f"signed_{name}")
        m.d.comb += [
            x.eq(a_digit),
            y.eq(b_digit),
            product.eq(Mux(x[0], y, 0) + (Mux(x[1], y, 0) << 1)),
            shifted.eq(
                Mux(
                    a_tau,
                    Mux(b_tau, product, product << 1),
                    Mux(b_tau, product << 1, product << 2),
                )
            ),
            negative.eq(a_sign ^ b_sign),
        ]
        m.d.comb += result.eq(Mux(negative, -shifted, shifted))
        return result


def _weigh(m: Module, name: str, parts: list[Value], weigh: Value, digit: int) -> Signal:
    """Return the sum of four parts, with `weigh` each by its digits' weights.

    Those of parts 1 and 2 are the same, so they are added first.
    """
    width = len(parts[0])
    middle = Signal(signed(width + 1), name=f"{name}_middle")
    ends = Signal(signed(width + 2 * digit + 1), name=f"{name}_ends")
    total = Signal(signed(width + 2 * digit + 2), name=name)
    m.d.comb += [
        middle.eq(parts[1] + parts[2]),
        ends.eq(parts[0] + Mux(weigh, parts[3] << (2 * digit), parts[3])),
        total.eq(ends + Mux(weigh, middle << digit, middle)),
    ]
    return total
