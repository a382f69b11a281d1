"""A few rows of an operand on the way into the fast golden GEMM: values, and what bounds them."""

from functools import cached_property

import torch

NO_BLOCK = 1 << 20
"""Exponent that stands for "every block is zero" in a minimum; its negative in a maximum."""

FLOAT32_BITS = 24

_NORM_MARGIN = 1.0 + 2.0**-10
"""More than the rounding errors of a norm, which must not be below the true one."""


def power_of_two(exponents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return 2**exponents in float32 or float64, for exponents of normal numbers."""
    if dtype == torch.float32:
        return ((exponents.to(torch.int32) + 127) << 23).view(torch.float32)
    return ((exponents.to(torch.int64) + 1023) << 52).view(torch.float64)


class Side:
    """Rows of A or of B for one tile.

    Parameters
    ----------
    lanes : int16 (rows, n_blocks, 16)
        Signed integer lanes.
    exponents : int16 (rows, n_blocks)
        A lane is worth lane * 2**exponent.

    Attributes
    ----------
    low, high : int64 (n_blocks,), on the CPU
        Least and greatest exponent of the nonzero blocks of each K-block.
    norm, block_norm : float64 (n_blocks,), on the CPU
        Upper bounds of the rows' Euclidean norms: up to and including each K-block; of it alone.
    peak : int
        Largest magnitude of a lane.
    """

    def __init__(self, lanes: torch.Tensor, exponents: torch.Tensor) -> None:
        squares = lanes.to(torch.float32).square_().sum(dim=2)
        is_zero = squares == 0
        exponents = exponents.to(torch.int64)
        self.rows, self.n_blocks, self._width = lanes.shape
        self.device = lanes.device
        self.peak = int(lanes.abs().max())
        self._lanes = lanes
        self._exponents = exponents.masked_fill(is_zero, 0)
        low = exponents.masked_fill(is_zero, NO_BLOCK).amin(dim=0)
        high = exponents.masked_fill(is_zero, -NO_BLOCK).amax(dim=0)
        self.low, self.high = torch.stack([low, high]).cpu()

        weighted = squares.to(torch.float64) * power_of_two(2 * self._exponents, torch.float64)
        sums = torch.stack([weighted.cumsum(dim=1).amax(dim=0), weighted.amax(dim=0)])
        self.norm, self.block_norm = (sums.sqrt() * _NORM_MARGIN).cpu()
        self._values: dict[torch.dtype, torch.Tensor] = {}
        self._blocks: dict[torch.dtype, torch.Tensor] = {}
        self._transposed: dict[torch.dtype, torch.Tensor] = {}

    def values(self, dtype: torch.dtype, start: int, stop: int) -> torch.Tensor:
        """Return the exact values of some K-blocks, (rows, 16 * (stop - start)).

        In float32 only where `fits_float32`.
        """
        if dtype not in self._values:
            scale = power_of_two(self._exponents, dtype)[..., None]
            self._values[dtype] = (self._lanes.to(dtype) * scale).view(self.rows, -1)
        return self._values[dtype][:, start * self._width : stop * self._width]

    def block(self, dtype: torch.dtype, k: int) -> torch.Tensor:
        """Return the values of K-block k, (rows, 16) and contiguous."""
        if dtype not in self._blocks:
            self._blocks[dtype] = self._by_block(dtype).transpose(0, 1).contiguous()
        return self._blocks[dtype][k]

    def block_transposed(self, dtype: torch.dtype, k: int) -> torch.Tensor:
        """Return the values of K-block k, (16, rows) and contiguous."""
        if dtype not in self._transposed:
            self._transposed[dtype] = self._by_block(dtype).permute(1, 2, 0).contiguous()
        return self._transposed[dtype][k]

    def _by_block(self, dtype: torch.dtype) -> torch.Tensor:
        return self.values(dtype, 0, self.n_blocks).view(self.rows, self.n_blocks, self._width)

    @cached_property
    def fits_float32(self) -> bool:
        """Whether every value is exact in float32."""
        return bool(self.low.min() >= -126 and self.high.max() + self.peak.bit_length() <= 127)

    @cached_property
    def powers(self) -> torch.Tensor:
        """2**exponent of each block, float64 (n_blocks, rows)."""
        return power_of_two(self._exponents, torch.float64).T.contiguous()

    @property
    def width(self) -> int:
        """Lanes of a block."""
        return self._width


def is_native(a: Side, b: Side) -> bool:
    """Return whether a float32 product of blocks is exact, in any order, without subnormals."""
    fits = a.fits_float32 and b.fits_float32 and a.width * a.peak * b.peak <= 1 << FLOAT32_BITS
    low, high = (a.low + b.low).min(), (a.high + b.high).max()
    return bool(fits and low >= -126 and high + FLOAT32_BITS <= 127)
