"""The `fp32` accumulator (docs/numerics.md): one rounding to nearest even for every block."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

SIG_BITS = 24
EXP_BITS = 8
EXP_MAX = (1 << EXP_BITS) - 1
FRACTION_BIAS = 127 + SIG_BITS - 1
"""Biased exponent of a number whose significand's least bit weighs 1."""

STATE = data.StructLayout({"fraction": SIG_BITS - 1, "exp": EXP_BITS, "sign": 1})
"""An FP32 word: what the state is, and what it drains as. No subnormals, one NaN."""

NAN = 0x7FC00000


def prepared_layout(block_bits: int, exponent_bits: int) -> data.StructLayout:
    """Layout of a prepared block: sign, significand with its leading 1 on top, biased exponent."""
    return data.StructLayout(
        {
            "sig": block_bits - 1,
            "exp": signed(exponent_bits + 1),
            "sign": 1,
            "used": 1,
            "nan": 1,
            "first": 1,
        }
    )


class Fp32Prepare(wiring.Component):
    """Normalize a block's integer. Combinational.

    Members
    -------
    block : signed(block_bits)
        The block's exact integer D; -2**(block_bits - 1) does not occur.
    exponent : signed(exponent_bits)
        Its weight, y.
    valid, first, nan : 1
        There is a block; it starts a new sum; it is NaN.
    prepared : prepared_layout
        For the step.
    """

    def __init__(self, block_bits: int, exponent_bits: int) -> None:
        super().__init__(
            {
                "block": In(signed(block_bits)),
                "exponent": In(signed(exponent_bits)),
                "valid": In(1),
                "first": In(1),
                "nan": In(1),
                "prepared": Out(prepared_layout(block_bits, exponent_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take the magnitude, count leading zeros by halves, shift them out."""
        m = Module()
        width = len(self.block) - 1
        sign = self.block[-1]
        magnitude = Signal(width)
        m.d.comb += magnitude.eq((self.block[:width] ^ sign.replicate(width)) + sign)
        normal, zeros = normalize(m, magnitude)
        m.d.comb += [
            self.prepared.sig.eq(normal),
            self.prepared.sign.eq(sign),
            self.prepared.exp.eq(self.exponent + (FRACTION_BIAS - (SIG_BITS - width)) - zeros),
            self.prepared.used.eq(self.valid & self.block.any()),
            self.prepared.nan.eq(self.nan & self.valid),
            self.prepared.first.eq(self.first & self.valid),
        ]
        return m


def normalize(m: Module, x: Signal, levels: range | None = None) -> tuple[Signal, Value]:
    """Return x with its leading zeros shifted out, and their count; all zeros stay so.

    `levels` are the bits of the count to do, all if None; higher ones have been done before.
    """
    zeros = []
    for level in reversed(levels or range((len(x) - 1).bit_length())):
        step = 1 << level
        empty = Signal(name=f"{x.name}_empty_{step}")
        shifted = Signal(len(x), name=f"{x.name}_by_{step}")
        m.d.comb += [
            empty.eq(~x[-step:].any()),
            shifted.eq(Mux(empty, x << step, x)),
        ]
        zeros.insert(0, empty)
        x = shifted
    return x, Cat(zeros)


def round_to_even(x: Value) -> Value:
    """Return the SIG_BITS + 1 bits of x without its lower bits, rounded to nearest even."""
    below = len(x) - SIG_BITS
    sig, half, rest = x[below:], x[below - 1], x[: below - 1].any()
    return sig + (half & (rest | sig[0]))


class Fp32Step(wiring.Component):
    """state, prepared block -> next state: an FP32 adder, cut by one register if `latency` is 2.

    Members
    -------
    state : STATE
        Accumulator before the block.
    prepared : prepared_layout
        The block, in the same cycle.
    next : STATE
        Accumulator after it, `latency` - 1 cycles later.
    """

    GUARD = 3
    """Guard, round and sticky bits below the significand."""

    def __init__(self, block_bits: int, exponent_bits: int, latency: int = 1) -> None:
        self._latency = latency
        self.module_name = f"step_fp32_d{block_bits}_e{exponent_bits}_l{latency}"
        super().__init__(
            {
                "state": In(STATE),
                "prepared": In(prepared_layout(block_bits, exponent_bits)),
                "next": Out(STATE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Order by magnitude, align, add or subtract, normalize, round."""
        m = Module()
        block = self.prepared
        keep = Signal(STATE)
        c_sig, c_zero = Signal(SIG_BITS), Signal()
        m.d.comb += [
            keep.eq(Mux(block.first, 0, self.state)),
            c_zero.eq(keep.exp == 0),
            c_sig.eq(Mux(c_zero, 0, Cat(keep.fraction, Const(1, 1)))),
        ]
        d_sig = Signal(SIG_BITS)
        m.d.comb += d_sig.eq(Mux(block.used, block.sig << (SIG_BITS - len(block.sig)), 0))
        diff = Signal(signed(len(block.exp) + 1))
        swap = Signal()
        m.d.comb += [
            diff.eq(block.exp - keep.exp),
            swap.eq(block.used & (c_zero | (diff > 0) | ((diff == 0) & (d_sig > c_sig)))),
        ]
        width = SIG_BITS + self.GUARD
        big, small, aligned = Signal(width), Signal(width), Signal(width)
        distance = Signal(range(width + 1))
        gap = Signal(len(diff))
        m.d.comb += [
            gap.eq(Mux(swap, diff, -diff)),
            distance.eq(Mux(gap >= width, width, gap)),
            big.eq(Mux(swap, d_sig, c_sig) << self.GUARD),
            small.eq(Mux(swap, c_sig, d_sig) << self.GUARD),
        ]
        shifted, lost = shift_right_sticky(m, small, distance)
        m.d.comb += aligned.eq(shifted | lost)
        parts = Signal(
            data.StructLayout(
                {
                    "total": width + 1,
                    "exp": signed(len(block.exp)),
                    "sign": 1,
                    "special": 1,
                    "keep": STATE,
                    "nan": 1,
                }
            )
        )
        unlike = Signal()
        m.d.comb += [
            unlike.eq(block.sign ^ keep.sign),
            parts.total.eq(Mux(unlike, big - aligned, big + aligned)),
            parts.exp.eq(Mux(swap, block.exp, keep.exp)),
            parts.sign.eq(Mux(swap, block.sign, keep.sign)),
            parts.special.eq((keep.exp == EXP_MAX) | ~block.used),
            parts.keep.eq(keep),
            parts.nan.eq(block.nan),
        ]
        if self._latency == 2:
            cut = Signal.like(parts, name="cut", reset_less=True)
            m.d.sync += cut.eq(parts)
            parts = cut
        self._round(m, parts)
        return m

    def _round(self, m: Module, parts: data.View) -> None:
        """Normalize and round the exact sum; pick the special cases."""
        total = Signal(len(parts.total))
        m.d.comb += total.eq(parts.total)
        normal, zeros = normalize(m, total)
        rounded = Signal(SIG_BITS + 1)
        exp = Signal(signed(len(parts.exp) + 1))
        m.d.comb += [
            rounded.eq(round_to_even(normal)),
            exp.eq(parts.exp + 1 - zeros + rounded[-1]),
        ]
        with m.If(parts.nan):
            m.d.comb += self.next.eq(NAN)
        with m.Elif(parts.special):
            m.d.comb += self.next.eq(parts.keep)
        with m.Elif(~normal[-1] | (exp <= 0)):
            m.d.comb += self.next.eq(0)
        with m.Else():
            m.d.comb += [
                self.next.sign.eq(parts.sign),
                self.next.exp.eq(Mux(exp >= EXP_MAX, EXP_MAX, exp)),
                self.next.fraction.eq(Mux(exp >= EXP_MAX, 0, rounded[: SIG_BITS - 1])),
            ]


def shift_right_sticky(m: Module, x: Signal, amount: Signal) -> tuple[Value, Value]:
    """Return x >> amount and whether a 1 was cut off."""
    lost: list[Value] = []
    for level in range(len(amount)):
        step = 1 << level
        shifted = Signal(len(x), name=f"right_{step}")
        lost.append(amount[level] & x[:step].any())
        m.d.comb += shifted.eq(Mux(amount[level], x >> step, x))
        x = shifted
    return x, Cat(lost).any()
