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

    Negation is inversion here and a carry into an adder: of a pair's two products, one carry goes
    into the pair's adder, the other, after the pair shift, into one of the adders of the tree. A
    tree over 8 pairs has 7 adders, so the eighth carry leaves as `carry`, for the adder that
    follows.

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

    module_name = "dot"

    def elaborate(self, platform: object) -> Module:
        """Multiply, add in pairs, shift, add up."""
        m = Module()
        products, signs = [], []
        for lane in range(LANES):
            product = Signal(PRODUCT_BITS, name=f"product_{lane}")
            m.d.comb += product.eq(_multiply(m, lane, self.a.mag[lane], self.b.mag[lane]))
            products.append(product)
            signs.append(self.a.sign[lane] ^ self.b.sign[lane])
        terms, carries = [], []
        for pair in range(PAIRS):
            lanes = slice(2 * pair, 2 * pair + 2)
            terms.append(self._pair(m, pair, products[lanes], signs[lanes]))
            carries.append(signs[2 * pair])
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

    def _pair(self, m: Module, pair: int, products: list[Signal], signs: list[Value]) -> Signal:
        """Return the shifted sum of a pair, without the first product's carry."""
        first, second = (
            Cat(product ^ sign.replicate(PRODUCT_BITS), sign).as_signed()
            for product, sign in zip(products, signs, strict=True)
        )
        both = _add(m, f"pair_{pair}", first, second, signs[1], width=PAIR_BITS)
        term = Signal(signed(TERM_BITS), name=f"term_{pair}")
        m.d.comb += term.eq(_shift(both, signs[0], self.a.tau[pair], self.b.tau[pair]))
        return term


def _multiply(m: Module, lane: int, a: Value, b: Value) -> Value:
    """Return a * b as two sums of two rows, smaller and faster than one sum of four."""
    low, high = (
        Signal(DIGIT_BITS + 2, name=f"low_{lane}"),
        Signal(DIGIT_BITS + 2, name=f"high_{lane}"),
    )
    m.d.comb += [
        low.eq(Mux(b[0], a, 0) + (Mux(b[1], a, 0) << 1)),
        high.eq(Mux(b[2], a, 0) + (Mux(b[3], a, 0) << 1)),
    ]
    return low + (high << 2)


def _shift(x: Value, fill: Value, tau_a: Value, tau_b: Value) -> Value:
    """Return x shifted by 2 - tau_a - tau_b, with `fill` in the new bits."""
    by_one, by_two = Cat(fill, x).as_signed(), Cat(fill, fill, x).as_signed()
    return Mux(tau_a, Mux(tau_b, x, by_one), Mux(tau_b, by_one, by_two))


def _add(m: Module, name: str, x: Value, y: Value, carry: Value, width: int = 0) -> Signal:
    """Return a named signal with x + y + carry, one bit wider than its addends unless told."""
    total = Signal(signed(width or len(x) + 1), name=name)
    m.d.comb += total.eq(x + y + carry)
    return total
