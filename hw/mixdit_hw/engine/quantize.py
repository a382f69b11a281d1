"""Results as an operand: from FP32 words of tiles to stored blocks in the order of memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import granule
from mixdit_hw.pe.fp32 import STATE
from mixdit_hw.sharing import Shared
from mixdit_sw.engine.shape import TAG_BITS
from mixdit_sw.formats import LANES

BANKS = 2
"""Groups of K-blocks that have room: one comes while the other leaves."""


def group_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of what is to be known of a tile: formats of its group, whether it completes it."""
    return data.StructLayout({"tags": TAG_BITS * config.shape.group, "completes": 1})


class Quantizer(wiring.Component):
    """Converts tiles of results to groups of K-blocks of the next GEMM's operand.

    Tiles of fewer than 16 columns are kept until a group of them is there; the last one's words
    make blocks with theirs. Blocks come row by row and leave K-block by K-block, without gaps up to
    the group's end, where zeros complete the bus word.

    Members
    -------
    tile : stream of group_layout
        Of the present tile; taken with its last word.
    i : stream of words
        Its FP32 words, rows from the top.
    o : stream of words
        Bus words of the groups.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._words = data.ArrayLayout(STATE, config.shape.lanes)
        super().__init__(
            {
                "tile": In(stream.Signature(group_layout(config))),
                "i": In(stream.Signature(self._words)),
                "o": Out(stream.Signature(8 * config.bus_bytes)),
            }
        )

    @property
    def _rows(self) -> int:
        """Rows of a bus word of FP32."""
        return self._config.shape.lanes // self._config.shape.cols

    def elaborate(self, platform: object) -> Module:
        """Collect, convert, reorder, pack."""
        m = Module()
        there, moves, words, tags = self._collect(m)
        blocks, valid, ready = self._convert(m, there, moves, words, tags)
        entry, entry_valid, entry_taken, size, ends = self._reorder(m, blocks, valid, ready)
        self._pack(m, entry, entry_valid, entry_taken, size, ends)
        return m

    def _collect(self, m: Module) -> tuple[Signal, Signal, list[list[Value]], Signal]:
        """Return rows of 16 words, or more, when a group's last tile comes, and its tags."""
        shape = self._config.shape
        tiles = shape.group_tiles
        beat, tile = Signal(range(shape.tile_beats)), Signal(range(tiles))
        late = Signal(self._words, reset_less=True)
        tags = Signal(TAG_BITS * shape.group, reset_less=True)
        there, moves, takes = Signal(), Signal(), Signal()
        last = beat == shape.tile_beats - 1
        completes = self.tile.payload.completes
        m.d.comb += [
            self.i.ready.eq(self.tile.valid & (~there | moves)),
            takes.eq(self.i.valid & self.i.ready),
            self.tile.ready.eq(takes & last),
        ]
        with m.If(takes):
            m.d.sync += [
                beat.eq(Mux(last, 0, beat + 1)),
                late.eq(self.i.payload),
                tags.eq(self.tile.payload.tags),
            ]
            with m.If(last):
                m.d.sync += tile.eq(Mux(completes, 0, tile + 1))
        with m.If(~there | moves):
            m.d.sync += there.eq(takes & completes)
        parts = []
        for n in range(tiles - 1):
            memory = Memory(shape=self._words, depth=shape.tile_beats, init=[])
            m.submodules[f"tile_{n}"] = memory
            to, fro = memory.write_port(), memory.read_port()
            m.d.comb += [
                to.addr.eq(beat),
                to.data.eq(self.i.payload),
                to.en.eq(takes & ~completes & (tile == n)),
                fro.addr.eq(beat),
                fro.en.eq(takes & completes),
            ]
            parts.append(fro.data)
        parts.append(late)
        cols = shape.cols
        rows = [
            [part[row * cols + col].as_value() for part in parts for col in range(cols)]
            for row in range(self._rows)
        ]
        return there, moves, rows, tags

    def _convert(
        self, m: Module, there: Signal, moves: Signal, rows: list[list[Value]], tags: Signal
    ) -> tuple[list[Value], Signal, Signal]:
        """Return a group's K-blocks, each with its rows' stored blocks and their format."""
        formats = self._config.array.block_formats
        valid, ready = Signal(), Signal()
        columns = []
        for n in range(self._config.shape.group):
            stored = []
            for row, words in enumerate(rows):
                converter = Shared(MxConverter(formats))
                m.submodules[f"converter_{n}_{row}"] = converter
                part = words[LANES * n : LANES * (n + 1)]
                m.d.comb += [
                    converter.i.valid.eq(there),
                    converter.i.payload.words.as_value().eq(Cat(part)),
                    converter.i.payload.format.eq(tags.word_select(n, TAG_BITS)),
                    converter.o.ready.eq(ready),
                ]
                stored.append(converter.o.payload.stored)
            columns.append(Cat(*stored, converter.o.payload.format))
        # All converters move together.
        m.d.comb += [moves.eq(there & converter.i.ready), valid.eq(converter.o.valid)]
        return columns, valid, ready

    def _reorder(
        self, m: Module, columns: list[Value], valid: Signal, ready: Signal
    ) -> tuple[Value, Signal, Signal, Value, Signal]:
        """Keep a group, K-block by K-block in a memory of its own; read it back in this order.

        Returns what a row of memory gives: stored blocks, that they are there, a signal that takes
        them, the number of their format, and that they are a group's last.
        """
        beats = self._config.shape.tile_beats
        place_in, place_out = Signal(range(BANKS * beats)), Signal(range(beats))
        full, bank, column = Signal(range(BANKS + 1)), Signal(), Signal(range(len(columns)))
        put, fetch, done = Signal(), Signal(), Signal()
        entry_valid, entry_taken, ends = Signal(), Signal(), Signal()
        shown = Signal(range(len(columns)))
        row_done, last_column = place_out == beats - 1, column == len(columns) - 1
        m.d.comb += [
            ready.eq(full != BANKS),
            put.eq(valid & ready),
            fetch.eq((full != 0) & (~entry_valid | entry_taken)),
            done.eq(fetch & row_done & last_column),
        ]
        is_last = (place_in == beats - 1) | (place_in == BANKS * beats - 1)
        m.d.sync += full.eq(full + (put & is_last) - done)
        with m.If(put):
            m.d.sync += place_in.eq(Mux(place_in == BANKS * beats - 1, 0, place_in + 1))
        with m.If(fetch):
            m.d.sync += [
                place_out.eq(Mux(row_done, 0, place_out + 1)),
                shown.eq(column),
                ends.eq(done),
            ]
            with m.If(row_done):
                m.d.sync += column.eq(Mux(last_column, 0, column + 1))
        with m.If(done):
            m.d.sync += bank.eq(~bank)
        with m.If(~entry_valid | entry_taken):
            m.d.sync += entry_valid.eq(fetch)
        rows = []
        for n, value in enumerate(columns):
            memory = Memory(shape=len(value), depth=BANKS * beats, init=[])
            m.submodules[f"column_{n}"] = memory
            to, fro = memory.write_port(), memory.read_port()
            m.d.comb += [
                to.addr.eq(place_in),
                to.data.eq(value),
                to.en.eq(put),
                fro.addr.eq(Mux(bank, place_out + beats, place_out)),
                fro.en.eq(fetch),
            ]
            rows.append(fro.data)
        entry = Signal(len(columns[0]))
        with m.Switch(shown):
            for n, row in enumerate(rows):
                with m.Case(n):
                    m.d.comb += entry.eq(row)
        return entry, entry_valid, entry_taken, entry[-TAG_BITS:], ends

    def _pack(
        self,
        m: Module,
        entry: Signal,
        valid: Signal,
        taken: Signal,
        number: Value,
        ends: Signal,
    ) -> None:
        """Append entries; give bus words, at a group's end a last one with zeros."""
        sizes = self._sizes()
        unit = 8 * granule(self._config.bus_bytes, tuple(sizes))
        word = 8 * self._config.bus_bytes // unit
        most = word - 1 + 8 * max(sizes) // unit
        held, level, flush = Signal(unit * most), Signal(range(most + 1)), Signal()
        blocks, size = Signal(8 * max(sizes)), Signal(range(most + 1))
        stored = len(entry[:-TAG_BITS]) // self._rows
        with m.Switch(number):
            for n, bytes_ in enumerate(sizes):
                with m.Case(n):
                    bits = 8 * bytes_ // self._rows
                    parts = [entry[stored * row :][:bits] for row in range(self._rows)]
                    m.d.comb += [blocks.eq(Cat(parts)), size.eq(8 * bytes_ // unit)]
        out = Signal()
        m.d.comb += [
            self.o.valid.eq((level >= word) | flush),
            self.o.payload.eq(held),
            out.eq(self.o.valid & self.o.ready),
            taken.eq(valid & (level < word) & ~flush),
        ]
        shift = Cat(Const(0, (unit - 1).bit_length()), level[: (word - 1).bit_length()])
        with m.If(taken):
            m.d.sync += [held.eq(held | (blocks << shift)[: len(held)]), level.eq(level + size)]
            m.d.sync += flush.eq(ends)
        with m.If(out):
            m.d.sync += held.eq(held[8 * self._config.bus_bytes :])
            m.d.sync += level.eq(Mux(level >= word, level - word, 0))
            m.d.sync += flush.eq(flush & (level > word))

    def _sizes(self) -> list[int]:
        """Bytes of the stored blocks of a bus word's rows, by format number."""
        formats = self._config.array.block_formats
        return [self._rows * fmt.row_bytes(LANES) for fmt in formats]
