"""Feed and operand buffers: nothing is read before it is written, or released before it is read."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from mixdit_hw.config import ArrayConfig
from mixdit_hw.engine.buffer import OperandBuffer, word_layout
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.feed import Feed
from mixdit_hw.formal.properties import assume, check, cover, implies, never_reset
from mixdit_hw.packet import PACKET

DEPTH = 4
TILES = K_BLOCKS = 2
"""The largest number, here, of tiles of an operand, and of K-blocks of a tile."""


def small_buffers() -> EngineConfig:
    """Return an engine whose operand buffers have `DEPTH` words."""
    return EngineConfig(
        array=ArrayConfig(
            rows=2, cols=2, cluster_rows=2, cluster_cols=2, formats=("mx9", "mx6", "mx4")
        ),
        port_bytes=8,
        buffer_bytes=-(-DEPTH * 2 * PACKET.size // 8),
        address_bits=20,
        steps=(),
    )


class FeedProof(wiring.Component):
    """A feed between two operand buffers, with free commands, a free loader and a free array.

    The loader writes, whenever there is space, blocks of any digits; every tile has as many
    K-blocks, and its last one says so. Packets, which decide nothing here, are 0. Places are
    compared by their distance from the first one that is not released.

    Members
    -------
    command, o : streams
        Of the feed.
    k_blocks : int
        K-blocks of every tile.
    write_a, word_a, write_b, word_b : 1, word
        What the loader wants to write.
    """

    def __init__(self) -> None:
        self._config = config = small_buffers()
        self._feed = Feed(config)
        feed = self._feed.signature.members
        loader = {}
        for name, height in zip("ab", config.heights, strict=True):
            loader |= {f"write_{name}": In(1), f"word_{name}": In(word_layout(height))}
        super().__init__({"command": feed["command"], "o": feed["o"], "k_blocks": In(2), **loader})

    def elaborate(self, platform: object) -> Module:
        """Wire them as the engine does; follow each operand."""
        m = Module()
        never_reset(m)
        m.submodules.feed = feed = self._feed
        wiring.connect(m, wiring.flipped(self.command), feed.command)
        wiring.connect(m, feed.o, wiring.flipped(self.o))
        for name in ("row_tiles", "col_tiles", "panel"):
            tiles = self.command.payload[name]
            assume(m, implies(self.command.valid, (tiles >= 1) & (tiles <= TILES)))
        begun, blocks = Signal(), Signal(2)
        m.d.sync += [begun.eq(1), blocks.eq(self.k_blocks)]
        assume(m, (self.k_blocks >= 1) & (self.k_blocks <= K_BLOCKS))
        assume(m, implies(begun, self.k_blocks == blocks))
        for name, height in zip("ab", self._config.heights, strict=True):
            m.submodules[f"buffer_{name}"] = buffer = OperandBuffer(height, self._config.words)
            self._load(m, name, buffer)
            self._follow(m, name, buffer, getattr(feed, name))
        ended = Signal(2)
        m.d.sync += ended.eq(ended + (feed.tile_end & (ended != 3)))
        cover(m, "tiles_end", ended == 2)
        return m

    def _load(self, m: Module, name: str, buffer: OperandBuffer) -> None:
        """Write blocks, whole and in order, and mark the last of each tile."""
        word = getattr(self, f"word_{name}")
        digit, block = Signal(2, name=f"digit_{name}"), Signal(2, name=f"block_{name}")
        before = Signal.like(word.digits, name=f"digits_{name}")
        m.d.comb += [
            buffer.write.eq(getattr(self, f"write_{name}") & buffer.space),
            buffer.word.digits.eq(word.digits),
            buffer.word.last.eq(word.last),
        ]
        most = self._config.array.max_digits
        assume(m, (word.digits >= 1) & (word.digits <= most))
        assume(m, implies(digit != 0, word.digits == before))
        is_last = block == self.k_blocks - 1
        assume(m, word.last == is_last)
        with m.If(buffer.write):
            m.d.sync += [before.eq(word.digits), digit.eq(digit + 1)]
            with m.If(digit == word.digits - 1):
                m.d.sync += [digit.eq(0), block.eq(Mux(is_last, 0, block + 1))]

    def _follow(
        self, m: Module, name: str, buffer: OperandBuffer, port: wiring.PureInterface
    ) -> None:
        """Check what the feed reads and releases."""
        m.d.comb += [port.written.eq(buffer.written), port.data.eq(buffer.data)]
        for member in ("read", "at", "release", "until"):
            m.d.comb += getattr(buffer, member).eq(getattr(port, member))
        bits = len(buffer.written.count)
        freed, seen = Signal(bits, name=f"freed_{name}"), Signal(bits, name=f"seen_{name}")

        def distance(count: Value) -> Value:
            return (count - freed)[:bits]

        written, at = distance(buffer.written.count), distance(port.at.count)
        until, read = distance(port.until.count), distance(seen)
        check(m, f"fits_{name}", written <= self._config.words)
        check(m, f"reads_what_is_written_{name}", implies(port.read, at < written))
        check(m, f"releases_what_is_read_{name}", implies(port.release, until <= read))
        place = port.at.count[: (self._config.words - 1).bit_length()]
        check(m, f"place_{name}", implies(port.read, port.at.address == place))
        with m.If(port.release):
            m.d.sync += freed.eq(port.until.count)
        with m.If(port.read & (at >= read)):
            m.d.sync += seen.eq(port.at.count + 1)
        cover(m, f"wraps_{name}", port.read & (port.at.count == self._config.words))
