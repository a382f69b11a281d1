"""Golden GEMM in torch, on CPU or GPU: bit for bit `mixdit_sw.gemm.reference`, and fast.

Outputs are computed in tiles that stay in cache. In each, the first K-blocks during which the
accumulator provably loses no bit are one exact matrix product; the others go one by one, as the
accumulator's rule says (`mixdit_sw.gemm.steps`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from mixdit_sw.codec.reference import Blocks
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import EXPONENT_BIAS, NAN_EXPONENT, PAIR
from mixdit_sw.gemm.kinds import Aligned, Kind
from mixdit_sw.gemm.sides import NO_BLOCK, Side
from mixdit_sw.gemm.steps import AlignedTile, Fp32Native, Fp32Wide, Tile, lowest_unit
from mixdit_sw.operand import QuantizedOperand

_CPU_TILE = 256
_GPU_TILE = 4096
_PANEL_LANES = 1 << 21
_FLOAT32_BITS = 24


@dataclass(frozen=True)
class TorchOperand:
    """A quantized matrix as tensors of one device.

    Members
    -------
    lanes : int16 (rows, n_blocks, 16)
        Signed codes, shifted left by 1 - tau.
    exponents : int16 (rows, n_blocks)
        A lane is worth lane * 2**exponent.
    is_nan : bool (rows,)
        Rows that hold a NaN block.
    """

    lanes: torch.Tensor
    exponents: torch.Tensor
    is_nan: torch.Tensor

    @classmethod
    def from_quantized(
        cls, operand: QuantizedOperand, device: torch.device | str = "cpu"
    ) -> "TorchOperand":
        """Return `operand` on `device`."""
        return cls.from_blocks(
            torch.from_numpy(operand.codes).to(device),
            torch.from_numpy(operand.exponents).to(device),
            torch.from_numpy(operand.micro_exponents).to(device),
            [fmt.magnitude_bits for fmt in operand.formats],
        )

    @classmethod
    def from_blocks(
        cls,
        codes: torch.Tensor,
        exponents: torch.Tensor,
        micro_exponents: torch.Tensor,
        magnitude_bits: list[int],
    ) -> "TorchOperand":
        """Return the operand of stored blocks (`Blocks`) whose K-blocks have `magnitude_bits`."""
        up = (1 - micro_exponents.to(torch.int16)).repeat_interleave(PAIR, dim=-1)
        bias = torch.tensor(magnitude_bits, dtype=torch.int16, device=codes.device) + EXPONENT_BIAS
        return cls(
            lanes=codes << up,
            exponents=exponents.to(torch.int16) - bias,
            is_nan=(exponents == NAN_EXPONENT).any(dim=1),
        )


def golden_gemm(a: QuantizedOperand, b: QuantizedOperand, kind: Kind) -> np.ndarray:
    """Return C = A @ B.T as the engine computes it; see `mixdit_sw.gemm.reference.golden_gemm`."""
    a.check_same_order(b)
    return multiply(TorchOperand.from_quantized(a), TorchOperand.from_quantized(b), kind).numpy()


@torch.no_grad()
def multiply(a: TorchOperand, b: TorchOperand, kind: Kind) -> torch.Tensor:
    """Return C = A @ B.T as the engine computes it, on the operands' device.

    Parameters
    ----------
    a, b : TorchOperand
        (M, K) and (N, K), on one device, in the same K order.
    kind : Kind
        Accumulator.

    Returns
    -------
    float32 (M, N)
        Bit for bit the engine's; NaN is 0x7FC00000.

    Raises
    ------
    MixditError
        When the numbers of K-blocks differ.
    """
    if a.lanes.shape[1] != b.lanes.shape[1]:
        raise MixditError(
            f"A and B must have the same K-blocks, not {a.lanes.shape[1]} and {b.lanes.shape[1]}"
        )
    device = a.lanes.device
    result = torch.empty(a.lanes.shape[0], b.lanes.shape[0], dtype=torch.float32, device=device)
    raised = 1 if isinstance(kind, Aligned) else 0
    with _ieee_matmul():
        for panel in _ranges(a.lanes.shape[0], _panel_rows(a.lanes)):
            rows = [(r, _side(a, r, raised)) for r in _split(panel, device)]
            for cols in _split(slice(0, b.lanes.shape[0]), device):
                side_b = _side(b, cols, 0)
                for r, side_a in rows:
                    result[r, cols] = _tile(side_a, side_b, kind)
    result[a.is_nan] = math.nan
    result[:, b.is_nan] = math.nan
    return result


def _side(x: TorchOperand, rows: slice, raised: int) -> Side:
    return Side(x.lanes[rows], x.exponents[rows] + raised)


def _panel_rows(lanes: torch.Tensor) -> int:
    """Return the rows of A whose sides are kept while B goes by."""
    per_row = lanes.shape[1] * lanes.shape[2]
    return max(_PANEL_LANES // per_row, 1) if lanes.device.type == "cpu" else lanes.shape[0]


def _split(span: slice, device: torch.device) -> Iterator[slice]:
    """Split rows into the rows of tiles."""
    step = _CPU_TILE if device.type == "cpu" else _GPU_TILE
    for part in _ranges(span.stop - span.start, step):
        yield slice(span.start + part.start, span.start + part.stop)


def _ranges(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _tile(a: Side, b: Side, kind: Kind) -> torch.Tensor:
    """Return a tile of the result, NaN blocks aside."""
    low, high = a.low + b.low, a.high + b.high
    bound = a.norm * b.norm
    grid = torch.cummin(low, dim=0).values
    native = _is_native(a, b, low, high)
    short = native & (bound < torch.exp2((_FLOAT32_BITS + grid).to(torch.float64)))
    if isinstance(kind, Aligned):
        exact = int(_is_lossless(kind, high, grid, bound).sum())
        dtype = torch.float64
    else:
        exact = int(short.sum())
        dtype = torch.float32 if native else torch.float64
    if exact:
        narrow = bool(short[exact - 1])
        prefix = _product(a, b, exact, torch.float32 if narrow else torch.float64).to(dtype)
    else:
        prefix = torch.zeros(a.rows, b.rows, dtype=dtype, device=a.exponents.device)
    state: Tile
    if isinstance(kind, Aligned):
        state = AlignedTile(kind, a, b, prefix, int(grid[exact - 1]) if exact else NO_BLOCK)
    else:
        state = Fp32Native(prefix) if native else Fp32Wide(prefix)
    dot = torch.empty_like(prefix)
    for k in range(exact, a.n_blocks):
        if low[k] < NO_BLOCK // 2:
            torch.mm(a.blocks(dtype)[k], b.blocks(dtype)[k].T, out=dot)
            state.add(dot, k)
    return state.result()


def _product(a: Side, b: Side, n_blocks: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the product of the first K-blocks; exact if every partial sum fits `dtype`."""
    end = n_blocks * a.width
    return a.values(dtype)[:, :end] @ b.values(dtype)[:, :end].T


