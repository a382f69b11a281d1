"""Stored MX blocks to digit packets: what lies between operand memory and array."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.stored import EXPONENT_BITS, block_layout, choose, element
from mixdit_hw.packet import EXPONENT_BITS as PACKET_EXPONENT_BITS
from mixdit_hw.packet import PACKET, PAIRS
from mixdit_sw.formats import DIGIT_BITS, LANES, NAN_EXPONENT, MicroExponentFormat


class Unpacker(wiring.Component):
    """Cuts a stored block into its digit packets. One block a cycle, one cycle later.

    The bits are those of `mixdit_sw.codec.packets.to_packets`. Digits that a format does not have
    are zero.

    Members
    -------
    i : stream of block_layout
        The stored block.
    o : stream of {packets, digits}
        A packet for each digit, least significant first, and how many the format has.
    """

    def __init__(self, formats: tuple[MicroExponentFormat, ...]) -> None:
        self._formats = formats
        self._digits = max(fmt.digits for fmt in self._formats)
        packets = data.ArrayLayout(PACKET, self._digits)
        block = data.StructLayout({"packets": packets, "digits": range(self._digits + 1)})
        super().__init__(
            {
                "i": In(stream.Signature(block_layout(self._formats))),
                "o": Out(stream.Signature(block)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return "unpacker_" + "_".join(fmt.name for fmt in self._formats)

    def elaborate(self, platform: object) -> Module:
        """Choose by format, wire the fields, register."""
        m = Module()
        stored, number = self.i.payload.stored, self.i.payload.format
        exponent, taus = stored[:EXPONENT_BITS], stored[EXPONENT_BITS : EXPONENT_BITS + PAIRS]
        is_nan = exponent == NAN_EXPONENT
        offset = choose(
            number, [Const(fmt.exponent_offset, 8) for fmt in self._formats], PACKET_EXPONENT_BITS
        )
        packet_exponent = Signal(signed(PACKET_EXPONENT_BITS))
        m.d.comb += packet_exponent.eq(Mux(is_nan, 0, exponent) - offset)
        block = Signal.like(self.o.payload, name="block")
        digits = [Const(fmt.digits) for fmt in self._formats]
        m.d.comb += block.digits.eq(choose(number, digits, len(block.digits)))
        magnitudes, signs = self._elements(m)
        for digit in range(self._digits):
            packet = block.packets[digit]
            at = slice(DIGIT_BITS * digit, DIGIT_BITS * (digit + 1))
            m.d.comb += [
                packet.lanes.mag.eq(Cat(magnitude[at] for magnitude in magnitudes)),
                packet.lanes.sign.eq(Cat(signs)),
                packet.lanes.tau.eq(taus),
                packet.exponent.eq(packet_exponent),
                packet.nan.eq(is_nan),
            ]
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(block)]
        return m

    def _elements(self, m: Module) -> tuple[list[Signal], list[Signal]]:
        """Return magnitudes, as wide as all digits, and signs."""
        stored, number = self.i.payload.stored, self.i.payload.format
        magnitudes, signs = [], []
        for lane in range(LANES):
            found = [element(stored, lane, fmt.magnitude_bits) for fmt in self._formats]
            magnitude = Signal(DIGIT_BITS * self._digits, name=f"magnitude_{lane}")
            sign = Signal(name=f"sign_{lane}")
            m.d.comb += [
                magnitude.eq(choose(number, [x for _, x in found], len(magnitude))),
                sign.eq(choose(number, [x for x, _ in found], 1)),
            ]
            magnitudes.append(magnitude)
            signs.append(sign)
        return magnitudes, signs
