"""Digit passes join exactly: at a block's last pass the join register is the whole product."""

from itertools import product

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.array.sequencer import TAG, Sequencer
from mixdit_hw.config import ArrayConfig
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_hw.pe.accumulator import AccumulatorConfig
from mixdit_hw.pe.dot import DOT_BITS
from mixdit_hw.pe.pe import PE
from mixdit_sw.codec.packets import passes
from mixdit_sw.formats import DIGIT_BITS, MAX_DIGITS


class _OpenPE(PE):
    """A PE with three of its inner values in sight: dot result, join register, block complete."""

    def __init__(self, accumulator: AccumulatorConfig, *, dot_register: bool) -> None:
        super().__init__(accumulator, dot_register=dot_register)
        self.result = Signal(signed(DOT_BITS + 1))
        self.block = Signal(signed(accumulator.block_bits))
        self.done = Signal()

    def elaborate(self, platform: object) -> Module:
        """Bring them out."""
        m = super().elaborate(platform)
        dot, accumulator = m.submodules.dot, m.submodules.accumulator
        m.d.comb += [
            self.result.eq(dot.sum + dot.carry),
            self.block.eq(accumulator.block),
            self.done.eq(accumulator.valid),
        ]
        return m


class JoinProof(wiring.Component):
    """Sequencer and PE, whose dot unit is cut out: in each pass its result is any at all.

    A lane is the sum of its digits, so the product of two blocks is the sum, over all pairs of
    digits (i, j), of their dot product times 16**(i + j). That sum is what the join must hold, for
    whatever dot products. It is compared in as many bits as the join has: all arithmetic is modulo
    a power of two, and a configuration's blocks fit (`ArrayConfig.block_bits`).

    A cycle without a beat sends magnitudes of zero, so the dot product is 0 then.

    Members
    -------
    tag, last, valid, drain_ready
        Beats of blocks of any precisions, with any pauses.
    done, block, expected
        A block's last pass is in the join register; the register; the sum.
    """

    CUT = ("pe.dot",)
    """The module whose outputs are free."""

    def __init__(self, config: ArrayConfig) -> None:
        self._config = config
        bits = signed(config.block_bits)
        super().__init__(
            {
                "tag": In(TAG),
                "last": In(1),
                "valid": In(1),
                "drain_ready": In(1),
                "done": Out(1),
                "block": Out(bits),
                "expected": Out(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire sequencer and PE as a cluster does; sum the dot products beside them."""
        m = Module()
        m.submodules.sequencer = sequencer = Sequencer(self._config)
        m.submodules.pe = pe = _OpenPE(self._config.pe_accumulator, dot_register=False)
        for name in ("tag", "last", "valid", "drain_ready"):
            m.d.comb += getattr(sequencer, name).eq(getattr(self, name))
        m.d.comb += [
            pe.control.eq(sequencer.control),
            self.block.eq(pe.block),
            self.done.eq(pe.done),
        ]
        never_reset(m)
        accepted = Signal()
        m.d.comb += accepted.eq(self.valid & sequencer.ready)
        assume(m, implies(~accepted, pe.result == 0))
        count = self._count(m, accepted)
        weight = self._weight(m, count)
        addend = Signal(signed(self._config.block_bits))
        m.d.comb += addend.eq(pe.result << (DIGIT_BITS * weight))
        with m.If(accepted):
            m.d.sync += self.expected.eq(Mux(count == 0, 0, self.expected) + addend)
        # On the way, what is still to be shifted is missing: the solver goes from pass to pass.
        reached = Signal.like(weight, name="reached_weight")
        shifted = Signal(signed(self._config.block_bits))
        with m.If(accepted):
            m.d.sync += reached.eq(weight)
        m.d.comb += shifted.eq(self.block << (DIGIT_BITS * reached))
        check(m, "on_the_way", shifted == self.expected)
        check(m, "joined", implies(self.done, self.block == self.expected))
        self._cover(m, accepted)
        return m

    def _count(self, m: Module, accepted: Signal) -> Signal:
        """Return the number of the pass in its block; assume legal tags that stay for a block."""
        count = Signal(range(MAX_DIGITS**2))
        tag, last = Signal.like(self.tag, name="tag_before"), Signal(name="last_before")
        a, b = self.tag.a_digits, self.tag.b_digits
        for digits in (a, b):
            assume(m, (digits >= 1) & (digits <= self._config.max_digits))
        assume(m, implies(count != 0, (self.tag == tag) & (self.last == last)))
        with m.If(accepted):
            m.d.sync += [
                count.eq(Mux(count == a * b - 1, 0, count + 1)),
                tag.eq(self.tag),
                last.eq(self.last),
            ]
        return count

    def _weight(self, m: Module, count: Signal) -> Signal:
        """Return i + j of the digits that the operands' source sends in this pass."""
        weight = Signal(range(2 * MAX_DIGITS - 1))
        digits = range(1, self._config.max_digits + 1)
        for p, q in product(digits, digits):
            is_pair = (self.tag.a_digits == p) & (self.tag.b_digits == q)
            for n, step in enumerate(passes(p, q)):
                with m.If(is_pair & (count == n)):
                    m.d.comb += weight.eq(step.a_digit + step.b_digit)
        return weight

    def _cover(self, m: Module, accepted: Signal) -> None:
        """Demand that blocks of the most digits can follow each other."""
        full = (self.tag.a_digits == self._config.max_digits) & (
            self.tag.b_digits == self._config.max_digits
        )
        blocks = Signal(2)
        with m.If(self.done & full):
            m.d.sync += blocks.eq(blocks + 1)
        cover(m, "two_blocks", (blocks == 2) & (self.block < 0))
