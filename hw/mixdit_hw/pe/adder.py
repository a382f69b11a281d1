"""An adder that stays fast through synthesis for area."""

from amaranth.hdl import Cat, Module, Signal, Value

from mixdit_hw.fabric import has_carry_chains

_FIRST, _GROUP = 6, 8
"""Bits of the lowest group and of the others; the lowest must ripple before any carry can skip."""


def add(m: Module, x: Value, y: Value, carry: Value, platform: object = None) -> Value:
    """Return x + y + carry, as wide as x and y, which are equally wide: a carry-skip adder.

    The carry out of a group is generated in it or skips it, which takes two gates. Synthesis for
    area turns other fast adders, a carry-select adder among them, back into a ripple. Where there
    are carry chains it is a plain one.
    """
    if has_carry_chains(platform):
        return (x + y + carry)[: len(x)]
    total: list[Value] = []
    ends = [*range(_FIRST, len(x) - _GROUP // 2, _GROUP), len(x)]
    for k, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        a, b = x[start:end], y[start:end]
        group = Signal(end - start + 1, name=f"group_{k}")
        m.d.comb += group.eq(a + b + carry)
        total.append(group[:-1])
        if k == 0:
            carry = group[-1]
        elif end < len(x):
            alone = Signal(len(group), name=f"group_{k}_alone")
            m.d.comb += alone.eq(a + b)
            skip = Signal(name=f"carry_{k}")
            m.d.comb += skip.eq(alone[-1] | ((a ^ b).all() & carry))
            carry = skip
    return Cat(total)
