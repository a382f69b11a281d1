"""Queues, tile loops and the ideal memory of the cycle model."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from mixdit_sw.engine.commands import Command


@dataclass(frozen=True)
class MemoryTiming:
    """Timing of an ideal memory (memory.v).

    Members
    -------
    latency : int
        Cycles from an address to its first word, and from a last word to its response, beyond
        those of the registers.
    gain, price : int
        Words, read or written, that it can move a cycle: gain / price, at most 2.
    """

    latency: int = 100
    gain: int = 2
    price: int = 1


class Fifo:
    """`mixdit_hw.engine.fifo.Fifo`."""

    __slots__ = ("depth", "out", "stored", "valid")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.stored: deque[Any] = deque()
        self.valid = False
        self.out: Any = None

    @property
    def ready(self) -> bool:
        """There is room."""
        return len(self.stored) + self.valid < self.depth

    @property
    def empty(self) -> bool:
        """Nothing is inside."""
        return not self.valid and not self.stored

    def step(self, take: bool, put: Any = None) -> None:
        """Move on a cycle; `take` only while `valid`, `put` only while `ready`."""
        if not self.valid or take:
            self.valid = bool(self.stored)
            if self.valid:
                self.out = self.stored.popleft()
        if put is not None:
            self.stored.append(put)


class Loop:
    """`mixdit_hw.engine.tiles.TileLoop`."""

    __slots__ = (
        "backwards",
        "first_panel",
        "left",
        "panel",
        "stationary",
        "step",
        "streamed",
        "tile",
    )

    def __init__(self, command: Command) -> None:
        tiles = command.row_tiles, command.col_tiles
        self.left = self.stationary = tiles[command.stationary_b]
        self.streamed = tiles[not command.stationary_b]
        self.panel = command.panel
        self.tile = self.step = 0
        self.first_panel = True
        self.backwards = False

    @property
    def panel_tiles(self) -> int:
        """Tiles of the present panel."""
        return min(self.left, self.panel)

    @property
    def last_in_panel(self) -> bool:
        """The present tile is its panel's last."""
        return self.tile == self.panel_tiles - 1

    @property
    def last_streamed(self) -> bool:
        """The panel meets its last streamed tile."""
        return self.step == self.streamed - 1

    @property
    def last_panel(self) -> bool:
        """There is no panel behind this one."""
        return self.left <= self.panel

    @property
    def ends(self) -> bool:
        """The present tile is the last of all."""
        return self.last_in_panel and self.last_streamed and self.last_panel

    def next(self) -> None:
        """Go on to the next tile."""
        if not self.last_in_panel:
            self.tile += 1
            return
        self.tile = 0
        if not self.last_streamed:
            self.step += 1
            return
        self.step = 0
        self.left -= self.panel
        self.first_panel = False
        self.backwards = not self.backwards


class Address:
    """`mixdit_hw.engine.tiles.TileAddress`."""

    __slots__ = ("address", "panel_start", "stationary_step", "streamed_step")

    def __init__(self, base: int, below: int, right: int, *, stationary_b: bool) -> None:
        self.address = self.panel_start = base
        self.stationary_step, self.streamed_step = (
            (right, below) if stationary_b else (below, right)
        )

    def next(self, loop: Loop) -> None:
        """Follow a loop that is about to go on."""
        if not loop.last_in_panel or loop.last_streamed:
            self.address += self.stationary_step
        else:
            step = -self.streamed_step if loop.backwards else self.streamed_step
            self.address = self.panel_start + step
        if loop.last_in_panel:
            self.panel_start = self.address


class Memory:
    """memory.v: latency, credit, in order."""

    def __init__(self, timing: MemoryTiming) -> None:
        self.latency, self.gain, self.price = timing.latency, timing.gain, timing.price
        self.now = 0
        self.credit = 2 * self.price
        self.reads: deque[list[int]] = deque()
        self.bursts = 0
        self.responses: deque[int] = deque()
        self.read_valid = False
        self.response_valid = False

    def settle(self) -> bool:
        """Find the cycle's funds; return that a word would be taken."""
        self.funds = min(self.credit + self.gain, 2 * self.price)
        return self.bursts > 0 and self.funds >= self.price

    def step(self, came: bool, asked: int, begun: bool, put: bool, put_last: bool) -> None:
        """Move on a cycle.

        Parameters
        ----------
        came : bool
            The word on the bus is taken.
        asked : int
            Words of a burst whose address is taken now; 0 if none is.
        begun, put, put_last : bool
            The address of a burst of writes is taken, a word of it, its last.
        """
        left = self.funds - self.price if put else self.funds
        get = (
            (came or not self.read_valid)
            and bool(self.reads)
            and self.now >= self.reads[0][1]
            and left >= self.price
        )
        if get:
            self.read_valid = True
            left -= self.price
            self.reads[0][0] -= 1
            if not self.reads[0][0]:
                self.reads.popleft()
        elif came:
            self.read_valid = False
        self.credit = left
        self.response_valid = bool(self.responses) and self.now >= self.responses[0]
        if self.response_valid:
            self.responses.popleft()
        if asked:
            self.reads.append([asked, self.now + self.latency])
        if begun:
            self.bursts += 1
        if put_last:
            self.bursts -= 1
            self.responses.append(self.now + self.latency)
        self.now += 1
