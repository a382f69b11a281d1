"""Stored blocks of the micro-exponent formats as words (docs/memory-order.md)."""

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib import data

from mixdit_hw.packet import PAIRS
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, Format, MicroExponentFormat

EXPONENT_BITS = 8
"""Bits of a stored shared exponent."""


def micro_formats(formats: tuple[Format, ...]) -> tuple[MicroExponentFormat, ...]:
    """Return those of an array's formats that converters and unpackers know: with micro-exponents.

    Raises
    ------
    MixditError
        When there is none.
    """
    found = tuple(fmt for fmt in formats if isinstance(fmt, MicroExponentFormat))
    if not found:
        names = ", ".join(fmt.name for fmt in formats)
        raise MixditError(f"Converters need a format with micro-exponents, not {names}")
    return found


def block_layout(formats: tuple[MicroExponentFormat, ...]) -> data.StructLayout:
    """Layout of a stored block in the low bits of a word, and the number of its format."""
    widest = max(8 * fmt.row_bytes(LANES) for fmt in formats)
    return data.StructLayout({"stored": widest, "format": range(len(formats))})


def pack(exponent: Value, taus: Value, elements: list[tuple[Value, Value]], bits: int) -> Value:
    """Return a stored block of (sign, magnitude) elements with so many magnitude bits."""
    return Cat(exponent, taus, *(Cat(magnitude[:bits], sign) for sign, magnitude in elements))


def element(stored: Value, lane: int, bits: int) -> tuple[Value, Value]:
    """Return sign and magnitude of an element of a stored block."""
    at = EXPONENT_BITS + PAIRS + lane * (1 + bits)
    return stored[at + bits], stored[at : at + bits]


def choose(number: Value, values: list[Value], width: int) -> Value:
    """Return the value of that number, `width` bits wide."""
    chosen: Value = Const(0, width)
    for i, value in enumerate(values):
        chosen = Mux(number == i, value, chosen)
    return chosen
