"""BF16 and FP16: numbers that pass through, each for itself."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats.base import EXPONENT_BIAS, LANES, NAN_EXPONENT, PAIR, Blocks, Format
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.rounding import NEAREST, Rounding, round_magnitude


@dataclass(frozen=True, kw_only=True)
class HalfFormat(Format):
    """A 16-bit floating-point number per element, no scale; codes are its bits.

    Subnormals are kept, beyond the range comes Inf, NaN is the one quiet NaN of the format, zeros
    are +0. As with every format a K-block that holds a NaN or an Inf is a NaN block to a GEMM.

    Members
    -------
    mantissa_bits : int
        Explicit bits of the significand: 7 for BF16, 10 for FP16.
    """

    mantissa_bits: int

    @property
    def digits(self) -> None:
        """The engine does not multiply it."""
        return None

    @property
    def exponent_offset(self) -> int:
        """No exponent is shared."""
        return EXPONENT_BIAS

    @property
    def header_bits(self) -> int:
        """Nothing is shared."""
        return 0

    @property
    def exponent_bits(self) -> int:
        """Bits of the exponent."""
        return 15 - self.mantissa_bits

    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Round each number."""
        bias = (1 << (self.exponent_bits - 1)) - 1
        m, top = self.mantissa_bits, (1 << self.exponent_bits) - 1
        magnitude = np.abs(np.where(np.isfinite(x), x, 0.0)).astype(np.float64)
        # Fields grow by one from binade to binade and m bits within: steps can simply be counted.
        binade = np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, 1 - bias)
        binade = np.maximum(binade, 1 - bias)
        steps = round_magnitude(np.ldexp(magnitude, m - binade), rounding).astype(np.int64)
        fields = np.minimum(steps + ((binade + bias - 1).astype(np.int64) << m), top << m)
        fields[np.isinf(x)] = top << m
        bits = np.where((x < 0) & (fields > 0), fields | 1 << 15, fields)
        bits[np.isnan(x)] = top << m | 1 << (m - 1)
        return self._blocks(bits.reshape(*x.shape[:-1], -1, LANES).astype(np.int32))

    def decode(self, blocks: Blocks) -> np.ndarray:
        """Return the numbers, exactly."""
        bits = blocks.codes.astype(np.uint32)
        if self.exponent_bits == 8:
            values = (bits << 16).view(np.float32)
        else:
            values = bits.astype(np.uint16).view(np.float16).astype(np.float32)
        return values.reshape(*values.shape[:-2], -1)

    @property
    def has_nan_blocks(self) -> bool:
        """No: each number is stored for itself."""
        return False

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Nothing."""
        return np.zeros((*blocks.exponents.shape, 0), np.uint8)

    def pack_elements(self, blocks: Blocks) -> np.ndarray:
        """Return the codes, which are the bits."""
        return blocks.codes.reshape(*blocks.codes.shape[:-2], -1).astype(np.uint64)

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_elements`."""
        return self._blocks(elements.reshape(*elements.shape[:-1], -1, LANES).astype(np.int32))

    def code_range(self, blocks: Blocks) -> tuple[int, int]:
        """Return 0 and the greatest word."""
        return 0, self.max_code

    def check_shared(self, blocks: Blocks) -> None:
        """Check that exponents say which K-blocks hold a NaN or an Inf."""
        expected = self._blocks(blocks.codes)
        for name in ("exponents", "micro_exponents"):
            if not np.array_equal(getattr(expected, name), getattr(blocks, name)):
                raise MixditError(f"Blocks of {self.name} have other {name} than their numbers")
        top = ((1 << self.exponent_bits) - 1) << self.mantissa_bits
        magnitude = blocks.codes & 0x7FFF
        is_nan = magnitude > top
        quiet = top | 1 << (self.mantissa_bits - 1)
        if (blocks.codes[is_nan] != quiet).any() or (blocks.codes[magnitude == 0] != 0).any():
            raise MixditError(f"Blocks of {self.name} hold a negative zero or another NaN")

    def _blocks(self, codes: np.ndarray) -> Blocks:
        """Return the blocks of bits int32 (..., n_blocks, 16)."""
        top = (1 << self.exponent_bits) - 1
        is_nan = ((codes >> self.mantissa_bits) & top == top).any(axis=-1)
        return Blocks(
            codes=codes,
            exponents=np.where(is_nan, NAN_EXPONENT, EXPONENT_BIAS).astype(np.uint8),
            micro_exponents=np.ones((*codes.shape[:-1], LANES // PAIR), np.uint8),
        )


def _half(name: str, mantissa_bits: int) -> HalfFormat:
    element = Element(bits=16, max_code=(1 << 16) - 1, has_sign=False)
    return HalfFormat(name=name, element=element, mantissa_bits=mantissa_bits)


BF16 = _half("bf16", 7)
FP16 = _half("fp16", 10)
