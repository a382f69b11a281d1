"""Kind `fp32` of the fast golden GEMM, one tile at a time."""

import math

import torch

from mixdit_sw.gemm.sides import FLOAT32_BITS, Side, is_native

_TINY = 2.0**-126
_HUGE = 2.0**128


def fp32_tile(a: Side, b: Side) -> torch.Tensor:
    """Return the outputs of a tile, float32 (rows of a, rows of b), NaN blocks aside."""
    return _native_tile(a, b) if is_native(a, b) else _wide_tile(a, b)


def _native_tile(a: Side, b: Side) -> torch.Tensor:
    """Sum where nothing is subnormal and no block overflows: float32 addition is the rule.

    As long as the sums of the first K-blocks fit 24 bits, one product yields them.
    """
    bound = a.norm * b.norm
    grid = torch.cummin(a.low + b.low, dim=0).values
    exact = int((bound < torch.exp2((FLOAT32_BITS + grid).to(torch.float64))).sum())
    value = a.values(torch.float32, 0, exact) @ b.values(torch.float32, 0, exact).T
    dot = torch.empty_like(value)
    for k in range(exact, a.n_blocks):
        torch.mm(a.block(torch.float32, k), b.block_transposed(torch.float32, k), out=dot)
        value.add_(dot)
    return value


def _wide_tile(a: Side, b: Side) -> torch.Tensor:
    """Sum for every exponent: FP32 values in float64, rounded to 24 bits after each addition.

    Rounding to 53 bits before that to 24 changes nothing, since both addends have at most 24 bits:
    a sum that 53 bits cannot hold is one of them and much less than half of its last bit.
    """
    value = torch.zeros(a.rows, b.rows, dtype=torch.float64, device=a.device)
    for k in range(a.n_blocks):
        dot = a.block(torch.float64, k) @ b.block_transposed(torch.float64, k)
        rounded = _round_bits(value + dot, FLOAT32_BITS)
        rounded = torch.where(rounded.abs() >= _HUGE, rounded * math.inf, rounded)
        value = torch.where(rounded.abs() < _TINY, 0.0, rounded)
    return value.to(torch.float32)


def _round_bits(x: torch.Tensor, significant: int) -> torch.Tensor:
    """Return float64 x rounded to nearest even at `significant` bits; infinities stay."""
    drop = 53 - significant
    bits = x.view(torch.int64)
    odd = (bits >> drop) & 1
    return ((bits + ((1 << (drop - 1)) - 1) + odd) >> drop << drop).view(torch.float64)
