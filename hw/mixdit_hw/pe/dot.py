"""Exact dot product of two digit packets' lanes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.fabric import FABRICS
from mixdit_hw.packet import LANES_LAYOUT, PAIRS
from mixdit_sw.formats import DIGIT_BITS

PRODUCT_BITS = 2 * DIGIT_BITS
PAIR_BITS = PRODUCT_BITS + 2
"""Signed sum of two products."""
TERM_BITS = PAIR_BITS + 2
"""A pair's sum, shifted by 0..2."""
DOT_BITS = TERM_BITS + (PAIRS - 1).bit_length()


def dot_latency(fabric: str) -> int:
    """Return the cycles from two packets' lanes to their dot product."""
    return int(fabric == "fpga")


class Dot(wiring.Component):
    """Sum of the 16 lane products, each pair shifted by 2 - tau_a - tau_b.

    Combinational on gates. On an FPGA a pair's products come from one multiplier block and are
    registered, so the sum is there a cycle later (`dot_latency`).

    Negation is inversion here and a carry into an adder: of a pair's two products, one carry goes
    into the pair's adder, the other, after the pair shift, into one of the adders of the tree. A
    tree over 8 pairs has 7 adders, so the eighth carry leaves as `carry`, for the adder that
    follows.

    Parameters
    ----------
    fabric
        One of `FABRICS`.

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

    def __init__(self, fabric: str = FABRICS[0]) -> None:
        self._fpga = fabric == "fpga"
        super().__init__()

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return "dot_fpga" if self._fpga else "dot"

    def elaborate(self, platform: object) -> Module:
        """Multiply, add in pairs, shift, add up."""
        m = Module()
        a_tau, b_tau = self.a.tau, self.b.tau
        if self._fpga:
            a_tau, b_tau = (Signal(PAIRS, name=f"{x}_tau_reg", reset_less=True) for x in "ab")
            m.d.sync += [a_tau.eq(self.a.tau), b_tau.eq(self.b.tau)]
        terms, carries = [], []
        for pair in range(PAIRS):
            both, carry = (self._block if self._fpga else self._gates)(m, pair)
            term = Signal(signed(TERM_BITS), name=f"term_{pair}")
            m.d.comb += term.eq(_shift(both, carry, a_tau[pair], b_tau[pair]))
            terms.append(term)
            carries.append(carry)
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

    def _gates(self, m: Module, pair: int) -> tuple[Value, Value]:
        """Return the sum of a pair's products without the first one's carry, and that carry."""
        signs, addends = [], []
        for lane in (2 * pair, 2 * pair + 1):
            product = Signal(PRODUCT_BITS, name=f"product_{lane}")
            m.d.comb += product.eq(_multiply(m, lane, self.a.mag[lane], self.b.mag[lane]))
            sign = self.a.sign[lane] ^ self.b.sign[lane]
            addends.append(Cat(product ^ sign.replicate(PRODUCT_BITS), sign).as_signed())
            signs.append(sign)
        return _add(m, f"pair_{pair}", *addends, signs[1], width=PAIR_BITS), signs[0]

    def _block(self, m: Module, pair: int) -> tuple[Value, Value]:
        """Return the registered sum of a pair's products less a carry, and that carry.

        One product has the sum in its middle: (a0 + a1 S) (b1 + b0 S) = a0 b1 + (a0 b0 + a1 b1) S +
        a1 b0 S**2. The lowest part takes 1 from the sum where it is negative.
        """
        low, high = 2 * pair, 2 * pair + 1
        signed_b = []
        for lane in (low, high):
            value = Signal(signed(DIGIT_BITS + 1), name=f"signed_{lane}")
            mag, sign = self.b.mag[lane], self.a.sign[lane] ^ self.b.sign[lane]
            m.d.comb += value.eq(Mux(sign, -mag, mag))
            signed_b.append(value)
        a = Signal(PAIR_BITS + DIGIT_BITS, name=f"block_a_{pair}")
        b = Signal(signed(PAIR_BITS + DIGIT_BITS + 2), name=f"block_b_{pair}")
        product = Signal(2 * PAIR_BITS, name=f"block_{pair}", reset_less=True)
        m.d.comb += [
            a.eq(Cat(self.a.mag[low], Const(0, PAIR_BITS - DIGIT_BITS), self.a.mag[high])),
            b.eq(signed_b[1] + (signed_b[0] << PAIR_BITS)),
        ]
        m.d.sync += product.eq(a * b)
        return product[PAIR_BITS:].as_signed(), product[PAIR_BITS - 1]


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
