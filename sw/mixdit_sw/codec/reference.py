"""Block codec in NumPy, as the formats define it; `mixdit_sw.codec.fast` is the fast one."""

import numpy as np

from mixdit_sw.formats import NEAREST, Blocks, Format, Rounding, check_matrix


def encode(x: np.ndarray, fmt: Format, rounding: Rounding = NEAREST) -> Blocks:
    """Quantize along the last axis (docs/formats.md).

    Parameters
    ----------
    x : float32 (..., K)
        Padded with zeros to whole K-blocks, or to the format's larger blocks.
    fmt : Format
        Format.
    rounding : Rounding, optional
        To nearest even by default.

    Returns
    -------
    Blocks
        The unique stored bits of each block; a NaN or an Inf makes its block a NaN block.
    """
    check_matrix(x)
    padding = fmt.padded(x.shape[-1]) - x.shape[-1]
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)])
    return fmt.encode(np.ascontiguousarray(x), rounding)


def decode(blocks: Blocks, fmt: Format, k: int | None = None) -> np.ndarray:
    """Return the values of blocks, float32 (..., k); without `k` those of all elements."""
    return fmt.decode(blocks)[..., :k]
