"""A few rows of an operand on the way into the fast golden GEMM: values, and what bounds them."""

from functools import cached_property

import torch

NO_BLOCK = 1 << 20
"""Exponent that stands for "every block is zero" in a minimum; its negative in a maximum."""

LANE_SQUARES_MARGIN = 1.0 + 2.0**-10
"""More than the rounding errors of `Side.norm`, which must not be below the true norm."""


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
    norm : float64 (n_blocks,), on the CPU
        Upper bound of the rows' Euclidean norm up to and including each K-block.
    peak : int
        Largest magnitude of a lane.
    """

    def __init__(self, lanes: torch.Tensor, exponents: torch.Tensor) -> None:
        squares = lanes.to(torch.float32).square_().sum(dim=2)
        is_zero = squares == 0
        exponents = exponents.to(torch.int64)
        self.rows, self.n_blocks, self.width = lanes.shape
        self._lanes = lanes
        self.exponents = exponents.masked_fill(is_zero, 0)
        bounds = torch.stack(
            [
                exponents.masked_fill(is_zero, NO_BLOCK).amin(dim=0),
                exponents.masked_fill(is_zero, -NO_BLOCK).amax(dim=0),
            ]
        )
        self.low, self.high = bounds.cpu()
        weighted = squares.to(torch.float64) * power_of_two(2 * self.exponents, torch.float64)
        self.norm = (weighted.cumsum(dim=1).amax(dim=0).sqrt() * LANE_SQUARES_MARGIN).cpu()
        self.peak = int(lanes.abs().max())
        self._values: dict[torch.dtype, torch.Tensor] = {}
        self._blocks: dict[torch.dtype, torch.Tensor] = {}

    def values(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the exact values (rows, K); float32 only where `fits_float32`."""
        if dtype not in self._values:
            scale = power_of_two(self.exponents, dtype)[..., None]
            self._values[dtype] = (self._lanes.to(dtype) * scale).view(self.rows, -1)
        return self._values[dtype]

    def blocks(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the values block by block (n_blocks, rows, 16), each block contiguous."""
        if dtype not in self._blocks:
            by_block = self.values(dtype).view(self.rows, self.n_blocks, self.width)
            self._blocks[dtype] = by_block.transpose(0, 1).contiguous()
        return self._blocks[dtype]

    @cached_property
    def fits_float32(self) -> bool:
        """Whether every value is exact in float32."""
        return bool(self.low.min() >= -126 and self.high.max() + self.peak.bit_length() <= 127)

    @cached_property
    def exponent_fields(self) -> torch.Tensor:
        """Exponents moved to the exponent field of a float64, int64 (n_blocks, rows)."""
        return (self.exponents << 52).T.contiguous()