def _is_native(a: Side, b: Side, low: torch.Tensor, high: torch.Tensor) -> bool:
    """Return whether a float32 product of blocks is exact, and its addition the rule of `fp32`."""
    exact = a.fits_float32 and b.fits_float32 and 16 * a.peak * b.peak <= 1 << _FLOAT32_BITS
    return bool(exact and low.min() >= -126 and high.max() + _FLOAT32_BITS <= 127)


def _is_lossless(
    kind: Aligned, high: torch.Tensor, grid: torch.Tensor, bound: torch.Tensor
) -> torch.Tensor:
    """Return, for each K-block, whether no output can have lost a bit up to and including it.

    Every partial sum is a multiple of 2**grid. No window is set above it: neither for a block of
    the greatest exponent, nor for a sum within `bound`.
    """
    q = kind.step_bits
    top = torch.cummax(high, dim=0).values
    block_fits = grid >= ((top - 1) // q - 1) * q + 1
    window = torch.div(grid - 1, q, rounding_mode="floor") * q + 1
    room = torch.exp2((window + kind.significand_bits - 2).to(torch.float64))
    return block_fits & (bound < room)


@contextmanager
def _ieee_matmul() -> Iterator[None]:
    """Keep float32 matrix products from running at reduced precision."""
    backends = (torch.backends.mkldnn.matmul, torch.backends.cuda.matmul)
    saved = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, saved, strict=True):
            backend.fp32_precision = precision
