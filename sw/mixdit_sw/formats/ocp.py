"""OCP Microscaling formats v1.0: blocks of 32 with a power-of-two scale."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats.base import (
    EXPONENT_BIAS,
    LANES,
    NAN_EXPONENT,
    PAIR,
    Blocks,
    Format,
    finite_groups,
)
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.rounding import NEAREST, Rounding

MIN_EXPONENT = -EXPONENT_BIAS
"""Least exponent of an E8M0 scale."""


@dataclass(frozen=True, kw_only=True)
class OcpFormat(Format):
    """32 elements share a scale 2**X, stored as X + 127 (E8M0; OCP MX v1.0, sections 5.2 and 6.3).

    X = floor(log2 max|x|) - emax, where emax is the exponent of the largest element. Elements round
    and saturate; subnormals, of FP32 and of the element, are numbers. Here a NaN or an Inf makes
    its block a NaN block, a block of zeros has X = -127, and there is no negative zero.
    """

    unit: int = 32

    def __post_init__(self) -> None:
        if self.unit < 1 or self.unit % LANES:
            raise MixditError(
                f"Blocks of {self.name} must have a multiple of {LANES} elements, not {self.unit}"
            )

    @property
    def exponent_offset(self) -> int:
        """Bias, and the weight of the element's least step."""
        return EXPONENT_BIAS - self.element.lsb

    @property
    def header_bits(self) -> int:
        """The scale."""
        return 8

    @property
    def largest_exponent(self) -> int:
        """Exponent emax of the largest element."""
        return self.max_code.bit_length() - 1 + self.element.lsb

    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Quantize."""
        groups, is_nan = finite_groups(x, self.unit)
        largest = np.abs(groups).max(axis=-1)
        exponents = np.where(largest > 0, np.frexp(largest)[1] - 1, -(1 << 10))
        exponents = np.maximum(exponents - self.largest_exponent, MIN_EXPONENT)
        steps = exponents[..., None] + self.element.lsb
        codes = self.element.round(np.ldexp(groups, -steps), rounding)
        stored = np.where(is_nan, NAN_EXPONENT, exponents + EXPONENT_BIAS).astype(np.uint8)
        return split_units(codes.astype(self.element.dtype), stored)

    def decode(self, blocks: Blocks) -> np.ndarray:
        """Return the exact values, as far as float32 holds them."""
        steps = blocks.exponents.astype(np.int32)[..., None] - self.exponent_offset
        with np.errstate(over="ignore"):
            values = np.ldexp(blocks.codes.astype(np.float64), steps).astype(np.float32)
        values[blocks.exponents == NAN_EXPONENT] = np.nan
        return values.reshape(*values.shape[:-2], -1)

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Return the scale of each block of 32."""
        return blocks.exponents[..., :: self.unit // LANES, None]

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_header` and `pack_elements`."""
        codes = self.element.from_bits(elements).astype(self.element.dtype)
        return split_units(codes.reshape(*codes.shape[:-1], -1, self.unit), header[..., 0])

    def check_shared(self, blocks: Blocks) -> None:
        """Check that both halves of a block of 32 have its exponent, and no micro-exponents."""
        halves = blocks.exponents.reshape(*blocks.exponents.shape[:-1], -1, self.unit // LANES)
        if (halves != halves[..., :1]).any():
            raise MixditError(f"Blocks of {self.unit} must have one exponent")
        check_no_micro_exponents(self, blocks)


def check_no_micro_exponents(fmt: Format, blocks: Blocks) -> None:
    """Check that micro-exponents are 1, as they are where a format has none."""
    if (blocks.micro_exponents != 1).any():
        raise MixditError(f"Micro-exponents must be 1, since {fmt.name} has none")


def split_units(codes: np.ndarray, exponents: np.ndarray) -> Blocks:
    """Return the K-blocks of codes (..., n, unit) with exponents (..., n)."""
    per_unit = codes.shape[-1] // LANES
    codes = codes.reshape(*codes.shape[:-2], -1, LANES)
    return Blocks(
        codes=codes,
        exponents=np.repeat(exponents, per_unit, axis=-1),
        micro_exponents=np.ones((*codes.shape[:-1], LANES // PAIR), np.uint8),
    )


MXFP8_E4M3 = OcpFormat(name="mxfp8_e4m3", element=Element.minifloat(4, 3, 448.0))
MXFP8_E5M2 = OcpFormat(name="mxfp8_e5m2", element=Element.minifloat(5, 2, 57344.0))
MXFP6_E3M2 = OcpFormat(name="mxfp6_e3m2", element=Element.minifloat(3, 2))
MXFP6_E2M3 = OcpFormat(name="mxfp6_e2m3", element=Element.minifloat(2, 3))
MXFP4 = OcpFormat(name="mxfp4", element=Element.minifloat(2, 1))
MXINT8 = OcpFormat(
    name="mxint8", element=Element(bits=8, max_code=127, lsb=-6, is_twos_complement=True)
)
