"""Turns the bus words of operand tiles into the words of the operand buffers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.stored import choose
from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_hw.engine.buffer import word_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.gearbox import Gearbox, granule
from mixdit_hw.engine.reader import Destination
from mixdit_hw.engine.reader import word_layout as bus_word_layout
from mixdit_hw.sharing import Shared
from mixdit_sw.engine.shape import TAG_BITS
from mixdit_sw.formats import LANES


class Loader(wiring.Component):
    """Unpacks tiles: sections of a header and its K-blocks (docs/programming.md).

    A header is a bus word of tags, the format of each K-block. A K-block is the stored blocks of
    the tile's rows, without gaps; it becomes a word for each digit, one a cycle. Bytes between a
    group's last K-block and the next bus word, and bus words behind the last section, are dropped.

    Members
    -------
    i : stream of bus words
        Operand tiles, from the reader.
    a, b : {write, word, space}
        To the operand buffers.
    bad_format, bad_length : 1, address
        A tag is no format's; a tile ends before its last K-block, or has more buffer words than
        its command says. The loader stands still then; `address` is that of the last bus word.
    nan_blocks : int
        NaN blocks in the K-block that is finished in this cycle.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        most = max(config.heights)

        def to_buffer(height: int) -> wiring.Signature:
            return wiring.Signature(
                {"write": Out(1), "word": Out(word_layout(height)), "space": In(1)}
            )

        super().__init__(
            {
                "i": In(stream.Signature(bus_word_layout(config))),
                "a": Out(to_buffer(config.heights[0])),
                "b": Out(to_buffer(config.heights[1])),
                "bad_format": Out(1),
                "bad_length": Out(1),
                "address": Out(config.beat_bits),
                "nan_blocks": Out(range(most + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Headers, K-blocks, and the rest of a tile."""
        m = Module()
        config = self._config
        formats = config.array.block_formats
        sizes = sorted({*config.slice_bytes(False), *config.slice_bytes(True)})
        m.submodules.gearbox = gearbox = Gearbox(config.bus_bytes, tuple(sizes))
        self._sizes, self._gearbox = sizes, gearbox
        self._unit = granule(config.bus_bytes, tuple(sizes))

        section = config.shape.section
        tags = Signal(TAG_BITS * (section + 1), reset_less=True)
        left, in_section = Signal.like(self.i.payload.target.k_blocks), Signal(range(section + 1))
        used = Signal.like(self.i.payload.target.words)
        digit, is_b, limit = Signal(range(max(config.array.max_digits, 2))), Signal(), Signal(16)
        in_group = Signal(range(config.shape.group))
        began, ended = Signal(), Signal()
        tag, following = tags[:TAG_BITS], tags[TAG_BITS : 2 * TAG_BITS]
        digits = Signal(range(config.array.max_digits + 1))
        have, write, done, wants, take_in = (Signal() for _ in range(5))
        known = Signal()
        m.d.comb += [
            known.eq(tag < len(formats)),
            digits.eq(choose(tag, [Const(fmt.digits, 2) for fmt in formats], 2)),
            have.eq(gearbox.level >= self._granules(tag, is_b)),
            gearbox.data.eq(self.i.payload.data),
            gearbox.size.eq(self._size_number(tag, is_b)),
            take_in.eq(self.i.valid & self.i.ready),
        ]
        with m.If(take_in):
            m.d.sync += self.address.eq(self.i.payload.address)
        after = Signal.like(gearbox.level)
        m.d.comb += after.eq(gearbox.level - self._granules(tag, is_b))

        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += [self.i.ready.eq(~ended), self.bad_length.eq(ended)]
                with m.If(take_in):
                    first = Mux(began, left, self.i.payload.target.k_blocks)
                    m.d.sync += [
                        tags.eq(self.i.payload.data[: TAG_BITS * section]),
                        in_section.eq(Mux(first < section, first, section)),
                        began.eq(1),
                        ended.eq(self.i.payload.last),
                        left.eq(first),
                    ]
                    with m.If(~began):
                        m.d.sync += [
                            used.eq(0),
                            limit.eq(self.i.payload.target.words),
                            is_b.eq(self.i.payload.target.destination == Destination.B),
                        ]
                    m.next = "BLOCKS"
            with m.State("BLOCKS"):
                last_in_section, last = in_section == 1, left == 1
                last_in_group = in_group == config.shape.group - 1
                space = Mux(is_b, self.b.space, self.a.space)
                m.d.comb += [
                    self.bad_format.eq(~known),
                    self.bad_length.eq(known & ((~have & ended) | (have & (used == limit)))),
                    write.eq(have & space & known & (used != limit)),
                    done.eq(write & (digit == digits - 1)),
                    wants.eq(
                        Mux(
                            done,
                            ~last_in_section
                            & Mux(
                                last_in_group,
                                following < len(formats),
                                after < self._granules(following, is_b),
                            ),
                            ~have,
                        )
                    ),
                    self.i.ready.eq(wants & known & ~ended),
                    gearbox.put.eq(take_in),
                    gearbox.take.eq(done),
                    gearbox.clear.eq(done & (last_in_section | last_in_group)),
                ]
                with m.If(take_in):
                    m.d.sync += ended.eq(self.i.payload.last)
                with m.If(write):
                    m.d.sync += [used.eq(used + 1), digit.eq(Mux(done, 0, digit + 1))]
                with m.If(done):
                    m.d.sync += [
                        tags.eq(tags >> TAG_BITS),
                        in_section.eq(in_section - 1),
                        left.eq(left - 1),
                        in_group.eq(Mux(last_in_section | last_in_group, 0, in_group + 1)),
                    ]
                    with m.If(last):
                        m.d.sync += [began.eq(0), ended.eq(0)]
                        m.next = "HEADER"
                        with m.If(~ended):
                            m.next = "REST"
                    with m.Elif(last_in_section):
                        m.next = "HEADER"
            with m.State("REST"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(take_in & self.i.payload.last):
                    m.next = "HEADER"
        self._unpack(m, tag, digits, digit, left, is_b, write, done)
        return m

    def _size_number(self, tag: Value, is_b: Value) -> Value:
        """Return which of the gearbox's takes a K-block of a format is."""
        by_operand = [
            choose(tag, [Const(self._sizes.index(n), 3) for n in self._config.slice_bytes(b)], 3)
            for b in (False, True)
        ]
        return Mux(is_b, by_operand[1], by_operand[0])

    def _granules(self, tag: Value, is_b: Value) -> Value:
        """Return the size of a K-block of a format, in granules."""
        unit, width = self._unit, len(self._gearbox.level)
        by_operand = [
            choose(tag, [Const(n // unit, width) for n in self._config.slice_bytes(b)], width)
            for b in (False, True)
        ]
        return Mux(is_b, by_operand[1], by_operand[0])

    def _unpack(
        self,
        m: Module,
        tag: Value,
        digits: Value,
        digit: Value,
        left: Value,
        is_b: Value,
        write: Value,
        done: Value,
    ) -> None:
        """Write a digit of the K-block in front, most significant first."""
        config = self._config
        formats = config.array.block_formats
        sizes = [8 * fmt.row_bytes(LANES) for fmt in formats]
        packets, nans = [], []
        for row in range(max(config.heights)):
            unpacker = Shared(Unpacker(formats))
            m.submodules[f"unpacker_{row}"] = unpacker
            parts = [self._gearbox.front[row * size : (row + 1) * size] for size in sizes]
            m.d.comb += [
                unpacker.block.stored.eq(_overlay(tag, parts)),
                unpacker.block.format.eq(tag),
                unpacker.digit.eq(digits - 1 - digit),
            ]
            packets.append(unpacker.packet.as_value())
            of_a, of_b = (row < height for height in config.heights)
            nans.append(unpacker.packet.nan & Mux(is_b, of_b, of_a))
        natural = config.array
        for port, is_mine, order in (
            (self.a, ~is_b, row_order(config)),
            (self.b, is_b, list(range(natural.cols))),
        ):
            m.d.comb += [
                port.write.eq(write & is_mine),
                port.word.packets.as_value().eq(Cat(packets[row] for row in order)),
                port.word.digits.eq(digits),
                port.word.last.eq(left == 1),
            ]
        m.d.comb += self.nan_blocks.eq(Mux(done, sum(nans), 0))


def _overlay(number: Value, parts: list[Value]) -> Value:
    """Return the part of that number in the low bits; what is above is of no meaning."""
    longest = max(range(len(parts)), key=lambda i: len(parts[i]))
    chosen = parts[longest]
    for i, part in enumerate(parts):
        if i != longest:
            size = len(part)
            chosen = Cat(Mux(number == i, part, chosen[:size]), chosen[size:])
    return chosen


def row_order(config: EngineConfig) -> list[int]:
    """Return the row of a tile that each row of PEs takes.

    Clusters drain at the same time, a row each: rows that leave together are neighbours in C.
    """
    clusters, height = config.array.cluster_grid[0], config.array.cluster_rows
    return [(row % height) * clusters + row // height for row in range(config.array.rows)]
