"""Stored bytes of blocks: what memory and the engine's bus carry (docs/memory-order.md)."""

import numpy as np

from mixdit_sw.codec.reference import Blocks
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, NAN_EXPONENT, PAIR, BlockFormat


def pack(blocks: Blocks, fmt: BlockFormat) -> np.ndarray:
    """Return the stored bytes of blocks.

    Parameters
    ----------
    blocks : Blocks
        Blocks of one format.
    fmt : BlockFormat
        Their format.

    Returns
    -------
    uint8 (..., n_blocks, fmt.block_bytes)
        Exponent, micro-exponents, then the elements, all least significant bit first.

    Raises
    ------
    MixditError
        When a code, a micro-exponent or a NaN block is not one that the format stores.
    """
    check_blocks(blocks, fmt)
    sign = (blocks.codes < 0).astype(np.uint16)
    elements = sign << fmt.magnitude_bits | np.abs(blocks.codes).astype(np.uint16)
    bits = (elements[..., None] >> np.arange(1 + fmt.magnitude_bits, dtype=np.uint16)) & 1
    stream = bits.astype(np.uint8).reshape(*bits.shape[:-2], -1)
    return np.concatenate(
        [
            blocks.exponents[..., None],
            np.packbits(blocks.micro_exponents, axis=-1, bitorder="little"),
            np.packbits(stream, axis=-1, bitorder="little"),
        ],
        axis=-1,
    )


def unpack(stored: np.ndarray, fmt: BlockFormat) -> Blocks:
    """Return the blocks of stored bytes; `pack` is the inverse.

    Parameters
    ----------
    stored : uint8 (..., n_blocks, fmt.block_bytes)
        Bytes as `pack` returns them.
    fmt : BlockFormat
        Their format.

    Raises
    ------
    MixditError
        When dtype or shape are wrong, or the bits are not those of any block: a negative zero, a
        NaN block that is not empty.
    """
    if stored.dtype != np.uint8:
        raise MixditError(f"Stored blocks must be uint8, not {stored.dtype}")
    if stored.ndim < 2 or stored.shape[-1] != fmt.block_bytes:
        raise MixditError(
            f"Stored {fmt.name} blocks must have shape (..., n_blocks, {fmt.block_bytes}), "
            f"not {stored.shape}"
        )
    stream = np.unpackbits(stored[..., 2:], axis=-1, bitorder="little").astype(np.int16)
    bits = stream.reshape(*stream.shape[:-1], LANES, 1 + fmt.magnitude_bits)
    weights = np.int16(1) << np.arange(fmt.magnitude_bits, dtype=np.int16)
    magnitude = (bits[..., :-1] * weights).sum(axis=-1, dtype=np.int16)
    if (bits[..., -1].astype(bool) & (magnitude == 0)).any():
        raise MixditError(f"Stored {fmt.name} blocks hold a negative zero")
    blocks = Blocks(
        codes=np.where(bits[..., -1], -magnitude, magnitude),
        exponents=stored[..., 0].copy(),
        micro_exponents=np.unpackbits(stored[..., 1:2], axis=-1, bitorder="little"),
    )
    check_blocks(blocks, fmt)
    return blocks


def check_blocks(blocks: Blocks, fmt: BlockFormat) -> None:
    """Check that the format has a place for every number of `blocks`.

    Raises
    ------
    MixditError
        When it has not.
    """
    shape = blocks.exponents.shape
    pairs = LANES // PAIR
    if blocks.codes.shape != (*shape, LANES) or blocks.micro_exponents.shape != (*shape, pairs):
        raise MixditError(
            f"Blocks must have {LANES} codes and {pairs} micro-exponents each, not shapes "
            f"{blocks.codes.shape} and {blocks.micro_exponents.shape} for {shape} exponents"
        )
    if blocks.codes.min(initial=0) < -fmt.max_code or blocks.codes.max(initial=0) > fmt.max_code:
        raise MixditError(
            f"Codes of {fmt.name} must be -{fmt.max_code}..{fmt.max_code}, "
            f"not {blocks.codes.min()}..{blocks.codes.max()}"
        )
    if blocks.micro_exponents.max(initial=0) > 1:
        raise MixditError(f"Micro-exponents must be 0 or 1, not {blocks.micro_exponents.max()}")
    is_nan = blocks.exponents == NAN_EXPONENT
    if blocks.codes[is_nan].any() or blocks.micro_exponents[is_nan].any():
        raise MixditError("Codes and micro-exponents of a NaN block must be 0")
