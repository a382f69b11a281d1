"""Reads the operand buffers in the order of digit passes and drives the array."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.array.array import beat_layout
from mixdit_hw.engine.buffer import place_layout, word_layout
from mixdit_hw.engine.command import command_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.tiles import TileLoop, connect_loop
from mixdit_sw.codec.packets import passes
from mixdit_sw.formats import MAX_DIGITS


def reader_signature(height: int, depth: int) -> wiring.Signature:
    """Return the reading side of an `OperandBuffer`, as its user sees it."""
    place = place_layout(depth)
    return wiring.Signature(
        {
            "written": In(place),
            "read": Out(1),
            "at": Out(place),
            "data": In(word_layout(height)),
            "release": Out(1),
            "until": Out(place),
        }
    )


class Feed(wiring.Component):
    """Shows the array the beats of a command's tiles, one a cycle.

    The words of a beat are read a cycle before it is shown, as soon as both are there. What a
    panel or a streamed tile holds is released with the last pass of each block's last use.

    Members
    -------
    command : stream of command_layout
        Commands; taken when the last beat of the one before has been.
    a, b : reader_signature
        The operand buffers.
    o : stream of beat_layout
        To the array.
    tile_end : 1
        The last beat of a tile is taken.
    waits : 1
        There is a tile, but no beat of it to show.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        heights = config.heights
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(config))),
                "a": Out(reader_signature(heights[0], config.words)),
                "b": Out(reader_signature(heights[1], config.words)),
                "o": Out(stream.Signature(beat_layout(config.array))),
                "tile_end": Out(1),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Find the next pass's words; read them when they are there and can be shown."""
        m = Module()
        command = Signal(command_layout(self._config), reset_less=True)
        start, active, loaded, in_block = Signal(), Signal(), Signal(), Signal()
        m.submodules.loop = loop = TileLoop()
        connect_loop(m, loop, command, start)
        step = Signal(range(MAX_DIGITS**2))
        last_pass, offsets = self._look_up(m, step)
        block_end, tile_end, done, fetch = Signal(), Signal(), Signal(), Signal()
        ends = Signal()
        m.d.comb += [
            block_end.eq(in_block & last_pass),
            tile_end.eq(block_end & self.a.data.last),
            ends.eq(loop.last_in_panel & loop.last_streamed & loop.last_panel),
            self.o.valid.eq(loaded),
            self.o.payload.as_value().eq(self._beat()),
            self.tile_end.eq(loaded & self.o.ready & tile_end),
            done.eq(self.tile_end & ends),
            self.waits.eq(active & ~loaded),
        ]
        there = []
        for port, offset, is_b in ((self.a, offsets[0], False), (self.b, offsets[1], True)):
            is_streamed = command.stationary_b ^ is_b
            there.append(
                self._operand(
                    m, port, offset, loop, is_streamed, in_block, block_end, tile_end, fetch, done
                )
            )
        m.d.comb += [
            fetch.eq(active & (~loaded | self.o.ready) & ~(tile_end & ends) & Cat(there).all()),
            loop.next.eq(fetch & tile_end),
            self.a.read.eq(fetch),
            self.b.read.eq(fetch),
        ]
        with m.If(fetch):
            m.d.sync += [
                loaded.eq(1),
                in_block.eq(1),
                step.eq(Mux(in_block & ~last_pass, step + 1, 0)),
            ]
        with m.Elif(self.o.ready):
            m.d.sync += loaded.eq(0)
        with m.If(done):
            m.d.sync += [active.eq(0), in_block.eq(0)]
        with m.If(start):
            m.d.sync += active.eq(1)
        begun = Signal()
        m.d.comb += [
            self.command.ready.eq(~active & ~begun),
            start.eq(begun),
        ]
        m.d.sync += begun.eq(self.command.valid & self.command.ready)
        with m.If(self.command.ready):
            m.d.sync += command.eq(self.command.payload)
        return m

    def _beat(self) -> Value:
        a, b = self.a.data, self.b.data
        layout = beat_layout(self._config.array)
        tag = layout["tag"].shape
        assert list(layout.members) == ["a", "b", "tag", "last"]
        assert list(tag.members) == ["a_digits", "b_digits"]
        return Cat(a.packets.as_value(), b.packets.as_value(), a.digits, b.digits, a.last)

    def _look_up(self, m: Module, step: Signal) -> tuple[Signal, tuple[Signal, Signal]]:
        """Return whether the present pass is the block's last, and the words of the next one.

        A block's first word is its most significant digit.
        """
        last_pass = Signal()
        offsets = tuple(Signal(range(MAX_DIGITS), name=f"offset_{x}") for x in "ab")
        digits = range(1, self._config.array.max_digits + 1)
        width = len(offsets[0])
        with m.Switch(Cat(self.a.data.digits, self.b.data.digits)):
            for p in digits:
                for q in digits:
                    table = passes(p, q)
                    following = [(p - 1 - x.a_digit, q - 1 - x.b_digit) for x in table[1:]]
                    with m.Case(p | q << len(self.a.data.digits)):
                        m.d.comb += last_pass.eq(step == len(table) - 1)
                        for side, offset in enumerate(offsets):
                            packed = sum(x[side] << width * i for i, x in enumerate(following))
                            if packed:
                                bits = Const(packed, width * len(table))
                                m.d.comb += offset.eq(bits.word_select(step, width))
        return last_pass, offsets

    def _operand(
        self,
        m: Module,
        port: wiring.PureInterface,
        offset: Signal,
        loop: TileLoop,
        is_streamed: Value,
        in_block: Signal,
        block_end: Signal,
        tile_end: Signal,
        fetch: Signal,
        done: Signal,
    ) -> Value:
        """Follow an operand through its buffer; return that its next word is there."""
        place = place_layout(self._config.words)
        here, base = Signal(place), Signal(place)
        behind, back, moves_on = Signal(place), Signal(), Signal()
        last_streamed = loop.last_in_panel & (~loop.last_streamed | loop.last_panel)
        m.d.comb += [
            behind.eq(self._forward(here, port.data.digits)),
            moves_on.eq(Mux(is_streamed, last_streamed, loop.last_in_panel & loop.last_streamed)),
            back.eq(Mux(is_streamed, ~last_streamed, loop.last_in_panel & ~loop.last_streamed)),
            port.release.eq(block_end & Mux(is_streamed, last_streamed, loop.last_streamed)),
            port.until.eq(behind),
        ]
        with m.If(~in_block):
            m.d.comb += port.at.eq(here)
        with m.Elif(~block_end):
            m.d.comb += port.at.eq(self._forward(here, offset))
        with m.Elif(tile_end & back):
            m.d.comb += port.at.eq(base)
        with m.Else():
            m.d.comb += port.at.eq(behind)
        with m.If(block_end & (fetch | done)):
            m.d.sync += here.eq(port.at)
        with m.If(tile_end & moves_on & (fetch | done)):
            m.d.sync += base.eq(behind)
        return port.written.count != port.at.count

    def _forward(self, place: data.View, words: Value) -> Value:
        """Return the place so many words further."""
        depth = self._config.words
        sum_ = place.address + words
        wrapped = Mux(sum_ >= depth, sum_ - depth, sum_)[: len(place.address)]
        return Cat(wrapped, (place.count + words)[: len(place.count)])
