"""The loader writes each digit of a tile once, in order, and finds what is wrong with it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from mixdit_hw.blocks.unpacker import Unpacker
from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.loader import Loader
from mixdit_hw.engine.reader import Destination
from mixdit_hw.formal.inside import surround
from mixdit_hw.formal.properties import assume, check, cover, implies
from mixdit_sw.engine.shape import TAG_BITS

BLOCKS = 2
"""The largest number, here, of K-blocks of a tile."""


def two_formats() -> EngineConfig:
    """Return an engine for a format of two digits and one of one; other tags are none."""
    return EngineConfig(
        array=ArrayConfig(rows=2, cols=2, cluster_rows=2, cluster_cols=2, formats=("mx9", "mx4")),
        port_bytes=8,
        buffer_bytes=1024,
        address_bits=20,
        steps=(),
    )


class LoadingProof(wiring.Component):
    """A loader with free tiles of up to `BLOCKS` K-blocks, free pauses and free buffers.

    The bus words of a tile are kept, so that what is written can be unpacked from them.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._dut = Loader(config)
        self._formats = config.array.block_formats
        bus = config.bus_bytes
        self._words = [-(-size // bus) for size in config.slice_bytes(False)]
        self._most = 1 + BLOCKS * max(self._words)
        super().__init__(self._dut.signature)

    def elaborate(self, platform: object) -> Module:
        """Keep a tile; compare."""
        m = Module()
        dut = self._dut
        surround(m, self, dut)
        target = self.i.payload.target
        self._target = Signal.like(target, name="target")
        self._taken, self._active, self._ended = Signal(), Signal(), Signal()
        self._block, self._digit, self._used = Signal(3), Signal(2), Signal(16)
        self._count = Signal(16)
        is_b = self._target.destination == Destination.B
        self._write, done = Signal(), Signal()
        tags = self._keep(m)
        tag = tags.word_select(self._block, TAG_BITS)
        digits = self._by_tag(tag, [fmt.digits for fmt in self._formats])
        m.d.comb += [
            self._taken.eq(self.i.valid & self.i.ready),
            self._write.eq(self.a.write | self.b.write),
            done.eq(self._write & (self._digit == digits - 1)),
        ]
        with m.If(self._write):
            m.d.sync += [self._used.eq(self._used + 1), self._digit.eq(self._digit + 1)]
        with m.If(done):
            m.d.sync += [self._block.eq(self._block + 1), self._digit.eq(0)]
        last = self._taken & self.i.payload.last
        complete = (self._block + done == self._target.k_blocks) & (self._ended | last)
        m.d.sync += self._active.eq(Mux(self._active, ~complete, self._taken))
        works = self._active & (self._block < self._target.k_blocks)
        ends = self._ends(tags)
        have = self._count >= self._chosen(ends)
        known = tag < len(self._formats)
        full = self._used == self._target.words
        short = known & Mux(have, full, self._ended)
        check(m, "bad_format", self.bad_format == (works & ~known))
        check(m, "bad_length", self.bad_length == (works & short))
        may = works & known & have & ~full & Mux(is_b, self.b.space, self.a.space)
        check(m, "writes", self._write == may)
        check(m, "operand", ~Mux(is_b, self.a.write, self.b.write))
        bad = self.bad_format | self.bad_length
        check(m, "stands_still", implies(bad, ~self._taken & ~self._write))
        moves = self.i.ready | self._write
        free = self.i.valid & self.a.space & self.b.space
        check(m, "goes_on", implies(free & ~bad, moves))
        self._check_words(m, tag, digits, ends, done)
        cover(m, "second_tile", done & (self._block == 1) & is_b & (self._digit == 1))
        return m

    def _by_tag(self, tag: Value, numbers: list[int]) -> Value:
        """Return the number of a format."""
        found: Value = Const(0, 8)
        for number, value in enumerate(numbers):
            found = Mux(tag == number, value, found)
        return found

    def _keep(self, m: Module) -> Value:
        """Keep a tile's words, as they lie in memory; return its tags."""
        word = self.i.payload
        seen = [Signal(8 * self._config.bus_bytes, name=f"seen_{n}") for n in range(self._most)]
        first = ~self._active
        with m.If(self._taken):
            m.d.sync += self._ended.eq(word.last)
            m.d.sync += self._count.eq(Mux(first, 1, self._count + 1))
            m.d.sync += self._target.eq(word.target)
            for n, kept in enumerate(seen):
                with m.If(Mux(first, n == 0, self._count == n)):
                    m.d.sync += kept.eq(word.data)
            with m.If(first):
                m.d.sync += [self._block.eq(0), self._used.eq(0)]
        address = Signal.like(self.address, name="address_taken")
        with m.If(self._taken):
            m.d.sync += address.eq(word.address)
        check(m, "address", self.address == address)
        k_blocks, destination = word.target.k_blocks, word.target.destination
        assume(m, (k_blocks >= 1) & (k_blocks <= BLOCKS))
        assume(m, (destination == Destination.A) | (destination == Destination.B))
        same = word.target.as_value() == self._target.as_value()
        assume(m, implies(self._active & ~self._ended, same))
        self._seen = Cat(seen)
        return seen[0]

    def _ends(self, tags: Value) -> list[Value]:
        """Return the bus words up to each K-block's end, the header's among them."""
        ends, total = [], Const(1, 8)
        for block in range(BLOCKS):
            total = (total + self._by_tag(tags.word_select(block, TAG_BITS), self._words))[:8]
            ends.append(total)
        return ends

    def _chosen(self, values: list[Value]) -> Value:
        """Return the one of the present K-block."""
        return Mux(self._block == 0, values[0], values[1])

    def _check_words(
        self, m: Module, tag: Value, digits: Value, ends: list[Value], done: Value
    ) -> None:
        """Unpack the present digit from the words that were kept; compare."""
        config, bits = self._config, 8 * self._config.bus_bytes
        start = self._chosen([Const(1, 8), ends[0]])
        block = Signal(bits * max(self._words))
        with m.Switch(start):
            for place in range(1, self._most):
                with m.Case(place):
                    m.d.comb += block.eq(self._seen[bits * place :])
        nans = []
        ports = self.a.word, self.b.word
        for row in range(max(config.heights)):
            m.submodules[f"unpacker_{row}"] = unpacker = Unpacker(self._formats)
            sizes = [8 * fmt.row_bytes(16) for fmt in self._formats]
            stored = Mux(tag == 0, block[row * sizes[0] :][: sizes[0]], block[row * sizes[1] :])
            m.d.comb += [
                unpacker.block.stored.eq(stored),
                unpacker.block.format.eq(tag),
                unpacker.digit.eq(digits - 1 - self._digit),
            ]
            nans.append(unpacker.packet.nan)
            for name, port in zip("ab", ports, strict=True):
                right = port.packets[row].as_value() == unpacker.packet.as_value()
                check(m, f"packet_{name}_{row}", implies(getattr(self, name).write, right))
        last = self._block == self._target.k_blocks - 1
        for name, port in zip("ab", ports, strict=True):
            right = (port.digits == digits) & (port.last == last)
            check(m, f"flags_{name}", implies(getattr(self, name).write, right))
        check(m, "nan_blocks", self.nan_blocks == Mux(done, sum(nans), 0))
