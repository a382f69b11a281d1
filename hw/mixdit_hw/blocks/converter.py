"""FP32 to MX: 16 numbers a cycle in, a stored block a cycle out (docs/converter.md)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.stored import EXPONENT_BITS, block_layout, choose, pack
from mixdit_hw.packet import PAIRS
from mixdit_sw.formats import LANES, NAN_EXPONENT, PAIR, MicroExponentFormat

FRACTION_BITS = 23
KEPT_BITS = 8
"""Bits of a shifted significand: the widest magnitude, 7, and the first bit cut off."""

WORD = data.StructLayout({"fraction": FRACTION_BITS, "exponent": EXPONENT_BITS, "sign": 1})
"""An FP32 number; BF16 is one with 16 zeros below."""
CUT_WORD = data.StructLayout(
    {"sticky": 1, "fraction": KEPT_BITS - 1, "exponent": EXPONENT_BITS, "sign": 1}
)
"""What rounding needs of it: of the fraction's lower bits, whether one is set."""


class MxConverter(wiring.Component):
    """Quantizes blocks to nearest even, saturating, with unique stored bits (docs/formats.md).

    A pipeline of `LATENCY` stages that moves when its last one is free: one block a cycle as long
    as the sink is ready. The bits are those of `mixdit_sw.codec.reference.encode` and
    `mixdit_sw.codec.pack.pack`.

    Members
    -------
    i : stream of {words, format}
        16 FP32 numbers, and the number of the format that they get.
    o : stream of block_layout
        The stored block.
    """

    LATENCY = 3

    def __init__(self, formats: tuple[MicroExponentFormat, ...]) -> None:
        self._formats = formats
        number = range(len(self._formats))
        block = data.StructLayout({"words": data.ArrayLayout(WORD, LANES), "format": number})
        super().__init__(
            {
                "i": In(stream.Signature(block)),
                "o": Out(stream.Signature(block_layout(self._formats))),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return "converter_" + "_".join(fmt.name for fmt in self._formats)

    def elaborate(self, platform: object) -> Module:
        """Find the exponents; shift; round and pack; a register behind each."""
        m = Module()
        self._advance = Signal()
        m.d.comb += [
            self._advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(self._advance),
        ]
        valid: Value = self.i.valid
        for n in range(self.LATENCY - 1):
            valid = self._register(m, valid, f"valid_{n}", reset_less=False)
        exponents = self._find_exponents(m)
        self._round(m, *self._shift(m, *exponents))
        with m.If(self._advance):
            m.d.sync += self.o.valid.eq(valid)
        return m

    def _register(self, m: Module, x: Value, name: str, *, reset_less: bool = True) -> Signal:
        """Return x behind a register that moves with the pipeline."""
        later = Signal(x.shape(), name=name, reset_less=reset_less)
        with m.If(self._advance):
            m.d.sync += later.eq(x)
        return later

    def _find_exponents(self, m: Module) -> tuple:
        """Find the largest exponent of each pair, and of all; cut fractions to what is kept."""
        words = [self.i.payload.words[lane] for lane in range(LANES)]
        fields = [word.exponent for word in words]
        pairs = [_largest(fields[PAIR * j : PAIR * (j + 1)]) for j in range(PAIRS)]
        registers = [
            self._register(m, _largest(pairs), "exponent"),
            [self._register(m, pair, f"pair_{j}") for j, pair in enumerate(pairs)],
            [self._register(m, _cut(word), f"word_{i}") for i, word in enumerate(words)],
            self._register(m, self.i.payload.format, "format_0"),
        ]
        return tuple(registers)

    def _shift(
        self, m: Module, exponent: Signal, pairs: list[Signal], words: list[Signal], number: Signal
    ) -> tuple:
        """Align each significand to its pair; keep its first bits, and whether others are not zero.

        A pair's exponent is at most the block's, less its tau.
        """
        is_nan = exponent == NAN_EXPONENT
        taus = [(pair != exponent) & ~is_nan for pair in pairs]
        below = Signal(EXPONENT_BITS)
        m.d.comb += below.eq(exponent - 1)
        tops = [Signal(EXPONENT_BITS, name=f"top_{j}") for j in range(PAIRS)]
        m.d.comb += [top.eq(Mux(tau, below, exponent)) for top, tau in zip(tops, taus, strict=True)]
        lanes = []
        for lane, word in enumerate(words):
            view = data.View(CUT_WORD, word)
            distance = Signal(EXPONENT_BITS, name=f"distance_{lane}")
            significand = Signal(KEPT_BITS + 1, name=f"significand_{lane}")
            is_number = view.exponent.any() & ~is_nan
            m.d.comb += [
                distance.eq(tops[lane // PAIR] - view.exponent),
                significand.eq(Mux(is_number, Cat(view.sticky, view.fraction, Const(1, 1)), 0)),
            ]
            kept, lost = _shift_right(significand, distance)
            lanes.append(
                (
                    self._register(m, view.sign, f"sign_{lane}"),
                    self._register(m, kept, f"kept_{lane}"),
                    self._register(m, lost, f"sticky_{lane}"),
                )
            )
        return (
            self._register(m, exponent, "exponent_1"),
            self._register(m, Cat(taus), "taus"),
            lanes,
            self._register(m, number, "format_1"),
        )

    def _round(
        self, m: Module, exponent: Signal, taus: Signal, lanes: list[tuple], number: Signal
    ) -> None:
        """Round to the format's bits, saturate, give zero its one sign, lay the block out."""
        words = []
        for fmt in self._formats:
            bits, elements = fmt.magnitude_bits, []
            for lane, (sign, kept, sticky) in enumerate(lanes):
                magnitude = Signal(bits, name=f"{fmt.name}_{lane}")
                m.d.comb += magnitude.eq(_round_to(kept, sticky, bits))
                elements.append((sign & magnitude.any(), magnitude))
            words.append(pack(exponent, taus, elements, bits))
        with m.If(self._advance):
            m.d.sync += [
                self.o.payload.stored.eq(choose(number, words, len(self.o.payload.stored))),
                self.o.payload.format.eq(number),
            ]


def _largest(values: list[Value]) -> Value:
    """Return the largest of some unsigned numbers."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=True)
        values = [Mux(x > y, x, y) for x, y in pairs]
    return values[0]


def _cut(word: data.View) -> Value:
    """Return a number's CUT_WORD."""
    cut = FRACTION_BITS - (KEPT_BITS - 1)
    return Cat(word.fraction[:cut].any(), word.fraction[cut:], word.exponent, word.sign)


def _shift_right(significand: Value, distance: Value) -> tuple[Value, Value]:
    """Return the first KEPT_BITS bits of a shifted significand, and whether others are not zero."""
    steps = KEPT_BITS.bit_length() - 1
    kept, lost = significand[1:], significand[0]
    for n in range(steps):
        lost = lost | (distance[n] & kept[: 1 << n].any())
        kept = Mux(distance[n], kept >> (1 << n), kept)
    far = distance[steps:].any()
    return Mux(far, 0, kept), Mux(far, significand.any(), lost)


def _round_to(kept: Value, sticky: Value, bits: int) -> Value:
    """Return the first `bits` bits of `kept`, rounded to nearest even with what is below them."""
    below = KEPT_BITS - bits
    code, half = kept[below:], kept[below - 1]
    up = half & (sticky | kept[: below - 1].any() | code[0])
    return Mux(code.all(), code, (code + up)[:bits])
