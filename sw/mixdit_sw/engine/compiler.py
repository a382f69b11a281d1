"""From GEMMs to a program: a memory image with operands and a command list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixdit_sw.engine.commands import (
    COMMAND_WORDS,
    STEPS,
    Command,
    Opcode,
    Output,
    command_bytes,
)
from mixdit_sw.engine.image import Image
from mixdit_sw.engine.layout import header, pack_matrix, pack_operand, pack_vector, unpack_matrix
from mixdit_sw.engine.schedule import GemmSize, Schedule, choose_schedule, result_bytes
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
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
    a_source : int, optional
        Number of the GEMM that stores A. The bits of `a` are not used then.
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
        )


@dataclass(frozen=True)
class Program:
    """What a host needs to run GEMMs.

    Members
    -------
    shape : EngineShape
        Engine that it is for.
    image : Image
        Memory before the run.
    gemms : list of GemmSize
        What is run.
    commands : list of Command
        The list; its last is END.
    list_address : int
        Where it lies, in bytes.
    """

    shape: EngineShape
    image: Image
    gemms: list[GemmSize]
    commands: list[Command]
    list_address: int

    def result(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C float32 (M, N) from memory uint8 after the run."""
        gemm, address = self.gemms[index], self.commands[index].c_address
        stored = memory[address : address + result_bytes(gemm, self.shape)]
        return unpack_matrix(stored, self.shape, gemm.m, gemm.n, bf16=gemm.bf16)

    def operand(self, memory: np.ndarray, index: int) -> np.ndarray:
        """Return a C that is stored as an operand: its tiles in memory, uint8 (tiles, bytes)."""
        gemm = self.gemms[index]
        rows = gemm.tiles(self.shape)[0]
        size = result_bytes(gemm, self.shape)
        address = self.commands[index].tags_address
        return memory[address : address + size].reshape(rows, -1)


def compile_gemms(
    gemms: Sequence[LayerGemm],
    shape: EngineShape,
    *,
    plans: Sequence[Schedule | None] | None = None,
) -> Program:
    """Return the program that runs GEMMs one after the other.

    Parameters
    ----------
    gemms : sequence of LayerGemm
        What to run.
    shape : EngineShape
        The engine.
    plans : sequence of Schedule, optional
        Schedule of each; chosen by default.

    Raises
    ------
    MixditError
        When operands do not match, or do not fit the engine.
    """
    for gemm in gemms:
        gemm.a.check_same_order(gemm.b)
    program = compile_sizes([gemm.size for gemm in gemms], shape, plans=plans)
    for gemm, command in zip(gemms, program.commands, strict=False):
        rows = [] if gemm.row_scale is None else [gemm.row_scale]
        columns = [part for part in (gemm.col_scale, gemm.bias) if part is not None]
        grid = gemm.size.tiles(shape)
        parts = [(command.b_address, pack_operand(gemm.b, shape, is_b=True, tiles=grid[1]))]
        if gemm.a_source is None:
            parts.append((command.a_address, pack_operand(gemm.a, shape, is_b=False)))
        for address, content in (
            *parts,
            (command.residual_address, _optional(pack_matrix, gemm.residual, shape, grid)),
            (
                command.row_vector_address,
                pack_vector(rows, shape.rows, shape, grid[0]),
            ),
            (command.col_vector_address, pack_vector(columns, shape.cols, shape, grid[1])),
        ):
            if content is not None and content.size:
                program.image.parts.append((address, content.reshape(-1)))
    return program


