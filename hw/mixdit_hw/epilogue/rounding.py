"""The one rounder behind multiplier and adder."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.fabric import has_carry_chains
from mixdit_hw.pe.fp32 import EXP_BITS, EXP_MAX, SIG_BITS, STATE
from mixdit_hw.sharing import Shared

GROUP = 8
"""Bits of the fraction that a carry ripples through."""


class AllOnes(wiring.Component):
    """Whether all bits of a group are 1.

    A module of its own: synthesis for area makes one ripple of all groups where it sees them.

    Members
    -------
    i : GROUP bits
        The group.
    o : 1
        Whether it is all ones.
    """

    i: In(GROUP)
    o: Out(1)

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return f"all_ones_{GROUP}"

    def elaborate(self, platform: object) -> Module:
        """And the bits."""
        m = Module()
        m.d.comb += self.o.eq(self.i.all())
        return m


def round_word(m: Module, sign: Value, exp: Signal, normal: Value, platform: object) -> data.View:
    """Return the FP32 word nearest to a number: ties to even, then Inf above and +0 below.

    `normal` is its significand, with the leading 1 on top, and more than SIG_BITS bits wide; `exp`
    is its biased exponent, signed and EXP_BITS + 2 bits wide.
    """
    fraction, carry = _round_fraction(m, normal, platform)
    # What the exponent tells is known before the carry, which comes late.
    infinite, normal_range = Signal(), Signal()
    next_exp = Signal(EXP_BITS)
    word = Signal(STATE)
    m.d.comb += [
        next_exp.eq(exp + 1),
        infinite.eq((exp >= EXP_MAX) | ((exp == EXP_MAX - 1) & carry)),
        normal_range.eq((exp > 0) | ((exp == 0) & carry)),
    ]
    with m.If(normal_range):
        m.d.comb += [
            word.sign.eq(sign),
            word.exp.eq(Mux(infinite, EXP_MAX, Mux(carry, next_exp, exp))),
            word.fraction.eq(Mux(infinite, 0, fraction)),
        ]
    return word


def _round_fraction(m: Module, normal: Value, platform: object) -> tuple[Value, Value]:
    """Return the fraction rounded to nearest even, and the carry out of it.

    A carry out of the lower bits needs all of them set, the last one too; then a half is enough to
    round up, and the carry need not wait for what is below the half.
    """
    below = len(normal) - SIG_BITS
    half, rest = normal[below - 1], normal[: below - 1].any()
    if has_carry_chains(platform):
        total = Signal(SIG_BITS + 1)
        m.d.comb += total.eq(normal[below:] + (half & (rest | normal[below])))
        return total[: SIG_BITS - 1], total[-1]
    carry, all_ones = half & (rest | normal[below]), half
    groups = []
    for k, start in enumerate(range(below, len(normal), GROUP)):
        group = normal[start : start + GROUP]
        groups.append((group + carry)[:GROUP])
        m.submodules[f"ones_{k}"] = ones = Shared(AllOnes())
        m.d.comb += ones.i.eq(group)
        all_ones = all_ones & ones.o
        carry = all_ones
    return Cat(groups)[:-1], carry
