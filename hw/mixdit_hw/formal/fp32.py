"""The `fp32` accumulate step equals exact addition and one rounding (docs/formal.md).

The step is two units, and so is the proof: the prepared block has the value of the block; and for
every legal state and every normalized block, the next state is the rounded exact sum. The second is
split by what the exponents' difference is, so that the exact sum is a plain integer.
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.formal.properties import assume, check, implies, never_reset
from mixdit_hw.pe.fp32 import NAN, STATE, Fp32Prepare, Fp32Step, prepared_layout

SIG, BIAS, INF_EXP = 24, 150, 255
"""FP32: bits of a significand; a number is sig * 2**(exp - 150); exp of Inf and NaN."""

REACH = 25
"""Differences of exponents up to which the exact sum decides.

Beyond, the smaller number is below a quarter of the larger one's last place (2**24 * 2**-26), so
the larger one is the nearest, even if it is a power of two with places below half as wide.
"""


class PrepareProof(wiring.Component):
    """A prepared block is normalized and has the block's sign and value, bit for bit."""

    def __init__(self, block_bits: int, exponent_bits: int) -> None:
        self._block_bits, self._exponent_bits = block_bits, exponent_bits
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
        """Compare with the block's magnitude, shifted by what the exponent says."""
        m = Module()
        m.submodules.dut = dut = Fp32Prepare(self._block_bits, self._exponent_bits)
        for name in ("block", "exponent", "valid", "first", "nan"):
            m.d.comb += getattr(dut, name).eq(getattr(self, name))
        m.d.comb += self.prepared.eq(dut.prepared)
        width = self._block_bits - 1
        assume(m, self.block != -(1 << width))
        negative = self.block < 0
        magnitude = Signal(width)
        zeros = Signal(signed(len(dut.prepared.exp) + 3))
        m.d.comb += [
            magnitude.eq(Mux(negative, -self.block, self.block)),
            zeros.eq(self.exponent + (BIAS - SIG + width) - dut.prepared.exp),
        ]
        exact = Cat((zeros == n) & (dut.prepared.sig == magnitude << n) for n in range(width))
        nonzero = self.block != 0
        check(m, "used", dut.prepared.used == (self.valid & nonzero))
        check(m, "normalized", implies(nonzero, dut.prepared.sig[-1]))
        check(m, "value", implies(nonzero, exact.any()))
        check(m, "sign", implies(nonzero, dut.prepared.sign == negative))
        check(m, "first", dut.prepared.first == (self.first & self.valid))
        check(m, "nan", dut.prepared.nan == (self.nan & self.valid))
        return m


@dataclass(frozen=True)
class Case:
    """Part of the operand space: the block's exponent less the state's is in low..high.

    None for both stands for what no difference describes: an empty, infinite or NaN state, no
    block, a NaN block. The state's significand has every value in each case.
    """

    low: int | None
    high: int | None

    @property
    def name(self) -> str:
        """Name of the proof."""
        if self.low is None:
            return "special"
        return f"gap_{self.low}_{self.high}".replace("-", "m")


def cases(exponent_bits: int) -> list[Case]:
    """Return cases that together are the whole operand space."""
    far = 1 << (exponent_bits + 1)
    near = [Case(n, n) for n in range(-REACH, REACH + 1)]
    return [Case(None, None), Case(-far, -REACH - 1), *near, Case(REACH + 1, far)]


