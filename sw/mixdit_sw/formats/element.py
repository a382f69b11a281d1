"""Elements: the grid of integers that a number is rounded to, and the bits of each."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats.rounding import Rounding, round_magnitude


@dataclass(frozen=True, kw_only=True)
class Element:
    """A grid of numbers, as integers in units of its least step.

    A floating-point element of `mantissa_bits` m has the integers below 2**m (its subnormals) and
    those of m + 1 significant bits above; an integer element has all integers.

    Members
    -------
    bits : int
        Stored bits, sign included.
    max_code : int
        Largest magnitude.
    mantissa_bits : int, optional
        Of a floating-point element; None for an integer.
    lsb : int
        log2 of the least step, at a scale of 1.
    is_twos_complement : bool
        How an integer stores its sign; else in its highest bit, as a floating-point element.
    has_sign : bool
        Whether there is a sign at all among the bits.
    """

    bits: int
    max_code: int
    mantissa_bits: int | None = None
    lsb: int = 0
    is_twos_complement: bool = False
    has_sign: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 32:
            raise MixditError(f"An element must have 2..32 bits, not {self.bits}")
        m, most = self.mantissa_bits, (1 << (self.bits - self.has_sign)) - 1
        if m is not None:
            exponent_bits = self.bits - 1 - m
            if m < 0 or not 1 <= exponent_bits <= 5:
                raise MixditError(f"A floating-point element must have 1..5 exponent bits, m = {m}")
            most = _largest_code(exponent_bits, m)
        if not 1 <= self.max_code <= most:
            raise MixditError(f"Codes of this element must end at 1..{most}, not {self.max_code}")

    @classmethod
    def minifloat(
        cls, exponent_bits: int, mantissa_bits: int, largest: float | None = None
    ) -> "Element":
        """Return the element ExMy with bias 2**(x - 1) - 1, without Inf.

        `largest` is its greatest number, where the greatest codes are taken for NaN; else all
        codes are numbers.
        """
        bias = max((1 << (exponent_bits - 1)) - 1, 1)
        lsb = 1 - bias - mantissa_bits
        max_code = _largest_code(exponent_bits, mantissa_bits)
        if largest is not None:
            max_code = int(largest * 2.0**-lsb)
        return cls(
            bits=1 + exponent_bits + mantissa_bits,
            max_code=max_code,
            mantissa_bits=mantissa_bits,
            lsb=lsb,
        )

    def round(self, x: np.ndarray, rounding: Rounding) -> np.ndarray:
        """Return the codes of float64 x, which is in units of the least step; int64, saturated."""
        magnitude = np.abs(x)
        quantum = self._quantum(magnitude)
        rounded = round_magnitude(magnitude / quantum, rounding) * quantum
        codes = np.minimum(rounded, self.max_code).astype(np.int64)
        return np.where(x < 0, -codes, codes)

    def _quantum(self, magnitude: np.ndarray) -> np.ndarray | float:
        """Return the step between codes at each magnitude, a power of two."""
        if self.mantissa_bits is None:
            return 1.0
        exponent = np.frexp(magnitude)[1] - 1 - self.mantissa_bits
        top = self.max_code.bit_length() - 1 - self.mantissa_bits
        return np.ldexp(1.0, np.clip(exponent, 0, top))

    def to_bits(self, codes: np.ndarray) -> np.ndarray:
        """Return the stored bits of codes, uint64."""
        if self.is_twos_complement:
            return (codes.astype(np.int64) & ((1 << self.bits) - 1)).astype(np.uint64)
        magnitude = np.abs(codes.astype(np.int64))
        if self.mantissa_bits is not None:
            m = self.mantissa_bits
            shift = np.maximum(np.frexp(magnitude.astype(np.float64))[1] - 1 - m, 0)
            is_normal = magnitude >> m > 0
            mantissa = (magnitude >> shift) - (is_normal.astype(np.int64) << m)
            magnitude = ((shift + is_normal) << m) | mantissa
        sign = (codes < 0).astype(np.int64) << (self.bits - 1)
        return (sign | magnitude).astype(np.uint64)

    def from_bits(self, bits: np.ndarray) -> np.ndarray:
        """Return the codes of stored bits, int64; the inverse of `to_bits`."""
        bits = bits.astype(np.int64)
        top = 1 << (self.bits - 1)
        if self.is_twos_complement:
            return bits - ((bits & top) << 1)
        magnitude = bits & (top - 1)
        if self.mantissa_bits is not None:
            m = self.mantissa_bits
            field, mantissa = magnitude >> m, magnitude & ((1 << m) - 1)
            magnitude = (mantissa + ((field > 0).astype(np.int64) << m)) << np.maximum(field - 1, 0)
        return np.where(bits & top, -magnitude, magnitude)

    @property
    def dtype(self) -> type[np.signedinteger]:
        """Smallest type of `Blocks.codes` that holds every code."""
        if self.max_code < 1 << 15:
            return np.int16
        return np.int32 if self.max_code < 1 << 31 else np.int64


def _largest_code(exponent_bits: int, mantissa_bits: int) -> int:
    """Return the largest code of a floating-point element all of whose codes are numbers."""
    return ((2 << mantissa_bits) - 1) << ((1 << exponent_bits) - 2)
