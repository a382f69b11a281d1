"""A matrix quantized for the engine: one format for each K-block, channels in engine order."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.codec.reference import Blocks, check_matrix, encode
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, MX9, NAN_EXPONENT, PAIR, BlockFormat


@dataclass(frozen=True)
class QuantizedOperand:
    """A (rows, K) matrix in blocks along K, one format for each K-block.

    Members
    -------
    codes : int16 (rows, n_blocks, 16)
        Signed integer codes.
    exponents : uint8 (rows, n_blocks)
        Shared exponents as stored.
    micro_exponents : uint8 (rows, n_blocks, 8)
        Micro-exponents.
    formats : tuple of BlockFormat
        Format of each K-block.
    order : int64 (K,)
        Channel that stands at each position of the engine's order.
    """

    codes: np.ndarray
    exponents: np.ndarray
    micro_exponents: np.ndarray
    formats: tuple[BlockFormat, ...]
    order: np.ndarray

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
        return self.rows * sum(fmt.block_bytes for fmt in self.formats)

    def blocks(self, k_block: slice | int = slice(None)) -> Blocks:
        """Return the blocks, or those of some K-blocks."""
        return Blocks(
            self.codes[:, k_block], self.exponents[:, k_block], self.micro_exponents[:, k_block]
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
    fmt: BlockFormat,
    *,
    order: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> QuantizedOperand:
    """Quantize a matrix; K-blocks that hold a high channel are MX9.

    Parameters
    ----------
    x : float32 (rows, K)
        Matrix.
    fmt : BlockFormat
        Format of the other K-blocks.
    order : int64 (K,), optional
        Engine order of the channels; as they are by default.
    high : int64 (n,), optional
        High channels.

    Returns
    -------
    QuantizedOperand
        The matrix; K is padded with zeros to whole blocks.

    Raises
    ------
    MixditError
        When x is no float32 matrix, or `order` no permutation of its channels.
    """
    check_matrix(x)
    if x.ndim != 2 or x.shape[0] == 0:
        raise MixditError(f"Matrix must have rows and columns, not shape {x.shape}")
    rows, channels = x.shape
    natural = np.arange(channels, dtype=np.int64)
    order = natural if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), natural):
        raise MixditError(f"Order must hold each of the channels 0..{channels - 1} once")
    padding = -channels % LANES
    channel_high = np.isin(order, [] if high is None else high)
    is_high = np.logical_or.reduce(np.pad(channel_high, (0, padding)).reshape(-1, LANES), axis=1)
    grouped = np.pad(x[:, order], [(0, 0), (0, padding)]).reshape(rows, -1, LANES)

    codes = np.zeros(grouped.shape, np.int16)
    exponents = np.zeros(grouped.shape[:2], np.uint8)
    micro_exponents = np.zeros((*grouped.shape[:2], LANES // PAIR), np.uint8)
    for chosen, block_format in ((is_high, MX9), (np.logical_not(is_high), fmt)):
        if chosen.any():
            part = encode(grouped[:, chosen].reshape(rows, -1), block_format)
            codes[:, chosen] = part.codes
            exponents[:, chosen] = part.exponents
            micro_exponents[:, chosen] = part.micro_exponents
    formats = tuple(MX9 if chosen else fmt for chosen in is_high)
    return QuantizedOperand(codes, exponents, micro_exponents, formats, order)


def quantize_pair(
    a: np.ndarray,
    b: np.ndarray,
    a_format: BlockFormat,
    b_format: BlockFormat,
    a_high: np.ndarray | None = None,
    b_high: np.ndarray | None = None,
) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Quantize the two operands of C = A @ B.T in one channel order.

    A's high channels, completed to whole K-blocks by A's next largest, are MX9 in A. B's are
    completed by B's next largest and are MX9 in B. One order serves both: A's high channels first,
    then the others of B's. Where only some channels of a K-block are high in B, all of it is MX9.

    Parameters
    ----------
    a, b : float32 (M, K), (N, K)
        Operands.
    a_format, b_format : BlockFormat
        Format of the channels that are not high.
    a_high, b_high : int (n,), optional
        High channels.

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
        quantize_operand(a, a_format, order=order, high=in_a),
        quantize_operand(b, b_format, order=order, high=in_b),
    )


def _check_rows(x: np.ndarray) -> None:
    """Check that channels have a magnitude at all."""
    if x.size == 0:
        raise MixditError(f"Tensor must have rows, not shape {x.shape}")


def _by_magnitude(x: np.ndarray) -> np.ndarray:
    """Return the channels of x by falling absmax, ties by rising index."""
    absmax = np.nan_to_num(np.abs(x).reshape(-1, x.shape[-1]).max(axis=0), nan=np.inf)
    return np.argsort(-absmax, kind="stable")
