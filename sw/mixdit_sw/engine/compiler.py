"""From GEMMs to a program: a memory image with operands and a command list."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mixdit_sw.engine.commands import (
    COMMAND_WORDS,
    STEPS,
    Command,
    Opcode,
    Output,
    command_bytes,
)
from mixdit_sw.engine.layout import header, pack_matrix, pack_operand, pack_vector, unpack_matrix
from mixdit_sw.engine.shape import EngineShape, digit_words
from mixdit_sw.errors import MixditError
from mixdit_sw.formats import LANES, Format
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
    def size(self) -> "GemmSize":
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
    a_source : int, optional
        Number of the GEMM that stores A.
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

    def tiles(self, shape: EngineShape) -> tuple[int, int]:
        """Rows and columns of tiles; whole groups of columns if C is stored as an operand."""
        group = 1 if self.as_operand is None else shape.group_tiles
        return -(-self.m // shape.rows), -(-self.n // (shape.cols * group)) * group

    def stored_formats(self, shape: EngineShape) -> tuple[Format, ...]:
        """Formats of the K-blocks of C as an operand: those asked for, the last one repeated.

        Raises
        ------
        MixditError
            When they are not those of C's columns, or more than a section holds.
        """
        wanted = self.as_operand or ()
        if len(wanted) != -(-self.n // LANES):
            raise MixditError(f"C has {-(-self.n // LANES)} K-blocks, not {len(wanted)}")
        blocks = self.tiles(shape)[1] * shape.cols // LANES
        if blocks > shape.section:
            raise MixditError(
                f"C as an operand may have {LANES * shape.section} columns, not {self.n}: "
                "compute it in parts"
            )
        return (*wanted, *(wanted[-1:] * (blocks - len(wanted))))

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


@dataclass(frozen=True)
class Schedule:
    """How a GEMM's tiles are walked through.

    Members
    -------
    stationary_b : bool
        Panels are of B's tiles.
    panel : int
        Tiles of a panel.
    """

    stationary_b: bool
    panel: int


def traffic(gemm: GemmSize, shape: EngineShape, schedule: Schedule) -> int:
    """Return the bus words of operands that a schedule loads."""
    is_b = schedule.stationary_b
    rows, cols = gemm.tiles(shape)
    stationary, streamed = (cols, rows) if is_b else (rows, cols)
    panels = -(-stationary // schedule.panel)
    # The last streamed tile of a panel is the first of the next.
    streams = streamed + (panels - 1) * (streamed - 1)
    return stationary * gemm.beats(shape, is_b) + streams * gemm.beats(shape, not is_b)


def schedules(gemm: GemmSize, shape: EngineShape) -> list[Schedule]:
    """Return the schedules that fit the buffers, those with room for the next panel first.

    Raises
    ------
    MixditError
        When a tile does not fit at all.
    """
    for is_b in (False, True):
        if gemm.words(is_b) > shape.words(is_b):
            raise MixditError(
                f"A tile of {'B' if is_b else 'A'} takes {gemm.words(is_b)} words of its buffer, "
                f"which has {shape.words(is_b)}: K is too large for this engine"
            )
    found = []
    group = 1 if gemm.as_operand is None else shape.group_tiles
    for is_b in (False, True):
        if gemm.as_operand is not None and not is_b:
            continue
        tiles = gemm.tiles(shape)[is_b]
        most = min(tiles, shape.words(is_b) // gemm.words(is_b))
        found += [Schedule(is_b, panel) for panel in range(group, most + 1, group)]
    if not found:
        raise MixditError(
            f"The buffer of B has no room for the {group} tiles that make K-blocks of C: "
            "K is too large for storing it as an operand"
        )
    return found


def choose_schedule(gemm: GemmSize, shape: EngineShape) -> Schedule:
    """Return the schedule that should wait least for memory.

    The first panel is waited for. Another one is loaded while the one before is in use, as far as
    the buffer has room for both; what it has no room for is waited for. Among schedules within a
    half percent of the fastest the one that loads least is taken.

    Raises
    ------
    MixditError
        When a tile does not fit its buffer.
    """

    def cost(schedule: Schedule) -> tuple[float, int]:
        is_b = schedule.stationary_b
        words = schedule.panel * gemm.words(is_b)
        tiles = gemm.tiles(shape)[is_b]
        panels = -(-tiles // schedule.panel)
        loads = traffic(gemm, shape, schedule)
        compute = math.prod(gemm.tiles(shape)) * sum(gemm.passes)
        missing = max(0, 2 * words - shape.words(is_b)) if panels > 1 else 0
        beats = gemm.beats(shape, is_b) / gemm.words(is_b)
        waits = panels * missing * beats
        first_panel = schedule.panel * gemm.beats(shape, is_b)
        stores = result_bytes(gemm, shape) // shape.bus_bytes
        return max(compute, loads + stores) + first_panel + waits, loads

    costs = {schedule: cost(schedule) for schedule in schedules(gemm, shape)}
    fastest = min(time for time, _ in costs.values())
    good = [schedule for schedule, (time, _) in costs.items() if time <= 1.005 * fastest]
    return min(good, key=lambda schedule: costs[schedule][1])


@dataclass
class Image:
    """A memory image that grows.

    Members
    -------
    size : int
        Bytes in use.
    parts : list of (int, uint8 (n,))
        Address and content of what is not zero.
    """

    bus_bytes: int
    size: int = 0
    parts: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def reserve(self, count: int) -> int:
        """Return the address of so many bytes, from a bus word's start on."""
        address = self.size
        self.size += -(-count // self.bus_bytes) * self.bus_bytes
        return address

    def add(self, content: np.ndarray) -> int:
        """Store bytes; return their address."""
        flat = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        address = self.reserve(flat.size)
        self.parts.append((address, flat))
        return address

    def bytes(self) -> np.ndarray:
        """Return the whole image, uint8 (size,)."""
        memory = np.zeros(self.size, np.uint8)
        for address, content in self.parts:
            memory[address : address + content.size] = content
        return memory


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


def result_bytes(gemm: GemmSize, shape: EngineShape) -> int:
    """Return the bytes of a C with all its tiles."""
    rows, cols = gemm.tiles(shape)
    if gemm.as_operand is not None:
        return rows * shape.operand_beats(gemm.stored_formats(shape), False) * shape.bus_bytes
    return rows * cols * shape.tile_beats * shape.bus_bytes // (2 if gemm.bf16 else 1)


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
