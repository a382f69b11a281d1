"""Quantizer of the cycle model."""

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import granule
from mixdit_hw.engine.quantize import BANKS
from mixdit_sim.engine.model.stores import TileKind
from mixdit_sw.formats import LANES


class Quantizer:
    """`mixdit_hw.engine.quantize.Quantizer`."""

    def __init__(self, config: EngineConfig) -> None:
        shape = config.shape
        self.beats = shape.tile_beats
        rows = shape.lanes // shape.cols
        self.sizes = {fmt: rows * fmt.row_bytes(LANES) for fmt in shape.block_formats}
        unit = granule(config.bus_bytes, tuple(self.sizes.values()))
        self.sizes = {fmt: size // unit for fmt, size in self.sizes.items()}
        self.word = config.bus_bytes // unit
        self.beat = self.place = self.row = self.column = self.level = 0
        self.collected: TileKind | None = None
        self.stages: list[TileKind | None] = [None] * MxConverter.LATENCY
        self.banks: list[TileKind] = []
        self.entry: tuple[int, bool] | None = None
        self.flush = False

    @property
    def valid(self) -> bool:
        """A bus word is at the output."""
        return self.level >= self.word or self.flush

    def settle(self) -> bool:
        """Find what moves; return that a word of a tile would be taken."""
        full = len(self.banks) == BANKS
        self.advance = self.stages[-1] is None or not full
        self.moves = self.collected is not None and self.advance
        return self.collected is None or self.moves

    def step(self, kind: TileKind | None, out: bool) -> bool:
        """Move on a cycle: a word of such a tile comes, one leaves.

        Returns
        -------
        bool
            The word is its tile's last.
        """
        self._pack(out)
        put = self.stages[-1] if self.advance else None
        if self.advance:
            self.stages = [self.collected, *self.stages[:-1]]
        if put is not None:
            self.place += 1
            if self.place == self.beats:
                self.place = 0
                self.banks.append(put)
        if self.collected is None or self.moves:
            self.collected = kind if kind is not None and kind.completes else None
        last = kind is not None and self.beat == self.beats - 1
        if kind is not None:
            self.beat = 0 if last else self.beat + 1
        return last

    def _pack(self, out: bool) -> None:
        """Read blocks back, append them, give words."""
        taken = self.entry is not None and self.level < self.word and not self.flush
        level, flush = self.level, self.flush
        if taken and self.entry is not None:
            level += self.entry[0]
            flush = self.entry[1]
        if out:
            flush = self.flush and self.level > self.word
            level = self.level - self.word if self.level >= self.word else 0
        fetch = bool(self.banks) and (self.entry is None or taken)
        if self.entry is None or taken:
            self.entry = None
        if fetch:
            kind = self.banks[0]
            ends = self.row == self.beats - 1
            done = ends and self.column == len(kind.formats) - 1
            self.entry = (self.sizes[kind.formats[self.column]], done)
            self.row = 0 if ends else self.row + 1
            if ends:
                self.column = 0 if done else self.column + 1
            if done:
                self.banks.pop(0)
        self.level, self.flush = level, flush