def compile_sizes(
    gemms: Sequence[GemmSize],
    shape: EngineShape,
    *,
    plans: Sequence[Schedule | None] | None = None,
) -> Program:
    """Return the program of GEMMs whose operands are still to be filled in.

    Raises
    ------
    MixditError
        When one does not fit the engine.
    """
    image = Image(shape.bus_bytes)
    commands: list[Command] = []
    for gemm, plan in zip(gemms, plans or [None] * len(gemms), strict=True):
        command = _command(gemm, shape, image, plan)
        if gemm.a_source is not None:
            command = _chained(command, commands, gemms, gemm.a_source, shape)
        commands.append(command)
    commands.append(Command(opcode=Opcode.END))
    words = np.zeros((len(commands), command_bytes(shape.bus_bytes) // 4), np.uint32)
    for row, command in zip(words, commands, strict=True):
        row[:COMMAND_WORDS] = command.pack()
    return Program(shape, image, list(gemms), commands, image.add(words))


def _optional(pack: Callable[..., np.ndarray], x: np.ndarray | None, *rest: object) -> np.ndarray:
    return np.zeros(0, np.uint8) if x is None else pack(x, *rest)


def _command(gemm: GemmSize, shape: EngineShape, image: Image, plan: Schedule | None) -> Command:
    """Return the command of a GEMM, with room for all it reads and writes."""
    for name in gemm.steps:
        if name not in shape.steps:
            raise MixditError(f"The engine is built without {name}")
    plan = plan or choose_schedule(gemm, shape)
    rows, cols = gemm.tiles(shape)
    beats, output = shape.tile_beats // (2 if gemm.bf16 else 1), Output.FP32
    if gemm.bf16:
        output = Output.BF16
    has_residual, bus = "residual" in gemm.steps, shape.bus_bytes
    a_beats, b_beats = gemm.beats(shape, False), gemm.beats(shape, True)
    a_address = 0 if gemm.a_source is not None else image.reserve(rows * a_beats * bus)
    b_address = image.reserve(cols * b_beats * bus)
    result = image.reserve(result_bytes(gemm, shape))
    tags = 0
    if gemm.as_operand is not None:
        output, tags = Output.OPERAND, result
        _place_headers(gemm, shape, image, result)
    row_beats = result_bytes(gemm, shape) // (rows * shape.bus_bytes)
    columns = len({"col_scale", "bias"} & set(gemm.steps))
    return Command(
        opcode=Opcode.GEMM,
        stationary_b=int(plan.stationary_b),
        output=output,
        steps=sum(1 << i for i, name in enumerate(STEPS) if name in gemm.steps),
        row_tiles=rows,
        col_tiles=cols,
        panel=plan.panel,
        k_blocks=len(gemm.a_formats),
        a_words=gemm.words(False),
        b_words=gemm.words(True),
        a_beats=a_beats,
        b_beats=b_beats,
        c_row_beats=row_beats,
        c_col_beats=0 if gemm.as_operand is not None else beats,
        residual_row_beats=shape.tile_beats * cols * has_residual,
        residual_col_beats=shape.tile_beats * has_residual,
        a_address=a_address,
        b_address=b_address,
        c_address=result if gemm.as_operand is None else result + bus,
        tags_address=tags,
        residual_address=image.reserve(rows * cols * shape.tile_beats * bus * has_residual),
        row_vector_address=image.reserve(
            rows * shape.row_vector_beats * bus * ("row_scale" in gemm.steps)
        ),
        col_vector_address=image.reserve(cols * columns * bus),
    )


def _place_headers(gemm: GemmSize, shape: EngineShape, image: Image, address: int) -> None:
    """Write the tags of a C that is stored as an operand in front of each of its tiles."""
    formats = gemm.stored_formats(shape)
    pitch = shape.operand_beats(formats, False) * shape.bus_bytes
    for tile in range(gemm.tiles(shape)[0]):
        image.parts.append((address + tile * pitch, header(formats, shape)))


def _chained(
    command: Command,
    commands: list[Command],
    gemms: Sequence[GemmSize],
    source: int,
    shape: EngineShape,
) -> Command:
    """Return a command whose A is what an earlier one stores.

    Raises
    ------
    MixditError
        When that is not this operand.
    """
    if not 0 <= source < len(commands) or gemms[source].as_operand is None:
        raise MixditError(f"GEMM {source} stores no operand before this one")
    producer, gemm = gemms[source], gemms[len(commands)]
    if (gemm.m, gemm.k, gemm.a_formats) != (producer.m, producer.n, producer.as_operand):
        raise MixditError(f"A is not what GEMM {source} stores")
    beats = shape.operand_beats(producer.stored_formats(shape), False)
    address = commands[source].tags_address
    return replace(command, wait=1, a_address=address, a_beats=beats)
