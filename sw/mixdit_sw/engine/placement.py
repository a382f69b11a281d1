"""Where a program's operands and results lie, and the commands that follow from it."""

from collections.abc import Sequence

from mixdit_sw.engine.commands import STEPS, Command, Opcode, Output
from mixdit_sw.engine.convert import ConvertSize, convert_command
from mixdit_sw.engine.gemm import GemmSize
from mixdit_sw.engine.image import Image
from mixdit_sw.engine.layout import header
from mixdit_sw.engine.schedule import Schedule, choose_schedule
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError

Size = GemmSize | ConvertSize
"""What a command does."""


class Placement:
    """Makes a command after the other, with room in memory for all that it reads and writes.

    Parameters
    ----------
    sizes : sequence of GemmSize or ConvertSize
        What the commands do.
    shape : EngineShape
        The engine.
    """

    def __init__(self, sizes: Sequence[Size], shape: EngineShape) -> None:
        self.sizes, self.shape = sizes, shape
        self.image = Image(shape.bus_bytes)
        self.commands: list[Command] = []
        self.rooms = [size.tiles(shape) for size in sizes]
        for size in sizes:
            if isinstance(size, ConvertSize):
                self._need(size.source, size.source_grid(shape))
            else:
                rows, cols = size.tiles(shape)
                self._need(size.a_source, (rows, 0))
                self._need(size.b_source, (cols, 0))

    def _need(self, source: int | None, grid: tuple[int, int]) -> None:
        """Make room for at least such a grid of tiles behind what a command stores."""
        if source is None:
            return
        rows, cols = self.rooms[source]
        self.rooms[source] = max(rows, grid[0]), max(cols, grid[1])

    def _reserve(self, beats: int) -> int:
        return self.image.reserve(beats * self.shape.bus_bytes)

    def _wait(self, *sources: int | None) -> int:
        """Return a command's wait bit: set if what it reads is not known to be in memory.

        Before a command that waits all earlier ones have ended.
        """
        latest = max((source for source in sources if source is not None), default=None)
        if latest is None:
            return 0
        return int(not any(command.wait for command in self.commands[latest + 1 :]))

    def gemm(self, gemm: GemmSize, plan: Schedule | None) -> None:
        """Add a GEMM."""
        shape, steps = self.shape, gemm.steps
        for name in steps:
            if name not in shape.steps:
                raise MixditError(f"The engine is built without {name}")
        wait = self._wait(gemm.a_source, gemm.b_source, gemm.residual_source)
        overlaps = bool(self.commands) and not wait
        plan = plan or choose_schedule(gemm, shape, overlaps=overlaps)
        rows, cols = gemm.tiles(shape)
        a_address, a_beats = self._operand(gemm, False)
        b_address, b_beats = self._operand(gemm, True)
        tags, c_address, row_beats, col_beats = self._result(gemm)
        residual, residual_row_beats, tile_beats = self._residual(gemm)
        row_vector_beats = shape.row_vector_beats if "row_scale" in steps else 0
        self.commands.append(
            Command(
                opcode=Opcode.GEMM,
                stationary_b=int(plan.stationary_b),
                wait=wait,
                output=_output(gemm),
                steps=sum(1 << i for i, name in enumerate(STEPS) if name in steps),
                row_tiles=rows,
                col_tiles=cols,
                panel=plan.panel,
                k_blocks=len(gemm.a_formats),
                a_words=gemm.words(False),
                b_words=gemm.words(True),
                a_beats=a_beats,
                b_beats=b_beats,
                c_row_beats=row_beats,
                c_col_beats=col_beats,
                residual_row_beats=residual_row_beats,
                residual_col_beats=tile_beats,
                a_address=a_address,
                b_address=b_address,
                c_address=c_address,
                tags_address=tags,
                residual_address=residual,
                row_vector_address=self._reserve(rows * row_vector_beats),
                col_vector_address=self._reserve(cols * len({"col_scale", "bias"} & set(steps))),
            )
        )

    def convert(self, size: ConvertSize) -> None:
        """Add a conversion."""
        shape = self.shape
        grid = size.source_grid(shape)
        tile_beats = shape.tile_beats // (2 if size.source_bf16 else 1)
        if size.source is None:
            row_beats = grid[1] * tile_beats
            source = self._reserve(grid[0] * row_beats)
        else:
            producer = self.sizes[size.source]
            wanted = (size.m, size.n)[:: -1 if size.transposed else 1]
            output = Output.BF16 if size.source_bf16 else Output.FP32
            if (producer.m, producer.n, _output(producer)) != (*wanted, output):
                raise MixditError(f"What is converted is not what GEMM {size.source} stores")
            row_beats = self.commands[size.source].c_row_beats
            source = self.commands[size.source].c_address
        table = 0
        if size.transposed:
            table = self.image.add(size.table(shape, row_beats))
        result = self._result(size)[0]
        self.commands.append(
            convert_command(
                size,
                shape,
                wait=self._wait(size.source),
                source=source,
                table=table,
                result=result,
                row_beats=row_beats,
            )
        )

    def _operand(self, gemm: GemmSize, is_b: bool) -> tuple[int, int]:
        """Return address of an operand, and bus words of its tiles.

        Raises
        ------
        MixditError
            When it is not what the command that stores it stores.
        """
        formats = gemm.b_formats if is_b else gemm.a_formats
        rows, tiles = (gemm.n if is_b else gemm.m), gemm.tiles(self.shape)[is_b]
        number = gemm.b_source if is_b else gemm.a_source
        if number is None:
            beats = gemm.beats(self.shape, is_b)
            return self._reserve(tiles * beats), beats
        producer = self.sizes[number]
        if producer.as_operand is None:
            raise MixditError(f"Command {number} stores no operand")
        if (rows, gemm.k, formats) != (producer.m, producer.n, producer.as_operand):
            raise MixditError(f"{'B' if is_b else 'A'} is not what command {number} stores")
        if is_b and self.shape.rows != self.shape.cols:
            raise MixditError("An engine whose tiles are not square stores no operand B")
        stored = producer.stored_formats(self.shape)
        return self.commands[number].tags_address, self.shape.operand_beats(stored, False)

    def _residual(self, gemm: GemmSize) -> tuple[int, int, int]:
        """Return address of a residual, and its distances by rows and columns of tiles.

        Raises
        ------
        MixditError
            When it is not what the command that stores it stores.
        """
        if "residual" not in gemm.steps:
            return self._reserve(0), 0, 0
        (rows, cols), beats = gemm.tiles(self.shape), self.shape.tile_beats
        number = gemm.residual_source
        if number is None:
            return self._reserve(rows * cols * beats), cols * beats, beats
        producer = self.sizes[number]
        if (producer.m, producer.n, _output(producer)) != (gemm.m, gemm.n, Output.FP32):
            raise MixditError(f"The residual is not what command {number} stores")
        command = self.commands[number]
        return command.c_address, command.c_row_beats, command.c_col_beats

    def _result(self, size: Size) -> tuple[int, int, int, int]:
        """Reserve what a command stores; return its address of tags, of C, and C's distances."""
        shape = self.shape
        rows, cols = self.rooms[len(self.commands)]
        if size.as_operand is None:
            beats = shape.tile_beats // (2 if _output(size) == Output.BF16 else 1)
            return 0, self._reserve(rows * cols * beats), cols * beats, beats
        formats = size.stored_formats(shape)
        beats = shape.operand_beats(formats, False)
        tags = self._reserve(rows * beats)
        bus, tile_header = shape.bus_bytes, header(formats, shape)
        self.image.parts += [(tags + row * beats * bus, tile_header) for row in range(rows)]
        return tags, tags + bus, beats, 0


def _output(size: Size) -> Output:
    """Return how a command stores its result."""
    if size.as_operand is not None:
        return Output.OPERAND
    return Output.BF16 if isinstance(size, GemmSize) and size.bf16 else Output.FP32