class StepProof(wiring.Component):
    """The next state is the rounded exact sum, in one case; and it is a legal state.

    Takes `latency` cycles, like the unit.
    """

    def __init__(
        self, block_bits: int, exponent_bits: int, case: Case, *, latency: int = 1
    ) -> None:
        self._block_bits, self._exponent_bits, self._case = block_bits, exponent_bits, case
        self._latency = latency
        super().__init__(
            {
                "state": In(STATE),
                "prepared": In(prepared_layout(block_bits, exponent_bits)),
                "next": Out(STATE),
                "expected": Out(STATE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Compare with the specification."""
        m = Module()
        m.submodules.dut = dut = Fp32Step(self._block_bits, self._exponent_bits, self._latency)
        block = self.prepared
        m.d.comb += [
            dut.state.eq(self.state),
            dut.prepared.eq(block),
            self.next.eq(dut.next),
        ]
        if self._latency > 1:
            never_reset(m)
        assume(m, is_legal(self.state))
        assume(m, implies(block.used, block.sig[-1]))

        kept = Signal(STATE)
        m.d.comb += kept.eq(Mux(block.first, 0, self.state))
        gap = Signal(signed(len(block.exp) + 2))
        m.d.comb += gap.eq(block.exp - kept.exp)
        stays = ~block.used | (kept.exp == INF_EXP)
        special = block.nan | stays | (kept.exp == 0)
        if self._case.low is None:
            assume(m, special)
            expected = Mux(block.nan, NAN, Mux(stays, kept, self._rounded_block()))
        else:
            assume(m, ~special & (gap >= self._case.low) & (gap <= self._case.high))
            expected = self._sum(m, kept)
        shown: Value = Const(1, 1)
        if self._latency == 1:
            m.d.comb += self.expected.eq(expected)
        else:
            shown = Signal()
            m.d.sync += [self.expected.eq(expected), shown.eq(1)]
        check(m, "equal", implies(shown, self.next == self.expected))
        check(m, "legal", implies(shown, is_legal(self.next)))
        return m

    def _rounded_block(self) -> Value:
        """Return the block as a word: it has no more bits than a significand."""
        sig = self.prepared.sig << (SIG - len(self.prepared.sig))
        return word(self.prepared.sign, self.prepared.exp, sig)

    def _sum(self, m: Module, kept: data.View) -> Value:
        """Return the rounded exact sum of state and block."""
        block, gap = self.prepared, self._case.low
        if gap > REACH:
            return self._rounded_block()
        if gap < -REACH:
            return kept.as_value()
        c = Cat(kept.fraction, Const(1, 1)) << max(0, -gap)
        d = block.sig << (SIG - len(block.sig) + max(0, gap))
        total = Mux(kept.sign, -c, c) + Mux(block.sign, -d, d)
        sign = total < 0
        exp = kept.exp + Const(min(0, gap), signed(9))
        magnitude = Signal(SIG + abs(gap) + 1)
        m.d.comb += magnitude.eq(Mux(sign, -total, total))
        # Unless the exponents are neighbours, at most one place is lost.
        least = 0 if abs(gap) < 2 else len(magnitude) - 3
        check(m, "first_place", (magnitude == 0) | (magnitude >= 1 << least))
        return rounded(sign, exp, magnitude, least)


def is_legal(state: data.View) -> Value:
    """Return whether a word is +0, normal, infinite or the one NaN."""
    is_zero = state.as_value() == 0
    is_inf = state.fraction == 0
    is_nan = state.as_value() == NAN
    return Mux(state.exp == 0, is_zero, (state.exp != INF_EXP) | is_inf | is_nan)


def word(sign: Value, exp: Value, sig: Value) -> Value:
    """Return a normal number with the limits of the rule: Inf above, +0 below."""
    normal = Cat(sig[: SIG - 1], exp[:8], sign)
    infinite = Cat(Const(0, SIG - 1), Const(INF_EXP, 8), sign)
    return Mux(exp >= INF_EXP, infinite, Mux(exp <= 0, 0, normal))


def rounded(sign: Value, exp: Value, total: Value, least: int) -> Value:
    """Return total * 2**(exp - 150) to nearest even: quotient and remainder at each place.

    The first 1 of `total` is at place `least` or above.
    """
    result: Value = Const(0, 32)
    for first in range(least, len(total)):
        cut = first + 1 - SIG
        if cut > 0:
            quotient, rest, half = total[cut : first + 1], total[:cut], 1 << (cut - 1)
            up = (rest > half) | ((rest == half) & quotient[0])
            sig = quotient + up
        else:
            sig = Cat((total[: first + 1] << -cut)[:SIG], Const(0, 1))
        carry = sig[SIG]
        found = word(sign, exp + Const(cut, signed(8)) + carry, Mux(carry, sig >> 1, sig))
        result = Mux(total[first], found, result)
    return result
