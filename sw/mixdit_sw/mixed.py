"""Mixed-precision tensors: a format for each K-block of each row tile, channels in any order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, NEAREST, Blocks, Format, Rounding
from mixdit_sw.gemm.kinds import Kind
from mixdit_sw.operand import QuantizedOperand, assemble, encode_parts, group_channels


@dataclass(frozen=True)
class RowTile:
    """Rows that share their K-blocks' formats.

    Members
    -------
    formats : tuple of Format
        Format of each K-block.
    parts : dict of Format to Blocks
        The blocks of each format, its K-blocks in their order.
    """

    formats: tuple[Format, ...]
    parts: dict[Format, Blocks]

    @property
    def rows(self) -> int:
        """Rows of the tile."""
        return next(iter(self.parts.values())).codes.shape[0]

    @property
    def packed_bytes(self) -> int:
        """Stored bytes of the tile, scales of whole tensors included."""
        total = 0
        for fmt, part in self.parts.items():
            count = self.formats.count(fmt) * LANES
            total += self.rows * fmt.row_bytes(count) + (4 if part.tensor_scale is not None else 0)
        return total


@dataclass(frozen=True)
class MixedTensor:
    """A (rows, K) matrix in blocks along K.

    Members
    -------
    tiles : tuple of RowTile
        Row tiles from the top; all but the last have `tile_rows` rows.
    tile_rows : int
        Rows of a tile.
    order : int64 (K,)
        Channel that stands at each position.
    """

    tiles: tuple[RowTile, ...]
    tile_rows: int
    order: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, K) of the matrix."""
        return sum(tile.rows for tile in self.tiles), len(self.order)

    @property
    def packed_bytes(self) -> int:
        """Stored bytes of all blocks; the order of the channels is not among them."""
        return sum(tile.packed_bytes for tile in self.tiles)

    @property
    def bits_per_element(self) -> float:
        """Exact stored bits of an element, padding and scales included."""
        rows, channels = self.shape
        return 8 * self.packed_bytes / (rows * channels)

    @cached_property
    def operands(self) -> tuple[QuantizedOperand, ...]:
        """What the engine multiplies, tile by tile."""
        return tuple(assemble(tile.parts, tile.formats, self.order) for tile in self.tiles)

    @property
    def nan_blocks(self) -> int:
        """Number of NaN K-blocks."""
        return sum(operand.nan_blocks for operand in self.operands)

    def values(self) -> np.ndarray:
        """Return the values, float32 (rows, K), channels as in the original matrix."""
        ordered = np.concatenate([operand.values() for operand in self.operands])
        values = np.empty(self.shape, np.float32)
        values[:, self.order] = ordered[:, : len(self.order)]
        return values

    def summary(self) -> str:
        """Return a few lines for people: shape, formats and their shares, bits."""
        rows, channels = self.shape
        counts: dict[str, int] = {}
        for tile in self.tiles:
            for fmt in tile.formats:
                counts[fmt.name] = counts.get(fmt.name, 0) + tile.rows
        total = sum(counts.values())
        shares = ", ".join(f"{name} {100 * n / total:.1f} %" for name, n in counts.items())
        moved = int((self.order != np.arange(channels)).sum())
        return "\n".join(
            [
                f"{rows} x {channels}, {len(self.tiles)} row tile(s) of {self.tile_rows}",
                f"blocks: {total} of {LANES}, {shares}; NaN blocks: {self.nan_blocks}",
                f"channels out of their place: {moved}",
                f"stored: {self.packed_bytes} bytes, {self.bits_per_element:.4f} bits an element",
            ]
        )

    def __str__(self) -> str:
        return self.summary()


def quantize_mixed(
    x: np.ndarray,
    formats: Sequence[Sequence[Format]],
    *,
    tile_rows: int | None = None,
    order: np.ndarray | None = None,
    rounding: Rounding = NEAREST,
) -> MixedTensor:
    """Quantize a matrix by a map of formats.

    Parameters
    ----------
    x : float32 (rows, K)
        Matrix.
    formats : (row tiles, K-blocks) of Format
        Format of each K-block, in the new order, of each row tile.
    tile_rows : int, optional
        Rows of a tile; all by default.
    order : int64 (K,), optional
        Channel that stands at each position; as they are by default.
    rounding : Rounding, optional
        To nearest even by default.

    Raises
    ------
    MixditError
        When x is no float32 matrix, `order` no permutation of its channels, or the map does not
        have a row for each tile and a column for each K-block.
    """
    grouped, order = group_channels(x, order)
    rows, n_blocks = grouped.shape[:2]
    tile_rows = rows if tile_rows is None else tile_rows
    if not isinstance(tile_rows, int | np.integer) or tile_rows < 1:
        raise MixditError(f"A row tile must have at least one row, not {tile_rows}")
    if not all(isinstance(row, Sequence) for row in formats):
        raise MixditError("Formats must be a list of formats for each row tile")
    wanted = (-(-rows // tile_rows), n_blocks)
    found = (len(formats), *sorted({len(row) for row in formats}))
    if found != wanted:
        raise MixditError(f"Formats must be {wanted[0]} row tiles x {wanted[1]} K-blocks")
    tiles = []
    for n, row in enumerate(formats):
        part = grouped[n * tile_rows : (n + 1) * tile_rows]
        tiles.append(RowTile(tuple(row), encode_parts(part, tuple(row), rounding)))
    return MixedTensor(tuple(tiles), tile_rows, order)


def golden_gemm_mixed(a: MixedTensor, b: MixedTensor, kind: Kind) -> np.ndarray:
    """Return C = A @ B.T as the engine computes it, float32 (rows of a, rows of b).

    Raises
    ------
    MixditError
        When K or the order of the channels differ, or blocks do not fit the accumulator.
    """
    from mixdit_sw.gemm.fast import golden_gemm

    return np.block([[golden_gemm(x, y, kind) for y in b.operands] for x in a.operands])
