"""Store walker, packer and writer of the cycle model."""

from dataclasses import dataclass

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.core import TAG_SETS, TILES_ON_WAY
from mixdit_hw.engine.source import Origin
from mixdit_hw.engine.writer import BURSTS
from mixdit_hw.epilogue.lane import latency, starts
from mixdit_sim.engine.model.parts import Address, Fifo, Loop
from mixdit_sw.engine.commands import Command, Opcode, Output
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.formats import Format


@dataclass(frozen=True)
class TileSteps:
    """What the epilogue waits for with a tile: bus words of vectors, and a residual or none."""

    vectors: int
    residual: bool

    @classmethod
    def of(cls, command: Command, shape: EngineShape) -> "TileSteps":
        """Return the steps of a command's tiles."""
        sizes = {"row_scale": shape.row_vector_beats, "col_scale": 1, "bias": 1}
        names = command.step_names
        return cls(sum(sizes.get(name, 0) for name in names), "residual" in names)


@dataclass(frozen=True)
class TileKind:
    """How a tile is stored: `Output`, the formats of its group, and whether it completes that.

    And its `Origin`.
    """

    output: int
    origin: int = Origin.ARRAY
    formats: tuple[Format, ...] = ()
    completes: bool = False


class StoreWalker:
    """`mixdit_hw.engine.store.StoreWalker`."""

    loop: Loop
    address: Address
    command: Command
    formats: tuple[Format, ...]
    column: int
    panel_column: int
    tile_steps: TileSteps

    def __init__(self, config: EngineConfig) -> None:
        self.shape = config.shape
        self.valid = self.begun = False
        self.tags = Fifo(TAG_SETS)

    @property
    def ready(self) -> bool:
        """A command would be taken."""
        return not self.valid and not self.begun

    @property
    def converts(self) -> bool:
        """The present tile comes from memory."""
        return self.command.opcode == Opcode.CONVERT

    @property
    def kind(self) -> TileKind:
        """How the present tile is stored."""
        output = self.command.output
        if output != Output.OPERAND:
            return TileKind(output)
        origin = Origin.ARRAY
        if self.converts:
            origin = Origin.TURNED if self.command.transposed else Origin.MEMORY
        group, tiles = self.shape.group, self.shape.group_tiles
        first = self.column // tiles * group
        completes = self.column % tiles == tiles - 1
        return TileKind(output, origin, self.formats[first : first + group], completes)

    def write(self) -> tuple[int, int, bool] | None:
        """Return where the present tile goes, if it is stored now, its bus words, its source."""
        kind = self.kind
        if kind.output == Output.OPERAND:
            if not kind.completes:
                return None
            return self.address.address, self.shape.group_beats(kind.formats, False), True
        beats = self.shape.tile_beats // (2 if kind.output == Output.BF16 else 1)
        return self.address.address, beats, False

    def _next(self) -> None:
        """Go on to the next tile."""
        loop, kind = self.loop, self.kind
        if kind.output == Output.OPERAND:
            step = self.shape.group_beats(kind.formats, False) if kind.completes else 0
            self.address.stationary_step = step
        self.address.next(loop)
        if not loop.last_in_panel or loop.last_streamed:
            self.column += 1
        else:
            self.column = self.panel_column
        if loop.last_in_panel:
            self.panel_column = self.column
        loop.next()

    def step(
        self,
        leaves: bool,
        command: tuple[Command, tuple[Format, ...]] | None,
        tags: bool | None,
    ) -> None:
        """Move on a cycle, in which the present tile leaves or not, and tags come or not."""
        if leaves:
            self.valid = not self.loop.ends
            self._next()
        starts = False
        if self.begun:
            is_operand = self.command.output == Output.OPERAND
            starts = not is_operand or self.tags.valid
            self.tags.step(starts and is_operand, tags)
            if starts:
                self.valid, self.begun = True, False
        else:
            self.tags.step(False, tags)
        if command is not None:
            self.begun = True
            self.command, self.formats = command
            self.tile_steps = TileSteps.of(self.command, self.shape)
            self.loop = Loop(self.command)
            self.column = self.panel_column = 0
            self.address = Address(
                self.command.c_address // self.shape.bus_bytes,
                self.command.c_row_beats,
                self.command.c_col_beats,
                stationary_b=bool(self.command.stationary_b),
            )


