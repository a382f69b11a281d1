"""Says where tiles of results go and what is done to them on the way."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.stored import choose
from mixdit_hw.engine.command import STEP_LAYOUT, command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import granule
from mixdit_hw.engine.quantize import group_layout
from mixdit_hw.engine.source import Origin
from mixdit_hw.engine.tiles import TileLoop, connect_loop, tile_address
from mixdit_hw.engine.writer import write_layout
from mixdit_hw.pe.fp32 import NAN, STATE
from mixdit_sw.engine.commands import Output
from mixdit_sw.engine.shape import TAG_BITS


def tile_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of what the store must know of a tile.

    Its place, if it is stored now; the bus words there; the steps of the epilogue; `Output`;
    `Origin`; what the quantizer must know.
    """
    return data.StructLayout(
        {
            "write": write_layout(config),
            "stored": 1,
            "steps": STEP_LAYOUT,
            "output": 2,
            "origin": 2,
            "group": group_layout(config),
        }
    )


class StoreWalker(wiring.Component):
    """Walks through a command's tiles in the order in which they come.

    Members
    -------
    command : stream of command_layout
        Commands; taken when the last tile of the one before is.
    tags : stream of tags of a section
        Formats of the results' K-blocks, for each command that stores an operand.
    tile : stream of tile_layout
        The next tile.
    bad_format : 1, with tags_address
        A tag of the next tile is no format's. It is not offered then. Bus word of the tags.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(config))),
                "tags": In(stream.Signature(TAG_BITS * config.shape.section)),
                "tile": Out(stream.Signature(tile_layout(config))),
                "bad_format": Out(1),
                "tags_address": Out(config.beat_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take a command, and its tags if it has some; a tile for each step of the loop."""
        m = Module()
        command = Signal(command_layout(self._config))
        start, begun, active = Signal(), Signal(), Signal()
        m.submodules.loop = loop = TileLoop()
        connect_loop(m, loop, command, start)
        is_operand = Signal()
        m.d.comb += [
            is_operand.eq(command.output == Output.OPERAND),
            start.eq(begun & (~is_operand | self.tags.valid)),
            self.tags.ready.eq(begun & is_operand),
            self.command.ready.eq(~active & ~begun),
            loop.next.eq(self.tile.valid & self.tile.ready),
            self.tile.valid.eq(active & ~self.bad_format),
        ]
        with m.If(~begun | start):
            m.d.sync += begun.eq(self.command.valid & self.command.ready)
        with m.If(self.command.ready):
            m.d.sync += command.eq(self.command.payload)
        with m.If(start):
            m.d.sync += active.eq(1)
        with m.If(loop.next & loop.last_in_panel & loop.last_streamed & loop.last_panel):
            m.d.sync += active.eq(0)
        self._describe(m, command, loop, start, active, is_operand)
        # What its proof speaks of (mixdit_hw.formal.stores).
        self._command, self._start, self._begun, self._active = command, start, begun, active
        return m

    def _describe(
        self,
        m: Module,
        command: Signal,
        loop: TileLoop,
        start: Signal,
        active: Signal,
        is_operand: Signal,
    ) -> None:
        """Say what the present tile is."""
        shape = self._config.shape
        tile = self.tile.payload
        column, in_group, group_beats = self._follow(m, loop, start)
        completes = Signal()
        right = Mux(is_operand, Mux(completes, group_beats, 0), command.c_col_beats)
        tags = Signal(TAG_BITS * shape.section)
        with m.If(start):
            m.d.sync += tags.eq(self.tags.payload)
        self._tags = tags
        width = len(tile.group.tags)
        beats = shape.tile_beats
        unknown = [
            tile.group.tags.word_select(n, TAG_BITS) >= len(shape.formats)
            for n in range(shape.group)
        ]
        m.d.comb += [
            tile.group.tags.eq(tags.word_select(column, width)),
            completes.eq(in_group == shape.group_tiles - 1),
            tile.group.completes.eq(completes),
            tile.write.address.eq(
                tile_address(m, "c", loop, command, start, (command.c_row_beats, right))
            ),
            group_beats.eq(self._group_beats(tile.group.tags)),
            tile.write.source.eq(is_operand),
            tile.stored.eq(~is_operand | completes),
            tile.steps.eq(command.steps),
            tile.output.eq(command.output),
            tile.origin.eq(
                Mux(
                    command.is_convert,
                    Mux(command.transposed, Origin.TURNED, Origin.MEMORY),
                    Origin.ARRAY,
                )
            ),
            self.bad_format.eq(active & is_operand & Cat(unknown).any()),
            self.tags_address.eq(command.tags_address),
        ]
        with m.Switch(command.output):
            with m.Case(Output.FP32):
                m.d.comb += tile.write.beats.eq(beats)
            with m.Case(Output.BF16):
                m.d.comb += tile.write.beats.eq(beats // 2)
            with m.Default():
                m.d.comb += tile.write.beats.eq(group_beats)

    def _follow(self, m: Module, loop: TileLoop, start: Signal) -> tuple[Signal, Signal, Signal]:
        """Return the present group of columns, and the present tile's number in it."""
        shape = self._config.shape
        column, in_group = Signal(range(shape.section)), Signal(range(shape.group_tiles))
        panel_column = Signal.like(column)
        self._column, self._panel_column, self._in_group = column, panel_column, in_group
        ends = in_group == shape.group_tiles - 1
        behind = column + 1
        with m.If(start):
            m.d.sync += [column.eq(0), panel_column.eq(0), in_group.eq(0)]
        with m.Elif(loop.next):
            m.d.sync += in_group.eq(Mux(ends, 0, in_group + 1))
            with m.If(ends):
                m.d.sync += column.eq(behind)
            with m.If(loop.last_in_panel):
                m.d.sync += [in_group.eq(0), column.eq(panel_column)]
                with m.If(loop.last_streamed):
                    m.d.sync += [column.eq(behind), panel_column.eq(behind)]
        return column, in_group, Signal(range(shape.tile_beats * 8 + 1), name="group_beats")

    def _group_beats(self, tags: Value) -> Value:
        """Return the bus words of a group with these tags."""
        config = self._config
        unit = granule(config.bus_bytes, tuple(config.slice_bytes(False)))
        sizes = [size // unit for size in config.slice_bytes(False)]
        word = config.bus_bytes // unit
        width = max(sizes).bit_length()
        total = sum(
            choose(tags.word_select(n, TAG_BITS), [Const(s, width) for s in sizes], width)
            for n in range(config.shape.group)
        )
        return (total + (word - 1))[(word - 1).bit_length() :]


class Packer(wiring.Component):
    """Lets a tile's words pass: as they are, or two bus words of FP32 as one of BF16.

    Members
    -------
    narrow : stream of 1
        Whether the present tile is stored as BF16; taken with its last word.
    i : stream of words
        Its FP32 words.
    o : stream of words
        To the writer.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._lanes = data.ArrayLayout(STATE, config.shape.lanes)
        super().__init__(
            {
                "narrow": In(stream.Signature(1)),
                "i": In(stream.Signature(self._lanes)),
                "o": Out(stream.Signature(8 * config.bus_bytes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count the tile's words; keep every first half of BF16."""
        m = Module()
        beats = self._config.shape.tile_beats
        beat, moves, keeps, narrow = Signal(range(beats)), Signal(), Signal(), Signal()
        half = Signal(4 * self._config.bus_bytes)
        first_half = Signal.like(half)
        last = beat == beats - 1
        m.d.comb += [
            narrow.eq(self.narrow.payload),
            half.eq(Cat(_to_bf16(word) for word in self.i.payload)),
            keeps.eq(narrow & ~beat[0]),
            self.o.valid.eq(self.narrow.valid & self.i.valid & ~keeps),
            self.o.payload.eq(Mux(narrow, Cat(first_half, half), self.i.payload.as_value())),
            self.i.ready.eq(self.narrow.valid & (self.o.ready | keeps)),
            moves.eq(self.i.valid & self.i.ready),
            self.narrow.ready.eq(moves & last),
        ]
        with m.If(moves):
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), first_half.eq(half)]
        return m


def _to_bf16(word: data.View) -> Value:
    """Return the upper half of an FP32 word, rounded to nearest even; NaN is 0x7FC0."""
    bits = word.as_value()
    is_nan = word.exp.all() & word.fraction.any()
    up = bits[15] & (bits[:15].any() | bits[16])
    return Mux(is_nan, Const(NAN >> 16, 16), (bits[16:] + up)[:16])
