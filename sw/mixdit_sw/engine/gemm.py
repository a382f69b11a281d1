"""GEMMs with their epilogue: C = A @ B.T."""

from dataclasses import dataclass, replace

import numpy as np

from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.shape import EngineShape, digit_words, stored_formats
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, Format
from mixdit_sw.operand import QuantizedOperand


@dataclass(frozen=True, kw_only=True)
class GemmSize:
    """A GEMM without its numbers.

    Members
    -------
    m, n, k : int
        C is (m, n), the sum over k channels.
    a_formats, b_formats : tuple of Format
        Format of each K-block.
    steps : tuple of str
        Steps of the epilogue that are on.
    bf16 : bool
        Store BF16.
    as_operand : tuple of Format, optional
        Store C as an operand, with these formats of its K-blocks.
    a_source, b_source : int, optional
        Number of the GEMM or conversion that stores A, or B.
    residual_source : int, optional
        Number of the GEMM whose C is the residual.
    col_tiles : int
        Columns of tiles that are computed at least.
    """

    m: int
    n: int
    k: int
    a_formats: tuple[Format, ...]
    b_formats: tuple[Format, ...]
    steps: tuple[str, ...] = ()
    bf16: bool = False
    as_operand: tuple[Format, ...] | None = None
    a_source: int | None = None
    b_source: int | None = None
    residual_source: int | None = None
    col_tiles: int = 0

    def __post_init__(self) -> None:
        if self.residual_source is not None and "residual" not in self.steps:
            raise MixditError("A GEMM that reads a residual needs the step residual")

    def tiles(self, shape: EngineShape) -> tuple[int, int]:
        """Rows and columns of tiles; whole groups of columns if C is stored as an operand."""
        group = 1 if self.as_operand is None else shape.group_tiles
        cols = -(-self.n // (shape.cols * group)) * group
        return -(-self.m // shape.rows), max(cols, self.col_tiles)

    def stored_formats(self, shape: EngineShape) -> tuple[Format, ...]:
        """Formats of the K-blocks of C as an operand: those asked for, the last one repeated.

        Raises
        ------
        MixditError
            When they are not those of C's columns, or more than a section holds.
        """
        return stored_formats(self.as_operand or (), self.n, self.tiles(shape)[1], shape)

    def part(self, k_blocks: slice) -> "GemmSize":
        """Return the same over some K-blocks."""
        return replace(
            self,
            k=min(self.k, LANES * k_blocks.stop) - LANES * k_blocks.start,
            a_formats=self.a_formats[k_blocks],
            b_formats=self.b_formats[k_blocks],
        )

    def beats(self, shape: EngineShape, is_b: bool) -> int:
        """Bus words of an operand tile."""
        return shape.operand_beats(self.b_formats if is_b else self.a_formats, is_b)

    def words(self, is_b: bool) -> int:
        """Buffer words of an operand tile."""
        return digit_words(self.b_formats if is_b else self.a_formats)

    @property
    def passes(self) -> list[int]:
        """Digit passes of each K-block."""
        pairs = zip(self.a_formats, self.b_formats, strict=True)
        return [(f.digits or 0) * (g.digits or 0) for f, g in pairs]


@dataclass(frozen=True, kw_only=True)
class LayerGemm:
    """A GEMM with its epilogue.

    Members
    -------
    a, b : QuantizedOperand
        (M, K) and (N, K), channels in the same order.
    row_scale, col_scale, bias, residual : float32 (M,), (N,), (N,), (M, N), optional
        Steps of the epilogue.
    bf16 : bool
        Store BF16.
    as_operand : tuple of Format, optional
        Store C as the operand A of a later GEMM, with these formats of its K-blocks.
    a_source, b_source : int, optional
        Number of the GEMM or conversion that stores A, or B, whose bits are not used then.
    residual_source : int, optional
        Number of the GEMM whose C, stored as FP32, is the residual; likewise.
    col_tiles : int
        Columns of tiles that are computed at least.
    """

    a: QuantizedOperand
    b: QuantizedOperand
    row_scale: np.ndarray | None = None
    col_scale: np.ndarray | None = None
    bias: np.ndarray | None = None
    residual: np.ndarray | None = None
    bf16: bool = False
    as_operand: tuple[Format, ...] | None = None
    a_source: int | None = None
    b_source: int | None = None
    residual_source: int | None = None
    col_tiles: int = 0

    def part(self, k_blocks: slice) -> "LayerGemm":
        """Return the same over some K-blocks."""
        return replace(self, a=self.a.part(k_blocks), b=self.b.part(k_blocks))

    @property
    def size(self) -> GemmSize:
        """What the engine's cycles depend on."""
        return GemmSize(
            m=self.a.rows,
            n=self.b.rows,
            k=self.a.k,
            a_formats=self.a.formats,
            b_formats=self.b.formats,
            steps=tuple(name for name in STEPS if self._has(name)),
            bf16=self.bf16,
            as_operand=self.as_operand,
            a_source=self.a_source,
            b_source=self.b_source,
            residual_source=self.residual_source,
            col_tiles=self.col_tiles,
        )

    def _has(self, step: str) -> bool:
        is_stored = step == "residual" and self.residual_source is not None
        return is_stored or getattr(self, step) is not None
