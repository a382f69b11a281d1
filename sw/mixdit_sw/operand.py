"""A matrix quantized for the engine: one format for each K-block, channels in engine order."""

from dataclasses import dataclass, replace

import numpy as np

from mixdit_sw.codec.reference import encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import (
    LANES,
    MX9,
    NAN_EXPONENT,
    NEAREST,
    PAIR,
    Blocks,
    Format,
    Rounding,
    check_matrix,
)


@dataclass(frozen=True)
class QuantizedOperand:
    """A (rows, K) matrix in blocks along K, one format for each K-block.

    Members
    -------
    codes : int16 (rows, n_blocks, 16), wider where a format needs it
        Signed integer codes.
    exponents : uint8 (rows, n_blocks)
        Shared exponents as stored.
    micro_exponents : uint8 (rows, n_blocks, 8)
        Micro-exponents.
    formats : tuple of Format
        Format of each K-block.
    order : int64 (K,)
        Channel that stands at each position of the engine's order.
    scales : float32 (rows, n_blocks), optional
        Real-valued scale of each K-block, if any format has one; 1 where its format has none.
    groups : tuple of int
        Number of the scale group of each K-block; 0 without scales.
    """

    codes: np.ndarray
    exponents: np.ndarray
    micro_exponents: np.ndarray
    formats: tuple[Format, ...]
    order: np.ndarray
    scales: np.ndarray | None = None
    groups: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", (0,) * len(self.formats))

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return self.codes.shape[0]

    @property
    def k(self) -> int:
        """Channels of the matrix, without padding."""
        return len(self.order)

    @property
    def n_blocks(self) -> int:
        """Blocks of a row."""
        return self.codes.shape[1]

    @property
    def padding(self) -> int:
        """Zeros at the end of each row that complete its last block."""
        return self.n_blocks * LANES - self.k

    @property
    def nan_blocks(self) -> int:
        """Number of NaN blocks."""
        return int((self.exponents == NAN_EXPONENT).sum())

    @property
    def packed_bytes(self) -> int:
        """Bytes of the matrix as stored (docs/memory-order.md)."""
        counts = {fmt: self.formats.count(fmt) for fmt in dict.fromkeys(self.formats)}
        return self.rows * sum(fmt.row_bytes(LANES * n) for fmt, n in counts.items())

    @property
    def has_packets(self) -> bool:
        """Whether every K-block decodes into digit packets."""
        return all(fmt.digits is not None for fmt in self.formats)

    def values(self) -> np.ndarray:
        """Return the values, float32 (rows, 16 * n_blocks), in engine order; NaN in NaN blocks."""
        values = np.empty(self.codes.shape, np.float32)
        for fmt in dict.fromkeys(self.formats):
            chosen = _chosen(self.formats, fmt)
            blocks = self.blocks(chosen)
            if self.scales is None or not fmt.is_scaled:
                values[:, chosen] = fmt.decode(blocks).reshape(blocks.codes.shape)
            else:
                scaled = blocks.codes.astype(np.float64) * self.scales[:, chosen, None]
                values[:, chosen] = scaled.astype(np.float32)
        return values.reshape(self.rows, -1)

    def blocks(self, k_block: slice | int | np.ndarray = slice(None)) -> Blocks:
        """Return the blocks, or those of some K-blocks."""
        return Blocks(
            self.codes[:, k_block], self.exponents[:, k_block], self.micro_exponents[:, k_block]
        )

    def part(self, k_blocks: slice) -> "QuantizedOperand":
        """Return some of its K-blocks, channels numbered as in the whole."""
        return replace(
            self,
            codes=self.codes[:, k_blocks],
            exponents=self.exponents[:, k_blocks],
            micro_exponents=self.micro_exponents[:, k_blocks],
            formats=self.formats[k_blocks],
            order=self.order[LANES * k_blocks.start : LANES * k_blocks.stop],
            scales=None if self.scales is None else self.scales[:, k_blocks],
            groups=self.groups[k_blocks],
        )

    def check_same_order(self, other: "QuantizedOperand") -> None:
        """Check that the two can be multiplied.

        Raises
        ------
        MixditError
            When their channels differ in number or order.
        """
        if self.k != other.k:
            raise MixditError(f"A and B must have the same K, not {self.k} and {other.k}")
        if not np.array_equal(self.order, other.order):
            raise MixditError("A and B must have their channels in the same order")


