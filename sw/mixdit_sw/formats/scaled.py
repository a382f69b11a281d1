"""Formats whose groups have a real-valued scale: FP4DiT's, plain integers, Q-DiT's."""

from dataclasses import dataclass, replace

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
from mixdit_sw.formats.ocp import check_no_micro_exponents
from mixdit_sw.formats.rounding import NEAREST, Rounding

ROW = 0
"""Group size that stands for a whole row, a token for instance."""


@dataclass(frozen=True, kw_only=True)
class ScaledFormat(Format):
    """A group shares an FP32 scale that maps the largest magnitude to the largest code.

    scale = FP32(absmax / max_code), code = round(x / scale) on the element's grid, from the exact
    quotient; an element is worth FP32(code * scale). A NaN or an Inf makes its group a NaN group,
    whose scale is NaN.

    Members
    -------
    group_size : int
        Elements along a row that share a scale, a multiple of 16, the last group of a row may be
        shorter; or ROW.
    """

    group_size: int = 128

    def __post_init__(self) -> None:
        if self.group_size < 0 or self.group_size % LANES:
            raise MixditError(
                f"Group size must be a positive multiple of {LANES}, not {self.group_size}"
            )

    def group(self, k: int) -> int:
        """Return the group size, or a whole row."""
        return self.group_size or self.padded(k)

    @property
    def is_scaled(self) -> bool:
        """Yes."""
        return True

    @property
    def exponent_offset(self) -> int:
        """The stored exponent stands for 1."""
        return EXPONENT_BIAS

    @property
    def header_bits(self) -> int:
        """The scale."""
        return 32

    def with_group(self, size: int) -> "ScaledFormat":
        """Return the same format with groups of another size."""
        suffix = f"_g{size}" if size else "_row"
        return replace(self, name=self.name + suffix, group_size=size)

    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Quantize."""
        numbers, is_nan = finite_groups(x, self.group(x.shape[-1]))
        scales = (np.abs(numbers).max(axis=-1) / self.max_code).astype(np.float32)
        codes = self.element.round(quotient(numbers, scales), rounding)
        return scaled_blocks(codes, is_nan, scales, self, x.shape[-1])

    def decode(self, blocks: Blocks) -> np.ndarray:
        """Return the values, rounded to float32."""
        scales = self.block_scales(blocks)
        with np.errstate(over="ignore"):
            values = (blocks.codes.astype(np.float64) * scales[..., None]).astype(np.float32)
        return values.reshape(*values.shape[:-2], -1)

    def block_scales(self, blocks: Blocks) -> np.ndarray:
        """Return the scale of each K-block."""
        assert blocks.scales is not None
        return self._per_block(blocks.scales, blocks.codes.shape[-2])

    def _per_block(self, shared: np.ndarray, n_blocks: int) -> np.ndarray:
        """Return what groups share, (..., n_groups), for each K-block, (..., n_blocks)."""
        per_group = self.group(n_blocks * LANES) // LANES
        return np.repeat(shared, per_group, axis=-1)[..., :n_blocks]

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Return the bytes of each scale, least significant first."""
        assert blocks.scales is not None
        words = np.ascontiguousarray(blocks.scales).astype("<f4")
        return words[..., None].view(np.uint8)

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_header` and `pack_elements`."""
        return self.from_parts(_scales_of(header), self.element.from_bits(elements), tensor_scale)

    def from_parts(
        self, scales: np.ndarray, codes: np.ndarray, tensor_scale: np.float32 | None = None
    ) -> Blocks:
        """Return the blocks of scales (..., n_groups) and codes (..., K)."""
        width = codes.shape[-1]
        group = self.group(width)
        codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -width % group)])
        codes = codes.reshape(*codes.shape[:-1], -1, group)
        blocks = scaled_blocks(codes, np.isnan(scales), scales, self, width)
        return replace(blocks, tensor_scale=tensor_scale)

    def check_shared(self, blocks: Blocks) -> None:
        """Check that there are scales, one for each group."""
        check_no_micro_exponents(self, blocks)
        n_blocks = blocks.exponents.shape[-1]
        shape = (*blocks.exponents.shape[:-1], -(-n_blocks * LANES // self.group(n_blocks * LANES)))
        if blocks.scales is None or blocks.scales.shape != shape:
            raise MixditError(f"Blocks of {self.name} must have scales of shape {shape}")
        is_number = np.isnan(blocks.scales) | np.isfinite(blocks.scales)
        if not is_number.all() or (np.signbit(blocks.scales) & ~np.isnan(blocks.scales)).any():
            raise MixditError("Scales must be positive numbers, 0 or NaN")
        expected = np.isnan(self.block_scales(blocks))
        if not np.array_equal(expected, blocks.exponents == NAN_EXPONENT):
            raise MixditError("Scales of NaN groups, and of no others, must be NaN")


@dataclass(frozen=True, kw_only=True)
class AsymmetricFormat(ScaledFormat):
    """Q-DiT's groups (arXiv 2406.17343, section 4.1): an FP32 scale and a zero point z.

    The range always includes 0: lo = min(0, min x), hi = max(0, max x),
    scale = FP32((hi - lo) / (2**b - 1)), in float64 up to FP32(), z = round(-lo / scale) to nearest
    even, and an element
    q = clamp(round(x / scale) + z, 0, 2**b - 1) is worth FP32((q - z) * scale). Codes are q - z.
    """

    @property
    def levels(self) -> int:
        """Largest q."""
        return (1 << self.element.bits) - 1

    @property
    def header_bits(self) -> int:
        """Scale and zero point."""
        return 32 + 8

    def encode(self, x: np.ndarray, rounding: Rounding = NEAREST) -> Blocks:
        """Quantize."""
        numbers, is_nan = finite_groups(x, self.group(x.shape[-1]))
        low = np.minimum(numbers.min(axis=-1), 0.0)
        high = np.maximum(numbers.max(axis=-1), 0.0)
        scales = ((high - low) / self.levels).astype(np.float32)
        zeros = np.minimum(np.rint(quotient(-low[..., None], scales)[..., 0]), self.levels)
        codes = self.element.round(quotient(numbers, scales), rounding)
        codes = np.clip(codes, -zeros[..., None], self.levels - zeros[..., None]).astype(np.int64)
        zeros[is_nan] = 0
        blocks = scaled_blocks(codes, is_nan, scales, self, x.shape[-1])
        return replace(blocks, zero_points=zeros.astype(np.uint8))

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Scale, then zero point."""
        assert blocks.zero_points is not None
        return np.concatenate([super().pack_header(blocks), blocks.zero_points[..., None]], axis=-1)

    def pack_elements(self, blocks: Blocks) -> np.ndarray:
        """Return q."""
        stored = blocks.codes.astype(np.int64) + self._block_zeros(blocks)
        return stored.reshape(*stored.shape[:-2], -1).astype(np.uint64)

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_header` and `pack_elements`."""
        zeros, width = header[..., 4], elements.shape[-1]
        codes = elements.astype(np.int64) - np.repeat(
            self._per_block(zeros, width // LANES), LANES, -1
        )
        return replace(self.from_parts(_scales_of(header), codes), zero_points=zeros.copy())

    def code_range(self, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
        """Return -z and the greatest q less z."""
        if blocks.zero_points is None:
            raise MixditError(f"Blocks of {self.name} must have zero points")
        zeros = self._block_zeros(blocks)
        return -zeros, self.levels - zeros

    def _block_zeros(self, blocks: Blocks) -> np.ndarray:
        """Return the zero point of each K-block, int64 (..., n_blocks, 1)."""
        assert blocks.zero_points is not None
        zeros = self._per_block(blocks.zero_points, blocks.codes.shape[-2])
        return zeros[..., None].astype(np.int64)

    def check_shared(self, blocks: Blocks) -> None:
        """Check scales, and zero points."""
        super().check_shared(blocks)
        assert blocks.zero_points is not None and blocks.scales is not None
        if blocks.zero_points.shape != blocks.scales.shape:
            raise MixditError(f"Blocks of {self.name} must have a zero point for each scale")
        if blocks.zero_points[np.isnan(blocks.scales)].any():
            raise MixditError("The zero point of a NaN group must be 0")
        if blocks.zero_points.max(initial=0) > self.levels:
            raise MixditError(f"Zero points of {self.name} must be at most {self.levels}")


def _scales_of(header: np.ndarray) -> np.ndarray:
    """Return the FP32 scales at the start of headers uint8 (..., n_groups, 4 or more)."""
    return np.ascontiguousarray(header[..., :4]).view("<f4")[..., 0].astype(np.float32)


def quotient(numbers: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return numbers / scales, 0 where the scale is 0.

    In float64 no quotient of two float32 numbers rounds to a tie that it is not.
    """
    divisors = np.where(scales == 0, np.inf, scales.astype(np.float64))
    return numbers / divisors[..., None]


