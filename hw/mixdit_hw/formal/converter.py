"""The converter's stored blocks are what docs/numerics.md says, bit for bit."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_sw.formats import LANES, MicroExponentFormat

SIG, NAN = 24, 255
"""FP32: bits of a significand, of value sig * 2**(e - 150); the exponent field of NaN and Inf."""


class ConverterProof(wiring.Component):
    """Any blocks with any pauses: each stored block is the specification's for its 16 numbers.

    Exponent and micro-exponents are proved whole, elements of the chosen lanes, with all other
    lanes free. Without `pauses` the sink is always ready: then what is in the pipeline depends on
    the last inputs only, and the proof can be by induction.
    """

    def __init__(
        self,
        formats: tuple[MicroExponentFormat, ...],
        lanes: Iterable[int] = range(LANES),
        *,
        pauses: bool = True,
    ) -> None:
        self._formats, self._lanes, self._pauses = formats, tuple(lanes), pauses
        self._dut = MxConverter(formats)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Carry each block beside the converter, and compare it with what comes out."""
        m = Module()
        m.submodules.dut = dut = self._dut
        wiring.connect(m, wiring.flipped(self), dut)
        never_reset(m)
        if not self._pauses:
            assume(m, self.o.ready)
        assume(m, self.i.payload.format < len(self._formats))
        block = self.i.payload
        for n in range(dut.LATENCY):
            later = Signal.like(self.i.payload, name=f"block_{n}")
            with m.If(self.i.ready):
                m.d.sync += later.eq(block)
            block = later
        stored = self.o.payload.stored
        shown = self.o.valid
        check(m, "format", implies(shown, self.o.payload.format == block.format))
        exponent, taus = stored[:8], stored[8:16]
        fields = [word.exponent for word in block.words]
        check(m, "exponent", implies(shown, _is_largest(exponent, fields)))
        is_nan = exponent == NAN
        expected = Cat(
            ~is_nan & (fields[n] < exponent) & (fields[n + 1] < exponent)
            for n in range(0, LANES, 2)
        )
        check(m, "micro_exponents", implies(shown, taus == expected))
        for number, fmt in enumerate(self._formats):
            chosen = shown & (block.format == number)
            self._check_elements(m, fmt, chosen, block, stored)
            cover(m, f"converts_{fmt.name}", chosen & ~is_nan & (exponent != 0))
        return m

    def _check_elements(
        self, m: Module, fmt: MicroExponentFormat, chosen: Value, block: data.View, stored: Value
    ) -> None:
        """Check elements of one format, and that nothing is above them."""
        bits, exponent, taus = fmt.magnitude_bits, stored[:8], stored[8:16]
        for lane in self._lanes:
            word, at = block.words[lane], 16 + lane * (1 + bits)
            distance = exponent - word.exponent - taus[lane // 2]
            sig = Mux(word.exponent == 0, 0, Cat(word.fraction, Const(1, 1)))
            magnitude = Signal(bits, name=f"magnitude_{fmt.name}_{lane}")
            m.d.comb += magnitude.eq(Mux(exponent == NAN, 0, _rounded(sig, distance, bits)))
            sign = word.sign & (magnitude != 0)
            element = stored[at : at + 1 + bits]
            check(m, f"{fmt.name}_{lane}", implies(chosen, element == Cat(magnitude, sign)))
        above = stored[16 + LANES * (1 + bits) :]
        check(m, f"{fmt.name}_above", implies(chosen, ~above.any()))


def _is_largest(x: Value, values: list[Value]) -> Value:
    """Return whether x is one of some numbers and none is larger."""
    return Cat(x == v for v in values).any() & Cat(x >= v for v in values).all()


def _rounded(sig: Value, distance: Value, bits: int) -> Value:
    """Return sig / 2**(24 - bits + distance) to nearest even, at most 2**bits - 1.

    From a divisor of 2**26 the quotient is below 1/4.
    """
    result: Value = Const(0, bits)
    largest = (1 << bits) - 1
    for cut in range(SIG - bits, SIG + 2):
        padded = Cat(sig, Const(0, 2))
        quotient, rest, half = padded[cut:], padded[:cut], 1 << (cut - 1)
        up = (rest > half) | ((rest == half) & quotient[0])
        code = quotient + up
        found = Mux(code > largest, largest, code)[:bits]
        result = Mux(distance == cut - (SIG - bits), found, result)
    return result
