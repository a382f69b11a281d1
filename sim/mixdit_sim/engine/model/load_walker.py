"""Load walker of the cycle model."""

from typing import Any

import numpy as np

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.engine.model.conversion import Gather, SourceTarget
from mixdit_sim.engine.model.loads import OperandPlan, Plans, Request
from mixdit_sim.engine.model.parts import Address, Loop
from mixdit_sw.engine.commands import Command, Output


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
