"""The output buffer gives the words of tiles as they came, in order, and never overflows."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.output_buffer import TILES, OutputBuffer
from mixdit_hw.formal.axi import check_stays
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset


def stacked_clusters(count: int) -> EngineConfig:
    """Return an engine of so many clusters of 2x2, one above the other; a bus word is a row."""
    return EngineConfig(
        array=ArrayConfig(rows=2 * count, cols=2, cluster_rows=2, cluster_cols=2),
        port_bytes=8,
        buffer_bytes=1024,
        address_bits=20,
        steps=(),
    )


class ResultsProof(wiring.Component):
    """An output buffer between an array and an epilogue that are free within their contracts.

    The array ends a tile only while there is room, and drains it some time later, its upper
    clusters no later than the lower ones. A tile leaves only when it is complete.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = OutputBuffer(config)
        super().__init__({**self._dut.signature.members, "mark": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Count tiles; follow one of them."""
        m = Module()
        never_reset(m)
        m.submodules.dut = dut = self._dut
        for name in dut.signature.members:
            mine, its = getattr(self, name), getattr(dut, name)
            if name[:2] == "i_" or name == "o":
                wiring.connect(m, wiring.flipped(mine), its)
            else:
                is_in = name in ("tile_end", "take", "steps")
                inner, outer = Value.cast(its), Value.cast(mine)
                m.d.comb += inner.eq(outer) if is_in else outer.eq(inner)
        clusters, rows = self._config.array.cluster_grid[0], self._config.array.cluster_rows
        beats = self._config.shape.tile_beats
        ended, taken, left = (Signal(6, name=name) for name in ("ended", "taken", "left"))
        beat = Signal(range(beats + 1))
        came = [Signal(6, name=f"came_{r}") for r in range(clusters)]
        words = [getattr(self, f"i_{r}_0") for r in range(clusters)]
        moves = self.o.valid & self.o.ready
        last = moves & (beat == beats - 1)
        m.d.sync += [
            ended.eq(ended + self.tile_end),
            taken.eq(taken + self.take),
            left.eq(left + last),
            *(count.eq(count + word.valid) for count, word in zip(came, words, strict=True)),
        ]
        with m.If(moves):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        assume(m, implies(self.tile_end, self.drain_ready))
        assume(m, implies(self.take, self.complete))
        assume(m, implies(words[0].valid, came[0] < rows * ended))
        for upper, count, word in zip(came, came[1:], words[1:], strict=False):
            assume(m, implies(word.valid, count < upper))
        check(m, "room", ended - left <= TILES + 1)
        check(m, "has_room", implies(ended - left < TILES, self.drain_ready))
        whole = came[-1] >= rows * (taken + 1)
        check(m, "complete_when_whole", implies(self.complete, whole))
        check(m, "one_after_the_other", taken - left <= 2)
        check(m, "leaves_when_taken", implies(self.o.valid, left < taken))
        check_stays(m, "o", self.o.valid, self.o.ready, [Value.cast(self.o.payload)])
        waited = Signal(2)
        goes = (came[-1] < rows * (taken + 1)) | self.complete | self.o.valid
        m.d.sync += waited.eq(Mux(goes, 0, waited + 1))
        check(m, "offers_soon", waited <= 2)
        self._follow(m, came, words, taken, left, beat)
        return m

    def _follow(
        self,
        m: Module,
        came: list[Signal],
        words: list[wiring.PureInterface],
        taken: Signal,
        left: Signal,
        beat: Signal,
    ) -> None:
        """Keep what comes of a tile, any of them; check what leaves."""
        clusters, rows = len(words), self._config.array.cluster_rows
        followed, number = Signal(), Signal(6)
        steps = Signal.like(Value.cast(self.steps))
        kept = {}
        starts = self.mark & ~followed & (came[0] % rows == 0) & words[0].valid
        m.d.sync += followed.eq(followed | starts)
        present = Signal(6)
        m.d.comb += present.eq(Mux(followed, number, came[0] // rows))
        with m.If(starts):
            m.d.sync += number.eq(came[0] // rows)
        for r, (count, word) in enumerate(zip(came, words, strict=True)):
            for row in range(rows):
                kept[row, r] = Signal(len(Value.cast(word.payload)), name=f"kept_{row}_{r}")
                mine = word.valid & (count == rows * present + row) & (followed | starts)
                with m.If(mine):
                    m.d.sync += kept[row, r].eq(Value.cast(word.payload))
        with m.If(self.take & followed & (taken == number)):
            m.d.sync += steps.eq(Value.cast(self.steps))
        leaves = followed & self.o.valid & (left == number)
        found = Value.cast(self.o.payload.words)
        for n in range(rows * clusters):
            right = kept[rows - 1 - n // clusters, n % clusters]
            shown = leaves & (beat == n)
            check(m, f"word_{n}", implies(shown, found == right))
        check(m, "steps", implies(leaves, Value.cast(self.o.payload.steps) == steps))
        cover(m, "second_tile", leaves & (number == 1) & (beat == 1))
