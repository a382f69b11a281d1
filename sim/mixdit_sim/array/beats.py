"""From quantized operands to the operand beats of the array, and from its results to C."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from amaranth.lib import data

from mixdit_hw.array.array import beat_layout
from mixdit_hw.config import ArrayConfig
from mixdit_hw.packet import EXPONENT_BITS, PACKET
from mixdit_sw.codec.packets import passes, to_packets
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import DIGIT_BITS
from mixdit_sw.operand import QuantizedOperand


@dataclass(frozen=True)
class Tile:
    """One output tile.

    Members
    -------
    row, col : int
        First row and column of C.
    """

    row: int
    col: int


@dataclass(frozen=True)
class Gemm:
    """A GEMM as the array runs it: which tiles, and how many beats each.

    Members
    -------
    config : ArrayConfig
        Array.
    m, n : int
        Shape of C.
    digits : tuple of (int, int)
        Digits of A and of B in each K-block.
    """

    config: ArrayConfig
    m: int
    n: int
    digits: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, config: ArrayConfig, a: QuantizedOperand, b: QuantizedOperand) -> "Gemm":
        """Return the GEMM A @ B.T.

        Raises
        ------
        MixditError
            When the operands do not match or the array is not built for a format of theirs.
        """
        a.check_same_order(b)
        for fmt in {*a.formats, *b.formats}:
            if fmt.name not in config.formats:
                raise MixditError(
                    f"The array is built for {', '.join(config.formats)}, not for {fmt.name}"
                )
        digits = tuple(
            (f.digits or 0, g.digits or 0) for f, g in zip(a.formats, b.formats, strict=True)
        )
        return cls(config, a.rows, b.rows, digits)

    @property
    def tiles(self) -> list[Tile]:
        """Tiles in the order in which the array computes them: along the rows of C."""
        height, width = self.config.tile_shape
        return [Tile(r, c) for r in range(0, self.m, height) for c in range(0, self.n, width)]

    @property
    def tile_beats(self) -> int:
        """Beats of a tile."""
        return self.config.interleave * sum(p * q for p, q in self.digits)


def packet_bits(x: QuantizedOperand) -> list[np.ndarray]:
    """Return the digit packets of each K-block as bits, uint8 (digits, rows, PACKET.size)."""
    return [_block_bits(x, k) for k in range(x.n_blocks)]


def _block_bits(x: QuantizedOperand, k: int) -> np.ndarray:
    packets = to_packets(x.blocks(k), x.formats[k])
    digits = packets.mag.shape[-2]
    shape = (digits, x.rows)
    mag = _bits(packets.mag.swapaxes(0, 1), DIGIT_BITS).reshape(*shape, -1)
    exponent = _bits(packets.exponent.astype(np.int64) & ((1 << EXPONENT_BITS) - 1), EXPONENT_BITS)
    shared = np.concatenate(
        [packets.sign, packets.tau, exponent, packets.nan[:, None].astype(np.uint8)], axis=1
    )
    bits = np.concatenate([mag, np.broadcast_to(shared, (*shape, shared.shape[1]))], axis=2)
    assert bits.shape[2] == PACKET.size
    return bits.astype(np.uint8)


def _bits(x: np.ndarray, width: int) -> np.ndarray:
    """Return x's bits along a new last axis, least significant first."""
    return (x[..., None] >> np.arange(width)) & 1


def beat_words(gemm: Gemm, a: QuantizedOperand, b: QuantizedOperand) -> Iterator[list[int]]:
    """Yield, for each tile, its beats as words of `beat_layout`.

    A beat holds the packets of one pass: a digit of the tile's rows of A, and a digit of those rows
    of B whose outputs take this turn. Rows past the end of a matrix are packets of zeros.
    """
    config, layout = gemm.config, beat_layout(gemm.config)
    bits_a, bits_b = packet_bits(a), packet_bits(b)
    # Everything but A's rows, which change from beat to beat of a tile only by digit.
    columns = {
        col: _column_words(gemm, layout, bits_b, col) for col in {tile.col for tile in gemm.tiles}
    }
    row, rows = None, []
    for tile in gemm.tiles:
        if tile.row != row:
            row, rows = tile.row, [_words(bits, tile.row, config.rows) for bits in bits_a]
        yield [rows[k][digit] | word for k, digit, word in columns[tile.col]]


def _column_words(
    gemm: Gemm, layout: data.StructLayout, bits: list[np.ndarray], col: int
) -> list[tuple[int, int, int]]:
    """Return, for each beat of a tile, its K-block, its digit of A, and its word without A."""
    config, last_at = gemm.config, layout["last"].offset
    words = []
    for k, (p, q) in enumerate(gemm.digits):
        fixed = _tag(layout, p, q) | (k == len(gemm.digits) - 1) << last_at
        for slot in range(config.interleave):
            digits = _words(bits[k], col + slot * config.cols, config.cols)
            for step in passes(p, q):
                word = digits[step.b_digit] << layout["b"].offset | fixed
                words.append((k, step.a_digit, word))
    return words


def _words(bits: np.ndarray, start: int, count: int) -> list[int]:
    """Return, for each digit, the packets of `count` rows from `start` on as one word."""
    part = bits[:, start : start + count].reshape(bits.shape[0], -1)
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(part, 1, "little")]


def _tag(layout: data.StructLayout, a_digits: int, b_digits: int) -> int:
    """Return a precision tag in its place in a beat."""
    tag = layout["tag"].shape
    word = a_digits << tag["a_digits"].offset | b_digits << tag["b_digits"].offset
    return word << layout["tag"].offset


def place(gemm: Gemm, results: dict[tuple[int, int], list[int]]) -> np.ndarray:
    """Return C from the result words of each cluster.

    Parameters
    ----------
    gemm : Gemm
        The GEMM.
    results : dict of (cluster row, cluster column) to list of int
        Words of `result_layout` in the order in which they left the cluster.

    Returns
    -------
    float32 (M, N)
        The product.

    Raises
    ------
    MixditError
        When a cluster gave more or fewer results than its tiles have.
    """
    config = gemm.config
    height, width = config.cluster_rows, config.cluster_cols
    turns = config.interleave
    grid = -(-gemm.m // config.rows), -(-gemm.n // (config.cols * turns))
    expected = grid[0] * grid[1] * height * turns
    c = np.zeros((*grid, config.rows, turns, config.cols), np.uint32)
    for (row, col), words in results.items():
        if len(words) != expected:
            raise MixditError(
                f"Cluster {row},{col} gave {len(words)} result beats instead of {expected}"
            )
        raw = b"".join(word.to_bytes(4 * width, "little") for word in words)
        block = np.frombuffer(raw, np.uint32).reshape(*grid, height, turns, width)
        # The bottom row of a cluster leaves first.
        c[:, :, row * height : (row + 1) * height, :, col * width : (col + 1) * width] = block[
            :, :, ::-1
        ]
    tiles = c.reshape(*grid, config.rows, turns * config.cols)
    whole = tiles.swapaxes(1, 2).reshape(grid[0] * config.rows, -1)
    return np.ascontiguousarray(whole[: gemm.m, : gemm.n]).view(np.float32)
