"""Tiles that come from memory instead of from the array, as the store wants them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.engine.reader import TARGET, word_layout
from mixdit_hw.pe.fp32 import STATE


class Origin:
    """Where the words of a tile come from."""

    ARRAY, MEMORY, TURNED = range(3)


def row_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of what the source must know of a request, in the bits of the target's `words`.

    Whether words are BF16, and tiles transposed; then, which row of the first bus word and which of
    the last one are the first and last of the request.
    """
    row = config.shape.rows_a_beat(narrow=True).bit_length() - 1
    return data.StructLayout({"narrow": 1, "transposed": 1, "first": row, "last": row})


class Source(wiring.Component):
    """Widens BF16, transposes tiles.

    Members
    -------
    i : stream of word_layout
        Bus words of tiles; of those to be transposed, bus words of rows.
    words, turned : stream of words
        FP32 words of tiles as they lie in memory; of transposed ones.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        words = stream.Signature(data.ArrayLayout(STATE, config.shape.lanes))
        super().__init__(
            {
                "i": In(stream.Signature(word_layout(config))),
                "words": Out(words),
                "turned": Out(words),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Two ways: in bus words, and row by row."""
        m = Module()
        word = self.i.payload.data
        about = Signal(row_layout(self._config))
        target = Signal(TARGET)
        m.d.comb += [target.eq(self.i.payload.target), about.as_value().eq(target.words)]
        half, ready = Signal(), Signal()
        upper, lower = word[len(word) // 2 :], word[: len(word) // 2]
        # Halves are signals, so that what selects them is emitted once, not for each number.
        halves = Signal(len(word) // 2)
        m.d.comb += [
            halves.eq(Mux(half, upper, lower)),
            self.words.valid.eq(self.i.valid & ~about.transposed),
            self.words.payload.as_value().eq(Mux(about.narrow, _widen(halves), word)),
            ready.eq(self.words.ready & (half | ~about.narrow)),
            self.i.ready.eq(ready),
        ]
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += half.eq(~half & about.narrow)
        if self._config.transposes:
            taken = self._turn(m, about)
            with m.If(about.transposed):
                m.d.comb += self.i.ready.eq(taken)
        return m

    def _turn(self, m: Module, about: data.View) -> Value:
        """Send rows through the transposition; return that a bus word's last row is taken."""
        shape, word = self._config.shape, self.i.payload.data
        columns = shape.rows_a_beat()
        transpose = Transpose(shape.cols, columns)
        m.submodules.transpose = transpose
        m.d.comb += [
            self.turned.valid.eq(transpose.o.valid),
            self.turned.payload.as_value().eq(transpose.o.payload.as_value()),
            transpose.o.ready.eq(self.turned.ready),
        ]
        row, begun = Signal(len(about.first)), Signal()
        present, last, most = Signal.like(row), Signal(), Signal.like(row)
        size = 32 * shape.cols
        halves = Signal(size // 2)
        m.d.comb += [
            halves.eq(word.word_select(present, size // 2)),
            most.eq(Mux(about.narrow, 2 * columns - 1, columns - 1)),
            present.eq(Mux(begun, row, about.first)),
            last.eq(present == Mux(self.i.payload.last, about.last, most)),
            transpose.i.valid.eq(self.i.valid & about.transposed),
            transpose.i.payload.as_value().eq(
                Mux(
                    about.narrow,
                    _widen(halves),
                    word.word_select(present[: (columns - 1).bit_length()], size),
                )
            ),
        ]
        with m.If(transpose.i.valid & transpose.i.ready):
            m.d.sync += [
                row.eq(Mux(last, 0, present + 1)),
                begun.eq(~(last & self.i.payload.last)),
            ]
        return transpose.i.ready & last


def _widen(halves: Value) -> Value:
    """Return FP32 words of BF16 ones."""
    parts = [halves[16 * n : 16 * (n + 1)] for n in range(len(halves) // 16)]
    return Cat(Cat(Const(0, 16), part) for part in parts)
