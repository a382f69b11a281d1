"""Layout of a digit packet, the only operand that the array knows."""

from collections.abc import Iterable
from typing import Any

from amaranth import hdl
from amaranth.hdl import Value, signed
from amaranth.lib import data

from mixdit_sw.formats import DIGIT_BITS, FORMATS, LANES, NAN_EXPONENT, PAIR, Format

PAIRS = LANES // PAIR


def exponent_bits(formats: Iterable[Format]) -> int:
    """Width of a signed packet exponent that holds these formats', for every stored exponent."""
    values = [fmt.packet_exponent(e) for fmt in formats for e in (0, NAN_EXPONENT)]
    return max(max(v, ~v).bit_length() for v in values) + 1


EXPONENT_BITS = exponent_bits(fmt for fmt in FORMATS.values() if fmt.is_engine_format)


class _WordLayout(data.StructLayout):
    """A structure that is shown, in Verilog and waveforms, as one word.

    Else every field of every packet becomes a wire: ten times the Verilog of a large array.
    """

    def format(self, value: data.View, spec: str) -> Any:
        """Return the format of the whole word."""
        return hdl.Format("{:x}", Value.cast(value))


LANES_LAYOUT = _WordLayout(
    {
        "mag": data.ArrayLayout(DIGIT_BITS, LANES),
        "sign": data.ArrayLayout(1, LANES),
        "tau": data.ArrayLayout(1, PAIRS),
    }
)
"""The part of a packet that is multiplied. Lane value: +-mag * 2**(e + 1 - tau)."""

PACKET = _WordLayout(
    {"lanes": LANES_LAYOUT, "exponent": signed(EXPONENT_BITS), "nan": 1},
)
"""A digit packet: 16 lanes, their signed block exponent e, and the block's NaN flag.

All packets of a block carry the exponent of its least significant digit; the join gives the more
significant digits their weight.
"""
