"""From GEMMs and conversions to a program: a memory image with operands and a command list."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixdit_sw.engine.commands import (
    COMMAND_WORDS,
    STEPS,
    Command,
    Opcode,
    Output,
    command_bytes,
)
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.image import Image
from mixdit_sw.engine.layout import pack_matrix, pack_operand, pack_vector, unpack_matrix
from mixdit_sw.engine.placement import Placement, Size
from mixdit_sw.engine.schedule import GemmSize, Schedule
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.formats import Format
from mixdit_sw.operand import QuantizedOperand


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

    @property
    def size(self) -> GemmSize:
        """What the engine's cycles depend on."""
        return GemmSize(
            m=self.a.rows,
            n=self.b.rows,
            k=self.a.k,
            a_formats=self.a.formats,
            b_formats=self.b.formats,
            steps=tuple(name for name in STEPS if getattr(self, name) is not None),
            bf16=self.bf16,
            as_operand=self.as_operand,
            a_source=self.a_source,
            b_source=self.b_source,
        )


@dataclass(frozen=True)
class Program:
    """What a host needs to run GEMMs and conversions.

    Members
    -------
    shape : EngineShape
        Engine that it is for.
    image : Image
        Memory before the run.
    gemms : list of GemmSize or ConvertSize
        What is run.
    commands : list of Command
        The list; its last is END.
    list_address : int
        Where it lies, in bytes.
    """

    shape: EngineShape
    image: Image
    gemms: list[Size]
    commands: list[Command]
    list_address: int

    def result(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C float32 (M, N) from memory uint8 after the run."""
        size, command = self.gemms[index], self.commands[index]
        stored = self._rows(memory, index, command.c_address)
        columns = command.c_row_beats // command.c_col_beats * self.shape.cols
        bf16 = command.output == Output.BF16
        rows = command.row_tiles * self.shape.rows
        matrix = unpack_matrix(stored.reshape(-1), self.shape, rows, columns, bf16=bf16)
        return matrix[: size.m, : size.n].copy()

    def operand(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C that is stored as an operand: its tiles in memory, uint8 (tiles, bytes)."""
        return self._rows(memory, index, self.commands[index].tags_address)

    def _rows(self, memory: np.ndarray, index: int, address: int) -> np.ndarray:
        command = self.commands[index]
        size = command.row_tiles * command.c_row_beats * self.shape.bus_bytes
        return memory[address : address + size].reshape(command.row_tiles, -1)


def compile_gemms(
    layers: Sequence[LayerGemm | LayerConvert],
    shape: EngineShape,
    *,
    plans: Sequence[Schedule | None] | None = None,
) -> Program:
    """Return the program that runs GEMMs and conversions one after the other.

    Parameters
    ----------
    layers : sequence of LayerGemm or LayerConvert
        What to run.
    shape : EngineShape
        The engine.
    plans : sequence of Schedule, optional
        Schedule of each GEMM; chosen by default.

    Raises
    ------
    MixditError
        When operands do not match, or do not fit the engine.
    """
    for layer in layers:
        if isinstance(layer, LayerGemm):
            layer.a.check_same_order(layer.b)
    program = compile_sizes([layer.size for layer in layers], shape, plans=plans)
    for layer, command in zip(layers, program.commands, strict=False):
        if isinstance(layer, LayerGemm):
            parts = _gemm_parts(layer, command, shape)
        else:
            parts = []
            if layer.x is not None:
                parts.append((command.residual_address, layer.pack(shape)))
        program.image.parts += [(at, part.reshape(-1)) for at, part in parts if part.size]
    return program


def _gemm_parts(
    gemm: LayerGemm, command: Command, shape: EngineShape
) -> list[tuple[int, np.ndarray]]:
    """Return addresses and bytes of what a GEMM reads, but for what other commands store."""
    rows = [] if gemm.row_scale is None else [gemm.row_scale]
    columns = [part for part in (gemm.col_scale, gemm.bias) if part is not None]
    grid = gemm.size.tiles(shape)
    parts = [
        (command.row_vector_address, pack_vector(rows, shape.rows, shape, grid[0])),
        (command.col_vector_address, pack_vector(columns, shape.cols, shape, grid[1])),
    ]
    if gemm.a_source is None:
        parts.append((command.a_address, pack_operand(gemm.a, shape, is_b=False)))
    if gemm.b_source is None:
        b = pack_operand(gemm.b, shape, is_b=True, tiles=grid[1])
        parts.append((command.b_address, b))
    if gemm.residual is not None:
        parts.append((command.residual_address, pack_matrix(gemm.residual, shape, grid)))
    return parts


def compile_sizes(
    sizes: Sequence[Size],
    shape: EngineShape,
    *,
    plans: Sequence[Schedule | None] | None = None,
) -> Program:
    """Return the program of GEMMs and conversions whose operands are still to be filled in.

    Raises
    ------
    MixditError
        When one does not fit the engine.
    """
    placement = Placement(sizes, shape)
    for number, plan in enumerate(plans or [None] * len(sizes)):
        size = sizes[number]
        if isinstance(size, GemmSize):
            placement.gemm(size, plan)
        else:
            placement.convert(size)
    commands, image = [*placement.commands, Command(opcode=Opcode.END)], placement.image
    words = np.zeros((len(commands), command_bytes(shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:COMMAND_WORDS] = command.pack()
    return Program(shape, image, list(sizes), commands, image.add(words))
