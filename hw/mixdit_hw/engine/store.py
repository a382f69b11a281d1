"""Says where tiles of results go and what is done to them on the way."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.engine.command import STEP_LAYOUT, command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.tiles import TileLoop, connect_loop, tile_address
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
    """Lets a tile's words pass: as they are, or two bus words of FP32 as one of BF16.

    Members
    -------
    output : stream of Output
        How the present tile is stored; taken with its last word.
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
                "output": In(stream.Signature(2)),
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
            narrow.eq(self.output.payload == Output.BF16),
            half.eq(Cat(_to_bf16(word) for word in self.i.payload)),
            keeps.eq(narrow & ~beat[0]),
            self.o.valid.eq(self.output.valid & self.i.valid & ~keeps),
            self.o.payload.eq(Mux(narrow, Cat(first_half, half), self.i.payload.as_value())),
            self.i.ready.eq(self.output.valid & (self.o.ready | keeps)),
            moves.eq(self.i.valid & self.i.ready),
            self.output.ready.eq(moves & last),
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
