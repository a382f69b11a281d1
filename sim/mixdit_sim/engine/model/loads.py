"""Reader, load walker and loader of the cycle model."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import granule
from mixdit_sim.engine.model.conversion import Gather, SourceTarget
from mixdit_sim.engine.model.parts import Address, Fifo, Loop
from mixdit_sw.engine.commands import Command, Output
from mixdit_sw.engine.schedule import GemmSize
from mixdit_sw.formats import Format


class OperandPlan:
    """What the loader meets in a tile: K-blocks by their granules and digits."""

    def __init__(self, config: EngineConfig, formats: tuple[Format, ...], is_b: bool) -> None:
        unit = gearbox_granule(config)
        self.is_b = is_b
        self.sizes = [config.shape.slice_bytes(fmt, is_b) // unit for fmt in formats]
        self.digits = [fmt.digits or 0 for fmt in formats]


def gearbox_granule(config: EngineConfig) -> int:
    """Return the bytes that the loader counts in."""
    sizes = sorted({*config.slice_bytes(False), *config.slice_bytes(True)})
    return granule(config.bus_bytes, tuple(sizes))


Plans = tuple[OperandPlan, OperandPlan] | np.ndarray
"""Of a GEMM its operands' tiles; of a conversion its table, empty if it has none."""


@dataclass
class Request:
    """A stretch of memory: first bus word, their number, and who gets them."""

    address: int
    beats: int
    target: Any


class Reader:
    """`mixdit_hw.engine.reader.Reader`."""

    def __init__(self, config: EngineConfig) -> None:
        self.burst, self.outstanding = config.burst, config.outstanding
        self.queue = Fifo(config.requests)
        self.address = self.left = self.on_way = self.count = 0
        self.pending = 0

    @property
    def ready(self) -> bool:
        """A request would be taken."""
        return (self.left == 0 or self._asks() == self.left) and self.queue.ready

    @property
    def idle(self) -> bool:
        """Nothing is asked for or on its way."""
        return not self.on_way and not self.pending

    @property
    def last(self) -> bool:
        """The present word ends its request."""
        return self.count == self.queue.out.beats - 1

    def step(self, request: Request | None, came: bool) -> int:
        """Move on a cycle; return the words of the burst whose address the memory takes now."""
        taken, asks = self.pending, self._asks()
        self.address += asks
        self.left -= asks
        self.pending = asks
        take = came and self.last
        if came:
            self.count = 0 if take else self.count + 1
        self.queue.step(take, request)
        if request is not None:
            self.address, self.left = request.address, request.beats
        self.on_way += asks - came
        return taken

    def _asks(self) -> int:
        """Return the words of the burst that is cut off now."""
        if not self.left or self.on_way > self.outstanding - self.burst:
            return 0
        return min(self.left, self.burst - self.address % self.burst)


