"""Stored MX blocks to digit packets: what lies between memory and the operand buffers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.stored import EXPONENT_BITS, block_layout, choose, element
from mixdit_hw.packet import EXPONENT_BITS as PACKET_EXPONENT_BITS
from mixdit_hw.packet import PACKET, PAIRS
from mixdit_sw.formats import DIGIT_BITS, LANES, NAN_EXPONENT, MicroExponentFormat


class Unpacker(wiring.Component):
    """Cuts a digit packet out of a stored block. Combinational.

    The bits are those of `mixdit_sw.codec.packets.to_packets`.

    Members
    -------
    block : block_layout
        The stored block.
    digit : int
        Which of the format's digits, 0 the least significant.
    packet : PACKET
        The digit packet.
    """

    def __init__(self, formats: tuple[MicroExponentFormat, ...]) -> None:
        self._formats = formats
        self._digits = max(fmt.digits for fmt in formats)
        super().__init__(
            {
                "block": In(block_layout(formats)),
                "digit": In(range(max(self._digits, 2))),
                "packet": Out(PACKET),
            }
        )

    @property
    def module_name(self) -> str:
        """Name that encodes all parameters."""
        return "unpacker_" + "_".join(fmt.name for fmt in self._formats)

    def elaborate(self, platform: object) -> Module:
        """Choose by format and digit, wire the fields, take the offset off the exponent."""
        m = Module()
        stored, number = self.block.stored, self.block.format
        exponent, taus = stored[:EXPONENT_BITS], stored[EXPONENT_BITS : EXPONENT_BITS + PAIRS]
        is_nan = Signal()
        offsets = [Const(fmt.exponent_offset, 8) for fmt in self._formats]
        shared = Signal(signed(PACKET_EXPONENT_BITS))
        m.d.comb += [
            is_nan.eq(exponent == NAN_EXPONENT),
            shared.eq(Mux(is_nan, 0, exponent) - choose(number, offsets, PACKET_EXPONENT_BITS)),
        ]
        elements = [self._element(lane) for lane in range(LANES)]
        m.d.comb += [
            self.packet.lanes.mag.eq(Cat(magnitude for magnitude, _ in elements)),
            self.packet.lanes.sign.eq(Cat(sign for _, sign in elements)),
            self.packet.lanes.tau.eq(taus),
            self.packet.exponent.eq(shared),
            self.packet.nan.eq(is_nan),
        ]
        return m

    def _element(self, lane: int) -> tuple[Value, Value]:
        """Return the digit and the sign of an element."""
        stored, number = self.block.stored, self.block.format
        digits, signs = [], []
        for fmt in self._formats:
            sign, magnitude = element(stored, lane, fmt.magnitude_bits)
            parts = [magnitude[DIGIT_BITS * d : DIGIT_BITS * (d + 1)] for d in range(fmt.digits)]
            digits.append(choose(self.digit, parts, DIGIT_BITS))
            signs.append(sign)
        return choose(number, digits, DIGIT_BITS), choose(number, signs, 1)
