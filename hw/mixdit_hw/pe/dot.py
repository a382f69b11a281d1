"""Exact dot product of two digit packets' lanes."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.packet import LANES_LAYOUT, PAIRS
from mixdit_sw.formats import DIGIT_BITS, LANES

PRODUCT_BITS = 2 * DIGIT_BITS
PAIR_BITS = PRODUCT_BITS + 2
"""Signed sum of two products."""
TERM_BITS = PAIR_BITS + 2
"""A pair's sum, shifted by 0..2."""
DOT_BITS = TERM_BITS + (PAIRS - 1).bit_length()


class Dot(wiring.Component):
    """Sum of the 16 lane products, each pair shifted by 2 - tau_a - tau_b. Combinational.

    A pair of products is p0 +- p1, negated as a whole where p0 is negative. Negation is inversion
    here and a carry into one of the adders of the tree; a tree over 8 pairs has 7 adders, so the
    eighth carry leaves as `carry`, for the adder that follows.

    Members
    -------
    a, b : LANES_LAYOUT
        Lanes of the two packets.
    sum : signed(DOT_BITS)
        With `carry`, the dot product: D = sum + carry.
    carry : 1
        See `sum`.
    """

    a: In(LANES_LAYOUT)
    b: In(LANES_LAYOUT)
    sum: Out(signed(DOT_BITS))
    carry: Out(1)

    def elaborate(self, platform: object) -> Module:
        """Multiply, add in pairs, shift, add up."""
        m = Module()
        products, signs = [], []
        for lane in range(LANES):
            product = Signal(PRODUCT_BITS, name=f"product_{lane}")
            m.d.comb += product.eq(self.a.mag[lane] * self.b.mag[lane])
            products.append(product)
            signs.append(self.a.sign[lane] ^ self.b.sign[lane])
        terms, carries = [], []
        for pair in range(PAIRS):
            term, negative = self._pair(m, pair, products[2 * pair :], signs[2 * pair :])
            terms.append(term)
            carries.append(negative)
        m.d.comb += self.carry.eq(carries.pop())
        level = 0
        while len(terms) > 1:
            level += 1
            terms = [
                _add(m, f"sum_{level}_{i}", x, y, carries.pop())
                for i, (x, y) in enumerate(zip(terms[::2], terms[1::2], strict=True))
            ]
        m.d.comb += self.sum.eq(terms[0])
        return m

    def _pair(
        self, m: Module, pair: int, products: list[Signal], signs: list[Value]
    ) -> tuple[Signal, Signal]:
        """Return the shifted, inverted-if-negative sum of a pair and whether it was inverted."""
        unlike = Signal(name=f"unlike_{pair}")
        negative = Signal(name=f"negative_{pair}")
        m.d.comb += [unlike.eq(signs[0] ^ signs[1]), negative.eq(signs[0])]
        second = Signal(signed(PRODUCT_BITS + 1), name=f"second_{pair}")
        m.d.comb += second.eq(Cat(products[1] ^ unlike.replicate(PRODUCT_BITS), unlike))
        both = _add(m, f"pair_{pair}", products[0], second, unlike, width=PAIR_BITS)
        inverted = Signal(signed(PAIR_BITS), name=f"inverted_{pair}")
        m.d.comb += inverted.eq(both ^ negative.replicate(PAIR_BITS))
        term = Signal(signed(TERM_BITS), name=f"term_{pair}")
        m.d.comb += term.eq(_shift(inverted, negative, self.a.tau[pair], self.b.tau[pair]))
        return term, negative


def _shift(x: Value, fill: Value, tau_a: Value, tau_b: Value) -> Value:
    """Return x shifted by 2 - tau_a - tau_b; inverted, if it is, in the new bits too."""
    by_one, by_two = Cat(fill, x).as_signed(), Cat(fill, fill, x).as_signed()
    return Mux(tau_a, Mux(tau_b, x, by_one), Mux(tau_b, by_one, by_two))


def _add(m: Module, name: str, x: Value, y: Value, carry: Value, width: int = 0) -> Signal:
    """Return a named signal with x + y + carry, one bit wider than its addends unless told."""
    total = Signal(signed(width or len(x) + 1), name=name)
    m.d.comb += total.eq(x + y + carry)
    return total
