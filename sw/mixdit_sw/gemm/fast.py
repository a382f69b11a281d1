"""Golden GEMM in torch, on CPU or GPU: bit for bit `mixdit_sw.gemm.reference`, and fast.

Outputs are computed in tiles that stay in cache. In each, the first K-blocks during which the
accumulator provably loses no bit are one exact matrix product; others go one by one, as the
accumulator's rule says (`fast_fp32`, `fast_aligned`).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import NAN_EXPONENT, PAIR
from mixdit_sw.gemm.fast_aligned import RAISED, AlignedTile
from mixdit_sw.gemm.fast_fp32 import fp32_tile
from mixdit_sw.gemm.fast_values import chain, to_fp32
from mixdit_sw.gemm.kinds import Aligned, Kind
from mixdit_sw.gemm.reference import check_operands, group_runs
from mixdit_sw.gemm.sides import Side
from mixdit_sw.operand import QuantizedOperand

_CPU_TILE_BYTES = 1 << 18
_GPU_TILE_BYTES = 1 << 27
_PANEL_LANES = 1 << 20

_WORTH_COMPILING = 1 << 24
"""Blocks to multiply above which a second for a compiled loop may pay."""


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
    scales : float32 (rows, n_blocks), optional
        Real-valued scales, 0 in NaN groups.
    groups : tuple of int
        Number of the scale group of each K-block; all alike without scales.
    """

    lanes: torch.Tensor
    exponents: torch.Tensor
    is_nan: torch.Tensor
    scales: torch.Tensor | None = None
    groups: tuple[int, ...] = ()

    @classmethod
    def from_quantized(
        cls, operand: QuantizedOperand, device: torch.device | str = "cpu"
    ) -> "TorchOperand":
        """Return `operand` on `device`."""
        base = cls.from_blocks(
            torch.from_numpy(operand.codes.astype(np.int16)).to(device),
            torch.from_numpy(operand.exponents).to(device),
            torch.from_numpy(operand.micro_exponents).to(device),
            [fmt.exponent_offset for fmt in operand.formats],
        )
        if operand.scales is None:
            return base
        scales = torch.from_numpy(np.nan_to_num(operand.scales)).to(device)
        return replace(base, scales=scales, groups=operand.groups)

    @classmethod
    def from_blocks(
        cls,
        codes: torch.Tensor,
        exponents: torch.Tensor,
        micro_exponents: torch.Tensor,
        offsets: list[int],
    ) -> "TorchOperand":
        """Return the operand of stored blocks (`Blocks`), with each K-block's `exponent_offset`."""
        up = (1 - micro_exponents.to(torch.int16)).repeat_interleave(PAIR, dim=-1)
        bias = torch.tensor(offsets, dtype=torch.int16, device=codes.device)
        return cls(
            lanes=codes << up,
            exponents=exponents.to(torch.int16) - bias,
            is_nan=(exponents == NAN_EXPONENT).any(dim=1),
        )


def golden_gemm(a: QuantizedOperand, b: QuantizedOperand, kind: Kind) -> np.ndarray:
    """Return C = A @ B.T as the engine computes it; see `mixdit_sw.gemm.reference.golden_gemm`."""
    check_operands(a, b, kind)
    if not (a.has_packets and b.has_packets):
        chained = chain(_finite_values(a), _finite_values(b))
        return _with_nan(chained, _nan_rows(a), _nan_rows(b)).numpy()
    return multiply(TorchOperand.from_quantized(a), TorchOperand.from_quantized(b), kind).numpy()


def _finite_values(x: QuantizedOperand) -> torch.Tensor:
    """Return the numbers, float32 (rows, 16 * n_blocks), 0 for NaN and Inf."""
    return torch.from_numpy(np.nan_to_num(x.values(), nan=0.0, posinf=0.0, neginf=0.0))


def _nan_rows(x: QuantizedOperand) -> torch.Tensor:
    return torch.from_numpy((x.exponents == NAN_EXPONENT).any(axis=1))


def _with_nan(c: torch.Tensor, a_is_nan: torch.Tensor, b_is_nan: torch.Tensor) -> torch.Tensor:
    """Set the outputs that use a NaN block, and make all NaN alike."""
    c[a_is_nan] = math.nan
    c[:, b_is_nan] = math.nan
    return c.masked_fill_(c.isnan(), math.nan)


