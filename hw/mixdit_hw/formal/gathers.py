"""The gather gives each entry of its table once, in order, as the longest runs that there are."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gather import ROW_BITS, Gather
from mixdit_hw.formal.axi import check_stays
from mixdit_hw.formal.inside import surround
from mixdit_hw.formal.properties import assume, check, cover, implies


def square_tiles(bus_bytes: int) -> EngineConfig:
    """Return an engine of 4x4 PEs, whose bus word has one row of a tile, or two."""
    return EngineConfig(
        array=ArrayConfig(rows=4, cols=4, cluster_rows=2, cluster_cols=2),
        port_bytes=bus_bytes,
        buffer_bytes=2048,
        address_bits=20,
        steps=(),
    )


class GatherProof(wiring.Component):
    """A gather with free tables of a few tiles, that is active when it likes, and a free taker.

    Beside it are the table's entries, and the place of the next one that is due.
    """

    def __init__(self, config: EngineConfig, tiles: int) -> None:
        self._config = config
        self._tiles = tiles
        self._dut = Gather(config)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Keep the table; compare each run with it."""
        m = Module()
        surround(m, self, self._dut)
        cols, run = self._config.array.cols, self.o.payload
        table = self._table(m)
        at = Signal(range(cols * self._tiles))
        entries = [
            table.word_select((at + k)[: len(at)], ROW_BITS).as_signed() for k in range(cols + 1)
        ]
        behind: Value = (at + run.more) + 1
        with m.If(~self.active):
            m.d.sync += at.eq(0)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += at.eq(Mux(behind == cols * self.tiles, 0, behind))
        column = at[: (cols - 1).bit_length()]
        offered = self.active & self.o.valid
        ends = column + run.more == cols - 1
        check(m, "first_row", implies(offered, run.row == entries[0]))
        check(m, "of_one_tile", implies(offered, column + run.more < cols))
        check(m, "ends_tile", implies(offered, run.ends_tile == ends))
        for k in range(1, cols):
            follows = entries[k] == run.row + k
            check(m, f"row_{k}", implies(offered & (run.more >= k), follows))
            longer = offered & ~ends & (run.more == k - 1)
            check(m, f"longest_{k}", implies(longer, ~follows))
        pauses = ~self.active
        check_stays(m, "run", self.o.valid | pauses, self.o.ready | pauses, [Value.cast(run)])
        self._check_pace(m, offered, at)
        return m

    def _table(self, m: Module) -> Signal:
        """Return the table that comes; nothing comes while it is being used."""
        lanes, cols = self._config.shape.lanes, self._config.array.cols
        most = -(-cols * self._tiles // lanes)
        table, words = Signal(ROW_BITS * lanes * most), Signal(range(most + 1))
        valid, payload = self.i.valid, self.i.payload
        with m.If(self.clear):
            m.d.sync += words.eq(0)
        with m.Elif(valid):
            m.d.sync += [words.eq(words + 1), table.word_select(words, len(payload)).eq(payload)]
        assume(m, implies(valid, ~self.clear & ~self.active & (words < most)))
        begun, tiles, cleared = Signal(), Signal.like(self.tiles, name="tiles_before"), Signal()
        m.d.sync += [
            begun.eq(self.active),
            tiles.eq(self.tiles),
            cleared.eq(cleared | self.clear),
        ]
        few = (self.tiles != 0) & (self.tiles <= self._tiles)
        complete = cleared & ~self.clear & (words * lanes >= self.tiles * cols)
        assume(m, implies(self.active, few & complete))
        assume(m, implies(begun & self.active, self.tiles == tiles))
        return table

    def _check_pace(self, m: Module, offered: Value, at: Signal) -> None:
        """Check that a run comes as soon as its entries are through; a table comes again."""
        cols = self._config.array.cols
        waited, again = Signal(range(cols + 4)), Signal()
        m.d.sync += [
            waited.eq(Mux(self.active & ~offered, waited + 1, 0)),
            again.eq(self.active & (again | (offered & self.o.ready & (at != 0)))),
        ]
        check(m, "comes", waited <= cols + 2)
        cover(m, "comes_again", offered & again & (at == 0) & (self.tiles == Const(2)))
