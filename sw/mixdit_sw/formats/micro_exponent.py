"""MX9, MX6, MX4: blocks of 16 with shared micro-exponents (Rouhani et al., ISCA 2023)."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.formats.base import EXPONENT_BIAS, LANES, NAN_EXPONENT, PAIR, Blocks, Format
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.rounding import NEAREST, Rounding


@dataclass(frozen=True, kw_only=True)
class MicroExponentFormat(Format):
    """16 elements share an 8-bit exponent E, a pair a 1-bit micro-exponent tau (arXiv 2302.08007).

    An element is a sign and m bits of magnitude without a hidden bit, worth
    code * 2**(E - 127 - tau - (m - 1)).
    """

    @property
    def magnitude_bits(self) -> int:
        """Bits m of an element's magnitude."""
        return self.element.bits - 1

    @property
    def has_micro_exponents(self) -> bool:
        """Yes."""
        return True

    @property
    def exponent_offset(self) -> int:
        """Bias, and m since a lane's tau is subtracted from 1."""
        return EXPONENT_BIAS + self.magnitude_bits

    @property
    def header_bits(self) -> int:
        """Exponent and micro-exponents."""
        return 8 + LANES // PAIR

    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Quantize; subnormals count as zero, a NaN or an Inf makes its block a NaN block."""
        x = x.reshape(*x.shape[:-1], -1, LANES // PAIR, PAIR)
        fields = (x.view(np.uint32) >> 23) & 0xFF
        pair_max = fields.max(axis=-1).astype(np.int32)
        exponents = pair_max.max(axis=-1)
        taus = (pair_max < exponents[..., None]).astype(np.int32)

        # Division by a power of two, in float64: exact, no subnormals.
        steps = exponents[..., None] - EXPONENT_BIAS - taus - (self.magnitude_bits - 1)
        numbers = np.where((fields == 0) | (fields == NAN_EXPONENT), 0.0, x).astype(np.float64)
        codes = self.element.round(np.ldexp(numbers, -steps[..., None]), rounding)

        is_nan = exponents == NAN_EXPONENT
        codes[is_nan] = 0
        taus[is_nan] = 0
        return Blocks(
            codes=codes.reshape(*codes.shape[:-2], LANES).astype(self.element.dtype),
            exponents=exponents.astype(np.uint8),
            micro_exponents=taus.astype(np.uint8),
        )

    def decode(self, blocks: Blocks) -> np.ndarray:
        """Return the exact values, as far as float32 holds them."""
        taus = np.repeat(blocks.micro_exponents, PAIR, axis=-1).astype(np.int32)
        exponents = blocks.exponents.astype(np.int32)[..., None]
        steps = exponents - EXPONENT_BIAS - taus - (self.magnitude_bits - 1)
        values = np.ldexp(blocks.codes.astype(np.float64), steps)
        values[blocks.exponents == NAN_EXPONENT] = np.nan
        return values.astype(np.float32).reshape(*values.shape[:-2], -1)

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Exponent, then a bit for each pair."""
        taus = np.packbits(blocks.micro_exponents, axis=-1, bitorder="little")
        return np.concatenate([blocks.exponents[..., None], taus], axis=-1)

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_header` and `pack_elements`."""
        codes = self.element.from_bits(elements).astype(self.element.dtype)
        return Blocks(
            codes=codes.reshape(*codes.shape[:-1], -1, LANES),
            exponents=header[..., 0].copy(),
            micro_exponents=np.unpackbits(header[..., 1:], axis=-1, bitorder="little"),
        )


def micro_exponent(name: str, magnitude_bits: int) -> MicroExponentFormat:
    """Return the format whose elements have so many magnitude bits."""
    element = Element(bits=1 + magnitude_bits, max_code=(1 << magnitude_bits) - 1)
    return MicroExponentFormat(name=name, element=element)


MX9 = micro_exponent("mx9", 7)
MX6 = micro_exponent("mx6", 4)
MX4 = micro_exponent("mx4", 2)
