"""Layout of a digit packet, the only operand that the array knows."""

from typing import Any

from amaranth.hdl import Format, Value, signed
from amaranth.lib import data

from mixdit_sw.formats import DIGIT_BITS, FORMATS, LANES, NAN_EXPONENT, PAIR

PAIRS = LANES // PAIR


def _exponent_bits() -> int:
    """Width of a signed packet exponent that holds every format's, for every stored exponent."""
    values = [
        f.packet_exponent(e)
        for f in FORMATS.values()
        if f.is_engine_format
        for e in (0, NAN_EXPONENT)
    ]
    return max(max(v, ~v).bit_length() for v in values) + 1


EXPONENT_BITS = _exponent_bits()


class _WordLayout(data.StructLayout):
    """A structure that is shown, in Verilog and waveforms, as one word.

    Else every field of every packet becomes a wire: ten times the Verilog of a large array.
    """

    def format(self, value: data.View, spec: str) -> Any:
        """Return the format of the whole word."""
        return Format("{:x}", Value.cast(value))


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
