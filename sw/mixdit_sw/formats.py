"""Number formats: one table from which codec, golden model, packing and hardware widths derive."""

from dataclasses import dataclass

from mixdit_sw.errors import MixditError

LANES = 16
"""Elements of a block along K, and multipliers of a PE."""

PAIR = 2
"""Elements that share a micro-exponent."""

DIGIT_BITS = 4
"""Magnitude bits of one lane of a digit packet."""

EXPONENT_BIAS = 127
"""Bias of the stored 8-bit shared exponent, as in FP32."""

NAN_EXPONENT = 255
"""Stored exponent of a NaN block (an extension of this project): codes, micro-exponents 0."""


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """A micro-exponent block format (Rouhani et al., ISCA 2023, arXiv 2302.08007).

    A block is 16 elements along K with one 8-bit exponent E; a pair of elements shares a 1-bit
    micro-exponent tau; an element is a sign and `magnitude_bits` bits. The value of an element is
    code * 2**(E - 127 - tau - (magnitude_bits - 1)).

    Members
    -------
    name : str
        Name in file, configuration and command line, e.g. "mx9".
    magnitude_bits : int
        Bits of the element's magnitude, no hidden bit.
    """

    name: str
    magnitude_bits: int

    @property
    def max_code(self) -> int:
        """Largest magnitude of a code."""
        return (1 << self.magnitude_bits) - 1

    @property
    def digits(self) -> int:
        """Digit packets that one block decodes into."""
        return -(-self.magnitude_bits // DIGIT_BITS)

    @property
    def block_bits(self) -> int:
        """Stored bits of a block: exponent, micro-exponents, elements."""
        return 8 + LANES // PAIR + LANES * (1 + self.magnitude_bits)

    @property
    def block_bytes(self) -> int:
        """Stored bytes of a block."""
        return self.block_bits // 8

    @property
    def bits_per_element(self) -> float:
        """Stored bits of an element, its share of the exponents included."""
        return self.block_bits / LANES

    def packet_exponent(self, stored: int) -> int:
        """Signed exponent e of the digit packets of a block whose stored exponent is `stored`.

        The value of a lane of the least significant packet is +-mag * 2**(e + 1 - tau).
        """
        return stored - EXPONENT_BIAS - self.magnitude_bits


MX9 = BlockFormat(name="mx9", magnitude_bits=7)
MX6 = BlockFormat(name="mx6", magnitude_bits=4)
MX4 = BlockFormat(name="mx4", magnitude_bits=2)

FORMATS: dict[str, BlockFormat] = {fmt.name: fmt for fmt in (MX9, MX6, MX4)}


def get_format(name: str) -> BlockFormat:
    """Return the format called `name`.

    Raises
    ------
    MixditError
        When there is none.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise MixditError(f"Format must be one of {', '.join(FORMATS)}, not '{name}'") from None


def dot_bits(a: BlockFormat, b: BlockFormat) -> int:
    """Return the width of a block's exact signed dot product D, 21 for MX9 x MX9.

    It is the sum of 16 products of codes, each shifted left by up to 2 for the micro-exponents.
    """
    return (LANES * 4 * a.max_code * b.max_code).bit_length() + 1
