"""From GEMMs and conversions to a program: a memory image with operands and a command list."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mixdit_sw.engine.commands import (
    COMMAND_WORDS,
    Command,
    Opcode,
    Output,
    command_bytes,
)
from mixdit_sw.engine.convert import LayerConvert
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.image import Image
from mixdit_sw.engine.layout import pack_matrix, pack_operand, pack_vector, unpack_matrix
from mixdit_sw.engine.parts import in_parts, outputs_of
from mixdit_sw.engine.placement import Placement, Size
from mixdit_sw.engine.schedule import Schedule
from mixdit_sw.engine.shape import EngineShape


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
        What each command does.
    outputs : list of int
        Number of the command that stores the result of each GEMM and conversion that was asked for;
        others are parts of them.
    commands : list of Command
        The list; its last is END.
    list_address : int
        Where it lies, in bytes.
    """

    shape: EngineShape
    image: Image
    gemms: list[Size]
    outputs: list[int]
    commands: list[Command]
    list_address: int

    def result(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C float32 (M, N) from memory uint8 after the run."""
        number = self.outputs[index]
        size, command = self.gemms[number], self.commands[number]
        stored = self._rows(memory, command, command.c_address)
        columns = command.c_row_beats // command.c_col_beats * self.shape.cols
        bf16 = command.output == Output.BF16
        rows = command.row_tiles * self.shape.rows
        matrix = unpack_matrix(stored.reshape(-1), self.shape, rows, columns, bf16=bf16)
        return matrix[: size.m, : size.n].copy()

    def operand(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C that is stored as an operand: its tiles in memory, uint8 (tiles, bytes)."""
        command = self.commands[self.outputs[index]]
        return self._rows(memory, command, command.tags_address)

    def _rows(self, memory: np.ndarray, command: Command, address: int) -> np.ndarray:
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
    steps, origins = in_parts(layers, shape)
    program = _program([step.size for step in steps], origins, shape, plans)
    for layer, command in zip(steps, program.commands, strict=False):
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
    if gemm.residual is not None and gemm.residual_source is None:
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
    return _program(*in_parts(sizes, shape), shape, plans)


def _program(
    sizes: list[Size],
    origins: list[int],
    shape: EngineShape,
    plans: Sequence[Schedule | None] | None,
) -> Program:
    """Return the program of commands, each part of what has the number in `origins`."""
    placement = Placement(sizes, shape)
    for size, origin in zip(sizes, origins, strict=True):
        if isinstance(size, GemmSize):
            placement.gemm(size, plans[origin] if plans else None)
        else:
            placement.convert(size)
    commands, image = [*placement.commands, Command(opcode=Opcode.END)], placement.image
    words = np.zeros((len(commands), command_bytes(shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:COMMAND_WORDS] = command.pack()
    return Program(shape, image, sizes, outputs_of(origins), commands, image.add(words))
