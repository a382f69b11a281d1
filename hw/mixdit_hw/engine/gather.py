"""Which rows of a source become a tile's columns: a table, and the runs that it is read as."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.tiles import TILES

ROW_BITS = 32
"""Bits of the table's entries: signed numbers of rows."""


def run_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of a run: its first row, its rows less one, whether it ends a tile."""
    return data.StructLayout(
        {"row": signed(ROW_BITS), "more": range(config.array.cols), "ends_tile": 1}
    )


class Gather(wiring.Component):
    """Holds the table of a conversion; gives it, again and again, as runs of rows.

    A run is rows that follow each other in the table and in memory, of one tile of columns. So the
    identity costs a request for each tile, not for each row.

    Members
    -------
    clear : 1
        The table's first word comes next.
    i : stream of bus words
        The table. Always ready.
    active : 1
        Give runs, from the first row on; while it is 0 the table may change.
    tiles : int
        Tiles of columns that the table is for, at least 1; held while active.
    o : stream of run_layout
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(8 * config.bus_bytes, always_ready=True)),
                "active": In(1),
                "tiles": In(TILES),
                "o": Out(stream.Signature(run_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """An entry a cycle; one that does not continue the run sends it off."""
        m = Module()
        there, entry, begins_tile, advance = self._entries(m)
        first, behind = Signal(signed(ROW_BITS)), Signal(signed(ROW_BITS + 1))
        more, open_ = Signal(range(self._config.array.cols)), Signal()
        begins = Signal()
        m.d.comb += [
            begins.eq(begins_tile | (entry != behind)),
            advance.eq(~(there & begins & open_) | ~self.o.valid | self.o.ready),
        ]
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [
                self.o.valid.eq(self.active & there & begins & open_),
                self.o.payload.row.eq(first),
                self.o.payload.more.eq(more),
                self.o.payload.ends_tile.eq(begins_tile),
            ]
        with m.If(there & advance):
            m.d.sync += [behind.eq(entry + 1), more.eq(Mux(begins, 0, more + 1)), open_.eq(1)]
            with m.If(begins):
                m.d.sync += first.eq(entry)
        with m.If(~self.active):
            m.d.sync += [open_.eq(0), self.o.valid.eq(0)]
        return m

    def _entries(self, m: Module) -> tuple[Signal, Value, Signal, Signal]:
        """Return that an entry is there, the entry, that it is a tile's first, what takes it."""
        shape = self._config.shape
        lanes, cols = shape.lanes, shape.cols
        depth = shape.columns // lanes
        m.submodules.table = table = Memory(
            shape=data.ArrayLayout(ROW_BITS, lanes), depth=depth, init=[]
        )
        to, fro = table.write_port(), table.read_port()
        put_at, word = Signal(range(depth)), Signal(range(depth))
        tile, column, lane = Signal(TILES), Signal(range(cols)), Signal(range(lanes))
        shown, there, advance = Signal(range(lanes)), Signal(), Signal()
        begins_tile = Signal()
        m.d.comb += [
            to.addr.eq(put_at),
            to.data.eq(self.i.payload),
            to.en.eq(self.i.valid),
            fro.addr.eq(word),
            fro.en.eq(advance | ~there),
        ]
        with m.If(self.clear):
            m.d.sync += put_at.eq(0)
        with m.Elif(self.i.valid):
            m.d.sync += put_at.eq(put_at + 1)
        last_column, last_tile = column == cols - 1, tile == self.tiles - 1
        with m.If(advance | ~there):
            m.d.sync += [
                there.eq(1),
                shown.eq(lane),
                begins_tile.eq(column == 0),
                column.eq(Mux(last_column, 0, column + 1)),
                Cat(lane, word).eq(Cat(lane, word) + 1),
            ]
            with m.If(last_column):
                m.d.sync += tile.eq(tile + 1)
            with m.If(last_column & last_tile):
                m.d.sync += [tile.eq(0), lane.eq(0), word.eq(0)]
        with m.If(~self.active):
            m.d.sync += [x.eq(0) for x in (there, tile, column, lane, word)]
        return there, fro.data[shown].as_signed(), begins_tile, advance
