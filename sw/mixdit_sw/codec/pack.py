"""Stored bytes of rows: what memory and the engine's bus carry (docs/memory-order.md)."""

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, NAN_EXPONENT, PAIR, Blocks, Format


def pack(blocks: Blocks, fmt: Format) -> np.ndarray:
    """Return the stored bytes of blocks.

    Parameters
    ----------
    blocks : Blocks
        Blocks of one format.
    fmt : Format
        Their format.

    Returns
    -------
    uint8 (..., fmt.row_bytes(16 * n_blocks))
        Group after group: what it shares, then its elements, least significant bit first. A scale
        of the whole tensor is not among them.

    Raises
    ------
    MixditError
        When a code, a micro-exponent or a NaN block is not one that the format stores.
    """
    check_blocks(blocks, fmt)
    header, elements = fmt.pack_header(blocks), fmt.pack_elements(blocks)
    rows = elements.shape[:-1]
    parts = []
    for groups, span, size in _parts(elements.shape[-1], fmt):
        stream = _to_bytes(elements[..., span].reshape(*rows, -1, size), fmt.element.bits)
        part = np.concatenate([header[..., groups, :], stream], axis=-1)
        parts.append(part.reshape(*rows, -1))
    return np.concatenate(parts, axis=-1)


def unpack(
    stored: np.ndarray, fmt: Format, k: int, tensor_scale: np.float32 | None = None
) -> Blocks:
    """Return the blocks of stored bytes; `pack` is the inverse.

    Parameters
    ----------
    stored : uint8 (..., fmt.row_bytes(k))
        Bytes as `pack` returns them.
    fmt : Format
        Their format.
    k : int
        Elements of a row.
    tensor_scale : float32, optional
        Scale of the whole tensor, where the format has one.

    Raises
    ------
    MixditError
        When dtype or shape are wrong, or the bits are not those of any block: a negative zero, a
        NaN block that is not empty.
    """
    if stored.dtype != np.uint8:
        raise MixditError(f"Stored rows must be uint8, not {stored.dtype}")
    if stored.ndim < 1 or stored.shape[-1] != fmt.row_bytes(k):
        raise MixditError(
            f"Stored {fmt.name} rows of {k} elements must have shape (..., {fmt.row_bytes(k)}), "
            f"not {stored.shape}"
        )
    rows, header_bytes = stored.shape[:-1], fmt.header_bits // 8
    headers, elements = [], []
    at = 0
    for groups, _, size in _parts(fmt.padded(k), fmt):
        count = groups.stop - groups.start
        group_bytes = header_bytes + size * fmt.element.bits // 8
        part = stored[..., at : at + count * group_bytes].reshape(*rows, count, group_bytes)
        at += count * group_bytes
        headers.append(part[..., :header_bytes])
        bits = _from_bytes(part[..., header_bytes:], fmt.element.bits)
        elements.append(bits.reshape(*rows, -1))
    header = np.concatenate(headers, axis=-2)
    blocks = fmt.unpack(header, np.concatenate(elements, axis=-1), tensor_scale)
    check_blocks(blocks, fmt)
    if not np.array_equal(pack(blocks, fmt), stored):
        raise MixditError(f"Stored {fmt.name} rows hold bits of no block, such as a negative zero")
    return blocks


def _parts(width: int, fmt: Format) -> list[tuple[slice, slice, int]]:
    """Return (groups, elements, group size) of a row's whole groups and of its short last one."""
    group = fmt.group(width)
    whole = width // group
    parts = [(slice(0, whole), slice(0, whole * group), group)] if whole else []
    if width % group:
        parts.append((slice(whole, whole + 1), slice(whole * group, width), width % group))
    return parts


def _to_bytes(elements: np.ndarray, bits: int) -> np.ndarray:
    """Return elements uint64 (..., n) as a stream of so many bits each, uint8 (..., n bits / 8)."""
    stream = (elements[..., None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(
        stream.astype(np.uint8).reshape(*elements.shape[:-1], -1), axis=-1, bitorder="little"
    )


def _from_bytes(stream: np.ndarray, bits: int) -> np.ndarray:
    """Return the elements of a stream, uint64; the inverse of `_to_bytes`."""
    unpacked = np.unpackbits(stream, axis=-1, bitorder="little")
    unpacked = unpacked.reshape(*stream.shape[:-1], -1, bits).astype(np.uint64)
    return (unpacked << np.arange(bits, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)


def check_blocks(blocks: Blocks, fmt: Format) -> None:
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
    low, high = fmt.code_range(blocks)
    if (blocks.codes < low).any() or (blocks.codes > high).any():
        raise MixditError(
            f"Codes of {fmt.name} must be {np.min(low)}..{np.max(high)}, "
            f"not {blocks.codes.min()}..{blocks.codes.max()}"
        )
    if blocks.micro_exponents.max(initial=0) > 1:
        raise MixditError(f"Micro-exponents must be 0 or 1, not {blocks.micro_exponents.max()}")
    if fmt.has_nan_blocks:
        is_nan = blocks.exponents == NAN_EXPONENT
        taus = blocks.micro_exponents[is_nan] if fmt.has_micro_exponents else np.zeros(0)
        if blocks.codes[is_nan].any() or taus.any():
            raise MixditError("Codes and micro-exponents of a NaN block must be 0")
    fmt.check_shared(blocks)