def scaled_blocks(
    codes: np.ndarray, is_nan: np.ndarray, scales: np.ndarray, fmt: Format, width: int
) -> Blocks:
    """Return the K-blocks of codes (..., n_groups, group) in rows of `width`."""
    group = codes.shape[-1]
    codes = codes.reshape(*codes.shape[:-2], -1)[..., :width]
    codes = codes.reshape(*codes.shape[:-1], -1, LANES).astype(fmt.element.dtype)
    exponents = np.where(is_nan, NAN_EXPONENT, EXPONENT_BIAS).astype(np.uint8)
    return Blocks(
        codes=codes,
        exponents=np.repeat(exponents, group // LANES, axis=-1)[..., : codes.shape[-2]],
        micro_exponents=np.ones((*codes.shape[:-1], LANES // PAIR), np.uint8),
        scales=np.where(is_nan, np.float32(np.nan), scales),
    )


def _integer(bits: int) -> Element:
    return Element(bits=bits, max_code=(1 << (bits - 1)) - 1, is_twos_complement=True)


def _asymmetric(bits: int) -> AsymmetricFormat:
    element = Element(bits=bits, max_code=(1 << bits) - 1, has_sign=False)
    return AsymmetricFormat(name=f"int{bits}_asym", element=element)


FP4_E2M1 = ScaledFormat(name="fp4_e2m1", element=Element.minifloat(2, 1))
FP4_E1M2 = ScaledFormat(name="fp4_e1m2", element=Element.minifloat(1, 2))
FP4_E3M0 = ScaledFormat(name="fp4_e3m0", element=Element.minifloat(3, 0))
FP6_E2M3 = ScaledFormat(name="fp6_e2m3", element=Element.minifloat(2, 3), group_size=ROW)
FP8_E3M4 = ScaledFormat(name="fp8_e3m4", element=Element.minifloat(3, 4), group_size=ROW)
INT8 = ScaledFormat(name="int8", element=_integer(8), group_size=ROW)
INT4 = ScaledFormat(name="int4", element=_integer(4), group_size=ROW)
INT8_ASYM, INT6_ASYM, INT4_ASYM = (_asymmetric(bits) for bits in (8, 6, 4))
