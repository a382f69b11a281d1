"""Golden model of the epilogue: scales, bias and residual on FP32 results (docs/epilogue.md)."""

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.reference import EXPONENT_BIAS, NAN_BITS, to_fp32

SMALLEST = np.float32(2.0 ** (1 - EXPONENT_BIAS))
"""Smallest normal number."""

BF16_NAN = NAN_BITS >> 16


def apply_epilogue(
    c: np.ndarray,
    *,
    row_scale: np.ndarray | None = None,
    col_scale: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> np.ndarray:
    """Return ((c * row_scale) * col_scale + bias) + residual, without the steps that are None.

    Each step rounds once to nearest even, with the limits of the accumulator kind `fp32`
    (docs/numerics.md): subnormal operands count as +0, results below normal and zeros are +0, NaN
    is 0x7FC00000. Without a step c is returned as it is.

    Parameters
    ----------
    c : float32 (M, N)
        Drained results.
    row_scale : float32 (M,)
        Factor of each row.
    col_scale, bias : float32 (N,)
        Factor of each column, and what is added to it.
    residual : float32 (M, N)
        What is added to each result.

    Returns
    -------
    float32 (M, N)

    Raises
    ------
    MixditError
        When a shape or a dtype differs from these.
    """
    shape = np.shape(c)
    if len(shape) != 2:
        raise MixditError(f"c must have the shape (M, N), not {shape}")
    _check("c", c, shape)
    result = np.array(c)
    if row_scale is not None:
        result = _multiply(result, _check("row_scale", row_scale, shape[:1])[:, None])
    if col_scale is not None:
        result = _multiply(result, _check("col_scale", col_scale, shape[1:]))
    if bias is not None:
        result = _add(result, _check("bias", bias, shape[1:]))
    if residual is not None:
        result = _add(result, _check("residual", residual, shape))
    return result


def to_bf16(c: np.ndarray) -> np.ndarray:
    """Return FP32 rounded to BF16, to nearest even; subnormals and zeros are +0, NaN is 0x7FC0.

    Parameters
    ----------
    c : float32, any shape
        Results of the epilogue.

    Returns
    -------
    uint16, the same shape
        BF16 words; beyond the largest, infinity.

    Raises
    ------
    MixditError
        When c is not float32.
    """
    words = np.asarray(_check("c", c, np.shape(c))).view(np.uint32)
    # Words below infinity stay below 2**32: a carry out of the fraction leads to infinity.
    rounded = (words + (0x7FFF + (words >> 16 & 1))) >> 16
    rounded = np.where(np.isnan(c), BF16_NAN, rounded)
    return np.where(np.abs(c) < SMALLEST, 0, rounded).astype(np.uint16)


def _multiply(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x * y; in float64 it is exact, so it is rounded once."""
    with np.errstate(invalid="ignore"):
        return _rounded(_operand(x) * _operand(y))


def _add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x + y, rounded once.

    Float64 rounds it first to 53 bits, which changes nothing: a sum of two numbers of 24 bits that
    needs more than 53 has one addend far below half of the other's last bit, and 53 bits still tell
    on which side of it, or of a tie, the sum lies.
    """
    with np.errstate(invalid="ignore"):
        return _rounded(_operand(x) + _operand(y))


def _operand(x: np.ndarray) -> np.ndarray:
    """Return float32 x as float64, subnormals as +0."""
    return np.where(np.abs(x) < SMALLEST, 0.0, x.astype(np.float64))


def _rounded(x: np.ndarray) -> np.ndarray:
    """Return float64 x as FP32, with the one NaN."""
    with np.errstate(over="ignore"):
        words = to_fp32(x).view(np.uint32)
    return np.where(np.isnan(x), np.uint32(NAN_BITS), words).view(np.float32)


def _check(name: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return x if it is a float32 array of a shape."""
    if not isinstance(x, np.ndarray) or x.dtype != np.float32:
        found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise MixditError(f"{name} must be a float32 array, not {found}")
    if x.shape != shape:
        raise MixditError(f"{name} must have the shape {shape}, not {x.shape}")
    return x