def select_high_channels(x: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` channels of x (rows, K) with the largest absmax, ascending.

    Ties go to the lower index; NaN counts as largest.
    """
    check_matrix(x)
    _check_rows(x)
    if not 0 <= count <= x.shape[-1]:
        raise MixditError(f"High channels must be 0..K = {x.shape[-1]}, not {count}")
    return np.sort(_by_magnitude(x)[:count])


def complete_to_blocks(x: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return `high` completed to whole K-blocks by the next largest channels of x, ascending.

    Raises
    ------
    MixditError
        When an index is not a channel, or occurs twice.
    """
    check_matrix(x)
    _check_rows(x)
    channels = x.shape[-1]
    high = np.asarray(high)
    if high.ndim != 1 or (high.size and not np.issubdtype(high.dtype, np.integer)):
        raise MixditError("High channels must be a list of integers")
    if high.size and (high.min() < 0 or high.max() >= channels):
        raise MixditError(
            f"High channels must be 0..{channels - 1}, not {high.min()}..{high.max()}"
        )
    if len(np.unique(high)) != high.size:
        raise MixditError("High channels must not repeat")
    ranked = _by_magnitude(x)
    others = ranked[~np.isin(ranked, high)]
    return np.sort(np.concatenate([high, others[: -high.size % LANES]]).astype(np.int64))


def quantize_operand(
    x: np.ndarray,
    fmt: Format,
    *,
    order: np.ndarray | None = None,
    high: np.ndarray | None = None,
    rounding: Rounding = NEAREST,
) -> QuantizedOperand:
    """Quantize a matrix; K-blocks that hold a high channel are MX9.

    Parameters
    ----------
    x : float32 (rows, K)
        Matrix.
    fmt : Format
        Format of the other K-blocks. Where its blocks or groups are larger than a K-block, they are
        made of the other K-blocks in their order.
    order : int64 (K,), optional
        Engine order of the channels; as they are by default.
    high : int64 (n,), optional
        High channels.
    rounding : Rounding, optional
        To nearest even by default.

    Returns
    -------
    QuantizedOperand
        The matrix; K is padded with zeros to whole blocks.

    Raises
    ------
    MixditError
        When x is no float32 matrix, or `order` no permutation of its channels.
    """
    grouped, order = group_channels(x, order)
    channel_high = np.isin(order, [] if high is None else high)
    padding = -len(order) % LANES
    is_high = np.logical_or.reduce(np.pad(channel_high, (0, padding)).reshape(-1, LANES), axis=1)
    formats = tuple(MX9 if chosen else fmt for chosen in is_high)
    return assemble(encode_parts(grouped, formats, rounding), formats, order)


def group_channels(x: np.ndarray, order: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return x (rows, K) in K-blocks (rows, n_blocks, 16), its channels in order, and the order.

    Raises
    ------
    MixditError
        When x is no float32 matrix, or `order` no permutation of its channels.
    """
    check_matrix(x)
    if x.ndim != 2:
        raise MixditError(f"Matrix must have rows and columns, not shape {x.shape}")
    rows, channels = x.shape
    natural = np.arange(channels, dtype=np.int64)
    order = natural if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), natural):
        raise MixditError(f"Order must hold each of the channels 0..{channels - 1} once")
    padding = -channels % LANES
    return np.pad(x[:, order], [(0, 0), (0, padding)]).reshape(rows, -1, LANES), order


def encode_parts(
    grouped: np.ndarray, formats: tuple[Format, ...], rounding: Rounding = NEAREST
) -> dict[Format, Blocks]:
    """Return the blocks of each format, for float32 (rows, n_blocks, 16) in K-blocks of `formats`.

    The K-blocks of a format are taken together in their order; where its blocks or groups are
    larger than a K-block, the last one may be completed with zeros.
    """
    rows = grouped.shape[0]
    return {
        fmt: encode(grouped[:, _chosen(formats, fmt)].reshape(rows, -1), fmt, rounding)
        for fmt in dict.fromkeys(formats)
    }


def assemble(
    parts: dict[Format, Blocks], formats: tuple[Format, ...], order: np.ndarray
) -> QuantizedOperand:
    """Return the operand of `encode_parts`' blocks."""
    rows = next(iter(parts.values())).codes.shape[0]
    shape = (rows, len(formats))
    codes = np.zeros((*shape, LANES), np.result_type(*(fmt.element.dtype for fmt in parts)))
    exponents = np.zeros(shape, np.uint8)
    micro_exponents = np.zeros((*shape, LANES // PAIR), np.uint8)
    scales = np.ones(shape, np.float32) if any(fmt.is_scaled for fmt in parts) else None
    groups, first_group = np.zeros(len(formats), np.int64), 1
    for fmt, part in parts.items():
        chosen = _chosen(formats, fmt)
        count = int(chosen.sum())
        codes[:, chosen] = part.codes[:, :count]
        exponents[:, chosen] = part.exponents[:, :count]
        micro_exponents[:, chosen] = part.micro_exponents[:, :count]
        block_scales = fmt.block_scales(part)
        if scales is not None and block_scales is not None:
            scales[:, chosen] = block_scales[:, :count]
            groups[chosen] = first_group + np.arange(count) * LANES // fmt.group(count * LANES)
            first_group = int(groups.max()) + 1
    return QuantizedOperand(
        codes, exponents, micro_exponents, formats, order, scales, tuple(groups.tolist())
    )


def _chosen(formats: tuple[Format, ...], fmt: Format) -> np.ndarray:
    """Return which K-blocks have a format, bool (n_blocks,)."""
    return np.array([f == fmt for f in formats])


def quantize_pair(
    a: np.ndarray,
    b: np.ndarray,
    a_format: Format,
    b_format: Format,
    a_high: np.ndarray | None = None,
    b_high: np.ndarray | None = None,
    rounding: Rounding = NEAREST,
) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Quantize the two operands of C = A @ B.T in one channel order.

    A's high channels, completed to whole K-blocks by A's next largest, are MX9 in A. B's are
    completed by B's next largest and are MX9 in B. One order serves both: A's high channels first,
    then the others of B's. Where only some channels of a K-block are high in B, all of it is MX9.

    Parameters
    ----------
    a, b : float32 (M, K), (N, K)
        Operands.
    a_format, b_format : Format
        Format of the channels that are not high.
    a_high, b_high : int (n,), optional
        High channels.
    rounding : Rounding, optional
        To nearest even by default.

    Raises
    ------
    MixditError
        When K differs or high channels are not channels.
    """
    check_matrix(a)
    check_matrix(b)
    if a.ndim != 2 or b.ndim != 2 or 0 in (a.shape[0], b.shape[0]):
        raise MixditError(f"A and B must be matrices, not of shape {a.shape} and {b.shape}")
    if a.shape[1] != b.shape[1]:
        raise MixditError(f"A and B must have the same K, not {a.shape[1]} and {b.shape[1]}")
    channels = a.shape[1]
    in_a = complete_to_blocks(a, np.array([], np.int64) if a_high is None else a_high)
    in_b = complete_to_blocks(b, np.array([], np.int64) if b_high is None else b_high)
    first = np.concatenate([in_a, np.setdiff1d(in_b, in_a)])
    order = np.concatenate([first, np.setdiff1d(np.arange(channels), first)]).astype(np.int64)
    return (
        quantize_operand(a, a_format, order=order, high=in_a, rounding=rounding),
        quantize_operand(b, b_format, order=order, high=in_b, rounding=rounding),
    )


def _check_rows(x: np.ndarray) -> None:
    """Check that channels have a magnitude at all."""
    if x.size == 0:
        raise MixditError(f"Tensor must have rows, not shape {x.shape}")


def _by_magnitude(x: np.ndarray) -> np.ndarray:
    """Return the channels of x by falling absmax, ties by rising index."""
    absmax = np.nan_to_num(np.abs(x).reshape(-1, x.shape[-1]).max(axis=0), nan=np.inf)
    return np.argsort(-absmax, kind="stable")
