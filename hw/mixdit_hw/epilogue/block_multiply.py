"""FP32 product from an FPGA's multiplier blocks."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data

from mixdit_hw.epilogue.carry_save import partial_products
from mixdit_hw.epilogue.multiply import BIAS, Fp32Multiply
from mixdit_hw.epilogue.rounding import round_word
from mixdit_hw.pe.fp32 import EXP_BITS, SIG_BITS, STATE

BLOCK_BITS = 18
"""Width of a multiplier block."""
HIGH_BITS = SIG_BITS - BLOCK_BITS

FATE = data.StructLayout({"exp": signed(EXP_BITS + 2), "sign": 1, "special": 1, "word": STATE})
"""What goes beside a product: its exponent and sign; whether the result is `word` instead."""


class Fp32BlockMultiply(Fp32Multiply):
    """`Fp32Multiply` with a stage more: three blocks multiply; their products are added; rounded.

    The product of the two upper ends, 6 x 6 bits, is small enough for logic.
    """

    LATENCY = 3

    @property
    def module_name(self) -> str:
        """Name of the Verilog module."""
        return "fp32_block_multiply"

    def elaborate(self, platform: object) -> Module:
        """Multiply and settle the special cases; register; add; register; round; register."""
        m = Module()
        special, result = self._special(m)
        fates = [Signal(FATE, name=f"fate_{stage}", reset_less=True) for stage in range(2)]
        products = self._products(m)
        parts = [
            Signal(len(product), name=f"part_{i}", reset_less=True)
            for i, product in enumerate(products)
        ]
        total = Signal(2 * SIG_BITS, reset_less=True)
        out, word = Signal(STATE, reset_less=True), Signal(STATE)
        low, corner, *cross = parts
        upper = Cat(low[BLOCK_BITS:], corner) + (cross[0] + cross[1])
        with m.If(self.advance):
            m.d.sync += [
                *(part.eq(product) for part, product in zip(parts, products, strict=True)),
                fates[0].exp.eq(self.a.exp + self.b.exp - BIAS),
                fates[0].sign.eq(self.a.sign ^ self.b.sign),
                fates[0].special.eq(special),
                fates[0].word.eq(result),
                total.eq(Cat(low[:BLOCK_BITS], upper)),
                fates[1].eq(fates[0]),
                out.eq(word),
            ]
        self._end(m, total, fates[1], word, platform)
        m.d.comb += self.o.eq(out)
        return m

    def _products(self, m: Module) -> list[Signal]:
        """Return the products of the significands' ends: lower, upper, and the two crossed."""
        (a_low, a_high), (b_low, b_high) = (
            (x.fraction[:BLOCK_BITS], Cat(x.fraction[BLOCK_BITS:], Const(1, 1)))
            for x in (self.a, self.b)
        )
        corner = Signal(2 * HIGH_BITS)
        # Synthesis makes a block of every multiplication that it sees.
        m.d.comb += corner.eq(sum(partial_products(a_high, b_high)))
        products = [corner]
        for name, x, y in (("low", a_low, b_low), ("up", a_high, b_low), ("down", a_low, b_high)):
            product = Signal(len(x) + len(y), name=f"product_{name}")
            m.d.comb += product.eq(x * y)
            products.append(product)
        return [products[1], corner, *products[2:]]

    def _end(
        self, m: Module, product: Signal, fate: data.View, word: data.View, platform: object
    ) -> None:
        """Normalize the product by at most one bit, round; set `word`."""
        total, normal = Signal(SIG_BITS + 3), Signal(SIG_BITS + 3)
        exp = Signal(signed(EXP_BITS + 2))
        below = SIG_BITS - 2
        m.d.comb += [
            total.eq(Cat(product[:below].any(), product[below:])),
            normal.eq(Mux(total[-1], total, total << 1)),
            exp.eq(fate.exp + total[-1]),
        ]
        rounded = round_word(m, fate.sign, exp, normal, platform)
        m.d.comb += word.eq(Mux(fate.special, fate.word, rounded))