class LoadWalker:
    """`mixdit_hw.engine.load_walker.LoadWalker`."""

    def __init__(self, config: EngineConfig) -> None:
        self.shape = config.shape
        self.state = "IDLE"
        self.loaded = 0
        self.todo: list[int] = []
        self.gather = Gather(config)

    def take(self, command: Command, plans: Plans) -> None:
        """Take a command."""
        self.state = "START"
        self.loop = Loop(command)
        self.tags = None
        if command.output == Output.OPERAND:
            self.tags = Request(command.tags_address // self.shape.bus_bytes, 1, "tags")
        if isinstance(plans, np.ndarray):
            self._take_conversion(command, plans)
        else:
            self._take_gemm(command, plans)

    def _take_conversion(self, command: Command, table: np.ndarray) -> None:
        """Take a conversion, with a table if it is transposed."""
        bus = self.shape.bus_bytes
        distances = (command.residual_row_beats, command.residual_col_beats)
        self.source = Address(command.residual_address // bus, *distances, stationary_b=True)
        self.narrow = bool(command.source_bf16)
        target = SourceTarget(self.narrow, False)
        beats = self.shape.tile_beats // (2 if self.narrow else 1)
        self.extras: list[tuple[int, Address, Any]] = [(beats, self.source, target)]
        self.first_state = "TILE"
        if table.size:
            self.extras, self.first_state = [], "TABLE"
            beats = -(-command.col_tiles // self.shape.rows_a_beat())
            self.table = Request(command.a_address // bus, beats, "table")
            self.gather.load(table, command)
        self.is_convert = True

    def _take_gemm(self, command: Command, plans: tuple[OperandPlan, OperandPlan]) -> None:
        b = bool(command.stationary_b)
        bus = self.shape.bus_bytes
        self.is_convert, self.first_state = False, "STATIONARY"
        beats = (command.a_beats, command.b_beats)
        bases = (command.a_address // bus, command.b_address // bus)
        self.stationary = Request(bases[b], beats[b], plans[b])
        self.streamed = Request(bases[not b], beats[not b], plans[not b])
        steps = command.step_names
        columns = ("col_scale" in steps) + ("bias" in steps)
        row_beats, tile = self.shape.row_vector_beats, self.shape.tile_beats
        residual = (command.residual_row_beats, command.residual_col_beats)
        kinds = (
            ("row_scale" in steps, row_beats, command.row_vector_address, (row_beats, 0)),
            (columns, columns, command.col_vector_address, (0, columns)),
            ("residual" in steps, tile, command.residual_address, residual),
        )
        self.extras = [
            (beats, Address(address // bus, *distances, stationary_b=b), "extra")
            for has, beats, address, distances in kinds
            if has
        ]

    def request(self) -> Request | None:
        """Return what is asked for now."""
        loop = self.loop if self.state not in ("IDLE", "START") else None
        if self.state == "TAGS":
            return self.tags
        if self.state == "STATIONARY":
            return self.stationary
        if self.state == "STREAMED" and loop and (loop.step or loop.first_panel):
            return self.streamed
        if self.state == "TILE" and self.todo:
            beats, address, target = self.extras[self.todo[0]]
            return Request(address.address, beats, target)
        if self.state == "TABLE":
            return self.table
        if self.state == "ROWS" and self.gather.valid:
            return self._rows()
        return None

    def _rows(self) -> Request:
        """Return the request for the present run."""
        row, more, _ = self.gather.run
        rows = self.shape.rows_a_beat(narrow=self.narrow)
        last = row % rows + more
        target = SourceTarget(self.narrow, True, row % rows, last % rows)
        return Request(self.source.address + row // rows, last // rows + 1, target)

    def step(self, accepted: bool, table_ends: bool = False) -> None:
        """Move on a cycle, in which the table's last word comes or not."""
        state = self.state
        if self.state == "START":
            self.loaded, self.todo = 0, list(range(len(self.extras)))
            self.state = self.first_state if self.tags is None else "TAGS"
        elif self.state == "TAGS":
            if accepted:
                self.state = self.first_state
        elif self.state == "TABLE":
            if accepted:
                self.state = "TABLE_COMES"
        elif self.state == "TABLE_COMES":
            if table_ends:
                self.state = "ROWS"
        elif self.state == "ROWS":
            if accepted and self.gather.run[2]:
                loop = self.loop
                self.source.next(loop)
                if loop.ends:
                    self.state = "IDLE"
                loop.next()
        elif self.state == "STATIONARY":
            if accepted:
                request = self.stationary
                self.stationary = Request(
                    request.address + request.beats, request.beats, request.target
                )
                self.loaded += 1
                if self.loaded == self.loop.panel_tiles:
                    self.loaded, self.state = 0, "STREAMED"
        elif self.state == "STREAMED":
            if accepted or not (self.loop.step or self.loop.first_panel):
                self.state = "TILE"
        elif self.state == "TILE":
            if self.todo:
                if accepted:
                    self.todo = self.todo[1:]
            else:
                self._next()
        self.gather.step(state == "ROWS", accepted)

    def _next(self) -> None:
        loop = self.loop
        self.todo = list(range(len(self.extras)))
        for _, address, _ in self.extras:
            address.next(loop)
        if self.is_convert:
            if loop.ends:
                self.state = "IDLE"
        elif loop.last_in_panel:
            self.state = "STREAMED"
            if loop.last_streamed:
                self.state = "IDLE" if loop.last_panel else "STATIONARY"
            else:
                old = self.streamed
                step = -old.beats if loop.backwards else old.beats
                self.streamed = Request(old.address + step, old.beats, old.target)
        loop.next()


class Loader:
    """`mixdit_hw.engine.loader.Loader`, with the places of the operand buffers."""

    def __init__(self, config: EngineConfig) -> None:
        self.section, self.depth = config.shape.section, config.words
        self.group = config.shape.group
        self.beat = config.bus_bytes // gearbox_granule(config)
        self.state = "HEADER"
        self.plan: OperandPlan | None = None
        self.block = self.in_section = self.in_group = self.level = self.digit = 0
        self.ended = False
        self.written = [0, 0]
        self.freed = [0, 0]

    def settle(self) -> bool:
        """Find what is written in this cycle; return that a word would be taken."""
        self.write = self.done = False
        if self.state != "BLOCKS":
            return self.state == "REST" or not self.ended
        plan = self.plan
        assert plan is not None
        size = plan.sizes[self.block]
        have = self.level >= size
        if have and self.written[plan.is_b] - self.freed[plan.is_b] < self.depth:
            self.write = True
            self.done = self.digit == plan.digits[self.block] - 1
        self.ends_group = self.in_section == 1 or self.in_group == self.group - 1
        if self.done:
            wants = self.in_section > 1 and (
                self.ends_group or self.level - size < plan.sizes[self.block + 1]
            )
        else:
            wants = not have
        return wants and not self.ended

    def step(self, take: bool, last: bool, plan: Any) -> None:
        """Move on a cycle; with a word, its request's last or not, of a tile."""
        if self.state == "HEADER":
            if take:
                if self.plan is None:
                    self.plan, self.block = plan, 0
                self.in_section = min(len(self.plan.sizes) - self.block, self.section)
                self.ended = last
                self.state = "BLOCKS"
        elif self.state == "BLOCKS":
            self._blocks(take, last)
        elif take and last:
            self.state = "HEADER"

    def _blocks(self, take: bool, last: bool) -> None:
        plan = self.plan
        assert plan is not None
        if self.done:
            self.level = 0 if self.ends_group else self.level - plan.sizes[self.block]
        if take:
            self.level += self.beat
            self.ended = last
        if not self.write:
            return
        self.written[plan.is_b] += 1
        self.digit += 1
        if not self.done:
            return
        self.digit = 0
        self.block += 1
        self.in_section -= 1
        self.in_group = 0 if self.ends_group else self.in_group + 1
        if self.in_section == 0:
            self.state = "HEADER"
            if self.block == len(plan.sizes):
                self.plan = None
                if not self.ended:
                    self.state = "REST"
                self.ended = False


def operand_plans(config: EngineConfig, gemm: GemmSize) -> tuple[OperandPlan, OperandPlan]:
    """Return the plans of A and B."""
    return (
        OperandPlan(config, gemm.a_formats, False),
        OperandPlan(config, gemm.b_formats, True),
    )