class Packer:
    """`mixdit_hw.engine.store.Packer`."""

    def __init__(self, config: EngineConfig) -> None:
        self.beats = config.shape.tile_beats
        self.beat = 0

    def keeps(self, kind: TileKind) -> bool:
        """The word of such a tile is the first half of one of BF16."""
        return kind.output == Output.BF16 and not self.beat & 1

    def step(self, moves: bool) -> bool:
        """Move on a cycle, in which a word passes or not; return that it is its tile's last."""
        last = moves and self.beat == self.beats - 1
        if moves:
            self.beat = 0 if last else self.beat + 1
        return last


class Epilogue:
    """`mixdit_hw.epilogue.epilogue.Epilogue` and its queue."""

    def __init__(self, config: EngineConfig) -> None:
        shape = config.shape
        self.extra = Fifo(config.extra_words)
        self.steps = shape.steps
        self.beats = shape.tile_beats
        self.residual_at = starts(self.steps).get("residual", 0)
        self.stages: list[TileSteps | None] = [None] * latency(self.steps)
        self.loaded = self.beat = 0

    @property
    def valid(self) -> bool:
        """A beat is at the output."""
        return self.stages[-1] is not None

    def settle(self, offered: TileSteps | None, ready: bool) -> bool:
        """Find what happens with a beat of a tile, or none, at the input; return whether it enters.

        `ready` says that a beat at the output would be taken.
        """
        missing = offered is not None and self.beat == 0 and self.loaded < offered.vectors
        at = offered if self.residual_at == 0 else self.stages[self.residual_at - 1]
        waits = at is not None and at.residual
        free = not self.valid or ready
        self.advance = free and (not waits or self.extra.valid)
        load = missing and not any(stage is not None for stage in self.stages)
        self.loads = load and self.extra.valid
        self.takes = self.loads or (waits and free and self.extra.valid)
        self.enters = offered is not None and self.advance and not missing
        return self.enters

    def step(self, offered: TileSteps | None, ready: bool, word: bool | None) -> None:
        """Move on a cycle, in which a word comes to the queue or not."""
        self.loaded += self.loads
        if self.advance:
            self.stages = [offered if self.enters else None, *self.stages[:-1]]
        elif ready:
            self.stages[-1] = None
        if self.enters:
            self.beat += 1
            if self.beat == self.beats:
                self.beat = self.loaded = 0
        self.extra.step(self.takes, word)


class Writer:
    """`mixdit_hw.engine.writer.Writer`."""

    def __init__(self, config: EngineConfig) -> None:
        self.burst = config.burst
        self.lengths, self.addresses = Fifo(BURSTS), Fifo(BURSTS)
        self.writes = Fifo(TILES_ON_WAY)
        self.address = self.left = self.count = self.without_response = 0
        self.pending = self.from_quantizer = False

    @property
    def idle(self) -> bool:
        """Nothing is begun or without response."""
        return not self.without_response and not self.pending

    @property
    def last(self) -> bool:
        """The present word is its burst's last."""
        return self.lengths.valid and self.count == self.lengths.out[0] - 1

    @property
    def source(self) -> bool:
        """The present burst's words come from the quantizer."""
        return self.lengths.valid and self.lengths.out[1]

    def step(self, tile: tuple[int, int, bool] | None, sent: bool, answered: bool) -> bool:
        """Move on a cycle, in which a tile is announced, a word is sent, a burst is answered.

        Returns
        -------
        bool
            The memory takes a burst's address now.
        """
        taken = self.pending
        request = self.writes.out if self.writes.valid and self.left == 0 else None
        begins = 0
        if self.left and self.lengths.ready and self.addresses.ready:
            begins = min(self.left, self.burst - self.address % self.burst)
        last = sent and self.last
        if sent:
            self.count = 0 if last else self.count + 1
        self.lengths.step(last, (begins, self.from_quantizer) if begins else None)
        self.addresses.step(answered, begins or None)
        self.address += begins
        self.left -= begins
        if request is not None:
            self.address, self.left, self.from_quantizer = request
        self.writes.step(request is not None, tile)
        self.pending = begins > 0
        self.without_response += (begins > 0) - answered
        return taken
