"""Conversions from memory to memory: a matrix as an operand of a GEMM."""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.engine.commands import Command, Opcode, Output
from mixdit_sw.engine.layout import pack_matrix
from mixdit_sw.engine.shape import EngineShape, stored_formats
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import Format
from mixdit_sw.gemm.epilogue import to_bf16
from mixdit_sw.mixed import quantize_mixed
from mixdit_sw.operand import QuantizedOperand


@dataclass(frozen=True, kw_only=True)
class ConvertSize:
    """A conversion without its numbers.

    Members
    -------
    m, n : int
        Rows and channels of the operand.
    as_operand : tuple of Format
        Formats of its K-blocks.
    transposed : bool
        The source is (n, m), not (m, n).
    order : tuple of int, optional
        Channel of the source that comes to each place; of a transposed source only.
    source_bf16 : bool
        The source is BF16.
    source : int, optional
        Number of the GEMM that stores the source.
    """

    m: int
    n: int
    as_operand: tuple[Format, ...]
    transposed: bool = False
    order: tuple[int, ...] | None = None
    source_bf16: bool = False
    source: int | None = None

    def tiles(self, shape: EngineShape) -> tuple[int, int]:
        """Rows and columns of tiles; whole groups of columns."""
        width = shape.cols * shape.group_tiles
        return -(-self.m // shape.rows), -(-self.n // width) * shape.group_tiles

    def stored_formats(self, shape: EngineShape) -> tuple[Format, ...]:
        """Formats of the K-blocks that are stored: those asked for, the last one repeated.

        Raises
        ------
        MixditError
            When they are not those of the channels, or more than a section holds.
        """
        return stored_formats(self.as_operand, self.n, self.tiles(shape)[1], shape)

    def source_grid(self, shape: EngineShape) -> tuple[int, int]:
        """Rows and columns of tiles that the source must have in memory."""
        rows, cols = self.tiles(shape)
        return (-(-cols * shape.cols // shape.rows), rows) if self.transposed else (rows, cols)

    def table(self, shape: EngineShape, row_beats: int) -> np.ndarray:
        """Return the table of a transposed source with so many bus words a row of tiles, int32.

        Raises
        ------
        MixditError
            When `order` is no permutation of the channels.
        """
        order = np.arange(self.tiles(shape)[1] * shape.cols)
        if self.order is not None:
            if sorted(self.order) != list(range(self.n)):
                raise MixditError(f"order must be a permutation of {self.n} channels")
            order[: self.n] = self.order
        rows = row_beats * shape.rows_a_beat(narrow=self.source_bf16)
        return (order // shape.rows * rows + order % shape.rows).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class LayerConvert:
    """A conversion.

    Members
    -------
    x : float32, optional
        The source: (M, K), or (K, M) if `transposed`. None if a GEMM stores it.
    source : int, optional
        Number of that GEMM.
    shape : (int, int), optional
        The operand's rows and channels; needed with `source`.
    formats : tuple of Format
        Formats of the operand's K-blocks.
    transposed, order, bf16
        As for `ConvertSize`; `bf16` is that of the source.
    """

    formats: tuple[Format, ...]
    x: np.ndarray | None = None
    source: int | None = None
    shape: tuple[int, int] | None = None
    transposed: bool = False
    order: tuple[int, ...] | None = None
    bf16: bool = False

    @property
    def size(self) -> ConvertSize:
        """What the engine's cycles depend on.

        Raises
        ------
        MixditError
            When it has no source, or two, or an order that only a transposed source can have.
        """
        if (self.x is None) == (self.source is None):
            raise MixditError("A conversion needs either numbers or the number of a GEMM")
        if self.order is not None and not self.transposed:
            raise MixditError("Only the rows of a transposed source can be put into another order")
        shape = self.shape
        if self.x is not None:
            shape = self.x.shape[:: -1 if self.transposed else 1]
        if shape is None:
            raise MixditError("A conversion of a GEMM's result needs the operand's shape")
        return ConvertSize(
            m=shape[0],
            n=shape[1],
            as_operand=self.formats,
            transposed=self.transposed,
            order=self.order,
            source_bf16=self.bf16,
            source=self.source,
        )

    def operand(self, x: np.ndarray) -> QuantizedOperand:
        """Return the operand that the engine makes of a source, bit for bit."""
        if self.bf16:
            x = (to_bf16(x).astype(np.uint32) << 16).view(np.float32)
        x = np.ascontiguousarray(x.T if self.transposed else x)
        order = None if self.order is None else np.array(self.order)
        return quantize_mixed(x, [self.formats], order=order).operands[0]

    def pack(self, shape: EngineShape) -> np.ndarray:
        """Return the source as it lies in memory, uint8 (bytes,)."""
        assert self.x is not None
        return pack_matrix(self.x, shape, self.size.source_grid(shape), bf16=self.bf16).reshape(-1)


def convert_command(
    size: ConvertSize,
    shape: EngineShape,
    *,
    wait: int,
    source: int,
    table: int,
    result: int,
    row_beats: int,
) -> Command:
    """Return the command of a conversion.

    Parameters
    ----------
    size : ConvertSize
        What is converted.
    shape : EngineShape
        The engine.
    wait : int
        Its wait bit.
    source, table, result : int
        Addresses, in bytes; of the result, where the first row tile's header is.
    row_beats : int
        Bus words of a row of the source's tiles.
    """
    rows, cols = size.tiles(shape)
    tile_beats = shape.tile_beats // (2 if size.source_bf16 else 1)
    below, right = (tile_beats, 0) if size.transposed else (row_beats, tile_beats)
    return Command(
        opcode=Opcode.CONVERT,
        stationary_b=1,
        wait=wait,
        output=Output.OPERAND,
        transposed=int(size.transposed),
        source_bf16=int(size.source_bf16),
        row_tiles=rows,
        col_tiles=cols,
        panel=cols,
        c_row_beats=shape.operand_beats(size.stored_formats(shape), False),
        residual_row_beats=below,
        residual_col_beats=right,
        a_address=table,
        c_address=result + shape.bus_bytes,
        residual_address=source,
        tags_address=result,
    )
