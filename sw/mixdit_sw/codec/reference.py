"""Block codec in NumPy, written as the definition reads; `mixdit_sw.codec.fast` is the fast one."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import EXPONENT_BIAS, LANES, NAN_EXPONENT, PAIR, BlockFormat


@dataclass(frozen=True)
class Blocks:
    """Blocks along the last axis of an array.

    Members
    -------
    codes : int16 (..., n_blocks, 16)
        Signed integer codes.
    exponents : uint8 (..., n_blocks)
        Shared exponents as stored, biased by 127; 255 marks a NaN block.
    micro_exponents : uint8 (..., n_blocks, 8)
        Micro-exponent tau of each pair, 0 or 1.
    """

    codes: np.ndarray
    exponents: np.ndarray
    micro_exponents: np.ndarray


def check_matrix(x: np.ndarray) -> None:
    """Check that x is a float32 array with elements along its last axis.

    Raises
    ------
    MixditError
        When it is not.
    """
    if not isinstance(x, np.ndarray):
        raise MixditError(f"Tensor must be a NumPy array, not {type(x).__name__}")
    if x.dtype != np.float32:
        raise MixditError(f"Tensor must be float32, not {x.dtype}")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise MixditError(f"Tensor must have elements along its last axis, not shape {x.shape}")


def encode(x: np.ndarray, fmt: BlockFormat) -> Blocks:
    """Quantize along the last axis (Rouhani et al., ISCA 2023, section 3; docs/numerics.md).

    Parameters
    ----------
    x : float32 (..., K)
        Padded with zeros to whole blocks. Subnormals count as zero; a NaN or an Inf makes its block
        a NaN block.
    fmt : BlockFormat
        Format.

    Returns
    -------
    Blocks
        ceil(K / 16) blocks for each row, the unique stored bits of each.
    """
    check_matrix(x)
    padding = -x.shape[-1] % LANES
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)])
    x = x.reshape(*x.shape[:-1], -1, LANES // PAIR, PAIR)

    fields = (x.view(np.uint32) >> 23) & 0xFF
    pair_max = fields.max(axis=-1).astype(np.int32)
    exponents = pair_max.max(axis=-1)
    taus = (pair_max < exponents[..., None]).astype(np.int32)

    # Division by a power of two, in float64: exact, no subnormals.
    steps = exponents[..., None] - EXPONENT_BIAS - taus - (fmt.magnitude_bits - 1)
    numbers = np.where((fields == 0) | (fields == NAN_EXPONENT), 0.0, x).astype(np.float64)
    codes = np.rint(np.ldexp(numbers, -steps[..., None]))
    codes = np.clip(codes, -fmt.max_code, fmt.max_code).astype(np.int16)

    is_nan = exponents == NAN_EXPONENT
    codes[is_nan] = 0
    taus[is_nan] = 0
    return Blocks(
        codes=codes.reshape(*codes.shape[:-2], LANES),
        exponents=exponents.astype(np.uint8),
        micro_exponents=taus.astype(np.uint8),
    )


def decode(blocks: Blocks, fmt: BlockFormat, k: int | None = None) -> np.ndarray:
    """Return the exact values of blocks, float32 (..., k); without `k` those of all elements."""
    taus = np.repeat(blocks.micro_exponents, PAIR, axis=-1).astype(np.int32)
    exponents = blocks.exponents.astype(np.int32)[..., None]
    steps = exponents - EXPONENT_BIAS - taus - (fmt.magnitude_bits - 1)
    values = np.ldexp(blocks.codes.astype(np.float64), steps)
    values[blocks.exponents == NAN_EXPONENT] = np.nan
    return values.astype(np.float32).reshape(*values.shape[:-2], -1)[..., :k]
