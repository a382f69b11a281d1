"""Feed, array and output buffer of the cycle model."""

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.output_buffer import TILES
from mixdit_sim.engine.model.loads import Loader
from mixdit_sim.engine.model.parts import Loop
from mixdit_sim.engine.model.stores import TileSteps
from mixdit_sw.codec.packets import passes
from mixdit_sw.engine.commands import Command
from mixdit_sw.engine.gemm import GemmSize

Block = tuple[int, int, list[tuple[int, int]]]
"""Digits of A and B, and the words of each pass."""


def blocks(gemm: GemmSize) -> list[Block]:
    """Return the K-blocks of a tile."""
    found: list[Block] = []
    for f, g in zip(gemm.a_formats, gemm.b_formats, strict=True):
        p, q = f.digits or 0, g.digits or 0
        found.append((p, q, [(p - 1 - x.a_digit, q - 1 - x.b_digit) for x in passes(p, q)]))
    return found


class Feed:
    """`mixdit_hw.engine.feed.Feed`."""

    blocks: list[Block]
    loop: Loop
    stationary: int
    at: list[int]
    behind: list[int]

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.active = self.begun = self.loaded = self.in_block = False
        self.here = [0, 0]
        self.base = [0, 0]
        self.block = self.step_ = 0

    @property
    def ready(self) -> bool:
        """A command would be taken."""
        return not self.active and not self.begun

    def settle(self) -> None:
        """Find what is shown, and which words come next."""
        self.block_end = self.tile_end = self.ends = False
        if not self.in_block:
            self.at = self.here
            return
        p, q, steps = self.blocks[self.block]
        here = self.here
        if self.step_ < len(steps) - 1:
            offsets = steps[self.step_ + 1]
            self.at = [here[0] + offsets[0], here[1] + offsets[1]]
            return
        self.block_end = True
        behind = self.behind = [here[0] + p, here[1] + q]
        if self.block < len(self.blocks) - 1:
            self.at = behind
            return
        self.tile_end = True
        loop = self.loop
        self.ends = loop.ends
        s, t = self.stationary, 1 - self.stationary
        at = list(behind)
        if loop.last_in_panel and not loop.last_streamed:
            at[s] = self.base[s]
        if not self._streamed_moves_on():
            at[t] = self.base[t]
        self.at = at

    def _streamed_moves_on(self) -> bool:
        loop = self.loop
        return loop.last_in_panel and (not loop.last_streamed or loop.last_panel)

    def step(self, taken: bool, command: tuple[Command, list[Block]] | None) -> None:
        """Move on a cycle; `taken`: the array takes the beat that is shown."""
        loader = self.loader
        done = taken and self.tile_end and self.ends
        fetch = (
            self.active
            and (not self.loaded or taken)
            and not (self.tile_end and self.ends)
            and self.at[0] < loader.written[0]
            and self.at[1] < loader.written[1]
        )
        if self.block_end:
            self._release()
            if fetch or done:
                self.here = self.at
                if self.tile_end:
                    self._turn()
        if fetch:
            self.loaded = True
            if self.in_block and not self.block_end:
                self.step_ += 1
            else:
                self.step_ = 0
                if self.in_block:
                    self.block = 0 if self.tile_end else self.block + 1
                else:
                    self.block = 0
            self.in_block = True
            if self.tile_end:
                self.loop.next()
        elif taken:
            self.loaded = False
        if done:
            self.active = self.in_block = False
        if self.begun:
            self.active, self.begun = True, False
        elif command is not None:
            self.begun = True
            self.blocks = command[1]
            self.loop = Loop(command[0])
            self.stationary = int(bool(command[0].stationary_b))

    def _release(self) -> None:
        """Free the words of a block's last use."""
        s, t = self.stationary, 1 - self.stationary
        if self.loop.last_streamed:
            self.loader.freed[s] = self.behind[s]
        if self._streamed_moves_on():
            self.loader.freed[t] = self.behind[t]

    def _turn(self) -> None:
        """Keep where the next panel, or the next streamed tile, begins."""
        s, t = self.stationary, 1 - self.stationary
        if self.loop.last_in_panel and self.loop.last_streamed:
            self.base[s] = self.behind[s]
        if self._streamed_moves_on():
            self.base[t] = self.behind[t]


class Array:
    """The array's sequencer and drain."""

    def __init__(self, config: EngineConfig) -> None:
        array = config.array
        self.drain_cycles = array.drain_cycles
        self.way = array.result_latency + array.skew + array.drain_cycles - 1
        self.drain = 0
        self.on_way: list[int] = []

    def step(self, ends: bool) -> bool:
        """Move on a cycle, in which a tile's last beat is taken or not; return a tile's end.

        The end is that of its last result, which is there in this cycle.
        """
        if ends:
            self.drain = self.drain_cycles - 1
            self.on_way.append(self.way)
        elif self.drain:
            self.drain -= 1
        came = False
        if self.on_way:
            came = self.on_way[0] == 0
            self.on_way = [left - 1 for left in self.on_way if left]
        return came


class OutputBuffer:
    """`mixdit_hw.engine.output_buffer.OutputBuffer`."""

    def __init__(self, config: EngineConfig) -> None:
        self.beats = config.shape.tile_beats
        self.reserved = self.tiles = self.beat = 0
        self.leaving = self.valid = False
        self.tile: TileSteps | None = None
        self.shown: TileSteps | None = None

    @property
    def drain_ready(self) -> bool:
        """There is room for a tile."""
        return self.reserved != TILES

    def settle(self, taken: bool) -> bool:
        """Find whether a word is fetched, if one is taken or not; return that a tile can leave."""
        self.fetch = self.leaving and (not self.valid or taken)
        self.last = self.fetch and self.beat == self.beats - 1
        return self.last and self.tiles > 1 if self.leaving else self.tiles > 0

    def step(self, taken: bool, tile: TileSteps | None, tile_end: bool, came: bool) -> None:
        """Move on a cycle: a word is taken, a tile begins to leave.

        A tile's place is reserved, a tile is complete.
        """
        fetch, last = self.fetch, self.last
        self.reserved += tile_end - last
        self.tiles += came - last
        if not self.valid or taken:
            self.valid = fetch
        if fetch:
            self.beat += 1
            self.shown = self.tile
        if last:
            self.leaving = False
        if tile is not None:
            self.leaving, self.beat, self.tile = True, 0, tile
