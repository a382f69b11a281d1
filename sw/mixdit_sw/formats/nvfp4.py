"""NVFP4: E2M1 elements under two scales."""

from dataclasses import dataclass, replace

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats.base import LANES, Blocks, finite_groups
from mixdit_sw.formats.element import Element
from mixdit_sw.formats.rounding import NEAREST, Rounding
from mixdit_sw.formats.scaled import ScaledFormat, quotient, scaled_blocks

E4M3_NAN = 0x7F
"""Bits of an NVFP4 block scale that mark a NaN block."""


@dataclass(frozen=True, kw_only=True)
class NvFormat(ScaledFormat):
    """NVFP4: blocks of 16 with an E4M3 scale, and one FP32 scale for the tensor.

    tensor scale = FP32(absmax of all / (448 * 6)), block scale = E4M3(absmax / 6 / tensor scale);
    an element is FP32(code * S) with S = FP32(block scale * tensor scale / 2), since codes count
    halves. Blocks whose scale rounds to zero are zeros.
    """

    block_scale: Element = Element.minifloat(4, 3, 448.0)

    @property
    def depends_on_tensor(self) -> bool:
        """Yes: on its largest magnitude."""
        return True

    @property
    def header_bits(self) -> int:
        """The block scale; the tensor's is not counted in a row."""
        return 8

    def encode(
        self, x: np.ndarray, rounding: Rounding = NEAREST, tensor_scale: np.float32 | None = None
    ) -> Blocks:
        """Quantize, with a tensor scale from the tensor unless one is given."""
        numbers, is_nan = finite_groups(x, self.group(x.shape[-1]))
        largest = np.abs(numbers).max(axis=-1)
        if tensor_scale is None:
            tensor_scale = self.tensor_scale(float(largest.max(initial=0.0)))
        grid = self.block_scale
        relative = largest / 6.0 / np.float64(tensor_scale) if tensor_scale else largest * 0.0
        scales = np.ldexp(grid.round(np.ldexp(relative, -grid.lsb), NEAREST), grid.lsb)
        step = (scales * (np.float64(tensor_scale) * 0.5)).astype(np.float32)
        codes = self.element.round(quotient(numbers, step), rounding)
        blocks = scaled_blocks(codes, is_nan, scales.astype(np.float32), self, x.shape[-1])
        return replace(blocks, tensor_scale=np.float32(tensor_scale))

    @staticmethod
    def tensor_scale(largest: float) -> np.float32:
        """Return the scale of a tensor with that largest finite magnitude."""
        return np.float32(largest / (448.0 * 6.0))

    def pack_header(self, blocks: Blocks) -> np.ndarray:
        """Return the E4M3 bits of each scale; 0x7F is NaN."""
        assert blocks.scales is not None
        grid = self.block_scale
        codes = np.ldexp(np.nan_to_num(blocks.scales).astype(np.float64), -grid.lsb).astype(
            np.int64
        )
        bits = np.where(np.isnan(blocks.scales), E4M3_NAN, grid.to_bits(codes))
        return bits.astype(np.uint8)[..., None]

    def unpack(
        self, header: np.ndarray, elements: np.ndarray, tensor_scale: np.float32 | None
    ) -> Blocks:
        """Invert `pack_header` and `pack_elements`."""
        if tensor_scale is None:
            raise MixditError(f"{self.name} needs the tensor's scale")
        grid, bits = self.block_scale, header[..., 0]
        scales = np.ldexp(grid.from_bits(bits).astype(np.float64), grid.lsb).astype(np.float32)
        scales = np.where(bits == E4M3_NAN, np.float32(np.nan), scales)
        return self.from_parts(scales, self.element.from_bits(elements), tensor_scale)

    def check_shared(self, blocks: Blocks) -> None:
        """Check the scales of blocks and tensor."""
        scale = blocks.tensor_scale
        if scale is None or not np.isfinite(scale) or scale < 0:
            raise MixditError(f"Blocks of {self.name} must have a finite, positive tensor scale")
        super().check_shared(blocks)

    def block_scales(self, blocks: Blocks) -> np.ndarray:
        """Return the scale of each K-block in units of its codes."""
        assert blocks.tensor_scale is not None
        scales = super().block_scales(blocks).astype(np.float64)
        return (scales * (np.float64(blocks.tensor_scale) * 0.5)).astype(np.float32)


NVFP4 = NvFormat(name="nvfp4", element=Element.minifloat(2, 1), group_size=LANES)
