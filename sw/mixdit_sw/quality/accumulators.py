"""QSNR of accumulator kinds against a float64 GEMM of the original tensors."""

from collections.abc import Sequence

import numpy as np

from mixdit_sw.formats import MX6, MX9, Format
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import Kind
from mixdit_sw.operand import quantize_operand
from mixdit_sw.quality.trials import Pair

PAIRS = ((MX6, MX6), (MX9, MX6), (MX9, MX9))
"""Formats of A and B."""


def qsnr(pairs: list[Pair]) -> float:
    """Return 10 log10 of the power of the references over that of their differences to results."""
    noise = sum(
        np.square(reference - result.astype(np.float64)).sum() for reference, result in pairs
    )
    return float(10 * np.log10(sum(np.square(reference).sum() for reference, _ in pairs) / noise))


def measure(
    pairs: list[Pair], kinds: Sequence[Kind], formats: Sequence[tuple[Format, Format]] = PAIRS
) -> np.ndarray:
    """Return the QSNR of `kinds` over products, in dB, (pairs of formats, kinds)."""
    singles = [(a.astype(np.float32), b.astype(np.float32)) for a, b in pairs]
    references = [a.astype(np.float64) @ b.astype(np.float64).T for a, b in singles]
    rows = []
    for a_format, b_format in formats:
        blocks = [
            (quantize_operand(a, a_format), quantize_operand(b, b_format)) for a, b in singles
        ]
        row = []
        for kind in kinds:
            results = [golden_gemm(qa, qb, kind) for qa, qb in blocks]
            row.append(qsnr(list(zip(references, results, strict=True))))
        rows.append(row)
    return np.array(rows)
