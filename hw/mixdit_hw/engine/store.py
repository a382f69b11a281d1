"""Says where tiles of results go and what is done to them on the way."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.command import STEP_LAYOUT, command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.tiles import TileLoop, connect_loop, tile_address
from mixdit_hw.engine.writer import write_layout
from mixdit_hw.pe.fp32 import NAN, STATE
from mixdit_sw.engine.commands import Output


def tile_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of what the store must know of a tile: place, steps of the epilogue, format."""
    return data.StructLayout({"address": config.beat_bits, "steps": STEP_LAYOUT, "output": 2})


class StoreWalker(wiring.Component):
    """Walks through a command's tiles in the order in which the array computes them.

    Members
    -------
    command : stream of command_layout
        Commands; taken when the last tile of the one before is.
    tile : stream of tile_layout
        The next tile.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(config))),
                "tile": Out(stream.Signature(tile_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take a command; a tile for each step of the loop."""
        m = Module()
        command = Signal(command_layout(self._config))
        start, begun = Signal(), Signal()
        m.submodules.loop = loop = TileLoop()
        connect_loop(m, loop, command, start)
        distances = (command.c_row_beats, command.c_col_beats)
        m.d.comb += [
            start.eq(begun),
            self.command.ready.eq(~self.tile.valid & ~begun),
            loop.next.eq(self.tile.valid & self.tile.ready),
            self.tile.payload.address.eq(tile_address(m, "c", loop, command, start, distances)),
            self.tile.payload.steps.eq(command.steps),
            self.tile.payload.output.eq(command.output),
        ]
        m.d.sync += begun.eq(self.command.valid & self.command.ready)
        with m.If(self.command.ready):
            m.d.sync += command.eq(self.command.payload)
        with m.If(start):
            m.d.sync += self.tile.valid.eq(1)
        with m.If(loop.next & loop.last_in_panel & loop.last_streamed & loop.last_panel):
            m.d.sync += self.tile.valid.eq(0)
        return m


class Packer(wiring.Component):
    """Sends a tile's words to the writer: as they are, or two bus words of FP32 as one of BF16.

    Members
    -------
    tile : stream of tile_layout
        Where the next tile goes, and as what.
    i : stream of words
        Its FP32 words.
    request : stream of write_layout
        To the writer.
    o : stream of words
        To the writer.
    idle : 1
        No tile is passing.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        word = stream.Signature(8 * config.bus_bytes)
        super().__init__(
            {
                "tile": In(stream.Signature(tile_layout(config))),
                "i": In(word),
                "request": Out(stream.Signature(write_layout(config))),
                "o": Out(word),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Ask for the place, then count the tile's words."""
        m = Module()
        beats = self._config.shape.tile_beats
        width = 4 * self._config.bus_bytes
        beat, busy, narrow = Signal(range(beats)), Signal(), Signal()
        first_half, half = Signal(width), Signal(width)
        keeps, moves = Signal(), Signal()
        lanes = data.ArrayLayout(STATE, self._config.shape.lanes)
        m.d.comb += [
            self.request.payload.address.eq(self.tile.payload.address),
            self.request.payload.beats.eq(
                Mux(self.tile.payload.output == Output.BF16, beats // 2, beats)
            ),
            self.request.valid.eq(self.tile.valid & ~busy),
            self.tile.ready.eq(self.request.ready & ~busy),
            half.eq(Cat(_to_bf16(word) for word in data.View(lanes, self.i.payload))),
            keeps.eq(narrow & ~beat[0]),
            self.o.valid.eq(busy & self.i.valid & ~keeps),
            self.i.ready.eq(busy & (self.o.ready | keeps)),
            self.o.payload.eq(Mux(narrow, Cat(first_half, half), self.i.payload)),
            moves.eq(self.i.valid & self.i.ready),
            self.idle.eq(~busy),
        ]
        with m.If(self.tile.valid & self.tile.ready):
            m.d.sync += [
                busy.eq(1),
                beat.eq(0),
                narrow.eq(self.tile.payload.output == Output.BF16),
            ]
        with m.If(moves):
            m.d.sync += [beat.eq(beat + 1), first_half.eq(half)]
            with m.If(beat == beats - 1):
                m.d.sync += busy.eq(0)
        return m


def _to_bf16(word: data.View) -> Value:
    """Return the upper half of an FP32 word, rounded to nearest even; NaN is 0x7FC0."""
    bits = word.as_value()
    is_nan = word.exp.all() & word.fraction.any()
    up = bits[15] & (bits[:15].any() | bits[16])
    return Mux(is_nan, Const(NAN >> 16, 16), (bits[16:] + up)[:16])
