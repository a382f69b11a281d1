"""FP32 accumulation for the baselines: an adder in a loop that can be cut in up to four cycles."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ...pe.adder import add
from ...pe.fp32 import EXP_MAX, NAN, SIG_BITS, STATE, normalize
from .pipeline import delay

GUARD = 3
"""Guard, round and sticky bits below the significand."""
WIDTH = SIG_BITS + GUARD
_CUTS = {1: (), 2: ("add",), 3: ("align", "add"), 4: ("order", "align", "add")}
"""Steps of the loop that have a register behind them, by cycles of the loop."""


def term_layout(sig_bits: int, exp_bits: int) -> data.StructLayout:
    """Layout of what is added: sign, significand with its leading 1 on top, exponent, flags.

    `exp` is that of an FP32 word, but signed and wider. `used` is 0 for a zero, whatever the rest.
    """
    return data.StructLayout(
        {"sig": sig_bits, "exp": signed(exp_bits), "sign": 1, "used": 1, "nan": 1}
    )


class Fp32Loop(wiring.Component):
    """Adds a term a cycle to FP32 sums, rounding each once to nearest even.

    A loop of n cycles holds n sums, which take turns: they live in its registers, so that nothing
    else needs to be stored. Below normal is +0, as is an exact zero; beyond is Inf. Inf and NaN
    (0x7FC00000) stay until the next clear.

    Cancelled bits and rounding exclude each other: what needs more than one place of normalization
    is exact. So the normalizing shifter stands beside the rounder and not before it.

    Members
    -------
    term : term_layout
        What is added; NaN makes the sum NaN.
    clear : In(1)
        Makes the sum +0 instead.
    acc : Out(STATE)
        The sum, `cycles` cycles later.

    Parameters
    ----------
    sig_bits, exp_bits
        Of the terms; at most 24 bits of significand.
    cycles
        Of the loop, 1 to 4.
    """

    def __init__(self, sig_bits: int, exp_bits: int, cycles: int) -> None:
        self._cycles = cycles
        self.module_name = f"fp32_loop_s{sig_bits}_e{exp_bits}_c{cycles}"
        super().__init__(
            {"term": In(term_layout(sig_bits, exp_bits)), "clear": In(1), "acc": Out(STATE)}
        )

    def elaborate(self, platform: object) -> Module:
        """Order, align, add, then normalize or round."""
        m = Module()
        parts: dict[str, Value] = {"clear": self.clear}
        for step in ("order", "align", "add"):
            parts = getattr(self, f"_{step}")(m, parts)
            cut = step in _CUTS[self._cycles]
            parts = {k: delay(m, v, cut, f"{step}_{k}") for k, v in parts.items()}
        self._finish(m, parts)
        return m

    def _order(self, m: Module, parts: dict[str, Value]) -> dict[str, Value]:
        """Tell the larger exponent, and by how much; compare significands for when they are equal.

        d = term.exp - acc.exp - 1 gives both distances without a negation: the term's from below
        is ~d, the sum's is d + 1, whose 1 is wired.
        """
        acc, term = self.acc, self.term
        special = Signal()
        c_sig, d_sig = Signal(SIG_BITS), Signal(SIG_BITS)
        less_one = Signal(signed(len(term.exp) + 1))
        swap, above = Signal(), Signal()
        m.d.comb += [
            special.eq(acc.exp == EXP_MAX),
            c_sig.eq(Cat(acc.fraction, acc.exp.any())),
            d_sig.eq(Mux(term.used, term.sig << (SIG_BITS - len(term.sig)), 0)),
            less_one.eq(term.exp + Cat(~acc.exp, Const(1, 1)).as_signed()),
            swap.eq(term.used & ~less_one[-1]),
            above.eq(d_sig > c_sig),
        ]
        gap = Signal(len(less_one) - 1)
        big, small = Signal(SIG_BITS), Signal(WIDTH)
        exp = Signal(signed(len(term.exp)))
        unlike = Signal()
        m.d.comb += [
            gap.eq(less_one[:-1] ^ less_one[-1].replicate(len(gap))),
            big.eq(Mux(swap, d_sig, c_sig)),
            small.eq(Mux(swap, c_sig << (GUARD - 1), d_sig << GUARD)),
            exp.eq(Mux(swap, term.exp, acc.exp)),
            unlike.eq((term.sign ^ acc.sign) & acc.exp.any()),
        ]
        # With equal exponents the term may still be the larger one.
        turned = Signal()
        m.d.comb += turned.eq(~swap & ~gap.any() & above & unlike)
        sign = Signal()
        m.d.comb += sign.eq(Mux((swap | turned) & ~special, term.sign, acc.sign))
        nan = Signal()
        m.d.comb += nan.eq(term.nan | (special & acc.fraction[-1]))
        return parts | {
            "gap": gap,
            "big": big,
            "small": small,
            "exp": exp,
            "unlike": unlike,
            "turned": turned,
            "sign": sign,
            "special": special,
            "nan": nan,
        }

    def _align(self, m: Module, parts: dict[str, Value]) -> dict[str, Value]:
        """Shift the smaller one right; keep in its last bit whether a 1 was cut off."""
        gap, x = parts.pop("gap"), parts.pop("small")
        levels = (WIDTH - 1).bit_length()
        lost: list[Value] = []
        for level in range(levels):
            step = 1 << level
            shifted = Signal(WIDTH, name=f"right_{step}")
            lost.append(gap[level] & x[:step].any())
            m.d.comb += shifted.eq(Mux(gap[level], x >> step, x))
            x = shifted
        far = gap[levels:].any()
        aligned = Signal(WIDTH)
        sticky = Cat(*lost, far & x.any()).any()
        m.d.comb += aligned.eq(Mux(far, 0, x) | sticky)
        return parts | {"aligned": aligned}

    def _add(self, m: Module, parts: dict[str, Value]) -> dict[str, Value]:
        """Add, or subtract the one that is smaller."""
        big, aligned = parts.pop("big"), parts.pop("aligned")
        unlike, turned = parts.pop("unlike"), parts.pop("turned")
        x = Cat(Const(0, GUARD), big) ^ turned.replicate(WIDTH)
        y = aligned ^ (unlike & ~turned).replicate(WIDTH)
        x_wide, y_wide = Signal(WIDTH + 1), Signal(WIDTH + 1)
        m.d.comb += [
            x_wide.eq(Cat(x, turned)),
            y_wide.eq(Cat(y, unlike & ~turned)),
        ]
        total = Signal(WIDTH + 1)
        m.d.comb += total.eq(add(m, x_wide, y_wide, unlike))
        return parts | {"total": total}

    def _finish(self, m: Module, parts: dict[str, Value]) -> None:
        """Round a sum whose leading 1 is in the top 3 places, normalize others; special cases."""
        total, exp = parts["total"], parts["exp"]
        rounded = Signal(SIG_BITS + 1)
        high = Signal()
        m.d.comb += [high.eq(total[-3:].any()), rounded.eq(self._round(m, total))]
        rest = Signal(WIDTH - 2)
        m.d.comb += rest.eq(total[: WIDTH - 2])
        normal, zeros = normalize(m, rest)
        wide = signed(len(exp) + 1)
        new_exp, move = Signal(wide), Signal(signed(7))
        top = Mux(total[-1], 1, Mux(total[-2], 0, -1))
        m.d.comb += [
            move.eq(Mux(high, top, -2 - zeros)),
            new_exp.eq(exp + move + (rounded[-1] & high)),
        ]
        fraction = Mux(high, rounded[: SIG_BITS - 1], normal[-SIG_BITS:-1])
        zero = Signal()
        infinite = Signal()
        m.d.comb += [
            zero.eq((new_exp <= 0) | ~(high | normal[-1])),
            infinite.eq(parts["special"] | (new_exp >= EXP_MAX)),
        ]
        with m.If(parts["clear"]):
            m.d.sync += self.acc.eq(0)
        with m.Elif(parts["nan"]):
            m.d.sync += self.acc.eq(NAN)
        with m.Elif(zero & ~parts["special"]):
            m.d.sync += self.acc.eq(0)
        with m.Else():
            m.d.sync += [
                self.acc.sign.eq(parts["sign"]),
                self.acc.exp.eq(Mux(infinite, EXP_MAX, new_exp)),
                self.acc.fraction.eq(Mux(infinite, 0, fraction)),
            ]

    def _round(self, m: Module, total: Value) -> Value:
        """Return the rounded significand of a sum with its leading 1 in one of the top 3 places."""
        placed = Signal(WIDTH)
        m.d.comb += placed.eq(
            Mux(
                total[-1],
                Cat(total[:2].any(), total[2:]),
                Mux(total[-2], total[:-1], Cat(Const(0, 1), total[:-2])),
            )
        )
        sig = placed[GUARD:]
        up = Signal()
        m.d.comb += up.eq(placed[GUARD - 1] & (placed[: GUARD - 1].any() | sig[0]))
        half = SIG_BITS // 2
        low, top = Signal(half + 1), Signal(SIG_BITS - half + 1)
        m.d.comb += [
            low.eq(sig[:half] + up),
            top.eq(sig[half:] + (sig[:half].all() & up)),
        ]
        return Cat(low[:half], top)
