"""FP32 arithmetic beside the accumulators: rounding, and chains of fused multiply-adds."""

import torch

from mixdit_sw import native

_WORTH_COMPILING = 1 << 22
"""Multiply-adds above which a second for a compiled loop may pay."""

_TILE = 1 << 18
_NEARLY_NORMAL = 2.0**-126 - 2.0**-151


def to_fp32(x: torch.Tensor) -> torch.Tensor:
    """Return float64 x rounded to FP32; as everywhere, what is below normal is +0."""
    return x.masked_fill(x.abs() < _NEARLY_NORMAL, 0.0).to(torch.float32)


def chain(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return A @ B.T as a chain of fused multiply-adds in K order, each rounded once to FP32.

    Parameters
    ----------
    a, b : float32 (M, K), (N, K)
        Finite numbers, on the CPU.

    Returns
    -------
    float32 (M, N)
        Bit for bit `mixdit_sw.gemm.reference`.
    """
    if a.shape[0] * b.shape[0] * a.shape[1] >= _WORTH_COMPILING and native.is_available():
        return native.multiply_values(a, b)
    rows = max(_TILE // b.shape[0], 1)
    right = b.double().T.contiguous()
    return torch.cat([_chain_tile(part.double(), right) for part in a.split(rows)])


def _chain_tile(a: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the chain of float64 a (m, K) and right (K, n), float32 (m, n).

    A product of two float32 numbers is exact in float64. Its sum with C is rounded to odd there,
    which is as good as the exact sum for rounding to 24 bits.
    """
    total = torch.zeros(a.shape[0], right.shape[1], dtype=torch.float64)
    for k in range(a.shape[1]):
        product = a[:, k, None] * right[k]
        total = to_fp32(_add_to_odd(total, product)).double()
    return total.to(torch.float32)


def _add_to_odd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return x + y in float64: where it is inexact, the neighbour with an odd last bit."""
    rounded = x + y
    of_y = rounded - x
    error = (x - (rounded - of_y)) + (y - of_y)
    bits = rounded.view(torch.int64)
    toward = torch.where((error > 0) == (rounded > 0), 1, -1)
    is_even = (bits & 1) == 0
    adjust = (error != 0) & is_even & rounded.isfinite()
    return torch.where(adjust, bits + toward, bits).view(torch.float64)
