"""The quantizer collects, converts and packs groups of K-blocks; none is lost or mixed."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.quantize import Quantizer
from mixdit_hw.formal.axi import assume_stays, check_stays
from mixdit_hw.formal.inside import open_unit
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_sw.formats import LANES

GROUPS = 4
"""More than there can be, here."""


class QuantizerProof(wiring.Component):
    """A quantizer between a free epilogue and a free writer, two tiles in a group of one K-block.

    What it gives its converter, and what that gives, is compared with what came and what leaves;
    what the converter does has a proof of its own.

    Members
    -------
    tile, i, o : streams
        Of the quantizer.
    mark : 1
        Follow the group that begins now, if none is followed.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Quantizer(config)
        self._bits = [8 * fmt.row_bytes(LANES) for fmt in config.array.block_formats]
        super().__init__({**self._dut.signature.members, "mark": In(1)})

    def elaborate(self, platform: object) -> Module:
        """Count what passes, follow a group."""
        m = Module()
        never_reset(m)
        m.submodules.dut = dut = self._dut
        inside = open_unit(dut)
        self._converter = inside.submodules.converter_0_0.inner
        for name in dut.signature.members:
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(dut, name))
        assume_stays(m, "i", self.i.valid, self.i.ready, [Value.cast(self.i.payload)])
        tile = self.tile.payload
        assume_stays(m, "tile", self.tile.valid, self.tile.ready, [tile.as_value()])
        check_stays(m, "o", self.o.valid, self.o.ready, [self.o.payload])
        self._take = take = Signal()
        m.d.comb += take.eq(self.i.valid & self.i.ready)
        beats, tiles = self._config.shape.tile_beats, self._config.shape.group_tiles
        self._beat, self._tile = Signal(range(beats)), Signal(range(tiles))
        self._group = Signal(range(GROUPS + 1))
        last = self._beat == beats - 1
        ends = self._tile == tiles - 1
        check(m, "takes_a_tile", (self.tile.valid & self.tile.ready) == (take & last))
        check(m, "takes_known_tiles", implies(take, self.tile.valid))
        with m.If(take):
            m.d.sync += self._beat.eq(Mux(last, 0, self._beat + 1))
            with m.If(last):
                m.d.sync += self._tile.eq(Mux(ends, 0, self._tile + 1))
                m.d.sync += self._group.eq(self._group + ends)
        tags = self._tags(m, tile, ends)
        self._follow(m, tags)
        self._check_progress(m)
        return m

    def _tags(self, m: Module, tile: Value, ends: Value) -> list[Signal]:
        """Assume that a group's tiles have its tags, and the last completes it; return all tags."""
        tags = [Signal(2, name=f"tag_{n}") for n in range(GROUPS)]
        begins = (self._tile == 0) & (self._beat == 0)
        for n, tag in enumerate(tags):
            with m.If((self._group == n) & self._take & begins):
                m.d.sync += tag.eq(tile.tags)
        present = Cat(tags).word_select(self._group, 2)
        known = tile.tags < len(self._bits)
        assume(m, implies(self.tile.valid, known & (tile.completes == ends)))
        assume(m, implies(self.tile.valid & ~begins, tile.tags == present))
        assume(m, self._group < GROUPS)
        return tags

    def _follow(self, m: Module, tags: list[Signal]) -> None:
        """Keep what comes of a group, what its converter gives for it, and check what leaves."""
        shape = self._config.shape
        beats, tiles = shape.tile_beats, shape.group_tiles
        followed, number = Signal(), Signal.like(self._group, name="number")
        begins = self._take & (self._tile == 0) & (self._beat == 0)
        starts = begins & self.mark & ~followed
        with m.If(starts):
            m.d.sync += [followed.eq(1), number.eq(self._group)]
        mine = starts | (followed & (self._group == number))
        came = [
            [Signal(Value.cast(self.i.payload).shape(), name=f"came_{t}_{r}") for r in range(beats)]
            for t in range(tiles)
        ]
        for t, rows in enumerate(came):
            for r, kept in enumerate(rows):
                with m.If(self._take & mine & (self._tile == t) & (self._beat == r)):
                    m.d.sync += kept.eq(Value.cast(self.i.payload))
        tag = Cat(tags).word_select(number, 2)
        # The converter's rows are counted on both sides.
        unit, stored = self._converter, []
        rows_in, rows_out = Signal(6), Signal(6)
        gives, gets = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
        m.d.sync += [rows_in.eq(rows_in + gives), rows_out.eq(rows_out + gets)]
        collected = beats * self._group + Mux(self._tile == tiles - 1, self._beat, 0)
        check(m, "converts_what_came", implies(unit.i.valid, rows_in < collected))
        check(m, "gives_what_was_converted", implies(unit.o.valid, rows_out < rows_in))
        for r in range(beats):
            words = Cat(rows[r] for rows in came)
            given = unit.i.payload
            right = (given.words.as_value() == words) & (given.format == tag)
            here = followed & unit.i.valid & (rows_in == beats * number + r)
            check(m, f"row_{r}", implies(here, right))
            kept = Signal(max(self._bits), name=f"stored_{r}")
            with m.If(followed & gets & (rows_out == beats * number + r)):
                m.d.sync += kept.eq(unit.o.payload.stored)
            stored.append(kept)
            kind = unit.o.payload.format == Cat(tags).word_select((rows_out // beats)[:3], 2)
            check(m, f"format_{r}", implies(unit.o.valid, kind))
        self._check_words(m, tags, stored, followed, number, rows_out)

    def _check_words(
        self,
        m: Module,
        tags: list[Signal],
        stored: list[Signal],
        followed: Value,
        number: Value,
        rows_out: Value,
    ) -> None:
        """Check the bus words: of each group as many as its tag says, with its rows in order."""
        bus, beats = 8 * self._config.bus_bytes, self._config.shape.tile_beats
        group, word = Signal.like(self._group, name="group_out"), Signal(3)
        leaves = self.o.valid & self.o.ready
        sizes = [-(-beats * bits // bus) for bits in self._bits]
        tag = Cat(tags).word_select(group, 2)
        size = Mux(tag == 0, sizes[0], Mux(tag == 1, sizes[1], sizes[2]))
        last = word == size - 1
        with m.If(leaves):
            m.d.sync += [word.eq(Mux(last, 0, word + 1)), group.eq(group + last)]
        whole = rows_out >= beats * (group + 1)
        check(m, "leaves_when_whole", implies(self.o.valid, whole))
        for kind, bits in enumerate(self._bits):
            all_rows = Cat(row[:bits] for row in stored)
            for n in range(sizes[kind]):
                part = all_rows[n * bus : (n + 1) * bus]
                here = followed & (group == number) & (word == n) & (tag == kind)
                right = self.o.payload == part
                check(m, f"word_{kind}_{n}", implies(self.o.valid & here & whole, right))
        cover(m, "second_group", leaves & last & (group == 1))

    def _check_progress(self, m: Module) -> None:
        """Check that with words that come, and words that are taken, something always moves."""
        unit, waits = self._converter, Signal(3)
        moves = self._take | (self.o.valid & self.o.ready) | (unit.o.valid & unit.o.ready)
        idle = ~moves & self.i.valid & self.tile.valid & self.o.ready
        m.d.sync += waits.eq(Mux(idle, waits + 1, 0))
        check(m, "goes_on", waits <= 4)
