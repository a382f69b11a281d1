"""Gather, source and transposition of the cycle model."""

from dataclasses import dataclass

import numpy as np

from mixdit_hw.blocks.transpose import HALVES
from mixdit_hw.engine.config import EngineConfig
from mixdit_sw.engine.commands import Command


@dataclass(frozen=True)
class SourceTarget:
    """What the source must know of a request; which rows of its first and last bus word it is."""

    narrow: bool
    transposed: bool
    first: int = 0
    last: int = 0


class Gather:
    """`mixdit_hw.engine.gather.Gather`."""

    table: list[int]
    first: int
    behind: int
    run: tuple[int, int, bool]

    def __init__(self, config: EngineConfig) -> None:
        self.cols = config.shape.cols
        self.valid = self.there = self.open = False
        self.place = self.shown = self.more = 0

    def load(self, table: np.ndarray, command: Command) -> None:
        """Take the table of a command."""
        self.table = table.view("<i4")[: command.col_tiles * self.cols].tolist()

    def step(self, active: bool, accepted: bool) -> None:
        """Move on a cycle, in which the present run is accepted or not."""
        if not active:
            self.valid = self.there = self.open = False
            self.place = 0
            return
        free = not self.valid or accepted
        entry, begins_tile = 0, False
        if self.there:
            entry, begins_tile = self.table[self.shown], self.shown % self.cols == 0
        begins = self.there and (begins_tile or entry != self.behind)
        sends = begins and self.open
        advance = not sends or free
        if free:
            self.valid = sends
            if sends:
                self.run = (self.first, self.more, begins_tile)
        if self.there and advance:
            self.behind = entry + 1
            self.more = 0 if begins else self.more + 1
            self.open = True
            if begins:
                self.first = entry
        if advance or not self.there:
            self.there, self.shown = True, self.place
            self.place = (self.place + 1) % len(self.table)


class Transpose:
    """`mixdit_hw.blocks.transpose.Transpose`."""

    def __init__(self, size: int, columns: int) -> None:
        self.size, self.beats = size, size // columns
        self.row = self.beat = self.full = 0
        self.valid = False

    @property
    def ready(self) -> bool:
        """A row would be taken."""
        return self.full < HALVES

    def step(self, put: bool, taken: bool) -> None:
        """Move on a cycle."""
        issue = self.full > 0
        if not self.valid or taken:
            self.valid = issue
            if issue:
                self.beat += 1
                if self.beat == self.beats:
                    self.beat = 0
                    self.full -= 1
        if put:
            self.row += 1
            if self.row == self.size:
                self.row = 0
                self.full += 1


class Source:
    """`mixdit_hw.engine.source.Source`."""

    def __init__(self, config: EngineConfig) -> None:
        self.rows = config.shape.rows_a_beat()
        self.transpose = Transpose(config.shape.cols, self.rows)
        self.half = self.begun = False
        self.row = 0

    def settle(self, word: tuple[bool, SourceTarget] | None, ready: bool) -> bool:
        """Find what moves; return that the word, the last of a request or not, is taken.

        `ready` says that a word of a tile as it lies in memory would be taken.
        """
        self.word = self.put = self.last_row = False
        if word is None:
            return False
        last, target = word
        if not target.transposed:
            self.word = ready
            return ready and (self.half or not target.narrow)
        most = self.rows * (2 if target.narrow else 1) - 1
        self.present = self.row if self.begun else target.first
        self.last_row = self.present == (target.last if last else most)
        self.put = self.transpose.ready
        return self.put and self.last_row

    def step(self, word: tuple[bool, SourceTarget] | None, turned: bool) -> None:
        """Move on a cycle, in which a word that is transposed is taken or not."""
        self.transpose.step(self.put, turned)
        if word is None:
            return
        last, target = word
        if self.word:
            self.half = target.narrow and not self.half
        if self.put:
            self.row = 0 if self.last_row else self.present + 1
            self.begun = not (self.last_row and last)