@torch.no_grad()
def multiply(a: TorchOperand, b: TorchOperand, kind: Kind) -> torch.Tensor:
    """Return C = A @ B.T as the engine computes it, on the operands' device.

    Parameters
    ----------
    a, b : TorchOperand
        (M, K) and (N, K), on one device, in the same K order.
    kind : Kind
        Accumulator; one that blocks of these formats fit (`Aligned.check_block_bits`).

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
    if a.scales is None and b.scales is None:
        c = _sum_blocks(a, b, kind)
    else:
        c = _sum_segments(a, b, kind)
    return _with_nan(c, a.is_nan, b.is_nan)


def _sum_segments(a: TorchOperand, b: TorchOperand, kind: Kind) -> torch.Tensor:
    """Return the segments' sums, each times its scales, added in FP32."""
    total = torch.zeros(a.lanes.shape[0], b.lanes.shape[0], device=a.lanes.device)
    groups = [(x.groups or (0,) * x.lanes.shape[1]) for x in (a, b)]
    for span in group_runs(*groups):
        part = _sum_blocks(_k_blocks(a, span), _k_blocks(b, span), kind)
        scale = to_fp32(torch.outer(_scales(a, span.start), _scales(b, span.start)))
        total = to_fp32(total.double() + to_fp32(part.double() * scale))
    return total


def _k_blocks(x: TorchOperand, span: range) -> TorchOperand:
    """Return some K-blocks, without their scales."""
    chosen = slice(span.start, span.stop)
    return TorchOperand(x.lanes[:, chosen], x.exponents[:, chosen], x.is_nan)


def _scales(x: TorchOperand, k: int) -> torch.Tensor:
    """Return the scale of each row in K-block k, float64."""
    if x.scales is None:
        return torch.ones(x.lanes.shape[0], dtype=torch.float64, device=x.lanes.device)
    return x.scales[:, k].double()


def _sum_blocks(a: TorchOperand, b: TorchOperand, kind: Kind) -> torch.Tensor:
    """Return the sums of the K-blocks' dot products, NaN blocks aside."""
    device = a.lanes.device
    result = torch.empty(a.lanes.shape[0], b.lanes.shape[0], dtype=torch.float32, device=device)
    step = _tile_rows(device, kind)
    raised = RAISED if isinstance(kind, Aligned) else 0
    is_large = device.type == "cpu" and result.numel() * a.lanes.shape[1] >= _WORTH_COMPILING
    with _ieee_matmul():
        for panel in _ranges(a.lanes.shape[0], _panel_rows(a.lanes)):
            rows = [(r, _side(a, r, raised)) for r in _split(panel, step)]
            for cols in _split(slice(0, b.lanes.shape[0]), step):
                side_b = _side(b, cols, 0)
                for r, side_a in rows:
                    result[r, cols] = _tile(side_a, side_b, kind, is_large)
    return result


def _side(x: TorchOperand, rows: slice, raised: int) -> Side:
    return Side(x.lanes[rows], x.exponents[rows] + raised)


def _panel_rows(lanes: torch.Tensor) -> int:
    """Return the rows of A whose sides are kept while B goes by."""
    per_row = lanes.shape[1] * lanes.shape[2]
    return max(_PANEL_LANES // per_row, 1) if lanes.device.type == "cpu" else lanes.shape[0]


def _tile_rows(device: torch.device, kind: Kind) -> int:
    """Return the rows of a tile's sides: on a CPU, the tile and its scratch stay in L2."""
    size = _CPU_TILE_BYTES if device.type == "cpu" else _GPU_TILE_BYTES
    return math.isqrt(size // (16 if isinstance(kind, Aligned) else 4))


def _split(span: slice, step: int) -> Iterator[slice]:
    """Split rows into the rows of tiles."""
    for part in _ranges(span.stop - span.start, step):
        yield slice(span.start + part.start, span.start + part.stop)


def _ranges(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _tile(a: Side, b: Side, kind: Kind, is_large: bool) -> torch.Tensor:
    """Return a tile of the result, NaN blocks aside."""
    if isinstance(kind, Aligned):
        return AlignedTile(kind, a, b, is_large).result()
    return fp32_tile(a, b)


@contextmanager
def _ieee_matmul() -> Iterator[None]:
    """Keep float32 matrix products from running at reduced precision."""
    cpu: Any = torch.backends.mkldnn
    backends = (cpu.matmul, torch.backends.cuda.matmul)
    saved = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, saved, strict=True):
            backend.fp32_precision = precision
